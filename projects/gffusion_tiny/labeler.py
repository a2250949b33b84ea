"""Train the labeler of gffusion-tiny: a segmentation network that the segmenter learns from.

    python -m projects.gffusion_tiny.labeler --data runs/tiny/data/train/msrs --teacher efficientnet-lite0-57934424.pth \
        --output runs/tiny/labeler

EfficientNet-Lite0 with ImageNet weights (`teacher.py`) and a feature pyramid learn from the label maps of `prepare.py`. After
pretraining on ImageNet, a few hundred images suffice. OUTPUT gets `log.jsonl`, `checkpoint.pt` for `--resume`, and at the end
`labeler.safetensors`, which `segmenter.py` reads, and `iou.json`. The labeler is not shipped.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gffusion.models.gffusion.losses import segmentation_loss

from .encoders import add_training_options, train
from .scenes import NUM_CLASSES, WHOLE, Scenes, fuse, measure
from .teacher import PYRAMID_CHANNELS, EfficientNetLite0

CLASS_WEIGHTS = (1.0, 4.0, 6.0, 2.0)
ENCODER_RATE, RATE = 3e-4, 1e-3
CHANNELS = 64  # of every level of the pyramid
FEATURE_CHANNELS = (*PYRAMID_CHANNELS[2:], CHANNELS)


class Labeler(nn.Module):
    """A feature pyramid (Lin et al., 2017) on strides 4 to 32, whose levels are summed (Kirillov et al., 2019)."""

    def __init__(self, encoder: EfficientNetLite0) -> None:
        super().__init__()
        self.encoder = encoder
        self.laterals = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in PYRAMID_CHANNELS[1:])
        self.smoothings = nn.ModuleList(
            nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False), nn.BatchNorm2d(CHANNELS), nn.ReLU())
            for _ in self.laterals
        )
        self.classifier = nn.Conv2d(CHANNELS, NUM_CLASSES, 1)

    def forward(self, fused: Tensor) -> Tensor:
        """Map images (B, 3, H, W) in [0, 1] to logits (B, classes, H, W)."""
        return self.read(self.features(fused)[-1], fused.shape[-2:])

    def features(self, fused: Tensor) -> list[Tensor]:
        """Return the encoder's maps of strides 8, 16 and 32 and the summed pyramid of stride 4, with `FEATURE_CHANNELS`."""
        levels = self.encoder.pyramid(fused)[1:]  # (B, C_l, H / 4, W / 4) to (B, C_l, H / 32, W / 32)
        maps: list[Tensor] = []
        for level, lateral in reversed(list(zip(levels, self.laterals, strict=True))):
            coarser = resize(maps[-1], level.shape[-2:]) if maps else 0
            maps.append(lateral(level) + coarser)
        finest = maps[-1].shape[-2:]
        pyramid = sum(resize(smooth(level), finest) for smooth, level in zip(self.smoothings, maps, strict=True))
        return [*levels[1:], pyramid]

    def read(self, pyramid: Tensor, size: Sequence[int]) -> Tensor:
        """Map the last of `features` to logits (B, classes, *size)."""
        return resize(self.classifier(pyramid), size)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, h, w) to (B, C, *size)."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear")


def load_labeler(path: Path) -> Labeler:
    """Load a frozen labeler, with channels last: its convolutions are then twice as fast."""
    labeler = Labeler(EfficientNetLite0())
    labeler.load_state_dict(load_file(path))
    return labeler.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def losses(labeler: Labeler, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the segmentation loss L_ss of a batch, Eq. (11)."""
    return {"loss": segmentation_loss(labeler(fuse(batch)), batch["labels"], class_weights=CLASS_WEIGHTS)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on the label maps of `prepare.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders of pairs with label maps")
    parser.add_argument("--teacher", type=Path, required=True, help="file of the ImageNet weights")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--eval", nargs="+", help="folders of pairs with label maps for the final IoU")
    add_training_options(parser, steps=1200, batch_size=8)
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(options.data, WHOLE, options.steps * options.batch_size, options.seed)
    labeler = Labeler(EfficientNetLite0.from_file(options.teacher)).train()
    others = [weight for name, weight in labeler.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": labeler.encoder.parameters(), "lr": ENCODER_RATE}, {"params": others}]
    train(labeler, losses, scenes, options, [torch.optim.AdamW(groups, lr=RATE)])
    save_file(labeler.state_dict(), options.output / "labeler.safetensors")
    if options.eval:
        (options.output / "iou.json").write_text(json.dumps(measure(labeler.eval(), options.eval)) + "\n")


if __name__ == "__main__":
    main()
