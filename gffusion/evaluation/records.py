"""Append-only file of measured values, from which an interrupted evaluation resumes."""

import json
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any


class Records:
    """Values by key, in memory and in a JSON Lines file.

    A key is a digest of everything that its values depend on (see `scoring`), so that values never become outdated.
    Damaged lines are ignored. Threads can add values concurrently. Without a path, values are only kept in memory.

    Example:
        >>> records = Records()
        >>> records.add("key", "average", "scene", {"EN": 7.0})
        >>> records.get("key"), records.get("other")
        ({'EN': 7.0}, {})
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
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
        """Add values to a key; method and image only make the file readable."""
        line = json.dumps({"key": key, "method": method, "image": image, "values": values})
        with self._lock:
            self._values[key].update(values)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
