"""Locks of folders: other processes are refused until the holder ends, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gffusion.utils import locks
from gffusion.utils.locks import FolderLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")

HOLD = "import sys, pathlib, gffusion.utils.locks as locks; lock = locks.FolderLock(pathlib.Path(sys.argv[1])); "


def start(folder: Path, then: str) -> "subprocess.Popen[str]":
    """Start a process that locks a folder, and wait until it has."""
    code = f"{HOLD}print('locked', flush=True); {then}"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def is_locked(folder: Path) -> bool:
    try:
        FolderLock(folder).release()
    except BlockingIOError:
        return True
    return False


def test_until_released(tmp_path: Path) -> None:
    with FolderLock(tmp_path) as lock:
        assert is_locked(tmp_path)
        lock.release()
        assert not is_locked(tmp_path)
    lock.release()


@pytest.mark.processes
def test_until_the_process_is_killed(tmp_path: Path) -> None:
    """A forked process, such as a worker that has not noticed yet, does not keep the lock."""
    process = start(tmp_path, "import os, time; os.fork() or print('forked', flush=True); time.sleep(20)")
    assert process.stdout is not None and process.stdout.readline() == "forked\n"  # by the new process
    assert is_locked(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not is_locked(tmp_path)


def test_disks_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, os.strerror(38))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    with FolderLock(tmp_path):
        assert not is_locked(tmp_path)
