"""Random views of whole scenes, fused by a fixed formula, for training `labeler.py` and `segmenter.py`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator, default_rng
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torchmetrics.classification import MulticlassJaccardIndex
from tqdm import tqdm

from gffusion.data import FusionDataset
from gffusion.data.transforms import (
    Compose,
    RandomCrop,
    RandomFlip,
    Resize,
    Sample,
    ThermalGain,
    Transform,
    VisiblePhotometric,
)
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target
from gffusion.training.recipe import read_recipe

from .views import PHOTOMETRY, BlurAndNoise, LoseColor

MODEL_CONFIG = read_recipe(Path(__file__).with_name("segmentation.yaml"))["model_config"]
NUM_CLASSES = len(MODEL_CONFIG["id2label"])
SIZE, WINDOW_SIZE = (480, 640), (240, 320)
CONTRASTS = (0.5, 1.25)
SIDES = (0.6, 1.25)
MINIMUM_SHARE, TRIES = 0.004, 3


class SeekObjects:
    """Crop up to three times, until objects cover 0.4 % of the crop, because most of a street is road and sky."""

    def __init__(self, crop: RandomCrop) -> None:
        self.crop = crop

    def __call__(self, sample: Sample, rng: Generator) -> Sample:
        """Crop `sample`."""
        for _ in range(TRIES):
            cropped = self.crop(sample, rng)
            if share_of_objects(cropped["labels"]) > MINIMUM_SHARE:
                break
        return cropped


def share_of_objects(labels: NDArray[np.int64]) -> float:
    """Return the share of pixels that belong to an object."""
    return float(((labels > 0) & (labels < NUM_CLASSES)).mean())


# Objects appear at 1 to 1.7 times their size, and in windows at 0.5 to 1.6 times, so that a near car fits into one.
WHOLE = Compose(Resize(SIZE), RandomCrop(SIZE, scale=(1.0, 1.7)), RandomFlip(), PHOTOMETRY)
WINDOWS = Compose(Resize(SIZE), SeekObjects(RandomCrop(WINDOW_SIZE, scale=(0.5, 1.6))), RandomFlip(), PHOTOMETRY)
# For networks that still underfit their training images.
GENTLE_WINDOWS = Compose(
    *WINDOWS.transforms[:-1],
    VisiblePhotometric(brightness=0.05, contrast=0.2, gamma=0.2),
    LoseColor(0.1),
    ThermalGain(gain=0.2, offset=0.03),
    BlurAndNoise(blur=0.7, noise=0.02),
)


class Scenes(Dataset[dict[str, Tensor]]):
    """A dataset whose item d is a random view of a pair, the same in every run.

    - `"visible"`: (3, H, W) float32 in [0, 1],
    - `"infrared"`: (1, H, W) float32 in [0, 1],
    - `"contrast"`: (1, 1, 1) float32, see `fuse`,
    - `"labels"`: (H, W) int64; 255 for unknown pixels.

    Args:
        roots: Folders of pairs with label maps, see `prepare.py`.
        augmentation: `WHOLE` or `WINDOWS`.
        length: Number of items.
        seed: Seed of every view.

    Raises:
        ValueError: If there are no label maps.
    """

    def __init__(self, roots: Sequence[str], augmentation: Transform, length: int, seed: int) -> None:
        self.pairs = FusionDataset(roots, augmentation, seed, cache_in_memory=True)
        if not self.pairs.has_labels:
            raise ValueError(f"no label maps in {', '.join(roots)}: make them with projects.gffusion_tiny.prepare")
        self.length, self.seed = length, seed

    def __len__(self) -> int:
        """Return the number of items."""
        return self.length

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        """Return a view."""
        epoch, index = self.turn(draw)
        self.pairs.set_epoch(epoch)
        pair = self.pairs[index]
        contrast = torch.full((1, 1, 1), default_rng((self.seed, draw)).uniform(*CONTRASTS))
        sources = {"visible": pair["visible_values"], "infrared": pair["infrared_values"]}
        return sources | {"contrast": contrast, "labels": pair["labels"]}

    def turn(self, draw: int) -> tuple[int, int]:
        """Return the epoch and the index of the pair of an item: each epoch is a permutation of all pairs."""
        epoch, turn = divmod(draw, len(self.pairs))
        return epoch, int(default_rng((self.seed, epoch)).permutation(len(self.pairs))[turn])


def fuse(batch: dict[str, Tensor]) -> Tensor:
    """Fuse a batch of views to the target of GFFusion, each with its own contrast: (B, 3, H, W) in [0, 1]."""
    luma = two_scale_target(rgb_to_luma(batch["visible"]), batch["infrared"], batch["contrast"])
    return replace_luma(batch["visible"], luma)


def reframe(images: Tensor, rng: Generator) -> Tensor:
    """Zoom each image (B, C, H, W) in or out at random, with mirrored borders, and flip half of them horizontally."""
    count = len(images)
    side = np.exp(rng.uniform(*np.log(SIDES), count))  # of the window, relative to the image
    affine = np.zeros((count, 2, 3), dtype=np.float32)
    affine[:, 0, 0], affine[:, 1, 1] = side * rng.choice([-1, 1], count), side
    affine[:, :, 2] = rng.uniform(-1, 1, (count, 2)) * abs(1 - side)[:, None]  # window and image contain one another
    grid = F.affine_grid(torch.from_numpy(affine).to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


@torch.no_grad()
def measure(segment: Callable[[Tensor], Tensor], roots: Sequence[str]) -> dict[str, float]:
    """Return the IoU of each class on whole pairs, fused at contrast 1.

    Args:
        segment: Maps images (1, 3, H, W) in [0, 1] to logits (1, classes, H, W).
        roots: Folders of pairs with label maps.
    """
    metric = MulticlassJaccardIndex(NUM_CLASSES, average="none", ignore_index=255)
    for pair in tqdm(FusionDataset(roots), unit="pair", disable=None, desc="IoU"):
        sources = {name: pair[f"{name}_values"][None] for name in ("visible", "infrared")}
        logits = segment(fuse(sources | {"contrast": torch.ones(1, 1, 1, 1)}))
        metric.update(logits.argmax(dim=1), pair["labels"][None])
    return {MODEL_CONFIG["id2label"][index]: round(value.item(), 3) for index, value in enumerate(metric.compute())}
