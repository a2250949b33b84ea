"""Folder that an evaluation writes to: what may be replaced there, and by which process. Does not import torch."""

import csv
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gffusion.utils.atomic import check_replaceable, is_written
from gffusion.utils.escaping import escape_csv
from gffusion.utils.locks import FolderLock
from gffusion.utils.notes import name_first

from .records import holds_records

_WRITTEN = ("records.jsonl", "summary.json", "per_image*.csv", "table.*", "boxplots.*", "sheet*.png", "report.html")


@contextmanager
def locked_output(output: Path, methods: Sequence[str], protocol: str, pairs: Sequence[str]) -> Iterator[None]:
    """Create a folder if it is missing, and lock it for the `with` block, so that no two evaluations mix their files there.

    Raises:
        OSError: As [`check_output`], or if the folder cannot be created.
        ValueError: If another evaluation writes there, or as [`check_output`] and [`check_former_table`].

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, locked_output(Path(folder), ["average"], "standard", ["scene"]):
        ...     with locked_output(Path(folder), ["average"], "standard", ["scene"]):
        ...         pass
        Traceback (most recent call last):
        ValueError: another process writes to ...: wait for it, or choose another output (--output)
    """
    output.mkdir(parents=True, exist_ok=True)
    try:
        lock = FolderLock(output)
    except BlockingIOError:
        raise ValueError(
            f"another process writes to {output}: wait for it, or choose another output (--output)"
        ) from None
    with lock:  # before it, another evaluation can have written a table
        check_output(output)
        check_former_table(output, methods, protocol, pairs)
        yield


def check_output(output: Path) -> None:
    """Check that a folder has no files of others under the names that an evaluation writes.

    Raises:
        OSError: If the file of records is a dangling link, a pipe or the like.
        ValueError: If it has one, and no evaluation has written there.
    """
    records = output / "records.jsonl"
    check_replaceable(records)
    has_others = records.is_dir() or is_written(records)
    if holds_records(records) or (_read_summary(output) and not has_others):
        return
    for pattern in _WRITTEN:
        for file in sorted(output.glob(pattern)):
            if file.is_dir() or is_written(file):
                raise ValueError(
                    f"{file} is not from an evaluation and would be replaced: remove it, or choose another output (--output)"
                )


def check_former_table(output: Path, methods: Sequence[str], protocol: str, pairs: Sequence[str]) -> None:
    """Raise ValueError if `output` has a table of other methods or pairs, or with another protocol, which would be lost.

    `pairs` has the names of those that will be left out, too.
    """
    former = _read_summary(output)
    if not former:
        return
    others = [name for name in former["methods"] if name not in methods]
    try:
        with (output / "per_image.csv").open(encoding="utf-8", newline="") as file:
            written = set(map(escape_csv, pairs))
            lost = list(dict.fromkeys(row["image"] for row in csv.DictReader(file) if row["image"] not in written))
        reason = ""
        if others:
            reason = f"of {', '.join(others)}"
        elif former["protocol"] != protocol:
            reason = f"with the protocol {former['protocol']}"
        elif lost:
            reason = f"of other pairs ({name_first(lost)})"
    except (OSError, ValueError, LookupError, TypeError):  # no complete table
        return
    if reason:
        both = ", or, to have all methods in one table, name these methods again; values that are measured are not measured again"
        raise ValueError(
            f"{output} has a table {reason}, which the new one would replace: choose another output (--output){both if others else ''}"
        )


def read_settings(output: Path) -> dict[str, Any]:
    """Return the settings of the former table in a folder, or an empty mapping."""
    settings = _read_summary(output).get("settings")
    return settings if isinstance(settings, dict) else {}


def _read_summary(output: Path) -> dict[str, Any]:
    """Return the content of the `summary.json` of an evaluation, or an empty mapping if there is none."""
    try:
        summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))
        return summary if isinstance(summary["methods"], dict) and {"protocol", "images"} <= summary.keys() else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return {}
