"""Find objects in boxes by thresholding, and draw label maps from object masks.

A box is (left, top, right, bottom) in pixels. Its window is the block of pixels that it covers, at least one, without rows and
columns of which it covers no more than rounding in its file can add. An object mask has the shape of its window.
"""

import operator
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from gffusion.data.boxes import Boxes
from gffusion.data.label_values import IGNORED
from gffusion.models.gffusion.array_checks import check_mask
from gffusion.utils.notes import format_count

from .options import FALLBACKS, SOURCES, Fallback, Source, check_choice

Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.floating[Any]]

_MASK_SHARE = 0.1, 0.95  # a mask with less of its window has missed the object; with more, it has not separated it
ROUNDING = 0.15  # pixels: of YOLO files with four decimals, for images of 1920 columns
_SPECK_SHARE = 0.1  # connected regions smaller than this share of the largest one are dropped
MARGIN, _MIN_MARGIN = 0.25, 4  # width of the surroundings of a box as a share of its sides, and at least in pixels
_SMOOTHING = 0.5  # standard deviation in pixels of the Gaussian that removes noise
_VARIANCE_FLOOR = 1e-4  # added to variances of values in [0, 1], so that flat colors do not cause a division by zero


class MaskMethod(Protocol):
    """A callable that finds the objects in boxes."""

    def __call__(self, visible_values: Floats, infrared_values: Floats, boxes: Boxes) -> list[Mask | None]:
        """Return for each box the mask of its object, or `None`; the images are (3, H, W) and (1, H, W) in [0, 1]."""
        ...


@dataclass(frozen=True)
class MaskReport:
    """Counts of the objects of one or several images.

    Attributes:
        objects: Number of boxes.
        found: Objects for which the method found a mask; the others get the fallback.
        hidden: Objects that smaller objects cover completely.
        ignored: Boxes of groups and doubtful objects, which are not among the objects.
        unseen: Share of pixels that are ignored because they are outside of the annotated image, summed over the images.
    """

    objects: int = 0
    found: int = 0
    hidden: int = 0
    ignored: int = 0
    unseen: float = 0

    @property
    def fallback(self) -> int:
        """Number of objects with the fallback."""
        return self.objects - self.found

    def __add__(self, other: "MaskReport") -> "MaskReport":
        sums = map(operator.add, astuple(self), astuple(other))
        return MaskReport(*sums)

    def describe(self, count: int) -> str:
        """Return the counts of a number of images in words.

        Examples:
            >>> MaskReport(objects=3, found=2, unseen=0.5).describe(2)
            '3 objects, 2 found, 1 with the fallback; ignored 25.0 % of the pixels, which the infrared images do not show'
        """
        hidden = f", {self.hidden} hidden by others" if self.hidden else ""
        text = f"{format_count(self.objects, 'object')}, {self.found} found, {self.fallback} with the fallback{hidden}"
        if self.ignored:
            text += f"; ignored {self.ignored} uncertain box{'es' * (self.ignored != 1)}"
        if self.unseen:
            text += f"; ignored {100 * self.unseen / count:.1f} % of the pixels, which the infrared images do not show"
        return text


class ThresholdMasks:
    """Find objects by temperature and color with one threshold per box (ours, without an encoder).

    Fisher's linear discriminant mixes the channels so that the ellipse inscribed in the box differs most from the
    surroundings of the box. Otsu's threshold of the mixture then separates the object from the background.

    Args:
        source: The image whose channels are used: `"visible"`, `"infrared"` or `"both"`.

    Raises:
        ValueError: If `source` is unknown.

    Examples:
        >>> infrared = np.zeros((1, 48, 64))
        >>> infrared[0, 12:36, 20:30] = 1
        >>> boxes = Boxes(np.array([[16, 10, 34, 38]], np.float32), np.array([0]))
        >>> [mask] = ThresholdMasks("infrared")(np.zeros((3, 48, 64)), infrared, boxes)
        >>> mask.shape, int(mask.sum())
        ((28, 18), 240)
    """

    def __init__(self, source: Source = "both") -> None:
        self.source = check_choice("`source`", source, SOURCES)

    def __call__(self, visible_values: Floats, infrared_values: Floats, boxes: Boxes) -> list[Mask | None]:
        """Find the objects of one pair, see [`MaskMethod`]."""
        channels = select_images(visible_values, infrared_values, self.source)
        image = np.moveaxis(np.concatenate(channels), 0, -1)  # (C, H, W) -> (H, W, C)
        image = ndimage.gaussian_filter(image, (_SMOOTHING, _SMOOTHING, 0))
        return [clean_mask(_threshold_box(image, box)) for box in boxes.coordinates]


