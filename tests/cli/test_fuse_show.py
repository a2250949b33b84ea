"""`gffusion fuse --show`: opening the result."""

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gffusion.cli import fuse_reports, main

pytestmark = pytest.mark.usefixtures("in_scenes")

PAIR = ("visible/rendered_0000.png", "infrared/rendered_0000.png")


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    files: list[str] = []
    monkeypatch.setattr(fuse_reports.typer, "launch", files.append)
    return files


@pytest.mark.parametrize("existed", [False, True])
def test_opens_the_result(
    gffusion: Callable, launched: list[str], monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    monkeypatch.setattr(fuse_reports, "_has_display", lambda: True)
    command = ("fuse", *PAIR, "-o", "out.png", "--model", "gffusion-live")
    if existed:
        gffusion(*command)
    assert gffusion(*command, "--show").exit_code == 0
    assert launched == ["out.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="desktops of other systems have other programs")
def test_program_of_the_desktop(run_script: Callable, tmp_path: Path) -> None:
    opener = tmp_path / "bin" / "xdg-open"
    opener.parent.mkdir()
    opener.write_text('#!/bin/sh\necho "$1" > opened.part && mv opened.part opened.txt\n')
    opener.chmod(0o755)
    environment = {"PATH": f"{opener.parent}{os.pathsep}{os.environ['PATH']}", "DISPLAY": ":0", "SSH_CONNECTION": ""}
    words = ("fuse", *PAIR, "-o", "a b's.png", "--model", "gffusion-live", "--show")
    done = run_script("from gffusion.cli import main; main()", *words, environment=environment, folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for _ in range(300):
        if Path("opened.txt").exists():
            break
        time.sleep(0.1)
    assert Path("opened.txt").read_text() == "a b's.png\n"


def test_prints_the_path_without_a_display(
    gffusion: Callable, launched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "a b")
    outcome = gffusion("fuse", *PAIR, "-o", "out.png", "--model", "gffusion-live", "--show")
    assert outcome.exit_code == 0 and launched == []
    assert outcome.out.splitlines()[-1] == "no display: open out.png on a machine with one"


@pytest.mark.parametrize(
    ("encoding", "variables", "is_drawn"),
    [
        ("utf-8", {}, True),
        ("cp437", {}, True),
        ("cp1252", {}, False),
        ("utf-8", {"TERM": "dumb"}, False),
        ("utf-8", {"TERM": ""}, False),
        ("utf-8", {"NO_COLOR": "1"}, False),
    ],
)
def test_draws_in_terminals_that_show_blocks_in_color(
    monkeypatch: pytest.MonkeyPatch, encoding: str, variables: dict[str, str], is_drawn: bool
) -> None:
    for name, value in {"SSH_CONNECTION": "a b", "TERM": "xterm", "NO_COLOR": "", **variables}.items():
        monkeypatch.setenv(name, value)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SystemExit):
        main(["fuse", *PAIR, "-o", "out.png", "--model", "gffusion-live", "--show"])
    terminal.seek(0)
    text = terminal.read()
    assert ("▀" in text) == ("\x1b[38;2;" in text) == is_drawn
    assert ("no display: open out.png" in text) != is_drawn


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("visible", "infrared", "-o", "out"), "--show is for one pair, but there are 3"),
        ((*PAIR, "-o", "out.png", "--json"), "--show cannot be combined with --json"),
        ((*PAIR, "-o", "out.png", "--dry-run"), "--show cannot be combined with --dry-run"),
    ],
)
def test_refuses_what_it_cannot_show(gffusion: Callable, command: tuple[str, ...], message: str) -> None:
    outcome = gffusion("fuse", *command, "--show")
    assert outcome.exit_code == 2 and message in outcome.err
    assert not Path("out").exists() and not Path("out.png").exists()
