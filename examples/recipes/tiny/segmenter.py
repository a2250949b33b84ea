"""Train the dinov2 encoder of gffusion-tiny on, to segment fused pictures, with the head that reads it.

    python examples/recipes/tiny/segmenter.py --data runs/tiny/data/train/msrs --start runs/tiny/dinov2/encoder \
        --output runs/tiny/segmenter

DINOv2 was trained on 142 million pictures, and a linear layer is all that it lacks; this encoder was trained on 436, and
learns here what is frozen from then on. OUTPUT gets `log.jsonl`, `checkpoint.pt`, from which `--resume` goes on, and at the
end `encoder` and `head.safetensors`, which stage 4 starts from.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from encoders import to_pixel_values, train
from numpy.random import default_rng
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import Dinov2Model, PreTrainedModel
from views import BlurAndNoise, LoseColor

from gffusion.data import FusionDataset
from gffusion.data.transforms import (
    Compose,
    Glare,
    Night,
    RandomCrop,
    RandomFlip,
    Resize,
    ThermalGain,
    VisiblePhotometric,
)
from gffusion.functional import replace_luma, rgb_to_luma
from gffusion.losses import segmentation_loss, two_scale_target
from gffusion.ssnet import SSNet
from gffusion.training.recipes import read_recipe

MODEL_CONFIG = read_recipe(Path(__file__).with_name("segmentation.yaml"))["model_config"]
SIZE = (336, 448)
CONTRASTS = (0.5, 1.25)
CLASS_WEIGHTS = (1.0, 4.0, 6.0, 2.0)
ENCODER_SHARE = 0.05  # of the rates of encoders.py, which begins from nothing: with 0.4 it forgot large cars

# Windows of 3:4 with a third of the picture to all of it: objects from as large as in use to nearly twice that.
AUGMENTATION = Compose(
    Resize((480, 640)),
    RandomCrop(SIZE, scale=(0.7, 1.2)),
    RandomFlip(),
    VisiblePhotometric(brightness=0.1, contrast=0.4, gamma=0.4),
    LoseColor(0.2),
    Night(0.2, exposure=(0.05, 0.3)),
    Glare(0.15),
    ThermalGain(gain=0.4, offset=0.06),
    BlurAndNoise(blur=1.0, noise=0.04),
)


class FusedScenes(Dataset[dict[str, Tensor]]):
    """Item d is a random view of a labelled pair, fused without learning as the model is taught to, the same in every run.

    - `"fused"`: (3, 336, 448) float32 in [0, 1],
    - `"labels"`: (336, 448) int64.

    Args:
        roots: Folders of pairs with label maps.
        length: Number of items.
        seed: Seed of every view.
    """

    def __init__(self, roots: Sequence[str], length: int, seed: int):
        self.pairs = FusionDataset(roots, AUGMENTATION, seed, cache_in_memory=True)
        if not self.pairs.has_labels:
            raise ValueError(f"{', '.join(roots)}: there are no label maps. prepare.py makes them out of boxes.")
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        """Returns the number of items."""
        return self.length

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Draws a view."""
        epoch, index = self.turn(draw)
        self.pairs.set_epoch(epoch)
        pair = self.pairs[index]
        visible, infrared = pair["visible_values"][None], pair["infrared_values"][None]
        contrast = default_rng((self.seed, draw)).uniform(*CONTRASTS)
        luma = two_scale_target(rgb_to_luma(visible), infrared, contrast)
        return {"fused": replace_luma(visible, luma)[0], "labels": pair["labels"]}

    def turn(self, draw: int) -> tuple[int, int]:
        """Returns the epoch and the index of the pair of an item: every pair has its turn before one comes again."""
        epoch, turn = divmod(draw, len(self.pairs))
        return epoch, int(default_rng((self.seed, epoch)).permutation(len(self.pairs))[turn])


class Segmenter(nn.Module):
    """An encoder and the linear head on its last layers, as `GFFusionModel` has them."""

    def __init__(self, encoder: PreTrainedModel):
        super().__init__()
        self.encoder = encoder
        self.layers: int = MODEL_CONFIG["segmenter_layers"]
        self.head = SSNet(self.layers * encoder.config.hidden_size, len(MODEL_CONFIG["id2label"]))

    def forward(self, fused: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [0, 1] to logits (B, classes, H, W); H and W are multiples of the patch size."""
        height, width = fused.shape[-2:]
        patch_size = self.encoder.config.patch_size
        states = self.encoder(to_pixel_values(fused, self.encoder, (height, width)), output_hidden_states=True)
        tokens = [self.encoder.layernorm(layer)[:, 1:] for layer in states.hidden_states[-self.layers :]]
        return self.head(torch.cat(tokens, dim=-1), (height // patch_size, width // patch_size), (height, width))


def losses(segmenter: Segmenter, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return L_ss, Eq. (11), of a batch."""
    return {"loss": segmentation_loss(segmenter(batch["fused"]), batch["labels"], class_weights=CLASS_WEIGHTS)}


def save_head(head: SSNet, path: Path) -> None:
    """Write a head as `gffusion.training.load_head` reads it."""
    names = MODEL_CONFIG["id2label"]
    metadata = {"classes": json.dumps([names[index] for index in sorted(names)])}
    metadata["layers"] = str(MODEL_CONFIG["segmenter_layers"])
    save_file(head.classifier.state_dict(), path, metadata)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on what `prepare.py` has labelled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders of pairs with label maps")
    parser.add_argument("--start", type=Path, required=True, help="folder of the encoder")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch_size", type=int, default=4, help="pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that make views")
    parser.add_argument("--bf16", action="store_true", help="half the time on processors with bfloat16 arithmetic")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    # For so few channels, the backward pass of plain attention is quicker on CPUs than that of the fused kernel.
    segmenter = Segmenter(Dinov2Model.from_pretrained(options.start, attn_implementation="eager"))
    scenes = FusedScenes(options.data, options.steps * options.batch_size, options.seed)
    train(segmenter, losses, scenes, options, ENCODER_SHARE)
    segmenter.encoder.save_pretrained(options.output / "encoder")
    save_head(segmenter.head, options.output / "head.safetensors")


if __name__ == "__main__":
    main()