def select_images(visible: Floats, infrared: Floats, source: Source) -> list[Floats]:
    """Return the images of a pair that `source` names."""
    return {"visible": [visible], "infrared": [infrared], "both": [visible, infrared]}[source]


def draw_labels(
    masks: Sequence[Mask | None],
    boxes: Boxes,
    size: tuple[int, int],
    fallback: Fallback = "ellipse",
    ignore_doubtful: bool = True,
) -> tuple[NDArray[np.uint8], MaskReport]:
    """Draw the label map of one image, with smaller boxes in front of larger ones.

    Args:
        masks: For each box the mask of its object, or `None`.
        boxes: The boxes; those to ignore, and unseen pixels, become 255.
        size: Height and width of the image in pixels.
        fallback: What to draw for an object without a mask, so that it does not become background. `"ellipse"`: the
            inscribed ellipse as the object, and 255 in the rest of the box; `"box"`: the whole box as the object;
            `"ignore"`: 255 in the whole box.
        ignore_doubtful: Whether pixels of the inscribed ellipse outside the found mask become 255 instead of background,
            such as windows of cars or cold clothes.

    Returns:
        The label map, (H, W) uint8: 0 for the background, class + 1 for objects, and 255 for unknown pixels, which never
        cover an object; and the counts of objects.

    Raises:
        ValueError: If `fallback` is unknown, a class is negative, 254 or larger, there is not one entry of `masks` per box,
            or a mask is not bool or has not the shape of its window.

    Examples:
        >>> boxes = Boxes(np.array([[1, 1, 5, 4]], np.float32), np.array([2]))
        >>> labels, report = draw_labels([None], boxes, size=(5, 6), fallback="box")
        >>> int((labels == 3).sum()), report
        (12, MaskReport(objects=1, found=0, hidden=0, ignored=0, unseen=0.0))
    """
    check_choice("`fallback`", fallback, FALLBACKS)
    _check_classes(boxes.classes)
    _check_masks(masks, boxes, size)
    owners = np.full(size, -1)
    doubtful = np.zeros(size, dtype=bool)
    for index in sort_by_area(boxes.coordinates)[::-1]:
        box, mask = boxes.coordinates[index], masks[index]
        window, ellipse = find_window(box, size), draw_ellipse(box, size)
        if mask is None:
            doubtful[window] = True
            mask = {"ellipse": ellipse, "box": np.ones_like(ellipse), "ignore": np.zeros_like(ellipse)}[fallback]
        elif ignore_doubtful:
            doubtful[window] |= ellipse
        owners[window][mask] = index
    for box in boxes.ignored:
        doubtful[find_window(box, size)] = True
    drawn = owners >= 0
    unseen = np.zeros(size, dtype=bool) if boxes.unseen is None else boxes.unseen & ~drawn
    labels = np.where(doubtful | unseen, IGNORED, 0).astype(np.uint8)
    labels[drawn] = boxes.classes[owners[drawn]] + 1
    found = sum(mask is not None for mask in masks)
    undrawn = len(masks) - found if fallback == "ignore" else 0
    hidden = len(masks) - undrawn - len(np.unique(owners[drawn]))
    return labels, MaskReport(len(masks), found, hidden, len(boxes.ignored), float(unseen.mean()))


def _check_classes(classes: NDArray[Any]) -> None:
    for number in map(int, (classes.min(initial=0), classes.max(initial=0))):
        if not 0 <= number <= IGNORED - 2:
            raise ValueError(
                f"box classes must be between 0 and {IGNORED - 2}, because 8-bit label maps hold class + 1 and {IGNORED} means "
                f"ignored; got class {number}"
            )


def _check_masks(masks: Sequence[Mask | None], boxes: Boxes, size: tuple[int, int]) -> None:
    if len(masks) != len(boxes.coordinates):
        raise ValueError(
            f"`masks` must have one mask or None per box, got {len(masks)} for {len(boxes.coordinates)} boxes"
        )
    for number, (mask, box) in enumerate(zip(masks, boxes.coordinates, strict=True)):
        rows, columns = find_window(box, size)
        check_mask(mask, (rows.stop - rows.start, columns.stop - columns.start), f"`masks[{number}]`")
    check_mask(boxes.unseen, size, "`boxes.unseen`")


