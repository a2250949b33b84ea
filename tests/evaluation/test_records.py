"""The file of records: values are read back, from damaged files and after concurrent writes, too."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gffusion.evaluation.records import Records


def test_values_are_read_back_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    first = Records(path)
    assert first.get("k") == {}
    first.add("k", "average", "a", {"EN": 0.1 + 0.2})
    first.add("k", "average", "a", {"SCD": 1.5})
    assert first.get("k") == Records(path).get("k") == {"EN": 0.1 + 0.2, "SCD": 1.5}
    assert [json.loads(line)["method"] for line in path.read_text().splitlines()] == ["average", "average"]


def test_damaged_lines_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    Records(path).add("whole", "average", "a", {"EN": 1.0})
    path.write_bytes(path.read_bytes() + b'[1]\n{"key": "x"}\n\xff\n{"key": "cut", "values": {"EN": 2')
    records = Records(path)
    assert (records.get("whole"), records.get("x"), records.get("cut")) == ({"EN": 1.0}, {}, {})
    records.add("next", "average", "b", {"EN": 3.0})
    assert Records(path).get("next") == {"EN": 3.0}


def test_file_and_its_name_are_on_the_disk_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []
    monkeypatch.setattr("gffusion.evaluation.records.synchronize_entries", written.append)
    records = Records(tmp_path / "records.jsonl")
    records.add("k", "average", "a", {"EN": 1.0})
    records.finish()
    assert written == [tmp_path / "records.jsonl", tmp_path]


def test_threads_do_not_mix_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_slow_file(path: Path, *arguments: Any, original: Any = Path.open, **options: Any) -> Any:
        file = original(path, *arguments, **options)

        def write_two_parts(text: str, write: Any = file.write) -> None:
            write(text[:9])
            file.flush()
            time.sleep(0.001)
            write(text[9:])

        file.write = write_two_parts
        return file

    records = Records(tmp_path / "records.jsonl")
    with monkeypatch.context() as patch, ThreadPoolExecutor(8) as executor:
        patch.setattr(Path, "open", open_slow_file)
        [*executor.map(lambda number: records.add(str(number), "m", "i", {"EN": number}), range(50))]
    again = Records(tmp_path / "records.jsonl")
    assert all(again.get(str(number)) == {"EN": number} for number in range(50))
