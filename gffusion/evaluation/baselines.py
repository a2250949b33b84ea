"""Fusion without learning: the rows that every table needs beside its networks, on 8-bit luma."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_ops import replace_luma

Luma = NDArray[np.float64]

_PYRAMID_LEVELS = 4
# The generating kernel of Burt and Adelson 1983 with a = 3/8.
_KERNEL = np.array([1, 4, 6, 4, 1]) / 16
_STRETCHED_PERCENTILES = (1, 99)


def average(visible: Luma, infrared: Luma) -> Luma:
    """`(V + R) / 2`."""
    return (visible + infrared) / 2


def maximum(visible: Luma, infrared: Luma) -> Luma:
    """`max(V, R)`, pixel by pixel."""
    return np.maximum(visible, infrared)


def laplacian_pyramid(visible: Luma, infrared: Luma) -> Luma:
    """Of 4 levels of detail, at each pixel that of the source where it is stronger; of what remains, the average.

    Pictures that come down to a single row or column earlier have fewer levels.

    Source:
        P. J. Burt and E. H. Adelson, The Laplacian pyramid as a compact image code, IEEE Transactions on Communications
        31(4), 1983, doi:10.1109/TCOM.1983.1095851.
    """
    details: list[Luma] = []
    while len(details) < _PYRAMID_LEVELS and min(visible.shape) > 1:
        smaller = _reduce(visible), _reduce(infrared)
        own, other = (
            level - _expand(small, level.shape) for level, small in zip((visible, infrared), smaller, strict=True)
        )
        details.append(np.where(abs(own) >= abs(other), own, other))
        visible, infrared = smaller
    fused = average(visible, infrared)
    for detail in reversed(details):
        fused = detail + _expand(fused, detail.shape)
    return fused


def centered_sum(visible: Luma, infrared: Luma) -> Luma:
    """`V + R - mean(R)`, as bright as V on average: nearly the best SCD there can be, and much contrast, from one addition."""
    return visible + infrared - infrared.mean()


def average_stretched(visible: Luma, infrared: Luma) -> Luma:
    """The average, stretched so that its 1st percentile becomes 0 and its 99th 255; a constant one stays as it is."""
    fused = average(visible, infrared)
    low, high = np.percentile(fused, _STRETCHED_PERCENTILES)
    return 255 * (fused - low) / (high - low) if high > low else fused


BASELINES: Mapping[str, Callable[[Luma, Luma], Luma]] = {
    rule.__name__: rule for rule in (average, maximum, laplacian_pyramid, centered_sum, average_stretched)
}
"""The rules by name. They take and return grey levels from 0 to 255 of shape (H, W), not yet rounded or cut off."""


def fuse_luma(name: str, visible: Luma, infrared: Luma) -> NDArray[np.uint8]:
    """Fuse two grey pictures without learning.

    Args:
        name: A name in `BASELINES`.
        visible: Grey levels from 0 to 255 of shape (H, W).
        infrared: Grey levels of the same shape.

    Returns:
        (H, W) uint8: rounded, halves up, and cut off at 0 and 255.

    Raises:
        ValueError: If there is no rule of that name.
    """
    if name not in BASELINES:
        raise ValueError(f"There is no rule without learning of the name {name!r}. Allowed are {', '.join(BASELINES)}.")
    return np.floor(BASELINES[name](visible, infrared) + 0.5).clip(0, 255).astype(np.uint8)


def fuse(name: str, visible: NDArray[Any], infrared: NDArray[Any]) -> NDArray[np.uint8]:
    """Fuse two pictures without learning; a colour visible picture keeps its chroma, as with a model.

    Args:
        name: A name in `BASELINES`.
        visible: (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1].
        infrared: A picture of the same height and width, likewise.

    Returns:
        (H, W) uint8 where the visible picture is grey, (H, W, 3) uint8 RGB otherwise.

    Raises:
        ValueError: If the name is unknown or a picture is none of those.
    """
    fused = fuse_luma(name, to_luma8(visible).numpy(), to_luma8(infrared).numpy())
    return fused if visible.ndim == 2 else with_colour_of(visible, fused)


def with_colour_of(visible: NDArray[Any], fused: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give a grey picture (H, W) the chroma of a colour picture (H, W, 3) -> (H, W, 3) uint8."""
    scale = np.iinfo(visible.dtype).max if np.issubdtype(visible.dtype, np.integer) else 1
    colour = torch.from_numpy(visible / scale).movedim(-1, 0)  # (H, W, 3) -> (3, H, W)
    picture = replace_luma(colour, torch.from_numpy(fused / 255)[None])
    return (picture.movedim(0, -1) * 255).round().to(torch.uint8).numpy()


def _blur(image: Luma) -> Luma:
    rows = ndimage.convolve1d(image, _KERNEL, axis=0, mode="mirror")
    return ndimage.convolve1d(rows, _KERNEL, axis=1, mode="mirror")


def _reduce(image: Luma) -> Luma:
    return _blur(image)[::2, ::2]


def _expand(image: Luma, shape: tuple[int, ...]) -> Luma:
    spread = np.zeros(shape)
    spread[::2, ::2] = 4 * image
    return _blur(spread)
