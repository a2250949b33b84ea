"""Find the rig of pairs of files."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, InfraredFrame, Rig
from gffusion.cameras.alignment import estimate_sure
from gffusion.utils.memory import memory_errors

from .pairs import ImagePair
from .reading import ReadOptions, read_unaligned

if TYPE_CHECKING:
    from gffusion.cameras.estimation import PairArrays

MAX_PAIRS = 10
"""Number of pairs from which a rig is estimated."""


Reader = Callable[[Any], tuple[NDArray[Any], InfraredFrame]]
"""Function from a pair to its visible image and its infrared image before they are aligned."""


class RigPairs(NamedTuple):
    """Images from which a rig is estimated.

    Attributes:
        pairs: The pairs.
        arrays: Their images, all of the same sizes.
        tags: The rig in the tags of the first file that has one.
        error: Why the first pair that cannot be read cannot.
    """

    pairs: list[Any]
    arrays: "list[PairArrays]"
    tags: Rig | None
    error: str | None = None


def parse_align(text: str, option: str = "--align") -> Align:
    """Return the value of [`ReadOptions.align`] for a word or the file of a rig.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If the text is anything else; the message names `option`, as the user typed it.

    Examples:
        >>> parse_align("resize")
        'resize'
    """
    if text in ("none", "resize", "auto"):
        return text  # type: ignore[return-value]
    if Path(text).is_file():
        return Rig.load(text)
    if text.lower().endswith(".json"):
        raise FileNotFoundError(
            f"the rig {text} does not exist: make it with `gffusion align VISIBLE INFRARED -o {text}`"
        )
    raise ValueError(f"{option} must be none, resize, auto or the file of a rig, got {text!r}")


def find_rig(pairs: Sequence[Any], options: ReadOptions, read: Reader | None = None) -> tuple[ReadOptions, str | None]:
    """Replace `align="auto"` by the rig that is estimated from up to ten evenly spaced pairs.

    Files whose tags contain their rig keep `"auto"`, because it differs between them.

    Args:
        pairs: Pairs of one rig, [`ImagePair`] or what `read` accepts.
        options: How they are read.
        read: Returns the visible image and the infrared image of a pair. By default, its files are read.

    Returns:
        The options to read the pairs with, and what was found in words, or `None` if there was nothing to find.

    Raises:
        ValueError: If the estimate is not sure.
    """
    if options.align != "auto":
        return options, None
    found = read_rig_pairs(pairs, options, read)
    if found.tags is not None:
        return options, "aligned by the tags of the files"
    if not found.arrays:  # the error of every file is reported when it is used
        return options, None
    estimate = estimate_sure(found.arrays)
    return replace(options, align=estimate.rig), f"aligned by an estimated {estimate.describe()}"


def read_rig_pairs(pairs: Sequence[Any], options: ReadOptions, read: Reader | None = None) -> RigPairs:
    """Read up to ten evenly spaced pairs; those that cannot be read or have other sizes than most are left out."""

    def read_files(pair: ImagePair) -> tuple[NDArray[Any], InfraredFrame]:
        return read_unaligned(pair.visible, pair.infrared, options)[:2]

    read = read or read_files
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_PAIRS)).round().astype(int))
    images: list[tuple[Any, PairArrays]] = []
    tags, error = None, None
    for pair in (pairs[index] for index in chosen):
        try:
            with memory_errors():
                visible, frame = read(pair)
        except (OSError, ValueError, MemoryError) as reason:
            error = error or str(reason)
            continue
        tags = tags or frame.rig
        images.append((pair, (visible, frame.values, frame.missing)))
    if not images:
        return RigPairs([], [], tags, error)
    sizes = [(arrays[0].shape[:2], arrays[1].shape[:2]) for _, arrays in images]
    usual = Counter(sizes).most_common(1)[0][0]
    kept = [item for item, size in zip(images, sizes, strict=True) if size == usual]
    return RigPairs([pair for pair, _ in kept], [arrays for _, arrays in kept], tags, error)
