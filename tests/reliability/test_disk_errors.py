"""Disks that are full, fail or cannot be written, and folders that are removed midway: one line, and nothing is lost."""

import errno
import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from crash_cases import CASES, IS_WHOLE, Lab
from crash_runs import FAIL, FAIL_FOLDERS, FAIL_FROM, STOP, Done, read_tree

pytestmark = [pytest.mark.processes, pytest.mark.slow]

NUMBERS = (errno.ENOSPC, errno.EIO, errno.EACCES)


SLOW = ("evaluate", "export", "fuse, videos", "train")  # left out of the sample in part


@pytest.fixture(params=[name for name in CASES if IS_WHOLE or name not in SLOW])
def name(request: pytest.FixtureRequest) -> str:
    """Run a test for every command."""
    return request.param


def check_message(lab: Lab, done: Done) -> None:
    """One line that names a file or folder, or several lines if single pairs failed."""
    assert done.status in (0, 1, 2), done.err
    assert "Traceback" not in done.err
    if done.status == 0:
        return
    lines = [line for line in re.split(r"[\r\n]+", done.err) if line.startswith("gffusion: error:")]
    if done.status == 2 and "failed:" not in done.err:
        assert len(lines) == 1, done.err
    names = [str(lab.server.box), "out/", "in/", "/tmp", "lab/"]
    assert any(name in done.err for name in names), done.err
    assert ".gffusion-" not in done.err, done.err


def find_temporary(lab: Lab) -> list[str]:
    return [name for name in lab.read_results() if ".gffusion-" in name]


@pytest.mark.parametrize("name", CASES)
def test_every_change_fails_once(lab: Lab, name: str) -> None:
    """A write, a rename, ...: whatever fails, the same command finishes afterwards."""
    done, expected = lab.undisturbed(name)
    places = [place for place, change in enumerate(done.changes, 1) if change.kind != "send"]
    generator = random.Random(name)
    for at in places if IS_WHOLE else generator.sample(places, 1):
        failed = lab.start(name, mode=FAIL, at=at, error=generator.choice(NUMBERS))
        check_message(lab, failed)
        assert not find_temporary(lab) or done.changes[at - 1].kind == "unlink"
        if failed.status == 0:  # an old folder or a temporary file could not be deleted
            assert lab.read_results().items() >= expected.items(), done.changes[at - 1]
        lab.check_and_finish(name)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_every_change_from_one_on_fails(lab: Lab, name: str, number: int) -> None:
    """A disk that is full, where the last file gets half, or becomes read-only; files written before are kept."""
    done, expected = lab.undisturbed(name)
    places = [place for place, change in enumerate(done.changes, 1) if change.kind == "write" or number == errno.EROFS]
    generator = random.Random(f"{name} {number}")
    for at in [1, *generator.sample(places, min(20, len(places)))] if IS_WHOLE else generator.sample(places, 1):
        failed = lab.start(name, mode=FAIL_FROM, at=at, error=number)
        check_message(lab, failed)
        assert failed.status or lab.read_results().items() >= expected.items(), failed.out
        lab.check_and_finish(name)


@pytest.mark.parametrize("name", CASES if IS_WHOLE else ["train", "evaluate", "pull"])
def test_disks_that_cannot_synchronize_folders(lab: Lab, name: str) -> None:
    """SMB, FUSE and the disks of WSL refuse it with EINVAL; the names in a folder are written all the same."""
    expected = lab.undisturbed(name)[1]
    done = lab.start(name, mode=FAIL_FOLDERS, error=errno.EINVAL)
    assert done.status == 0, done.err
    assert lab.read_results() == expected
    assert lab.start(name, mode=FAIL_FOLDERS, error=errno.EIO).status == 2  # such a disk is broken


@pytest.mark.parametrize("removed", ["in", "out"] if IS_WHOLE else ["out"])
def test_a_folder_is_removed_midway(lab: Lab, name: str, removed: str) -> None:
    """The process is stopped meanwhile."""
    done, _ = lab.undisturbed(name)
    box, generator = lab.server.box, random.Random(f"{name} {removed}")

    def remove() -> None:
        (box / removed).rename(box.parent / removed)

    for _ in range(10 if IS_WHOLE else 1):
        at = generator.randint(1, len(done.changes) - 1)
        failed = lab.start(name, mode=STOP, at=at, when_stopped=remove)
        check_message(lab, failed)
        shutil.rmtree(box / removed, ignore_errors=True)
        (box.parent / removed).rename(box / removed)
        lab.check_and_finish(name, is_partial=name == "evaluate" and removed == "in")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("options", ["size=16k", "ro"])
@pytest.mark.parametrize("command", ["fuse, folders", "sample", "train", "pull"])
def test_real_disks(lab: Lab, command: str, options: str) -> None:
    """A small disk and one that is read-only, at the place of the output folder."""
    lab.undisturbed(command)
    lab.prepare()
    out = lab.server.box / "out"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", out], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        failed = lab.run(command)
        check_message(lab, failed)
        assert failed.status
        CASES[command].check(lab.read_results(), lab.undisturbed(command)[1])
    finally:
        subprocess.run(["umount", out], check=True)
    lab.check_and_finish(command)


def test_two_commands_write_to_one_folder(scenes: Path, tmp_path: Path) -> None:
    """Both replace all files; every file is whole, and nothing else is left."""
    words = ["fuse", scenes / "visible", scenes / "infrared", "-m", "gffusion-funet", "--overwrite", "-o"]

    def start(output: Path) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "gffusion", *map(str, words), str(output)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    for process in [start(tmp_path / "alone"), start(tmp_path / "both"), start(tmp_path / "both")]:
        assert process.communicate(timeout=300)[1] == "" and process.returncode == 0
    assert read_tree(tmp_path / "both") == read_tree(tmp_path / "alone")
