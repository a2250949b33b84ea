"""Crop, flip and resize both images, labels and boxes together."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gffusion.models.gffusion.argument_checks import to_plain

from .base import Sample, check_fractions

MIN_BOX_SHARE = 0.25
"""Minimum share of the area of a box that must be inside a crop; other boxes are dropped as unrecognizable."""


class RandomCrop:
    """Crop the same random window from every image, and resize it: images bilinearly, labels to the nearest pixel.

    A window of `size / factor` is cropped and resized to `size`. Boxes are clipped to the window, and dropped with
    their classes if less than `MIN_BOX_SHARE` of their area remains.

    Args:
        size: Height and width of the result in pixels, or one number for both.
        scale: Range (low, high) of the factor by which contents are enlarged, drawn uniformly. For small images, low is
            raised to the smallest factor for which the window fits.

    Raises:
        ValueError: If a side is not positive, or unless `0 < scale[0] <= scale[1]`.

    Examples:
        >>> sample = {"visible": np.zeros((48, 64, 3), np.float32), "infrared": np.zeros((48, 64, 1), np.float32)}
        >>> RandomCrop(32, scale=(0.8, 1.5))(sample, np.random.default_rng(0))["infrared"].shape
        (32, 32, 1)
    """

    variants = None

    def __init__(self, size: int | tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> None:
        self.height, self.width = _parse_size("crop size", size)
        self.scale = scale = to_plain(scale)
        if not 0 < scale[0] <= scale[1] < float("inf"):
            raise ValueError(f"scale must be a range of positive factors (low, high), got {scale}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Crop `sample`; raise ValueError if it is smaller than the window."""
        image_height, image_width = sample["visible"].shape[:2]
        low, high = self.scale
        needed = max(self.height / image_height, self.width / image_width)  # at this factor the window spans the image
        if needed > high:
            raise ValueError(
                f"cannot crop {self.height} x {self.width} (height x width) from an image of {image_height} x {image_width}, "
                f"even if it is enlarged by the largest `scale`, {high:g}: lower `crop_size`, raise `scale`, or remove the image"
            )
        factor = rng.uniform(max(low, needed), high)
        height, width = (max(1, round(side / factor)) for side in (self.height, self.width))
        top = int(rng.integers(image_height - height + 1))
        left = int(rng.integers(image_width - width + 1))
        return _resize(_crop(sample, top, left, height, width), self.height, self.width)


class RandomFlip:
    """Flip images, labels and boxes of a sample together.

    Args:
        horizontal: Probability of swapping left and right.
        vertical: Probability of swapping top and bottom.

    Raises:
        ValueError: If a probability is outside [0, 1].

    Examples:
        >>> sample = {"visible": np.zeros((1, 3, 3), np.float32), "labels": np.array([[1, 2, 3]])}
        >>> RandomFlip(horizontal=1)(sample, np.random.default_rng(0))["labels"].tolist()
        [[3, 2, 1]]
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        check_fractions(horizontal=horizontal, vertical=vertical)
        self.horizontal, self.vertical = horizontal, vertical
        self.variants = 2 ** sum(0 < probability < 1 for probability in (horizontal, vertical))

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Flip `sample`, or leave it unchanged."""
        across, down = rng.random(2) < (self.horizontal, self.vertical)
        flipped = dict(sample)
        for name in _list_rasters(sample):
            flipped[name] = sample[name][:: -1 if down else 1, :: -1 if across else 1]
        if "boxes" in sample:
            height, width = sample["visible"].shape[:2]
            left, top, right, bottom = sample["boxes"].T
            left, right = (width - right, width - left) if across else (left, right)
            top, bottom = (height - bottom, height - top) if down else (top, bottom)
            flipped["boxes"] = np.stack([left, top, right, bottom], axis=1)
        return flipped


class Resize:
    """Resize images, labels and boxes to one size, without keeping the aspect ratio. Not random.

    Images are resized bilinearly, with antialiasing when they shrink, and labels to the nearest pixel.

    Args:
        size: Height and width of the result in pixels, or one number for both.

    Raises:
        ValueError: If a side is not positive.

    Examples:
        >>> sample = {"visible": np.zeros((48, 64, 3), np.float32), "infrared": np.zeros((48, 64, 1), np.float32)}
        >>> Resize((24, 32))(sample, np.random.default_rng(0))["visible"].shape
        (24, 32, 3)
    """

    variants = 1

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.height, self.width = _parse_size("size", size)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Resize `sample`; `rng` is not used."""
        return _resize(sample, self.height, self.width)


def _parse_size(name: str, size: int | tuple[int, int]) -> tuple[int, int]:
    size = to_plain(size)
    sides = size if isinstance(size, list | tuple) else (size, size)
    if len(sides) != 2 or not all(type(side) is int and side >= 1 for side in sides):
        raise ValueError(f"the {name} must be a positive integer, or a height and a width, got {size!r:.200}")
    return sides[0], sides[1]


def _list_rasters(sample: Sample) -> list[str]:
    return [name for name in sample if name not in ("boxes", "box_classes")]


def _crop(sample: Sample, top: int, left: int, height: int, width: int) -> Sample:
    cropped = {name: sample[name][top : top + height, left : left + width] for name in _list_rasters(sample)}
    if "boxes" in sample:
        corners = (sample["boxes"].reshape(-1, 2, 2) - (left, top)).clip(0, (width, height))
        boxes = corners.reshape(-1, 4).astype(sample["boxes"].dtype)
        areas = _compute_areas(boxes)
        kept = (areas > 0) & (areas >= MIN_BOX_SHARE * _compute_areas(sample["boxes"]))
        cropped |= {"boxes": boxes[kept], "box_classes": sample["box_classes"][kept]}
    return cropped


def _compute_areas(boxes: NDArray[Any]) -> NDArray[Any]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _resize(sample: Sample, height: int, width: int) -> Sample:
    old_height, old_width = sample["visible"].shape[:2]
    resized = dict(sample)
    if (old_height, old_width) == (height, width):
        return resized
    for name in _list_rasters(sample):
        resized[name] = (_resize_nearest if name == "labels" else _resize_bilinear)(sample[name], height, width)
    if "boxes" in sample:
        factors = np.array([width / old_width, height / old_height] * 2, sample["boxes"].dtype)
        resized["boxes"] = sample["boxes"] * factors
    return resized


def _resize_bilinear(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    # Pillow resizes float images channel by channel, and widens its filter when shrinking, which prevents aliasing.
    channels = [
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR))
        for channel in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]
    return np.stack(channels, axis=-1).clip(0, 1)


def _resize_nearest(labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    resized = Image.fromarray(labels.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(labels.dtype)
