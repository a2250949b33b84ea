"""Refuse pairs whose two images are the same, which fusion would return unchanged."""

import filecmp
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pairs import ImagePair

_ADVICE = (
    "give the visible and the infrared image. A file that holds both (radiometric JPEG, or an infrared fourth channel) is "
    "given alone"
)
# Share of the contrast by which a copy can differ, so that lossy compression does not hide it.
_MAX_DIFFERENCE = 0.1
_MAX_COMPARED = 256  # rows and columns


def find_same_files(pairs: Sequence[ImagePair]) -> list[ImagePair]:
    """Return the pairs of two files with the same content: links and copies of each other, or one file given twice."""
    return [pair for pair in pairs if _have_same_content(pair.visible, pair.infrared)]


def check_different_images(visible: NDArray[Any], infrared: NDArray[Any], names: tuple[str, str]) -> None:
    """Check that the infrared image is not the visible image, in another format, in gray or compressed.

    Flat images are not compared.

    Args:
        visible: (H, W) or (H, W, 3).
        infrared: (H, W) or (H, W, 3).
        names: Names of the two images for the error message.

    Raises:
        ValueError: If the images are the same.

    Example:
        >>> image = np.arange(2048, dtype=np.uint8).reshape(32, 64)
        >>> check_different_images(image, 255 - image, ("visible.png", "infrared.png"))
        >>> check_different_images(image, image, ("visible.png", "infrared.png"))
        Traceback (most recent call last):
        ...
        ValueError: visible.png and infrared.png show the same image: give the visible and the infrared image. A file ...
    """
    if visible.shape[:2] != infrared.shape[:2] or visible.size == 0:
        return
    step = [-(-side // _MAX_COMPARED) for side in visible.shape[:2]]
    first, second = (_to_gray(image[:: step[0], :: step[1]]) for image in (visible, infrared))
    if first is None or second is None:
        return
    contrast = float(first.std())
    if contrast > 1 / 255 and float(np.sqrt(np.square(first - second).mean())) < _MAX_DIFFERENCE * contrast:
        raise ValueError(f"{names[0]} and {names[1]} show the same image: {_ADVICE}")


def refuse_same_files(pairs: Sequence[ImagePair]) -> None:
    """Raise ValueError for the first of these pairs of equal files."""
    first, count = pairs[0], len(pairs)
    files = f"{first.visible} and {first.infrared} have the same content"
    if first.visible == first.infrared:
        files = f"{first.visible} is given as visible and as infrared image"
    others = f" (and {count - 1} more)" if count > 1 else ""
    raise ValueError(f"{files}{others}: {_ADVICE}")


def _have_same_content(first: Path, second: Path) -> bool:
    if first == second:
        return True
    try:
        size = first.stat().st_size
        return first.samefile(second) or (
            0 < size == second.stat().st_size and filecmp.cmp(first, second, shallow=False)
        )
    except OSError:  # reported when the files are read
        return False


def _to_gray(image: NDArray[Any]) -> NDArray[np.float64] | None:
    """Return the BT.601 luma in [0, 1] of an integer image, or None for temperatures and other units."""
    if image.dtype.kind != "u":
        return None
    values = image / np.float64(np.iinfo(image.dtype).max)
    return values if values.ndim == 2 else values @ np.array([0.299, 0.587, 0.114])
