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
from gffusion.cameras.rig import GEOREFERENCES, MAX_PAIRS, describe_size
from gffusion.utils.memory import memory_errors

from .pairs import ImagePair
from .reading import ReadOptions, read_unaligned

if TYPE_CHECKING:
    from gffusion.cameras.estimation import PairArrays

Reader = Callable[[Any], tuple[NDArray[Any], InfraredFrame]]
"""Function from a pair to its visible image and its infrared image before they are aligned."""


class RigPairs(NamedTuple):
    """Images from which a rig is estimated.

    Attributes:
        pairs: The pairs.
        names: Their names for messages.
        arrays: Their images, all of the same sizes.
        tags: The rig in the tags of the first file that has one.
        left_out: Why other pairs are left out, by their names.
    """

    pairs: list[Any]
    names: list[str]
    arrays: "list[PairArrays]"
    tags: Rig | None
    left_out: dict[str, str]

    def describe_left_out(self) -> str:
        """Return which pairs are left out and why, in words; empty if there are none.

        Examples:
            >>> RigPairs([], [], [], None, {"1": "truncated", "7": "the infrared image has no contrast"}).describe_left_out()
            'left out of the estimate: 1 (truncated), 7 (the infrared image has no contrast)'
        """
        reasons = ", ".join(f"{name} ({reason})" for name, reason in self.left_out.items())
        return f"left out of the estimate: {reasons}" if reasons else ""


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
        The options to read the pairs with, and what was found in words, with the pairs that were left out, or `None` if
        there was nothing to find.

    Raises:
        ValueError: If the estimate is not sure.
    """
    if options.align != "auto":
        return options, None
    found = read_rig_pairs(pairs, options, read)
    if found.tags is not None:
        source = "georeferences" if found.tags.origin == GEOREFERENCES else "tags"
        return options, f"aligned by the {source} of the files"
    if not found.arrays:  # the error of every file is reported when it is used
        return options, None
    end = f"; {found.describe_left_out()}" if found.left_out else ""
    try:
        estimate = estimate_sure(found.arrays)
    except ValueError as error:
        raise ValueError(f"{error}{end}") from error
    words = "; ".join([estimate.describe(), *estimate.list_notes(found.names)])
    return replace(options, align=estimate.rig), f"aligned by an estimated {words}{end}"


def read_rig_pairs(pairs: Sequence[Any], options: ReadOptions, read: Reader | None = None) -> RigPairs:
    """Read up to ten evenly spaced pairs. Those that cannot be read, have other sizes than most or no contrast are left out."""

    def read_files(pair: ImagePair) -> tuple[NDArray[Any], InfraredFrame]:
        return read_unaligned(pair.visible, pair.infrared, options)[:2]

    read = read or read_files
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MAX_PAIRS)).round().astype(int))
    images: list[tuple[str, Any, PairArrays]] = []
    tags: Rig | None = None
    left_out: dict[str, str] = {}
    for index in chosen:
        pair = pairs[index]
        name = pair.name if isinstance(pair, ImagePair) else f"pair {index + 1}"
        try:
            with memory_errors():
                visible, frame = read(pair)
        except (OSError, ValueError, MemoryError) as reason:
            left_out[name] = str(reason)
            continue
        tags = tags or frame.rig
        images.append((name, pair, (visible, frame.values, frame.missing)))
    for find_reasons in (_find_flat, _find_other_sizes):
        reasons = find_reasons([arrays for *_, arrays in images])
        if not all(reasons):  # of images that are all flat, the estimate says so
            left_out |= {name: reason for (name, *_), reason in zip(images, reasons, strict=True) if reason}
            images = [item for item, reason in zip(images, reasons, strict=True) if not reason]
    names = [name for name, *_ in images]
    return RigPairs([pair for _, pair, _ in images], names, [arrays for *_, arrays in images], tags, left_out)


def _find_flat(images: "Sequence[PairArrays]") -> list[str]:
    """Return which image of each pair has no contrast, or an empty text."""
    reasons = []
    for visible, infrared, missing in images:
        values = infrared if missing is None else infrared[~missing]
        flat = "visible" if np.ptp(visible) == 0 else "infrared" if values.size == 0 or np.ptp(values) == 0 else ""
        reasons.append(f"the {flat} image has no contrast" if flat else "")
    return reasons


def _find_other_sizes(images: "Sequence[PairArrays]") -> list[str]:
    """Return the sizes of each pair whose sizes are not the usual ones, or an empty text."""
    sizes = [(visible.shape[:2], infrared.shape[:2]) for visible, infrared, _ in images]
    usual = [size for size, _ in Counter(sizes).most_common(1)]
    words = [" and ".join(map(describe_size, size)) for size in sizes]
    return [
        "" if size in usual else f"{own} pixels, others have {' and '.join(map(describe_size, usual[0]))}"
        for size, own in zip(sizes, words, strict=True)
    ]
