"""Atomic replacement of files."""

import os
from pathlib import Path

import pytest

from gffusion.data.atomic import replace_file


@pytest.mark.parametrize(("target", "name"), [(os, "replace"), (Path, "write_bytes")])
def test_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: object, name: str) -> None:
    path = tmp_path / "a.txt"
    replace_file(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "temporary.tmp")

    with monkeypatch.context() as patch:
        patch.setattr(target, name, fail)
        with pytest.raises(OSError, match=r"No space left on device: .*a\.txt"):
            replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
