"""Random transforms of a visible/infrared(/labels) sample that keep its images aligned."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Sample: TypeAlias = dict[str, NDArray[Any]]
"""`"visible"` (H, W, 3) and `"infrared"` (H, W, 1), float32 in [0, 1]; in a labelled set `"labels"` (H, W), int64."""

Transform: TypeAlias = Callable[[Sample, np.random.Generator], Sample]
"""Takes a sample and the generator to draw from; returns a new sample and leaves the old one's arrays unchanged."""


class Compose:
    """Applies transforms one after the other.

    Args:
        *transforms: The transforms, first to last.
    """

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Passes `sample` through every transform."""
        for transform in self.transforms:
            sample = transform(sample, rng)
        return sample


class RandomCrop:
    """Cuts the same window, uniformly placed, out of every image, and resizes it: images bilinearly, labels by nearest.

    A window of `size / factor` is cut first and then resized to `size`, so that only the pixels that are needed are
    touched, and the result always has the wanted size.

    Args:
        size: Height and width of the result in pixels, or one number for both.
        scale: Range of the factor by which contents are enlarged, drawn uniformly; where an image is too small for the
            low end, from what it allows.

    Raises:
        ValueError: If a side is not positive, or unless `0 < scale[0] <= scale[1]`.
    """

    def __init__(self, size: int | tuple[int, int], scale: tuple[float, float] = (1.0, 1.0)) -> None:
        self.height, self.width = (size, size) if isinstance(size, int) else size
        self.scale = scale
        if min(self.height, self.width) < 1:
            raise ValueError(f"the crop size must be positive, got {size}")
        if not 0 < scale[0] <= scale[1] < float("inf"):
            raise ValueError(f"scale must be a range of positive factors (low, high), got {scale}")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Crops `sample`; raises ValueError if it is smaller than the window."""
        image_height, image_width = sample["visible"].shape[:2]
        low, high = self.scale
        needed = max(
            self.height / image_height, self.width / image_width
        )  # the factor at which the image just fills it
        if needed > high:
            raise ValueError(
                f"cannot crop {self.height} x {self.width} (height x width), enlarged by {high:g} at most, out of an image "
                f"of {image_height} x {image_width}; use a smaller crop or a larger scale, or leave this image out"
            )
        factor = rng.uniform(max(low, needed), high)
        height, width = (max(1, round(side / factor)) for side in (self.height, self.width))
        top = int(rng.integers(image_height - height + 1))
        left = int(rng.integers(image_width - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        cropped = {name: array[window] for name, array in sample.items()}
        if (height, width) == (self.height, self.width):
            return cropped
        return {
            name: (_resize_nearest if name == "labels" else _resize_bilinear)(array, self.height, self.width)
            for name, array in cropped.items()
        }


class RandomFlip:
    """Mirrors every image of the sample together.

    Args:
        horizontal: Probability of swapping left and right.
        vertical: Probability of swapping top and bottom.

    Raises:
        ValueError: If a probability lies outside [0, 1].
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        for name, probability in (("horizontal", horizontal), ("vertical", vertical)):
            if not 0 <= probability <= 1:
                raise ValueError(f"{name} is a probability in [0, 1], got {probability}")
        self.horizontal = horizontal
        self.vertical = vertical

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Flips `sample`, or does not."""
        across, down = rng.random(2)
        columns = slice(None, None, -1 if across < self.horizontal else 1)
        rows = slice(None, None, -1 if down < self.vertical else 1)
        return {name: array[rows, columns] for name, array in sample.items()}


class VisiblePhotometric:
    """Changes brightness, contrast and gamma of the visible image, as another exposure would; the rest stays.

    `(mean + c * (visible ** g - mean)) + b`, clipped to [0, 1], with one draw for all three channels.

    Args:
        brightness: `b` is uniform in [-brightness, brightness].
        contrast: `c`, the factor about the image's mean, is uniform in [1 - contrast, 1 + contrast].
        gamma: `g` is uniform in [1 - gamma, 1 + gamma].

    Raises:
        ValueError: If `brightness` or `contrast` lies outside [0, 1], or `gamma` outside [0, 1).
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, gamma: float = 0.0) -> None:
        for name, strength in (("brightness", brightness), ("contrast", contrast)):
            if not 0 <= strength <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {strength}")
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma must lie in [0, 1), got {gamma}")
        self.brightness = brightness
        self.contrast = contrast
        self.gamma = gamma

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Changes the visible image of `sample`."""
        exponent = np.float32(1 + self.gamma * rng.uniform(-1, 1))
        factor = np.float32(1 + self.contrast * rng.uniform(-1, 1))
        offset = np.float32(self.brightness * rng.uniform(-1, 1))
        visible = sample["visible"] ** exponent
        mean = visible.mean()
        return sample | {"visible": np.clip(mean + factor * (visible - mean) + offset, 0, 1)}


class ThermalGain:
    """Changes gain and offset of the infrared image, as a thermal camera's automatic gain control does; the rest stays.

    `a * infrared + b`, clipped to [0, 1].

    Args:
        gain: `a` is uniform in [1 - gain, 1 + gain].
        offset: `b` is uniform in [-offset, offset].

    Raises:
        ValueError: If an argument lies outside [0, 1].
    """

    def __init__(self, gain: float = 0.0, offset: float = 0.0) -> None:
        for name, strength in (("gain", gain), ("offset", offset)):
            if not 0 <= strength <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {strength}")
        self.gain = gain
        self.offset = offset

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Changes the infrared image of `sample`."""
        factor = np.float32(1 + self.gain * rng.uniform(-1, 1))
        offset = np.float32(self.offset * rng.uniform(-1, 1))
        return sample | {"infrared": np.clip(factor * sample["infrared"] + offset, 0, 1)}


def _resize_bilinear(image: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    # Pillow resizes float images one channel at a time, and widens its filter when shrinking, so nothing aliases.
    channels = [
        np.asarray(Image.fromarray(channel).resize((width, height), Image.Resampling.BILINEAR))
        for channel in np.ascontiguousarray(image.transpose(2, 0, 1))
    ]
    return np.stack(channels, axis=-1).clip(0, 1)


def _resize_nearest(labels: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    resized = Image.fromarray(labels.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized).astype(labels.dtype)
