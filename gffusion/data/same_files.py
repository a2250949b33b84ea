"""Refuse pairs whose two files are the same, unless the files hold both images."""

import filecmp
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .combined_files import check_holds_both
from .pairs import ImagePair
from .reading import ReadOptions, read_pair


def check_different_files(
    pairs: Sequence[ImagePair], every: bool = False, options: ReadOptions = ReadOptions()
) -> None:
    """Check that the two files of pairs are no links to or copies of each other, as when a folder is given twice.

    Args:
        pairs: The pairs. Files that cannot be read are left to the code that uses them.
        every: Whether to check every pair. By default, only the first pair is checked, and only if all pairs are of
            equal files; other pairs fail when they are read.
        options: How they are read; equal files need no alignment.

    Raises:
        ValueError: If a pair of equal files does not hold both images, and is not flat.
    """
    same = [pair for pair in pairs if _have_same_content(pair.visible, pair.infrared)]
    if not every and len(same) < len(pairs):
        return
    options = replace(options, align="none", reference="visible", crop=False)
    for pair in same if every else same[:1]:
        try:
            if not every and pair.visible.samefile(pair.infrared):
                check_holds_both(pair.visible, is_given_twice=True, options=options.decoding)
            read_pair(pair.visible, pair.infrared, options)
        except OSError:
            continue
        except ValueError as error:
            others = f" (like {len(same) - 1} other pair{'s' * (len(same) > 2)})" if len(same) > 1 else ""
            raise ValueError(f"{error}{others}") from error


def _have_same_content(first: Path, second: Path) -> bool:
    if first == second:
        return True
    try:
        if first.samefile(second):
            return True
        return 0 < first.stat().st_size == second.stat().st_size and filecmp.cmp(first, second, shallow=False)
    except OSError:
        return False
