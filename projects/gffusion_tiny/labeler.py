"""Train the labeler of gffusion-tiny: a segmentation network that the segmenter learns from.

    python -m projects.gffusion_tiny.labeler --data runs/tiny/data/train/msrs --teacher efficientnet-lite0-57934424.pth \
        --output runs/tiny/labeler --device cuda

EfficientNet-Lite0 or Lite2 with ImageNet weights (`teacher.py`) and a feature pyramid learn from the label maps of `prepare.py`. After
pretraining on ImageNet, a few hundred images suffice. OUTPUT gets `log.jsonl`, `labeler.safetensors`, which `segmenter.py` reads,
and `iou.json`. The weights are averages over the last steps. The labeler is not shipped.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from gffusion import create_model

from .augmentation import cut
from .scenes import NUM_CLASSES, SIZE, Scenes, measure, soft_loss
from .teacher import PYRAMID_CHANNELS, EfficientNetLite0
from .training import add_options, fit, needs_replay, save_halves

CLASS_WEIGHTS = (1.0, 2.5, 2.5, 1.5)
OVERLAP_WEIGHT = 0.3
ZOOM = (0.7, 2.2)
ENCODER_RATE, RATE = 3e-4, 1e-3
CHANNELS = 64  # of every level of the pyramid
FEATURE_CHANNELS = (*PYRAMID_CHANNELS[2:], CHANNELS)


class Labeler(nn.Module):
    """A feature pyramid (Lin et al., 2017) on strides 4 to 32, whose levels are summed (Kirillov et al., 2019)."""

    def __init__(self, encoder: EfficientNetLite0) -> None:
        super().__init__()
        self.encoder = encoder
        self.laterals = nn.ModuleList(nn.Conv2d(width, CHANNELS, 1) for width in encoder.pyramid_channels[1:])
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
    state = load_file(path)
    labeler = Labeler(EfficientNetLite0.fitting(state, "encoder."))
    labeler.load_state_dict(state)
    return labeler.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def losses(labeler: Labeler, scenes: Scenes, options: argparse.Namespace) -> dict[str, Tensor]:
    """Return the losses of a batch of views, see `soft_loss`."""
    fused, targets, _ = scenes.draw(options.batch_size, SIZE, ZOOM)
    fused, targets = cut(fused, targets)
    with torch.autocast(options.device, torch.bfloat16):
        logits = labeler(fused.contiguous(memory_format=torch.channels_last))
    parts = soft_loss(logits, targets, CLASS_WEIGHTS)
    return {"loss": parts["classes"] + OVERLAP_WEIGHT * parts["overlap"], **parts}


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on the label maps of `prepare.py`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", required=True, help="folders of pairs with label maps")
    parser.add_argument("--teacher", type=Path, help="file of the ImageNet weights")
    parser.add_argument("--after", type=Path, help="labeler of an earlier run, which is trained further")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--eval", nargs="+", help="folders of pairs with label maps for the final IoU")
    add_options(parser, steps=3000, batch_size=16)
    options = parser.parse_args(arguments)
    if bool(options.teacher) == bool(options.after):
        parser.error("give either --teacher or --after")

    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    options.output.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(options.data, options.device)
    scenes.fuse_by([create_model(name, use_segmenter=False) for name in options.fusers])
    labeler = load_labeler(options.after) if options.after else Labeler(EfficientNetLite0.from_file(options.teacher))
    labeler.requires_grad_().train().to(options.device).to(memory_format=torch.channels_last)
    others = [weight for name, weight in labeler.named_parameters() if not name.startswith("encoder.")]
    groups: list[dict[str, Any]] = [{"params": labeler.encoder.parameters(), "lr": ENCODER_RATE}, {"params": others}]
    optimizers = [torch.optim.AdamW(groups, lr=RATE, weight_decay=0.05)]
    average = fit(labeler, partial(losses, labeler, scenes, options), optimizers, options, needs_replay(options))
    save_halves(average, options.output / "labeler.safetensors")
    if options.eval:
        iou = measure(average, options.eval, options.device)
        print(iou, flush=True)
        (options.output / "iou.json").write_text(json.dumps(iou) + "\n")


if __name__ == "__main__":
    main()
