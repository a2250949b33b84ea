"""Append-only file of measured values, from which an interrupted evaluation resumes."""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from gffusion.utils.atomic import replace_link, synchronize_entries

_START = b'{"key": "'
# Its value is a matrix of pixel counts, row = class in the labels, column = predicted class.
CONFUSION = "confusion"
# What is odd about a fused image, recorded so that later runs tell it, too.
NOTES = "notes"
_INTERVAL = 1.0  # seconds whose values a power failure can lose; they are measured again


def holds_records(path: Path) -> bool:
    """Return whether a file begins as a file of [`Records`], of which a full disk can leave less than a line."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_START))
    except OSError:
        return False
    return bool(start) and _START.startswith(start)


class Records:
    """Values by key, in memory and in a JSON Lines file.

    A key is a digest of the files, the settings and the source code of this package (see `scoring`): after a change of one of
    them, values are measured anew. Versions of other packages, such as PyTorch, are not part of it.
    Damaged lines are ignored. Threads can add values concurrently. Without a path, values are only kept in memory.

    Examples:
        >>> records = Records()
        >>> records.add("key", "average", "scene", {"EN": 7.0})
        >>> records.get("key"), records.get("other")
        ({'EN': 7.0}, {})
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        self._synchronized = 0.0
        self._values: dict[str, dict[str, Any]] = defaultdict(dict)
        if path is None or not os.path.lexists(path):
            return
        replace_link(path)
        line = "\n"
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                record = _parse(line)
                if record is not None:
                    self._values[record["key"]].update(record["values"])
        if not line.endswith("\n"):  # an interrupted write left an incomplete line
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def get(self, key: str) -> Mapping[str, Any]:
        """Return the values of a key, or an empty mapping if it is new."""
        return self._values.get(key, {})

    def add(self, key: str, method: str, image: str, values: Mapping[str, Any]) -> None:
        """Add values to a key; method and image only make the file readable."""
        line = json.dumps({"key": key, "method": method, "image": image, "values": values})
        with self._lock:
            self._values[key].update(values)
            if self._path is not None:
                self._append(self._path, line + "\n")

    def _append(self, path: Path, line: str) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                if time.monotonic() - self._synchronized > _INTERVAL:
                    os.fsync(file.fileno())
                    self._synchronized = time.monotonic()
        except OSError as error:  # those of `write` and `fsync` name no file
            raise type(error)(error.errno, error.strerror, str(path)) from error

    def finish(self) -> None:
        """Wait until the file and its name are on the disk."""
        if self._path is not None and self._path.exists():
            synchronize_entries(self._path)
            synchronize_entries(self._path.parent)


def _parse(line: str) -> dict[str, Any] | None:
    """Return the record in a line, or `None` if it is damaged."""
    record: Any = None
    with suppress(ValueError, RecursionError):
        record = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("key"), str):
        return None
    values = record.get("values")
    is_whole = isinstance(values, dict) and all(_is_value(name, value) for name, value in values.items())
    return record if is_whole else None


def _is_value(name: str, value: Any) -> bool:
    """Return whether a value has the type of those that are recorded under its name."""
    if name == NOTES:
        return isinstance(value, list) and all(isinstance(note, str) for note in value)
    if name != CONFUSION:
        return type(value) in (int, float) and abs(value) <= sys.float_info.max  # false for NaN
    rows = value if isinstance(value, list) and value else [None]
    return all(
        isinstance(row, list) and len(row) == len(rows) and all(type(n) is int and 0 <= n < 1 << 53 for n in row)
        for row in rows
    )
