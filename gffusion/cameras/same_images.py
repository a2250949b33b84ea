"""Find pairs whose two images are the same, which fusion would return unchanged."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Share of the contrast by which a copy can differ, so that lossy compression does not hide it.
_MAX_DIFFERENCE = 0.1
_MAX_COMPARED = 128  # rows and columns


def check_different_images(visible: NDArray[Any], infrared: NDArray[Any], names: tuple[str, str]) -> None:
    """Check that the infrared image is not the visible image, in another format, in gray or compressed.

    Flat images are not compared.

    Args:
        visible: (H, W) or (H, W, 3).
        infrared: (H, W) or (H, W, 3).
        names: Names of the two images for the error message.

    Raises:
        ValueError: If the images are the same.

    Examples:
        >>> image = np.arange(2048, dtype=np.uint8).reshape(32, 64)
        >>> check_different_images(image, 255 - image, ("visible.png", "infrared.png"))
        >>> check_different_images(image, image, ("visible.png", "infrared.png"))
        Traceback (most recent call last):
        ...
        ValueError: visible.png and infrared.png show the same image: give the visible and the infrared image
    """
    if are_same(visible, infrared):
        raise ValueError(f"{names[0]} and {names[1]} show the same image: give the visible and the infrared image")


def are_same(visible: NDArray[Any], infrared: NDArray[Any]) -> bool:
    """Return whether the infrared image is the visible one, as [`check_different_images`] finds it.

    Examples:
        >>> image = np.arange(2048, dtype=np.uint8).reshape(32, 64)
        >>> are_same(image, image), are_same(image, 255 - image), are_same(image * 0, image * 0)
        (True, False, False)
    """
    if visible.shape[:2] != infrared.shape[:2] or visible.size == 0:
        return False
    step = [-(-side // _MAX_COMPARED) for side in visible.shape[:2]]
    first, second = (_to_gray(image[:: step[0], :: step[1]]) for image in (visible, infrared))
    if first is None or second is None:
        return False
    contrast = float(first.std())
    return contrast > 1 / 255 and float(np.sqrt(np.square(first - second).mean())) < _MAX_DIFFERENCE * contrast


def _to_gray(image: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return the BT.601 luma in [0, 1] of an integer image, or None for temperatures and other units."""
    if image.dtype.kind != "u":
        return None
    values = image / np.float64(np.iinfo(image.dtype).max)
    return values if values.ndim == 2 else values @ np.array([0.299, 0.587, 0.114])
