"""Atomic replacement of files."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gffusion.utils import atomic
from gffusion.utils.atomic import name_temporary, remove_leftovers, replace_file, temporary_folder


@pytest.mark.parametrize(("target", "name"), [(os, "replace"), (os, "fsync"), (Path, "open")])
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


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from gffusion.utils import atomic
atomic.os.fsync = lambda _: (print("writing", flush=True), time.sleep(60))
atomic.replace_file(Path({str(tmp_path)!r}, "x" * 250), b"half")
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline()
    mine = name_temporary(tmp_path)  # of a running process
    mine.touch()
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    atomic._remove_leftovers_once.cache_clear()
    replace_file(tmp_path / "a.txt", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, "a.txt"]


def test_files_of_other_machines_are_kept_for_a_day(tmp_path: Path) -> None:
    foreign, other = tmp_path / ".gffusion-00000000-1-0.tmp", tmp_path / ".draft.tmp"
    for path in (foreign, other):
        path.touch()
    remove_leftovers(tmp_path)
    assert foreign.exists()
    yesterday = time.time() - 90_000
    for path in (foreign, other):
        os.utime(path, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert list(tmp_path.iterdir()) == [other]


def test_processes_of_other_containers_are_not_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their numbers mean other processes, also if the names of the machines are equal."""
    mine = atomic._identify_host()
    monkeypatch.setattr(os, "readlink", lambda _: "pid:[4026530000]")
    assert atomic._identify_host() != mine == atomic._HOST


def test_numbers_that_no_process_has(tmp_path: Path) -> None:
    path = tmp_path / f".gffusion-{atomic._HOST}-{'9' * 40}-0.tmp"
    path.touch()
    remove_leftovers(tmp_path)
    assert not path.exists()


@pytest.mark.parametrize("names", [(), ("{}/a",), ("source", None, "{}/a")], ids=["none", "file", "copy"])
def test_errors_in_temporary_folders_name_their_parent(tmp_path: Path, names: tuple[str | None, ...]) -> None:
    """Errors of `write` name no file, and those of copies two."""
    message = f"No space left on device, for temporary files: '{tmp_path}'"
    with pytest.raises(OSError, match=message), temporary_folder(tmp_path) as folder:
        raise OSError(errno.ENOSPC, "No space left on device", *(name and name.format(folder) for name in names))
    assert not list(tmp_path.iterdir())


def test_other_errors_in_temporary_folders_are_unchanged(tmp_path: Path) -> None:
    for error in (OSError("the Hub refuses"), FileNotFoundError(errno.ENOENT, "No such file", "weights")):
        with pytest.raises(type(error)) as raised, temporary_folder(tmp_path):
            raise error
        assert raised.value is error