def find_window(box: Floats, size: tuple[int, int], margin: tuple[float, float] = (0, 0)) -> tuple[slice, slice]:
    """Return the window of a box (4,) in an image of `size` (H, W), enlarged by `margin` (y, x) pixels on each side.

    Examples:
        >>> find_window(np.array([1.5, 2.0, 3.0, 4.5]), (10, 10))
        (slice(2, 5, None), slice(1, 3, None))
        >>> find_window(np.array([0.9997, 2.0, 3.0003, 4.0]), (10, 10))
        (slice(2, 4, None), slice(1, 3, None))
    """
    first, last = np.reshape(box, (2, 2))[:, ::-1].astype(np.float64)  # corners: top and left, bottom and right
    starts, ends = np.floor(first - margin + ROUNDING), np.ceil(last + margin - ROUNDING)
    starts = np.where(starts < ends, starts, np.floor((first + last) / 2))  # a thin box has the pixel of its center
    starts = np.clip(starts, 0, np.subtract(size, 1)).astype(int)
    ends = np.clip(ends, starts + 1, size).astype(int)
    return slice(int(starts[0]), int(ends[0])), slice(int(starts[1]), int(ends[1]))


def draw_ellipse(box: Floats, size: tuple[int, int]) -> Mask:
    """Return the ellipse inscribed in a box (4,) as a mask of its window, in which the middle pixel is always set.

    Examples:
        >>> int(draw_ellipse(np.array([0, 0, 4, 4]), (10, 10)).sum())  # without the corners
        12
    """
    left, top, right, bottom = map(float, box)
    rows, columns = find_window(box, size)
    # Half-axes of at least half a pixel, because a thinner ellipse could miss all pixel centers.
    y = (np.arange(rows.start, rows.stop) + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2, 0.5)
    x = (np.arange(columns.start, columns.stop) + 0.5 - (left + right) / 2) / max((right - left) / 2, 0.5)
    inside = y[:, None] ** 2 + x**2 <= 1
    inside[len(y) // 2, len(x) // 2] = True
    return inside


def sort_by_area(boxes: Floats) -> NDArray[np.intp]:
    """Return the indices of boxes (N, 4) from the smallest to the largest.

    Examples:
        >>> sort_by_area(np.array([[0, 0, 9, 9], [1, 1, 3, 4]]))
        array([1, 0])
    """
    return np.argsort((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")


def clean_mask(mask: Mask) -> Mask | None:
    """Drop specks from a mask and fill its holes; return `None` if the result is nearly empty or fills nearly the window."""
    regions, count = ndimage.label(mask)
    if not count:
        return None
    areas = np.bincount(regions.ravel())
    areas[0] = 0
    mask = ndimage.binary_fill_holes((areas >= _SPECK_SHARE * areas.max())[regions] & mask)
    return mask if _MASK_SHARE[0] <= mask.mean() <= _MASK_SHARE[1] else None


def _threshold_box(image: Floats, box: Floats) -> Mask:
    """Return the pixels (H, W, C) of the window of a box that are above the threshold of the mixture of channels."""
    size = image.shape[:2]
    margin = (max(MARGIN * (box[3] - box[1]), _MIN_MARGIN), max(MARGIN * (box[2] - box[0]), _MIN_MARGIN))
    window, outer = find_window(box, size), find_window(box, size, margin)
    outside = np.ones(size, dtype=bool)
    outside[window] = False
    middle, around = image[window][draw_ellipse(box, size)], image[outer][outside[outer]]
    if len(around) == 0:  # the box covers the image
        return np.zeros(image[window].shape[:2], dtype=bool)
    spread = _covariance(middle) + _covariance(around) + _VARIANCE_FLOOR * np.eye(image.shape[-1])
    score = image[outer] @ np.linalg.solve(spread, middle.mean(axis=0) - around.mean(axis=0))
    above = np.zeros(size, dtype=bool)
    above[outer] = score > threshold_otsu(score)  # a constant score does not exceed it
    return above[window]


def _covariance(pixels: Floats) -> Floats:
    """Return the covariance (C, C) of the channels of pixels (N, C)."""
    centered = pixels - pixels.mean(axis=0)
    return centered.T @ centered / len(pixels)
