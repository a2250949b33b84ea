"""Random views of pairs for training encoders, with targets and boxes on the grid of tokens."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset

from gffusion.data import FusionDataset
from gffusion.data.transforms import (
    Compose,
    Glare,
    Night,
    RandomCrop,
    RandomFlip,
    Resize,
    Sample,
    ThermalGain,
    Transform,
    VisiblePhotometric,
)

NUM_CLASSES = 4  # background, then the classes of the boxes
IMAGE_SIZE = 224


class OneOf:
    """Apply one of several transforms, chosen at random for each sample."""

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Transform `sample`."""
        return self.transforms[rng.integers(len(self.transforms))](sample, rng)


class LoseColor:
    """Make the visible image gray with some probability, as in many datasets."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Transform the visible image of `sample`."""
        if rng.random() >= self.probability:
            return sample
        return sample | {"visible": sample["visible"].mean(axis=2, keepdims=True).repeat(3, axis=2)}


class BlurAndNoise:
    """Blur both images, each by its own Gaussian, and add noise.

    Args:
        blur: The standard deviation of the Gaussian is uniform in [0, blur], in pixels.
        noise: The standard deviation of the noise is uniform in [0, noise].
    """

    def __init__(self, blur: float, noise: float) -> None:
        self.blur = blur
        self.noise = noise

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Transform both images of `sample`."""
        return sample | {name: self._degrade(sample[name], rng) for name in ("visible", "infrared")}

    def _degrade(self, image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
        sigma, strength = rng.random(2, dtype=np.float32) * (self.blur, self.noise)
        blurred = gaussian_filter(image, (sigma, sigma, 0)) if sigma > 0.3 else image
        return (blurred + np.float32(strength) * rng.standard_normal(image.shape, dtype=np.float32)).clip(0, 1)


class FuseOne:
    """Replace at most one image with a simple fusion of both, because SSNet reads fused images.

    The luma is a weighted mean or the maximum of both; the chroma is from the visible image.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Transform at most one image of `sample`."""
        replaced = ("visible", "infrared", None)[rng.integers(3)]
        weight, is_maximum = np.float32(rng.uniform(0.3, 0.7)), rng.random() < 0.5
        if replaced is None:
            return sample
        luma = sample["visible"] @ np.float32([[0.299], [0.587], [0.114]])
        infrared = sample["infrared"]
        fused = np.maximum(luma, infrared) if is_maximum else weight * luma + (1 - weight) * infrared
        return sample | {replaced: (sample["visible"] + fused - luma).clip(0, 1)}


PHOTOMETRY = Compose(
    [
        VisiblePhotometric(brightness=0.1, contrast=0.4, gamma=0.4),
        LoseColor(0.2),
        Night(0.2, exposure=(0.05, 0.3)),
        Glare(0.15),
        ThermalGain(gain=0.4, offset=0.06),
        BlurAndNoise(blur=1.5, noise=0.05),
    ]
)

# Crops of 4:3, 1:1 and 3:2 with about 0.3 to 1 of the largest area of that shape, resized to a square as the model does with
# whole images.
AUGMENTATION = Compose(
    [
        Resize((480, 640)),
        OneOf(*(RandomCrop((IMAGE_SIZE, width), scale=(0.4, 0.85)) for width in (299, IMAGE_SIZE, 336))),
        RandomFlip(),
        Resize(IMAGE_SIZE),
        PHOTOMETRY,
    ]
)


class Views(Dataset[dict[str, Tensor]]):
    """A dataset whose item d is a random view of a random pair, the same in every run.

    - `"visible"`, `"infrared"`: (3, 224, 224) float32 in [0, 1],
    - `"target"`: (C, grid, grid) float32, the components of the teacher at the tokens,
    - `"coverage"`: (4, grid, grid) float32, the share of a patch that shows background, person, bicycle and car; all 0 for
      pairs without boxes.

    Args:
        pairs: See `load_pairs`.
        targets: (pairs, C, rows, columns), see `teacher.joint_targets`.
        grid: Tokens along a side.
        length: Number of items.
        seed: Seed of every view.
        fuse: Whether to replace some images with fused ones, see `FuseOne`.
    """

    def __init__(
        self,
        pairs: ConcatDataset[dict[str, Tensor]],
        targets: Tensor,
        grid: int,
        length: int,
        seed: int,
        fuse: bool = False,
    ) -> None:
        if len(targets) != len(pairs):
            raise ValueError(
                f"the targets are those of {len(targets)} pairs, but there are {len(pairs)} pairs: delete the file"
            )
        self.pairs, self.targets, self.grid, self.length, self.seed = pairs, targets, grid, length, seed
        self.augmentation = Compose([AUGMENTATION, FuseOne()]) if fuse else AUGMENTATION

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, draw: int) -> dict[str, Tensor]:
        rng = np.random.default_rng((self.seed, draw))
        index = int(rng.integers(len(self.pairs)))
        pair = self.pairs[index]
        sample = self.augmentation(_to_sample(pair), rng)
        # Coordinates have been cropped and flipped like the images.
        coordinates = F.adaptive_avg_pool2d(_channels_first(sample["coordinates"]), self.grid)
        target = F.grid_sample(
            self.targets[index : index + 1].float(),
            2 * coordinates.permute(1, 2, 0)[None] - 1,
            padding_mode="border",
            align_corners=False,
        )
        shares = coverage(sample, self.grid) if "boxes" in sample else torch.zeros(NUM_CLASSES, self.grid, self.grid)
        return {
            "visible": _channels_first(sample["visible"]),
            "infrared": _channels_first(sample["infrared"]).expand(3, -1, -1),
            "target": target[0],
            "coverage": shares,
        }


def load_pairs(roots: Sequence[str]) -> ConcatDataset[dict[str, Tensor]]:
    """Read the pairs of all folders into memory, with boxes where a folder has them."""
    return ConcatDataset([FusionDataset(root, cache_in_memory=True) for root in roots])


def coverage(sample: Sample, grid: int) -> Tensor:
    """Return the share of each patch covered by background and by the boxes of each class: (4, grid, grid), with sum 1."""
    height, width = sample["visible"].shape[:2]
    shares = torch.zeros(NUM_CLASSES, grid, grid)
    for (left, top, right, bottom), label in zip(sample["boxes"], sample["box_classes"], strict=True):
        across, down = overlap(left / width, right / width, grid), overlap(top / height, bottom / height, grid)
        shares[label + 1] += torch.outer(down, across)
    objects = shares[1:].clamp(max=1)
    objects /= objects.sum(dim=0).clamp(min=1)  # where boxes of several classes overlap
    return torch.cat([1 - objects.sum(dim=0, keepdim=True), objects])


def overlap(start: float, end: float, cells: int) -> Tensor:
    """Return the share of each of `cells` equal parts of [0, 1] that lies in [start, end]."""
    edges = torch.arange(cells + 1) / cells
    inside = edges.clamp(float(start), float(end))
    return (inside[1:] - inside[:-1]) * cells


def _to_sample(pair: dict[str, Tensor]) -> Sample:
    names = {"visible": "visible_values", "infrared": "infrared_values"}
    sample = {name: pair[key].permute(1, 2, 0).numpy() for name, key in names.items()}
    sample |= {name: pair[name].numpy() for name in ("boxes", "box_classes") if name in pair}
    height, width = sample["visible"].shape[:2]
    x, y = ((np.arange(side, dtype=np.float32) + 0.5) / side for side in (width, height))
    return sample | {"coordinates": np.stack(np.meshgrid(x, y), axis=-1)}


def _channels_first(image: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
