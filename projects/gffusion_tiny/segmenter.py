"""Train the dinov2 encoder of gffusion-tiny further, with a linear head, to segment fused images.

    python -m projects.gffusion_tiny.segmenter windows --data runs/tiny/data/train/* \
        --labeler runs/tiny/labeler/labeler.safetensors --start runs/tiny/dinov2/encoder --output runs/tiny/segmenter

DINOv2 was trained on 142 million images and only needs a linear layer, but this encoder was trained on 436 pairs. Here, it learns
to predict the classes and the features of the labeler (`labeler.py`), also on images without boxes, and is frozen afterwards.
`windows` are crops with objects, at a tenth of the cost of `whole` scenes, which need a GPU. `--after` starts from an earlier run.
OUTPUT gets `log.jsonl`, `checkpoint.pt` for `--resume` and, at the end, `iou.json` and the `encoder` and `head.safetensors` from
which stage 4 starts.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import default_rng
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Dinov2Model, PreTrainedModel

from gffusion.models.gffusion.ssnet import SSNet
from gffusion.models.gffusion.windows import join_windows, split_windows

from .encoders import add_training_options, build_optimizers, to_pixel_values, train
from .labeler import FEATURE_CHANNELS, Labeler, load_labeler
from .scenes import GENTLE_WINDOWS, MODEL_CONFIG, NUM_CLASSES, WHOLE, WINDOWS, Scenes, fuse, measure, reframe

OBJECT_WEIGHT = 4.0  # weight of a certain object pixel relative to a background pixel
FEATURES_WEIGHT = 1.0
VIEWS = {"whole": WHOLE, "windows": WINDOWS, "gentle_windows": GENTLE_WINDOWS}


class Segmenter(nn.Module):
    """An encoder and the linear head on its last layers, as `GFFusionModel` has them.

    Its readers, which are used only for training, predict the features of the labeler from the tokens after a quarter, half,
    three quarters and all of the layers.
    """

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        width, count = encoder.config.hidden_size, encoder.config.num_hidden_layers
        rows, columns = (side // encoder.config.patch_size for side in MODEL_CONFIG["segmenter_image_size"])
        self.windows: list[int] = MODEL_CONFIG["segmenter_windows"]
        self.grid, self.window_grid = (rows, columns), (rows // self.windows[0], columns // self.windows[1])
        self.layers: int = MODEL_CONFIG["segmenter_layers"]
        self.levels = [quarter * count // 4 for quarter in (1, 2, 3, 4)]
        self.head = SSNet(self.layers * width, NUM_CLASSES)
        self.readers = nn.ModuleList(nn.Linear(width, channels) for channels in FEATURE_CHANNELS)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels, affine=False) for channels in FEATURE_CHANNELS)

    def forward(self, fused: Tensor, places: Sequence[tuple[int, int]] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Segment images, and predict the features of the labeler.

        Args:
            fused: (B, 3, H, W) in [0, 1], whole scenes, which are read in windows, or windows of scenes.
            places: For windows, row and column of the first token of each on the grid of the whole scene.

        Returns:
            Logits (B, classes, H, W), and standardized features (B, C_l, rows, columns) of four levels.
        """
        grid, windows = (self.window_grid, (1, 1)) if places else (self.grid, self.windows)
        states = [split_windows(self._embed(fused, grid, places), grid, windows)]
        for layer in self.encoder.encoder.layer:
            states.append(layer(states[-1]))
        last = [self.encoder.layernorm(state) for state in states[-self.layers :]]
        logits = self.head(join_windows(torch.cat(last, dim=-1), grid, windows), grid, fused.shape[-2:])
        shown = [join_windows(states[level], grid, windows).float() for level in self.levels]
        read = [
            reader(F.layer_norm(tokens, tokens.shape[-1:])).mT.unflatten(-1, grid)
            for tokens, reader in zip(shown, self.readers, strict=True)
        ]
        return logits, read

    def _embed(self, fused: Tensor, grid: tuple[int, int], places: Sequence[tuple[int, int]] | None) -> Tensor:
        embeddings, patch_size = self.encoder.embeddings, self.encoder.config.patch_size
        pixel_values = to_pixel_values(fused, self.encoder, [side * patch_size for side in grid])
        if places is None:
            return embeddings(pixel_values)
        patches = embeddings.patch_embeddings(pixel_values)  # (B, N, D)
        rows, columns = self.grid
        whole = patches.new_empty(1, 1 + rows * columns, patches.shape[-1])  # only its shape is used
        positions = embeddings.interpolate_pos_encoding(whole, rows * patch_size, columns * patch_size)
        table = positions[0, 1:].unflatten(0, self.grid)
        local = [table[top : top + grid[0], left : left + grid[1]].flatten(0, 1) for top, left in places]
        first = (embeddings.cls_token + positions[:, :1]).expand(len(patches), -1, -1)
        return torch.cat([first, patches + torch.stack(local)], dim=1)

    def standardize(self, features: Sequence[Tensor], grid: Sequence[int]) -> list[Tensor]:
        """Resize the features of the labeler to the grid of tokens, and standardize them."""
        resized = (F.interpolate(level.float(), tuple(grid), mode="bilinear", antialias=True) for level in features)
        return [norm(level) for norm, level in zip(self.norms, resized, strict=True)]


