"""Refuse boxes whose numbers have another meaning than in their format: only many boxes together show it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gffusion.data.io import read_size

from .base import NamedBoxes
from .yolo import read_centers

_MARGIN = 0.1  # of the image, by which boxes of partly visible objects may extend beyond it
_SHARE_OF_CORNERS = 0.9  # a few boxes can be damaged
# Of two corners taken for a corner and a size, or a center and a size, about 55 and 25 % are outside in images of roads.
_SHARE_OUTSIDE, _FEWEST_OUTSIDE = 0.2, 5
_SAMPLE = 1000  # YOLO files of a folder, spread over all, that are read


def check_formats(sources: Iterable[Path | NamedBoxes | None]) -> None:
    """Check the boxes of many images from YOLO and COCO files; files that cannot be read are left out.

    Raises:
        ValueError: As [`check_centers`], [`check_sizes`] and [`check_pixels`].
    """
    files: dict[Path, list[Path]] = defaultdict(list)
    images: dict[str, list[NamedBoxes]] = defaultdict(list)
    for source in sources:
        if isinstance(source, Path) and source.suffix.lower() == ".txt":
            files[source.parent].append(source)
        elif isinstance(source, NamedBoxes) and source.coordinates:
            images[source.origin.rsplit(" (", 1)[0]].append(source)  # without the name of the image
    for folder, group in files.items():
        sample = group[:: math.ceil(len(group) / _SAMPLE)]
        check_centers([box for file in sample for box in read_centers(file)], str(folder))
    for origin, part in images.items():
        boxes = [_to_sizes(image) for image in part]
        check_pixels(np.vstack(boxes), origin)
        sized = [(box, image.size) for image, rows in zip(part, boxes, strict=True) for box in rows if image.size]
        check_sizes([box for box, _ in sized], [size for _, size in sized], origin)


def add_size(boxes: Path | NamedBoxes | None, image: Path) -> Path | NamedBoxes | None:
    """Return boxes with the size of their image file if they state none, as COCO files may, and it can be read."""
    if isinstance(boxes, NamedBoxes) and boxes.coordinates and boxes.size is None:
        with suppress(OSError, ValueError):
            return replace(boxes, size=read_size(image))
    return boxes


def check_sizes(boxes: Sequence[Any], sizes: Sequence[tuple[int, int]], origin: str) -> None:
    """Check that boxes hold left, top, width and height, and not two corners. A few boxes beyond their images are accepted.

    Args:
        boxes: N boxes, in pixels.
        sizes: Height and width of the image of each box.
        origin: Where the boxes were read from.

    Raises:
        ValueError: If many boxes extend far beyond their images, and would not as two corners.

    Example:
        >>> check_sizes([(100, 60, 80, 30)], [(120, 160)], "all.json")
        >>> check_sizes([(100, 60, 150, 90)] * 5, [(120, 160)] * 5, "all.json")
        Traceback (most recent call last):
        ...
        ValueError: all.json: 5 of 5 boxes extend far beyond their image, such as [100, 60, 150, 90] ... [x1, y1, x2, y2]? ...
    """
    numbers, limits = _to_rows(boxes, 4), _to_rows(sizes, 2)[:, ::-1]
    is_outside = np.any(numbers[:, :2] + numbers[:, 2:] > (1 + _MARGIN) * limits, axis=1)
    if _are_corners(numbers, limits, is_outside):
        index = int(is_outside.argmax())
        width, height = limits[index]
        raise ValueError(
            f"{origin}: {is_outside.sum()} of {len(numbers)} boxes extend far beyond their image, such as "
            f"{_show(numbers[index])} in {width:g}x{height:g} (width x height): are they [x1, y1, x2, y2]? They must be [left, "
            "top, width, height]: subtract x1 from x2 and y1 from y2; clip them to the image if they are right"
        )


def check_centers(boxes: Sequence[Any], origin: str) -> None:
    """Check that relative boxes hold center x, center y, width and height, and not two corners.

    Raises:
        ValueError: If many boxes extend far beyond their images, and would not as two corners.

    Example:
        >>> check_centers([(0.9, 0.8, 0.3, 0.2)], "boxes")
        >>> check_centers([(0.8, 0.7, 0.9, 0.9)] * 5, "boxes")
        Traceback (most recent call last):
        ...
        ValueError: boxes: 5 of 5 boxes extend far beyond their image, such as [0.8, 0.7, 0.9, 0.9]: ... [x1, y1, x2, y2]? ...
    """
    numbers = _to_rows(boxes, 4)
    is_outside = np.any(abs(numbers[:, :2] - 0.5) + numbers[:, 2:] / 2 > 0.5 + _MARGIN, axis=1)
    if _are_corners(numbers, np.ones((len(numbers), 2)), is_outside):
        raise ValueError(
            f"{origin}: {is_outside.sum()} of {len(numbers)} boxes extend far beyond their image, such as "
            f"{_show(numbers[int(is_outside.argmax())])}: are they [x1, y1, x2, y2]? They must be [center x, center y, width, "
            "height]: convert them, or clip them to the image if they are right"
        )


def check_pixels(boxes: ArrayLike, origin: str) -> None:
    """Raise ValueError if boxes of four numbers are relative to the image instead of in pixels.

    Example:
        >>> check_pixels([(0, 0, 1, 1)], "all.json")
        >>> check_pixels([(0.1, 0.1, 0.2, 0.3)], "all.json")
        Traceback (most recent call last):
        ...
        ValueError: all.json: all numbers of boxes are at most 1, such as [0.1, 0.1, 0.2, 0.3]: are they relative? ...
    """
    numbers = _to_rows(boxes, 4)
    is_fraction = np.any(numbers != np.trunc(numbers), axis=1)
    if is_fraction.any() and np.all(abs(numbers) <= 1):
        raise ValueError(
            f"{origin}: all numbers of boxes are at most 1, such as {_show(numbers[int(is_fraction.argmax())])}: are they relative? "
            "They must be in pixels: multiply them by width and height of the image"
        )


def _are_corners(numbers: NDArray[Any], limits: NDArray[Any], is_outside: NDArray[Any]) -> bool:
    """Return whether (N, 4) numbers fit images of (N, 2) widths and heights as two corners, but not as they were read."""
    if is_outside.sum() < max(_FEWEST_OUTSIDE, _SHARE_OUTSIDE * len(numbers)):
        return False
    first, second = numbers[:, :2], numbers[:, 2:]
    fits = np.all((first <= second) & (second <= (1 + _MARGIN) * limits), axis=1)
    return bool(fits.mean() >= _SHARE_OF_CORNERS)


def _to_sizes(image: NamedBoxes) -> NDArray[Any]:
    corners = np.array(image.coordinates, np.float64)
    return np.hstack([corners[:, :2], corners[:, 2:] - corners[:, :2]])


def _to_rows(numbers: ArrayLike, columns: int) -> NDArray[Any]:
    return np.asarray(numbers, np.float64).reshape(-1, columns)


def _show(box: NDArray[Any]) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in box)}]"
