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
    values = ['"abc"', "[[1]]"]
    values += [f'{{"EN": {value}}}' for value in ('"1"', "NaN", "1e999", "true", "null", "[1]")]
    values += [f'{{"EN": {10**400}}}', '{"notes": "odd"}', '{"notes": [1]}', '{"confusion": 1}', '{"confusion": []}']
    values += [
        f'{{"confusion": {matrix}}}' for matrix in ("[[1, 2]]", "[[1], [2]]", "[[-1]]", "[[1.5]]", f"[[{10**30}]]")
    ]
    lines = [f'{{"key": "x", "values": {{}}, "values": {value}}}' for value in values]
    lines += ["[1]", '{"key": "x"}', '{"key": [1], "values": {}}', "[" * 100_000, "9" * 10_000, '"abc"']
    damaged = "\n".join(lines).encode() + b'\n\xff\n{"key": "cut", "values": {"EN": 2'
    path.write_bytes(path.read_bytes() + damaged)
    whole = {"EN": -1, "SCD": 1e300, "confusion": [[1, 0], [2, 3]], "notes": ["odd"]}
    Records(path).add("all", "average", "a", whole)
    assert Records(path).get("all") == whole
    records = Records(path)
    assert (records.get("whole"), records.get("x"), records.get("cut")) == ({"EN": 1.0}, {}, {})
    records.add("next", "average", "b", {"EN": 3.0})
    assert Records(path).get("next") == {"EN": 3.0}


def test_link_is_replaced_by_a_file_with_its_values(tmp_path: Path) -> None:
    path, target = tmp_path / "records.jsonl", tmp_path / "target.jsonl"
    Records(target).add("old", "average", "a", {"EN": 1.0})
    target.write_bytes(content := target.read_bytes() + b'{"key": "cut')
    path.symlink_to(target)
    Records(path).add("new", "average", "a", {"EN": 2.0})
    assert (Records(path).get("old"), Records(path).get("new")) == ({"EN": 1.0}, {"EN": 2.0})
    assert target.read_bytes() == content and not path.is_symlink()


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
