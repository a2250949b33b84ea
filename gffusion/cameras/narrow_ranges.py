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


def note_narrow_frame(values: NDArray[Any], missing: Mask | None, usual: float) -> tuple[str, ...]:
    """Return a note on a frame, (H, W) or (H, W, 3), of far less contrast than usual (0: unknown).

    Frames of one value have another note.

    Examples:
        >>> ramp = np.arange(6400.0).reshape(80, 80)
        >>> [len(note_narrow_frame(ramp / divisor, None, measure_width(ramp, None))) for divisor in (1, 20, 100)]
        [0, 0, 1]
    """
    return (_FRAME_NOTE,) if usual and _is_narrow(measure_width(values, missing), usual) else ()


def note_narrow(widths: Sequence[tuple[str, str, float]]) -> list[tuple[str, str]]:
    """Return the names of images of far less contrast than those of the same kind, each with a note.

    Images of one value have another note.

    Args:
        widths: The name of each image, its kind, such as its type and size, and the width of its range. Of a kind with less
            than three images, no range is usual. Far less contrast of more than two images and more than a quarter of a
            kind is that of another camera.

    Examples:
        >>> widths = [("1", "a", 3), ("2", "a", 900), ("3", "b", 7), ("4", "a", 1000), ("5", "a", 0)]
        >>> [name for name, _ in note_narrow(widths)], note_narrow(widths[:2])
        (['1'], [])
    """
    kinds: dict[str, list[float]] = defaultdict(list)
    for _, kind, width in widths:
        kinds[kind].append(width)
    usual = {kind: float(np.median(found)) for kind, found in kinds.items() if len(found) >= _FEWEST}
    narrow = [(name, kind) for name, kind, width in widths if _is_narrow(width, usual.get(kind, 0.0))]
    counts = Counter(kind for _, kind in narrow)
    return [(name, _NARROW) for name, kind in narrow if counts[kind] <= max(2, _MOST_NARROW * len(kinds[kind]))]


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
