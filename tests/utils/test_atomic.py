"""Atomic replacement of files."""

import errno
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from read_back import read_files

from gffusion.utils import atomic
from gffusion.utils.atomic import (
    name_temporary,
    remove_leftovers,
    replace_file,
    replacing,
    replacing_files,
    synchronize,
    temporary_folder,
)


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


@pytest.mark.parametrize("age", [-(10**9), 0, 10**9])
def test_leftovers_of_a_process_with_the_same_number(tmp_path: Path, age: int) -> None:
    """As after a restart of a container; the clock of the disk can differ, and anybody can set times."""
    kept = tmp_path / "kept"
    kept.mkdir()
    file, folder, link = (tmp_path / f".gffusion-{atomic._HOST}-{os.getpid()}-{n}.tmp" for n in range(3))
    file.touch()
    folder.mkdir()
    link.symlink_to(kept)
    for path in (file, folder, link):
        os.utime(path, (time.time() - age,) * 2, follow_symlinks=False)
    with replacing(tmp_path / "a.txt") as temporary:
        os.utime(temporary, (time.time() - age,) * 2)
        remove_leftovers(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([kept, temporary] if age < 10**9 else [kept])
        temporary.touch()


class TestFoldersOfOthers:
    """Who may write to the output folder cannot make us write elsewhere."""

    def test_links_with_likely_names(self, tmp_path: Path) -> None:
        target, path = tmp_path / "target", tmp_path / "a.txt"
        for number in range(500):
            link = tmp_path / f".gffusion-{atomic._HOST}-{os.getpid()}-{number}.tmp"
            link.symlink_to(target)
            os.utime(link, (4e9, 4e9), follow_symlinks=False)
        replace_file(path, b"new")
        assert path.read_bytes() == b"new" and not path.is_symlink() and not target.exists()

    def test_the_name_exists(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        target, path = tmp_path / "target", tmp_path / "a.txt"
        (tmp_path / "link").symlink_to(target)
        monkeypatch.setattr(atomic, "name_temporary", lambda folder: folder / "link")
        with pytest.raises(FileExistsError, match=r"a\.txt"):
            replace_file(path, b"new")
        assert not target.exists() and not path.exists()

    def test_temporary_file_is_replaced(self, tmp_path: Path) -> None:
        target, path = tmp_path / "target", tmp_path / "a.txt"
        with pytest.raises(OSError, match=r"a\.txt: another program replaced"), replacing(path) as temporary:
            temporary.unlink()
            temporary.symlink_to(target)
        assert not any(tmp_path.iterdir())


def test_permissions_are_those_of_new_files(tmp_path: Path) -> None:
    former = os.umask(0o027)
    try:
        replace_file(tmp_path / "a.txt", b"new")
    finally:
        os.umask(former)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


def test_folders_are_on_the_disk_with_all_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").touch()
    (tmp_path / "file").touch()
    synchronized: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synchronized.append(os.fstat(file).st_ino))
    synchronize(tmp_path)
    expected = [path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*"))]
    assert sorted(synchronized) == sorted(expected) and synchronized[-1] == tmp_path.stat().st_ino


@pytest.mark.parametrize(
    ("number", "is_refused"),
    [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.ENOSYS, False), (errno.EIO, True), (errno.ENOSPC, True)],
)
def test_folders_that_cannot_be_synchronized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, is_refused: bool
) -> None:
    """Such as those of SMB; a broken disk is reported, and so are files that are not on the disk."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="folder") if is_refused else nullcontext():
        synchronize(tmp_path / "folder")
    with pytest.raises(OSError, match="file"):
        synchronize(tmp_path / "file")


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


def write_three(folder: Path, content: str) -> None:
    with replacing_files(folder, last="b") as staging:
        for name in "abc":
            (staging / name).write_text(content, encoding="utf-8")


def test_the_last_of_several_files_tells_that_all_are_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_three(tmp_path, "old")
    original = os.replace

    def fail(source: Path, target: Path) -> None:
        if target.name == "b":
            raise OSError(28, "No space left on device", str(source))
        original(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=rf"No space left on device: '{re.escape(str(tmp_path / 'b'))}'"):
        write_three(tmp_path, "new")
    assert read_files(tmp_path) == {"a": b"new", "b": b"old", "c": b"new"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes")
def test_no_file_is_replaced_if_one_is_a_pipe(tmp_path: Path) -> None:
    write_three(tmp_path, "old")
    (tmp_path / "c").unlink()
    os.mkfifo(tmp_path / "c")
    with pytest.raises(OSError, match=r"c: it is a .*pipe"):
        write_three(tmp_path, "new")
    assert [(tmp_path / name).read_text(encoding="utf-8") for name in "ab"] == ["old", "old"]
    assert len(list(tmp_path.iterdir())) == 3
