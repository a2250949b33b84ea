"""Check the class ids of many box files before one is used."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from .base import NamedBoxes
from .reader import has_class_names
from .yolo import read_first_lines

_COUNTED_FROM_0 = "Box ids count from 0"


def check_class_ids(
    sources: Iterable[Path | NamedBoxes | None], class_names: Sequence[str] | None, can_fail_alone: bool = False
) -> str | None:
    """Check the ids in all YOLO files; other formats name their classes, and files that cannot be read are left out.

    Args:
        sources: Boxes of the pairs.
        class_names: Classes of the boxes; `None` allows all ids.
        can_fail_alone: Whether files with wrong ids are reported when they are used, unless all ids seem to start at 1.

    Returns:
        A note if all classes but the first one occur, of three or more, or `None`.

    Raises:
        ValueError: If an id is not a class, with its file and line.
    """
    if not class_names:
        return None
    found: dict[int, tuple[Path, int]] = {}
    for path in sources:
        with suppress(OSError, ValueError):
            if isinstance(path, Path) and not has_class_names(path):
                found = {index: (path, number) for index, number in read_first_lines(path).items()} | found
    names, known = ", ".join(class_names), range(len(class_names))
    if wrong := sorted(found.keys() - known):
        path, number = found[wrong[0]]
        starts_at_1 = wrong == [len(known)] and 0 not in found
        if can_fail_alone and not starts_at_1:
            return None
        advice = f". No box has the id 0: ids start at 1? {_COUNTED_FROM_0}" if starts_at_1 else ""
        raise ValueError(
            f"{path}, line {number}: the class must be an integer from 0 to {known[-1]} ({names}), got {wrong[0]}{advice}"
        )
    if len(known) > 2 and found.keys() == set(known[1:]):
        return f"no box has the id 0 ({class_names[0]}): if your ids start at 1, correct them. {_COUNTED_FROM_0}"
    return None
