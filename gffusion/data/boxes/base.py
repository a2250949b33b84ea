"""Boxes of one image, shared by all formats."""

import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gffusion.data.file_names import normalize_class_name
from gffusion.utils.regular_files import check_regular, decode_text

logger = logging.getLogger(__name__)

MAX_CLASSES = 1 << 16
"""Largest number of classes of boxes whose classes have no names."""

SYNONYMS = {"people": "person"}
"""Names of classes that mean another one: M3FD names it "People", other datasets "person"."""


class BoxSizeError(ValueError):
    """Boxes were drawn on an image of another size (H, W)."""

    def __init__(self, message: str, size: tuple[int, int] | None = None) -> None:  # processes pass on the message only
        super().__init__(message)
        self.size = size


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of one image, with class indices.

    Attributes:
        coordinates: (N, 4) float32 left, top, right and bottom edges in pixels, clipped to the image, with a positive
            area. A box around the whole image is (0, 0, width, height).
        classes: (N,) int64 indices, from 0, into the class names of the dataset.
        ignored: (M, 4) float32 boxes of groups and doubtful objects, which are neither objects nor background.
        unseen: (H, W), True outside of the image that was annotated, where objects have no boxes; `None` if there are no such pixels.
    """

    coordinates: NDArray[np.float32]
    classes: NDArray[np.int64]
    ignored: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 4), np.float32))
    unseen: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class NamedBoxes:
    """Boxes of one image, with class names, before clipping.

    Attributes:
        origin: Where the boxes were read from, for messages.
        size: Height and width of the annotated image, or None if the file does not state them.
        names: Class name of every box.
        coordinates: Left, top, right and bottom edges of every box in pixels.
        ignored: The same edges of groups and doubtful objects, which have no names.
        masked_groups: Number of groups in `ignored` that are drawn as a mask.
        outlines: Number of boxes whose objects also have an outline, which is not used.
        unlocated: Number of groups and doubtful objects that have neither a box nor an outline that can be read.
    """

    origin: str
    size: tuple[int, int] | None
    names: tuple[str, ...]
    coordinates: tuple[tuple[float, float, float, float], ...]
    ignored: tuple[tuple[float, float, float, float], ...] = ()
    masked_groups: int = 0
    outlines: int = 0
    unlocated: int = 0

    def to_boxes(self, size: tuple[int, int], class_names: Sequence[str] | None) -> Boxes:
        """Return the boxes clipped to an image of `size` (H, W), with the indices of their names in `class_names`.

        Raises:
            ValueError: If `class_names` is None or lacks a name, or the image and the annotated image differ in size.
        """
        if class_names is None:
            raise ValueError(f"{self.origin} contains class names; pass class_names= to map them to indices")
        if self.size is not None and self.size != size:
            (old_height, old_width), (height, width) = self.size, size
            advice = "scale the boxes, or use the image that was annotated"
            if self.size == (width, height):
                advice = "they seem to be drawn without the EXIF orientation of the image: rotate the boxes as this orientation says"
            raise BoxSizeError(
                f"{self.origin}: the boxes were drawn on an image of {old_width}x{old_height} (width x height), but the "
                f"image measures {width}x{height}; {advice}",
                self.size,
            )
        indices = {normalize_class_name(name): index for index, name in enumerate(class_names)}
        classes = [_find_class(name, indices, self.origin) for name in self.names]
        ignored = clip_boxes(self.ignored, [0] * len(self.ignored), size, self.origin)
        return replace(clip_boxes(self.coordinates, classes, size, self.origin), ignored=ignored.coordinates)


def clip_boxes(coordinates: ArrayLike, classes: Sequence[int], size: tuple[int, int], origin: str) -> Boxes:
    """Clip N boxes (left, top, right, bottom) to an image of `size` (H, W), and leave out boxes without a remaining area.

    The omitted boxes are reported once per `origin`, where they were read from, through `logging`.

    Raises:
        ValueError: If a coordinate is NaN or infinite.

    Examples:
        >>> clip_boxes([(-10, 5, 20, 30)], [0], size=(25, 40), origin="example").coordinates.tolist()
        [[0.0, 5.0, 20.0, 25.0]]
    """
    height, width = size
    corners = np.asarray(coordinates, dtype=np.float64).reshape(-1, 4)
    if not np.isfinite(corners).all():
        raise ValueError(f"{origin}: a box has coordinates that are NaN or infinite")
    clipped = corners.clip(0, (width, height, width, height)).astype(np.float32)
    has_area = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    if not has_area.all():
        _report_once(origin, int((~has_area).sum()), len(has_area))
    return Boxes(clipped[has_area], np.asarray(classes, dtype=np.int64)[has_area])


def turn_box(corners: tuple[float, float, float, float], degrees: float) -> tuple[float, float, float, float]:
    """Return the box (left, top, right, bottom) around a box that is rotated about its center.

    Examples:
        >>> turn_box((100, 100, 220, 130), 90)
        (145.0, 55.0, 175.0, 175.0)
    """
    left, top, right, bottom = corners
    if not math.isfinite(degrees) or not degrees % 180:
        return corners
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    half_width, half_height = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height


def read_text(path: Path) -> str:
    """Read a text file in UTF-8 or UTF-16, see [`decode_text`]; raise ValueError if it is neither."""
    check_regular(path)
    return decode_text(path.read_bytes(), path)


def _find_class(name: str, indices: dict[str, int], origin: str) -> int:
    key = normalize_class_name(name)
    index = indices.get(key, indices.get(SYNONYMS.get(key, key)))
    if index is None:
        raise ValueError(f"{origin}: unknown class {name!r}; class_names are {', '.join(indices)}")
    return index


@functools.cache  # an image is read in every epoch
def _report_once(origin: str, left_out: int, total: int) -> None:
    logger.warning("%s: left out %d of %d boxes, outside the image or without an area", origin, left_out, total)
