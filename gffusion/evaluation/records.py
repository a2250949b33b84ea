"""Append-only file of measured values, from which an interrupted evaluation resumes."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from gffusion.utils.atomic import synchronize_entries

_START = b'{"key": "'
_INTERVAL = 1.0  # seconds whose values a power failure can lose; they are measured again


def holds_records(path: Path) -> bool:
    """Return whether a file begins as a file of [`Records`], of which a full disk can leave less than a line.

    Examples:
        >>> holds_records(Path(__file__))
        False
    """
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
        if path is None or not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            with suppress(ValueError, KeyError, TypeError):
                record = json.loads(line)
                self._values[record["key"]].update(record["values"])
        if text and not text.endswith("\n"):  # an interrupted write left an incomplete line
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def get(self, key: str) -> Mapping[str, Any]:
        """Return the values of a key, or an empty mapping if it is new."""
        return self._values.get(key, {})

    def add(self, key: str, method: str, image: str, values: Mapping[str, Any]) -> None:
        """Add values to a key; method and image only make the file readable.

        Raises:
            OSError: If the file cannot be written.
        """
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
        """Wait until the file and its name are on the disk.

        Raises:
            OSError: If it cannot be written.
        """
        if self._path is not None and self._path.exists():
            synchronize_entries(self._path)
            synchronize_entries(self._path.parent)