def losses(labeler: Labeler, views: str, seed: int, segmenter: Segmenter, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return the minimized "loss" and its parts.

    "classes" is the cross-entropy between the predictions of labeler and segmenter, in which object pixels have a larger weight.
    "features" is the mean squared error of the standardized features of the labeler.
    """
    rng = default_rng((seed, batch["step"]))
    fused, places = fuse(batch), None
    if views == "whole":
        fused = reframe(fused, rng)
    else:
        lasts = [whole - part for whole, part in zip(segmenter.grid, segmenter.window_grid, strict=True)]
        places = [(int(top), int(left)) for top, left in rng.integers(lasts, size=(len(fused), 2), endpoint=True)]
    with torch.no_grad():
        features = labeler.features(fused.contiguous(memory_format=torch.channels_last))
        taught = labeler.read(features[-1], fused.shape[-2:]).float().softmax(dim=1)  # (B, classes, H, W)
    logits, read = segmenter(fused, places)
    cross_entropy = -(taught * logits.float().log_softmax(dim=1)).sum(dim=1)
    weights = OBJECT_WEIGHT + (1 - OBJECT_WEIGHT) * taught[:, 0]  # (B, H, W)
    targets = segmenter.standardize(features, read[0].shape[-2:])
    errors = [F.mse_loss(level.float(), target) for level, target in zip(read, targets, strict=True)]
    parts = {"classes": (weights * cross_entropy).sum() / weights.sum(), "features": torch.stack(errors).mean()}
    return {"loss": parts["classes"] + FEATURES_WEIGHT * parts["features"], **parts}


def save_head(head: SSNet, path: Path) -> None:
    """Write a head for `gffusion.training.load_head`."""
    names = MODEL_CONFIG["id2label"]
    metadata = {"classes": json.dumps([names[index] for index in sorted(names)])}
    metadata["layers"] = str(MODEL_CONFIG["segmenter_layers"])
    save_file(head.classifier.state_dict(), path, metadata)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on the predictions of the labeler."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("views", choices=tuple(VIEWS))
    parser.add_argument("--data", nargs="+", required=True, help="folders of pairs with label maps")
    parser.add_argument("--labeler", type=Path, required=True, help="file of the weights of the labeler")
    parser.add_argument("--start", type=Path, required=True, help="folder of the dinov2 encoder")
    parser.add_argument(
        "--after", type=Path, help="checkpoint of an earlier run whose encoder, head and readers are trained further"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--eval", nargs="+", help="folders of pairs with label maps for the final IoU")
    parser.add_argument(
        "--encoder_share",
        type=float,
        default=0.3,
        help="learning rates of the encoder relative to encoders.py",
    )
    parser.add_argument("--uses", type=int, default=1, help="number of steps per batch, for GPUs that wait for views")
    add_training_options(parser, steps=2000, batch_size=16)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    # For so few channels, the backward pass of eager attention is faster on CPUs than that of the fused kernel.
    attention = "eager" if options.device == "cpu" else "sdpa"
    segmenter = Segmenter(Dinov2Model.from_pretrained(options.start, attn_implementation=attention))
    if options.after:
        segmenter.load_state_dict(torch.load(options.after, map_location="cpu", weights_only=True)["student"])
    scenes = Scenes(options.data, VIEWS[options.views], options.steps * options.batch_size, options.seed)
    labeler = load_labeler(options.labeler).to(options.device)
    taught = partial(losses, labeler, options.views, options.seed)
    train(segmenter, taught, scenes, options, build_optimizers(segmenter, options.encoder_share), options.uses)
    segmenter.encoder.save_pretrained(options.output / "encoder")
    save_head(segmenter.head, options.output / "head.safetensors")
    if options.eval:
        (options.output / "iou.json").write_text(
            json.dumps(measure(lambda fused: segmenter(fused)[0], options.eval)) + "\n"
        )


if __name__ == "__main__":
    main()
