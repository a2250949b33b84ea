"""Refuse boxes whose numbers have another meaning than in their format, which shows only in many boxes together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gffusion.data.io import read_size
from gffusion.utils.notes import format_count

from .base import NamedBoxes
from .yolo import read_yolo_text, scan_yolo

_MARGIN = 0.1  # of the image, by which boxes of partly visible objects may extend beyond it
_SHARE_OF_CORNERS = 0.9  # a few boxes can be damaged
# Of two corners taken for a corner and a size, or a center and a size, about 55 and 25 % are outside in images of roads.
_SHARE_OUTSIDE, _FEWEST_OUTSIDE = 0.2, 5
_SHARE_OF_GROUPS = 0.2  # in COCO itself, one box of a hundred is of a group
_COUNTED_FROM_0 = "Box ids count from 0"
_BRUSH = "CVAT writes iscrowd 1 for masks drawn with the brush: set it to 0 if they are single objects"


def check_boxes(
    boxes: Mapping[Path, Path | NamedBoxes | None], class_names: Sequence[str] | None, for_labels: bool = False
) -> str | None:
    """Check the boxes of a dataset before one is used; each file is read once, and those that cannot be read are left out.

    Args:
        boxes: Boxes of every visible image.
        class_names: Classes of the boxes; `None` allows all ids.
        for_labels: Whether label maps are made of them: files without known classes are reported when they are used, unless all ids seem
            to start at 1, and there must be objects besides groups with a mask in COCO files.

    Returns:
        A note if all classes but the first one occur, of three or more, or if many boxes of COCO files are of groups, or `None`.

    Raises:
        ValueError: If files contain class names but none are given, an id is not a class, there is no object to label, or as
            [`check_centers`], [`check_sizes`] and [`check_pixels`].
    """
    centers: dict[Path, list[list[float]]] = defaultdict(list)
    lines: dict[int, tuple[Path, int]] = {}
    for path in boxes.values():
        if not isinstance(path, Path):
            continue
        text = read_yolo_text(path)
        if text is not None:
            own_lines, own_centers = scan_yolo(text)
            lines = {index: (path, number) for index, number in own_lines.items()} | lines
            centers[path.parent] += own_centers
        elif class_names is None and not for_labels:
            raise ValueError(
                f"files of boxes such as {path} contain class names; pass class_names=, or add a file classes.txt beside "
                "the folder of boxes, to map them to indices"
            )
    for folder, rows in centers.items():
        check_centers(rows, str(folder))
    _check_coco(boxes)
    note = _check_groups(boxes.values(), for_labels)
    return (_check_class_ids(lines, class_names, for_labels) if class_names else None) or note


def note_unused(boxes: Iterable[Path | NamedBoxes | None]) -> list[str]:
    """Return notes on what label maps leave out of COCO files: outlines, and groups and doubtful objects without a place.

    Examples:
        >>> note_unused([NamedBoxes("all.json (1.png)", None, ("car",), ((0, 0, 9, 9),), outlines=1)])
        ['1 of 1 boxes of COCO files have an outline of the object, which is not used: label maps are made from the boxes']
    """
    named = [image for image in boxes if isinstance(image, NamedBoxes)]
    notes = []
    if outlines := sum(image.outlines for image in named):
        notes.append(
            f"{outlines} of {sum(len(image.coordinates) for image in named)} boxes of COCO files have an outline of the object, which "
            "is not used: label maps are made from the boxes"
        )
    if count := sum(image.unlocated for image in named):
        notes.append(
            f"left out {format_count(count, 'annotation')} of COCO files with iscrowd or ignore, but without a valid bbox, polygons or an "
            "uncompressed mask: what they show becomes background, unless you export their boxes, too"
        )
    return notes


def _check_groups(boxes: Iterable[Path | NamedBoxes | None], for_labels: bool) -> str | None:
    """Return a note if many boxes are of groups with a mask, which CVAT writes for single objects; refuse labels of these alone."""
    images = [image for image in boxes if image is not None]
    named = [image for image in images if isinstance(image, NamedBoxes)]
    groups = sum(image.masked_groups for image in named)
    count = sum(len(image.coordinates) + len(image.ignored) for image in named)
    if for_labels and 0 < groups == count and len(named) == len(images):
        raise ValueError(
            f"{_get_file(named[0])}: all boxes ({count}) are of groups with a mask (iscrowd 1), so there is no object to label. {_BRUSH}"
        )
    if groups <= _SHARE_OF_GROUPS * count:
        return None
    return f"{groups} of {count} boxes are of groups with a mask (iscrowd 1) and are ignored. {_BRUSH}"


def _get_file(image: NamedBoxes) -> str:
    return image.origin.rsplit(" (", 1)[0]  # without the name of the image


def _check_coco(boxes: Mapping[Path, Path | NamedBoxes | None]) -> None:
    """Check the boxes of COCO files, which can lack the sizes of their images."""
    listed: dict[str, list[tuple[tuple[float, ...], tuple[int, int] | None]]] = defaultdict(list)
    for file, image in boxes.items():
        if isinstance(image, NamedBoxes) and image.coordinates:
            size = image.size
            with suppress(OSError, ValueError):
                size = size or read_size(file)
            rows = ((left, top, right - left, bottom - top) for left, top, right, bottom in image.coordinates)
            listed[_get_file(image)] += [(row, size) for row in rows]
    for origin, rows_with_sizes in listed.items():
        check_pixels([row for row, _ in rows_with_sizes], origin)
        known = [(row, size) for row, size in rows_with_sizes if size]
        check_sizes([row for row, _ in known], [size for _, size in known], origin)


def _check_class_ids(lines: Mapping[int, tuple[Path, int]], class_names: Sequence[str], for_labels: bool) -> str | None:
    """Check the ids in YOLO files, each with a file and line; see [`check_boxes`]."""
    names, known = ", ".join(class_names), range(len(class_names))
    if wrong := sorted(lines.keys() - known):
        path, number = lines[wrong[0]]
        starts_at_1 = wrong == [len(known)] and 0 not in lines
        if for_labels and not starts_at_1:
            return None
        advice = f". No box has the id 0: ids start at 1? {_COUNTED_FROM_0}" if starts_at_1 else ""
        raise ValueError(
            f"{path}, line {number}: the class must be an integer from 0 to {known[-1]} ({names}), got {wrong[0]}{advice}"
        )
    if len(known) > 2 and lines.keys() == set(known[1:]):
        return f"no box has the id 0 ({class_names[0]}): if your ids start at 1, correct them. {_COUNTED_FROM_0}"
    return None


def check_sizes(boxes: Sequence[Any], sizes: Sequence[tuple[int, int]], origin: str) -> None:
    """Check that boxes hold left, top, width and height, and not two corners. A few boxes beyond their images are accepted.

    `sizes` are height and width of the image of each box.

    Raises:
        ValueError: If many boxes extend far beyond their images, and would not as two corners.

    Examples:
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

    Examples:
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

    Examples:
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


def _to_rows(numbers: ArrayLike, columns: int) -> NDArray[Any]:
    return np.asarray(numbers, np.float64).reshape(-1, columns)


def _show(box: NDArray[Any]) -> str:
    return f"[{', '.join(f'{value:.4g}' for value in box)}]"
