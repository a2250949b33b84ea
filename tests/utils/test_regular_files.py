"""Test reading regular files within bounds."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from gffusion.utils.regular_files import read_regular


def test_files_that_grow_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size of the file is read, not as much as is allowed."""
    file = tmp_path / "a.png"
    file.write_bytes(bytes(range(80)))
    assert read_regular(file, 1 << 62) == file.read_bytes()
    monkeypatch.setattr("gffusion.utils.regular_files.check_regular", lambda path: SimpleNamespace(st_size=9))
    with pytest.raises(OSError, match=r"a\.png grew while it was read"):
        read_regular(file, 1 << 62)


def test_files_without_a_size_are_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of /proc and of some network file systems."""
    file = tmp_path / "a.png"
    file.write_bytes(bytes(range(80)))
    monkeypatch.setattr("gffusion.utils.regular_files.check_regular", lambda path: SimpleNamespace(st_size=0))
    assert read_regular(file, 1 << 62) == file.read_bytes()
    with pytest.raises(OSError, match="has more than 9 bytes"):
        read_regular(file, 9)
