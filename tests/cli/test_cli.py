"""The command as a whole: what it answers at once, and how a process ends."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gffusion as package

# Runs the command, then tells which of the slow libraries it imported on the way.
IMPORTS = """
import sys
from gffusion.cli import app
try:
    app(sys.argv[1:])
except SystemExit:
    print("IMPORTED", sorted({"torch", "transformers", "numpy", "PIL", "scipy"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["fuse", "--help"],
        ["sample", "-h"],
        ["--version"],
        [],
        ["models"],
        ["push", "nowhere", "org/name"],
        ["fuse", "no.png", "no.png", "-o", "out.png"],
    ],
    ids=" ".join,
)
def test_answers_at_once(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS, *arguments], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "IMPORTED []"


def test_help_names_the_commands_and_their_options(gffusion: Callable) -> None:
    outcome = gffusion("--help")
    assert outcome.exit_code == 0
    assert re.search(r"\bfuse\b", outcome.out) and re.search(r"\bsample\b", outcome.out)
    outcome = gffusion("fuse", "--help")
    assert outcome.exit_code == 0
    for option in ("--output", "--model", "--device", "--dtype", "--batch-size", "--segment", "--overwrite"):
        assert option in outcome.out


def test_version(gffusion: Callable) -> None:
    outcome = gffusion("--version")
    assert (outcome.exit_code, outcome.out) == (0, f"gffusion {package.__version__}\n")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("fly", "fly"),
        ("fuse visible.png infrared.png", "--output"),
        ("fuse visible.png -o out.png", "INFRARED"),
        ("fuse visible.png infrared.png -o out.png --batch-size 0", "--batch-size"),
        ("fuse visible.png infrared.png -o out.png --batch-size many", "--batch-size"),
        ("fuse visible.png infrared.png -o out.png --colour", "--colour"),
    ],
)
def test_wrong_usage_names_what_is_wrong(gffusion: Callable, command: str, named: str) -> None:
    outcome = gffusion(*command.split())
    assert outcome.exit_code == 2
    assert outcome.out == ""
    assert named in outcome.err


def test_process_of_a_first_try(gffusion_process: Callable, tmp_path: Path) -> None:
    """What the README starts with: a rendered pair, fused."""
    outcome = gffusion_process("sample", tmp_path, "--height", 48, "--width", 64)
    assert (outcome.exit_code, outcome.err) == (0, "")
    pair = [tmp_path / kind / "rendered_0000.png" for kind in ("visible", "infrared")]
    assert all(str(path) in outcome.out for path in pair)

    outcome = gffusion_process("fuse", *pair, "-o", tmp_path / "fused.png")
    assert (outcome.exit_code, outcome.err) == (0, "")
    with Image.open(tmp_path / "fused.png") as fused, Image.open(pair[0]) as visible:
        assert (fused.mode, fused.size) == ("RGB", (64, 48))
        assert np.abs(np.asarray(fused, int) - np.asarray(visible, int)).mean() > 5


def test_process_that_can_do_nothing(gffusion_process: Callable, scenes: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("not a picture")
    outcome = gffusion_process("fuse", scenes / "visible/rendered_0000.png", bad, "-o", tmp_path / "fused.png")
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith(f"gffusion: error: cannot read the image {bad}")
    assert list(tmp_path.iterdir()) == [bad]


def test_process_that_can_do_a_part(gffusion_process: Callable, scenes: Path, tmp_path: Path) -> None:
    infrared, output = tmp_path / "infrared", tmp_path / "fused"
    infrared.mkdir()
    for file in (scenes / "infrared").iterdir():
        (infrared / file.name).write_bytes(file.read_bytes()[: None if "0001" not in file.name else 500])
    outcome = gffusion_process("fuse", scenes / "visible", infrared, "-o", output)
    assert outcome.exit_code == 1
    assert sorted(file.name for file in output.iterdir()) == ["rendered_0000.png", "rendered_0002.png"]
    assert outcome.err.splitlines()[0] == "1 failed:"
    assert re.match(r"  rendered_0001: .*rendered_0001\.png.*truncated", outcome.err.splitlines()[1])
