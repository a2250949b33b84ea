"""Check masks, masked arrays and opacity channels. Does not import torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_OPACITY_SHARE = 0.5


def unmask(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return an array without the type of masked arrays, whose mask most functions ignore; refuse masked values."""
    if np.ma.is_masked(array):
        raise ValueError(
            f"The {name} image is a masked array: pass its values, image.data. For an infrared image, `predict`, the image "
            "processor and `align_images` take its mask as `missing`, and the pipeline takes NaN in place of masked values."
        )
    return np.asarray(array)


def list_masks(missing: Any, count: int) -> list[Any]:
    """Return a list of a mask or `None` for every pair; raise ValueError for another number of them."""
    masks = [None] * count if missing is None else list(missing)
    if len(masks) != count:
        raise ValueError(
            f"`missing` must be a list with one mask or None per pair, got {len(masks)} for {count} pairs."
        )
    return masks


def check_mask(mask: Any, size: tuple[int, ...], name: str = "A mask in `missing`") -> None:
    """Raise ValueError, with the name, unless a mask is a bool array of a height and width, `None` or `np.ma.nomask`."""
    if mask is None or mask is np.ma.nomask:
        return
    if isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == tuple(size):
        return
    got = f"{mask.dtype} of shape {tuple(mask.shape)}" if hasattr(mask, "shape") else f"a {type(mask).__name__}"
    advice = ": give an array such as `np.asarray(mask) > 0`" if np.shape(mask) == tuple(size) else ""
    raise ValueError(f"{name} must be bool of shape {tuple(size)}, got {got}{advice}.")


def is_opacity(channel: NDArray[Any]) -> bool:
    """Return whether a fourth channel is opacity: constant, of a few levels, or mostly fully transparent or opaque.

    Examples:
        >>> is_opacity(np.full((4, 6), 255, np.uint8)), is_opacity(np.arange(24, dtype=np.uint8).reshape(4, 6))
        (True, False)
    """
    opaque = np.iinfo(channel.dtype).max if channel.dtype.kind in "iu" else 1
    extremes = (channel == 0) | (channel == opaque)
    return bool(extremes.mean() >= _OPACITY_SHARE or len(np.unique(channel)) <= 3)
