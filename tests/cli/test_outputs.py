"""Outputs: names that are probably misspelled and devices are refused, `~` is the home folder, failures leave no folders."""

import importlib
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from gffusion.cli.outputs import check_not_inputs, new_output
from gffusion.utils.locks import FolderLock

COMMANDS = [
    "fuse {0}/visible {0}/infrared -o OUT",
    "fuse {0}/visible/rendered_0000.png {0}/infrared/rendered_0000.png -o OUT.png",
    "evaluate --visible {0}/visible --infrared {0}/infrared -o OUT",
    "masks {0} --method threshold -o OUT",
    "masks {0} --method threshold -o labels --contact-sheet OUT.png",
    "align {0}/visible {0}/infrared -o OUT.json",
    "align {0}/visible {0}/infrared -o rig.json --overlay OUT.png",
    "export gffusion-funet -o OUT.onnx",
    "show weights -o OUT.png",
    "pull gffusion-funet -o OUT",
    "sample OUT",
    "train --config funet --train_data {0} --output_dir OUT",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_folders_that_do_not_exist(gffusion: Callable, scenes: Path, cwd: Path, command: str) -> None:
    outcome = gffusion(*command.format(scenes).replace("OUT", "misspelled/new/out").split())
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert f"the folder misspelled does not exist; the nearest folder that does is {cwd}:" in outcome.err
    assert not list(cwd.iterdir())


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if command.split()[0] not in ("pull", "sample", "train")]
)
def test_folders_that_cannot_be_written(
    gffusion: Callable, scenes: Path, cwd: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """They are refused before anything is computed. Root may write everywhere."""
    monkeypatch.setattr("gffusion.cli.outputs.os.access", lambda _, mode: mode != os.W_OK)
    for user in ("inference.files", "evaluation.runner", "labeling.files", "data.sources", "data.rigs"):
        importlib.import_module(f"gffusion.{user}")  # so that none of them keeps what is replaced below
    for name in ("data.reading.read_pair", "zoo.create_model", "data.rigs.read_rig_pairs"):
        monkeypatch.setattr(f"gffusion.{name}", lambda *_, **__: pytest.fail("work begins"))
    outcome = gffusion(*command.format(scenes).replace("OUT", "out").split())
    assert outcome.exit_code == 2 and f"the folder {cwd} cannot be written: choose another one" in outcome.err
    assert not list(cwd.iterdir())


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("-", "images are read from files and written to files, not from standard input or to standard output"),
        ("/dev/null", "/dev/null is a "),
        ("/dev/null/out", "/dev/null is no folder: give another file or folder"),
        ("~nobody-like-this/out", "a user who does not exist: write ./~nobody-like-this/out for this name"),
    ],
)
@pytest.mark.parametrize("command", [command for command in COMMANDS if command.endswith("OUT")])
def test_outputs_that_are_no_files(
    gffusion: Callable, scenes: Path, cwd: Path, command: str, output: str, message: str
) -> None:
    outcome = gffusion(*command.format(scenes).replace("OUT", output).split())
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert message in outcome.err
    assert not list(cwd.iterdir())


@pytest.mark.parametrize(
    "command", ["sample OUT", "sample ./OUT", "masks ~ -oOUT --method threshold", "show weights --output=OUT/1.png"]
)
def test_home_folder(gffusion: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """Not for a name that begins otherwise, or that exists."""
    home, current = tmp_path / "home", tmp_path / "current"
    current.mkdir()
    monkeypatch.chdir(current)
    monkeypatch.setenv("USERPROFILE" if os.name == "nt" else "HOME", str(home))
    assert gffusion("sample", home).exit_code == 0
    folder = current / "~" if "./" in command else home
    for _ in range(2):
        outcome = gffusion(*command.replace("OUT", "~/new").split(), *["--overwrite"] * ("show" in command))
        assert outcome.exit_code == 0, outcome.err
        assert list((folder / "new").iterdir())
    assert (current / "~").exists() == ("./" in command)


@pytest.mark.parametrize(
    "command",
    [
        "fuse broken broken2 -o new/out --segment -m gffusion-funet",
        "fuse broken broken2 -o new/out -m gffusion-funet",
        "fuse broken/1.png broken2/1.png -o new/out.png --segment",
        "fuse broken broken2 -o old --segment -m gffusion-tiny",
        "evaluate --visible broken --infrared broken2 -o new/out --metrics EN",
        "train --config funet --train_data nothing --output_dir new/out",
    ],
)
def test_failures_leave_no_folders(gffusion: Callable, cwd: Path, command: str) -> None:
    for folder in ("broken", "broken2", "old"):
        Path(folder).mkdir()
        Path(folder, "1.png").write_bytes(b"no image")
    assert gffusion(*command.split()).exit_code == 2
    assert sorted(path.name for path in cwd.iterdir()) == ["broken", "broken2", "old"]
    assert [path.name for path in Path("old").iterdir()] == ["1.png"]


@pytest.mark.parametrize(("platform", "is_same"), [("darwin", True), ("win32", True), ("linux", False)])
def test_inputs_in_another_case(monkeypatch: pytest.MonkeyPatch, platform: str, is_same: bool) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(ValueError, match="overwrite an input") if is_same else nullcontext():
        check_not_inputs([Path("Visible.png")], [Path("visible.png")])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no locks of folders")
def test_empty_folder_of_another_command_stays(tmp_path: Path) -> None:
    """The other one made the folder in the meantime, and has not written a file yet."""
    output = tmp_path / "out"
    with pytest.raises(ValueError, match="another process"), new_output(output):
        output.mkdir()
        lock = FolderLock(output)
        raise ValueError("another process")
    assert output.is_dir()
    lock.release()
