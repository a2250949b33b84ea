"""What has been measured so far, in a file that only ever grows, so that a run that was cut off goes on from there."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any


class Records:
    """Values by key, kept in memory and, line by line, in a JSON Lines file.

    A key stands for all that a value depends on (see `scoring`), so that nothing is ever out of date: what has changed
    has another key. Lines that are cut off or damaged count as never written. Threads may add at the same time.

    Args:
        path: The file, which need not exist. None keeps the values in memory only.

    Raises:
        OSError: If the file cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = Lock()
        self._values: dict[str, dict[str, Any]] = defaultdict(dict)
        if path is None or not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                record = json.loads(line)
                self._values[record["key"]].update(record["values"])
            except (ValueError, KeyError, TypeError):
                continue
        if text and not text.endswith("\n"):  # what is added must not join a line that was cut off
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def get(self, key: str) -> Mapping[str, Any]:
        """Return the values of a key, none if it is new."""
        return self._values.get(key, {})

    def add(self, key: str, method: str, image: str, values: Mapping[str, Any]) -> None:
        """Add values to those of a key; method and image are for people who read the file.

        Raises:
            OSError: If the file cannot be written.
        """
        line = json.dumps({"key": key, "method": method, "image": image, "values": values})
        with self._lock:
            self._values[key].update(values)
            if self._path is not None:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line + "\n")
