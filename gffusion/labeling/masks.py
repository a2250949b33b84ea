"""Object masks from boxes by a threshold in each box, and label maps of the masks of any method.

A box is left, top, right, bottom in pixels. Its window is the pixels that it covers or touches; a mask covers the window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu

from gffusion.data.boxes import Boxes

Fallback: TypeAlias = Literal["ellipse", "box", "ignore"]
Source: TypeAlias = Literal["visible", "infrared", "both"]
Mask: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.floating[Any]]
Window: TypeAlias = tuple[slice, slice]

FALLBACKS: tuple[Fallback, ...] = get_args(Fallback)
SOURCES: tuple[Source, ...] = get_args(Source)
IGNORED = 255

# What covers less of its box than this was not found; what covers more was not told from its surroundings.
_FILL = 0.1, 0.95
# Smaller regions, as a share of an object's largest one, are specks.
_SPECK = 0.1
# How far the surroundings of a box reach, as a share of its sides.
MARGIN = 0.25
# Pixels that the surroundings reach at least, and the standard deviation of the filter that takes out noise.
_MINIMUM_REACH, _SMOOTHING = 4, 0.5
# Added to variances in [0, 1]: a hundredth of the range, squared, so that nothing is divided by the spread of flat colour.
_FLAT = 1e-4


class MaskMethod(Protocol):
    """Finds the objects in boxes."""

    def __call__(self, visible_values: Floats, infrared_values: Floats, boxes: Boxes) -> list[Mask | None]:
        """Find the objects of a pair.

        Args:
            visible_values: (3, H, W) in [0, 1].
            infrared_values: (1, H, W) in [0, 1].
            boxes: The boxes.

        Returns:
            For every box the mask of its window, or `None` where nothing was found.
        """
        ...


@dataclass(frozen=True)
class MaskReport:
    """What became of the boxes of one picture or, added up, of several.

    Attributes:
        objects: Boxes, and so objects.
        found: Objects with a mask that the method found; all others have the fallback.
        hidden: Objects of both kinds that have no pixel of their own, because smaller ones cover them.
    """

    objects: int = 0
    found: int = 0
    hidden: int = 0

    @property
    def fallback(self) -> int:
        """Objects with the fallback."""
        return self.objects - self.found

    def __add__(self, other: "MaskReport") -> "MaskReport":
        """Add up two reports."""
        return MaskReport(self.objects + other.objects, self.found + other.found, self.hidden + other.hidden)


class ThresholdMasks:
    """Finds objects by their temperature and colour, a threshold for each box (ours; needs no encoder).

    Of all mixtures of the channels, Fisher's linear discriminant tells best the ellipse that fits the box from the
    surroundings of the box. The mixture is higher in the ellipse. Otsu's threshold of it, in the box and its
    surroundings, divides the object from the background.

    Args:
        source: Whose channels may be mixed.

    Raises:
        ValueError: If the source is unknown.
    """

    def __init__(self, source: Source = "both") -> None:
        self.source = check_choice("source", source, SOURCES)

    def __call__(self, visible_values: Floats, infrared_values: Floats, boxes: Boxes) -> list[Mask | None]:
        """Find the objects of a pair, see [`MaskMethod`]."""
        channels = {
            "visible": [visible_values],
            "infrared": [infrared_values],
            "both": [visible_values, infrared_values],
        }[self.source]
        image = np.moveaxis(np.concatenate(channels), 0, -1)
        image = ndimage.gaussian_filter(image, (_SMOOTHING, _SMOOTHING, 0))
        return [keep_object(_threshold(image, box)) for box in boxes.coordinates]


def draw_labels(
    masks: Sequence[Mask | None],
    boxes: Boxes,
    size: tuple[int, int],
    fallback: Fallback = "ellipse",
    ignore_doubtful: bool = True,
) -> tuple[NDArray[np.uint8], MaskReport]:
    """Draw the label map of a picture, smaller boxes over larger ones.

    Args:
        masks: For every box the mask of its window, or `None` where nothing was found.
        boxes: The boxes.
        size: Height and width of the picture in pixels.
        fallback: What an object without a mask gets, so that it is not learnt as background: `"ellipse"`, the ellipse that
            fits the box, and 255 in the rest of the box; `"box"`, all of the box; `"ignore"`, 255 in all of the box.
        ignore_doubtful: Whether pixels that belong to the ellipse that fits the box, but not to the mask that was found,
            are 255 rather than background: windows of cars, cold clothes.

    Returns:
        (H, W) uint8 with 0 for the background, class + 1 inside objects, and 255 where it cannot be told, which is never
        drawn over objects; and what became of the boxes.

    Raises:
        ValueError: If the fallback is unknown, or a class does not fit below 255.
    """
    check_choice("fallback", fallback, FALLBACKS)
    if boxes.classes.size and boxes.classes.max() + 1 >= IGNORED:
        raise ValueError(
            f"box classes must lie between 0 and {IGNORED - 2}: label maps have 8 bits and hold class + 1, and {IGNORED} is "
            f"for ignored pixels; got class {boxes.classes.max()}"
        )
    owners = np.full(size, -1)
    doubtful = np.zeros(size, dtype=bool)
    for index in by_area(boxes.coordinates)[::-1]:
        box, mask = boxes.coordinates[index], masks[index]
        place, shape = window(box, size), ellipse(box, size)
        if mask is None:
            doubtful[place] = True
            mask = {"ellipse": shape, "box": np.ones_like(shape), "ignore": np.zeros_like(shape)}[fallback]
        elif ignore_doubtful:
            doubtful[place] |= shape
        owners[place][mask] = index
    labels = np.where(doubtful, IGNORED, 0).astype(np.uint8)
    drawn = owners >= 0
    labels[drawn] = boxes.classes[owners[drawn]] + 1
    found = sum(mask is not None for mask in masks)
    ignored = len(masks) - found if fallback == "ignore" else 0
    hidden = len(masks) - ignored - len(np.unique(owners[drawn]))
    return labels, MaskReport(len(masks), found, hidden)


def window(box: Floats, size: tuple[int, int], reach: tuple[float, float] = (0, 0)) -> Window:
    """Return the pixels, at least one, that a box (4,) covers or touches, enlarged by `reach` (y, x) pixels on each side."""
    left, top, right, bottom = (float(edge) for edge in box)
    (height, width), (down, across) = size, reach
    first_row = min(max(0, int(np.floor(top - down))), height - 1)
    first_column = min(max(0, int(np.floor(left - across))), width - 1)
    end_row = max(first_row + 1, min(height, int(np.ceil(bottom + down))))
    end_column = max(first_column + 1, min(width, int(np.ceil(right + across))))
    return slice(first_row, end_row), slice(first_column, end_column)


def ellipse(box: Floats, size: tuple[int, int]) -> Mask:
    """Return the ellipse that fits a box, in the box's window: at least the pixel in the middle."""
    left, top, right, bottom = (float(edge) for edge in box)
    rows, columns = window(box, size)
    # Half a pixel at least, or a thin box could pass between the pixels' centres.
    down = (np.arange(rows.start, rows.stop) + 0.5 - (top + bottom) / 2) / max((bottom - top) / 2, 0.5)
    across = (np.arange(columns.start, columns.stop) + 0.5 - (left + right) / 2) / max((right - left) / 2, 0.5)
    inside: Mask = down[:, None] ** 2 + across**2 <= 1
    inside[len(down) // 2, len(across) // 2] = True
    return inside


def by_area(boxes: Floats) -> NDArray[np.intp]:
    """Return the indices of boxes (N, 4) from the smallest to the largest."""
    return np.argsort((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), kind="stable")


def keep_object(mask: Mask) -> Mask | None:
    """Drop specks and fill holes of what was found in a box; return `None` if that is next to nothing or all of the box."""
    regions, count = ndimage.label(mask)
    if not count:
        return None
    areas = np.bincount(regions.ravel())
    areas[0] = 0
    mask = ndimage.binary_fill_holes((areas >= _SPECK * areas.max())[regions] & mask)
    return mask if _FILL[0] <= mask.mean() <= _FILL[1] else None


def otsu(values: Floats) -> float:
    """Return Otsu's threshold; of constant values the value, above which nothing is."""
    return float(threshold_otsu(values)) if np.ptp(values) > 0 else float(values.flat[0])


def check_choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """Return an option's value, or raise ValueError if it is not allowed."""
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, allowed))}, got {value!r}.")
    return value


def _threshold(image: Floats, box: Floats) -> Mask:
    size = image.shape[:2]
    reach = (max(MARGIN * (box[3] - box[1]), _MINIMUM_REACH), max(MARGIN * (box[2] - box[0]), _MINIMUM_REACH))
    place, outer = window(box, size), window(box, size, reach)
    beside = np.ones(size, dtype=bool)
    beside[place] = False
    middle, around = image[place][ellipse(box, size)], image[outer][beside[outer]]
    if len(around) == 0:  # the box is the picture
        return np.zeros(image[place].shape[:2], dtype=bool)
    spread = _scatter(middle) + _scatter(around) + _FLAT * np.eye(image.shape[-1])
    score = image[outer] @ np.linalg.solve(spread, middle.mean(axis=0) - around.mean(axis=0))
    above = np.zeros(size, dtype=bool)
    above[outer] = score > otsu(score)
    return above[place]


def _scatter(pixels: Floats) -> Floats:
    """Return the covariance of the channels of pixels (N, C)."""
    centred = pixels - pixels.mean(axis=0)
    covariance: Floats = centred.T @ centred / len(pixels)
    return covariance
