"""Recognize infrared images whose own range is only noise, as behind a closed shutter. Does not import torch."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHARE = 0.03  # of the usual width of a range
_STEP = 4  # rows and columns between pixels that are measured
_PERCENTILES = (0.1, 99.9)
_FEWEST = 3  # images that have a usual range
_MOST_NARROW = 1 / 4  # of the images, if more than two: more are those of another camera

_FRAME_NOTE = (
    "the range of the infrared frame is below 3 % of the usual one, as of noise behind a closed shutter, and is stretched to full "
    "contrast: smooth_range=20 (--smooth-range 20) keeps the range of the frames before"
)
_NARROW = (
    "the range of the infrared image is below 3 % of the usual one, as of noise behind a closed shutter: it shows nothing of the "
    "scene, so leave the pair out"
)

Mask = NDArray[np.bool_]


class NarrowRanges:
    """Compare the range of infrared frames with the median of some frames of the same video.

    Args:
        frames: Values (H, W) or (H, W, 3) and missing pixels of these frames.

    Examples:
        >>> ramp = np.arange(6400.0).reshape(80, 80)
        >>> narrow = NarrowRanges([(ramp, None)])
        >>> [len(narrow.describe(ramp / divisor, None)) for divisor in (1, 20, 100)]
        [0, 0, 1]
    """

    def __init__(self, frames: Sequence[tuple[NDArray[Any], Mask | None]]) -> None:
        widths = [measure_width(*frame) for frame in frames]
        self._usual = float(np.median(widths)) if widths else 0.0

    def describe(self, values: NDArray[Any], missing: Mask | None) -> tuple[str, ...]:
        """Return a note on a frame of far less contrast; frames of one value have another note."""
        return (_FRAME_NOTE,) if _is_narrow(measure_width(values, missing), self._usual) else ()


def find_narrow(widths: Sequence[tuple[str, float]]) -> list[int]:
    """Return the indices of images of far less contrast than those of the same kind; images of one value have another note.

    Args:
        widths: The kind of each image, such as its type and size, and the width of its range. Of a kind with less than
            three images, no range is usual. Far less contrast of more than two images and more than a quarter of a kind
            is that of another camera.

    Examples:
        >>> find_narrow([("a", 3), ("a", 900), ("b", 7), ("a", 1000), ("a", 0)]), find_narrow([("a", 3), ("a", 900)])
        ([0], [])
    """
    kinds: dict[str, list[float]] = defaultdict(list)
    for kind, width in widths:
        kinds[kind].append(width)
    usual = {kind: float(np.median(found)) for kind, found in kinds.items() if len(found) >= _FEWEST}
    narrow = [index for index, (kind, width) in enumerate(widths) if _is_narrow(width, usual.get(kind, 0.0))]
    counts = Counter(widths[index][0] for index in narrow)
    return [index for index in narrow if counts[kind := widths[index][0]] <= max(2, _MOST_NARROW * len(kinds[kind]))]


def note_narrow(widths: Sequence[tuple[str, str, float]]) -> list[tuple[str, str]]:
    """Return the names of the images that [`find_narrow`] finds, each with the note; `widths` have a name, a kind and a width.

    Examples:
        >>> [name for name, _ in note_narrow([("1.png", "a", 3), ("2.png", "a", 900), ("3.png", "a", 950)])]
        ['1.png']
    """
    return [(widths[index][0], _NARROW) for index in find_narrow([(kind, width) for _, kind, width in widths])]


def measure_width(values: NDArray[Any], missing: Mask | None) -> float:
    """Return the distance of the 0.1st and 99.9th percentile of some pixels, (H, W) or (H, W, 3); 0 if none is measured."""
    sample = values[::_STEP, ::_STEP]
    measured = np.isfinite(sample) if sample.ndim == 2 else np.isfinite(sample).all(axis=-1)
    if missing is not None:
        measured &= ~missing[::_STEP, ::_STEP]
    levels = sample[measured] if sample.ndim == 2 else sample[measured].mean(axis=-1)
    return float(np.ptp(np.percentile(levels, _PERCENTILES))) if levels.size else 0.0


def _is_narrow(width: float, usual: float) -> bool:
    return 0 < width < _SHARE * usual
