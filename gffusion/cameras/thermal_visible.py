"""Find out whether an image that is given as visible is a thermal image, in gray or in any palette."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Of 491 pairs of MSRS, M3SVD and RoadScene, infrared values explain at most 0.90 of the colors, and in 96 palettes as JPEG 0.99
# of those of themselves (medians). Palettes are not recognized instead: photographs under sodium lamps have the colors of some.
_MIN_EXPLAINED = 0.93
# Also of the colder and of the hotter half: a fire at night, or sky above ground, is explained by its outline alone, with less
# than 0.02 of one half. In the palettes, it is above 0.5 with both.
_MIN_EXPLAINED_OF_HALF = 0.3
_MAX_SIDE = 128  # rows and columns that are compared
_LEVELS, _MIN_LEVELS, _SAMPLES_PER_LEVEL = 256, 8, 64


def shows_infrared(visible: NDArray[Any], infrared: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> bool:
    """Return whether the colors of the visible image follow from the infrared values at the same places.

    Args:
        visible: (H, W) or (H, W, 3).
        infrared: (h, w) or (h, w, 3) in any unit; the two images have the same field of view.
        missing: (h, w), where the infrared image has no value.

    Examples:
        >>> values = np.arange(4096).reshape(64, 64)
        >>> colors = np.stack([np.sin(values / 900), np.cos(values / 900), values / 4096], axis=-1)
        >>> shows_infrared(colors, values), shows_infrared(colors.transpose(1, 0, 2), values)
        (True, False)
    """
    size = tuple(min(_MAX_SIDE, *sides) for sides in zip(visible.shape[:2], infrared.shape[:2], strict=True))
    colors, values = _sample(visible, size), _sample(infrared, size).mean(axis=-1)
    is_known = np.isfinite(values) & np.isfinite(colors).all(axis=-1)
    if missing is not None:
        is_known &= ~_sample(missing, size)[:, 0].astype(bool)
    colors, values = colors[is_known], values[is_known]
    if not _is_explained(colors, values, _MIN_EXPLAINED):
        return False
    is_hot = values > np.median(values)
    return all(_is_explained(colors[half], values[half], _MIN_EXPLAINED_OF_HALF) for half in (is_hot, ~is_hot))


def _sample(image: NDArray[Any], size: tuple[int, ...]) -> NDArray[np.float64]:
    """Return evenly spaced pixels, (N, channels)."""
    rows, columns = (
        ((np.arange(count) + 0.5) * side / count).astype(int) for count, side in zip(size, image.shape[:2], strict=True)
    )
    return image[np.ix_(rows, columns)].reshape(len(rows) * len(columns), -1).astype(np.float64)


def _is_explained(colors: NDArray[np.float64], values: NDArray[np.float64], share: float) -> bool:
    """Return whether values (N,) explain a share of the variance of colors (N, C), False if there are too few of them."""
    levels = min(_LEVELS, len(values) // _SAMPLES_PER_LEVEL)
    if levels < _MIN_LEVELS:
        return False
    # The share of the variance that is between levels with about equal numbers of pixels.
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    level = ((np.cumsum(counts) - counts / 2) / len(values) * levels).astype(int)[inverse]
    sizes = np.maximum(np.bincount(level, minlength=levels), 1)
    means = np.stack([np.bincount(level, channel, levels) / sizes for channel in colors.T], axis=-1)
    total = float(np.square(colors - colors.mean(axis=0)).sum())
    return total > 0 and 1 - float(np.square(colors - means[level]).sum()) / total >= share
