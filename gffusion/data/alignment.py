"""Find the rig of pairs of files."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gffusion.cameras import Rig
from gffusion.cameras.alignment import estimate_sure

from .pairs import ImagePair
from .reading import ReadOptions, read_unaligned

if TYPE_CHECKING:
    from gffusion.cameras.estimation import PairArrays

MAXIMUM_PAIRS = 10
"""Number of pairs from which a rig is estimated."""


class RigPairs(NamedTuple):
    """Images from which a rig is estimated.

    Attributes:
        pairs: Files of the pairs.
        arrays: Their images, all of the same sizes.
        tags: The rig in the tags of the first file that has one.
        error: Why the first pair that cannot be read cannot.
    """

    pairs: list[ImagePair]
    arrays: "list[PairArrays]"
    tags: Rig | None
    error: str | None = None


def find_rig(pairs: Sequence[ImagePair], options: ReadOptions) -> tuple[ReadOptions, str | None]:
    """Replace `align="auto"` by the rig that is estimated from up to ten evenly spaced pairs.

    Files whose tags contain their rig keep `"auto"`, because it differs between them.

    Args:
        pairs: Pairs of one rig.
        options: How they are read.

    Returns:
        The options to read the pairs with, and what was found in words, or `None` if there was nothing to find.

    Raises:
        ValueError: If the estimate is not sure.
    """
    if isinstance(options.align, Rig) or options.align != "auto":
        return options, None
    found = read_rig_pairs(pairs, options)
    if found.tags is not None:
        return options, "aligned by the tags of the files"
    if not found.arrays:  # the error of every file is reported when it is used
        return options, None
    estimate = estimate_sure(found.arrays)
    return replace(options, align=estimate.rig), f"aligned by an estimated {estimate.describe()}"


def read_rig_pairs(pairs: Sequence[ImagePair], options: ReadOptions) -> RigPairs:
    """Read up to ten evenly spaced pairs; those that cannot be read or have other sizes than most are left out.

    Args:
        pairs: Pairs of one rig.
        options: How they are read.
    """
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAXIMUM_PAIRS)).round().astype(int))
    read: list[tuple[ImagePair, PairArrays]] = []
    tags, error = None, None
    for pair in (pairs[index] for index in chosen):
        try:
            visible, frame, _ = read_unaligned(pair.visible, pair.infrared, options)
        except (OSError, ValueError, MemoryError) as reason:
            error = error or str(reason)
            continue
        tags = tags or frame.rig
        read.append((pair, (visible, frame.values, frame.missing)))
    if not read:
        return RigPairs([], [], tags, error)
    sizes = [(arrays[0].shape[:2], arrays[1].shape[:2]) for _, arrays in read]
    usual = Counter(sizes).most_common(1)[0][0]
    kept = [item for item, size in zip(read, sizes, strict=True) if size == usual]
    return RigPairs([pair for pair, _ in kept], [arrays for _, arrays in kept], tags, error)
