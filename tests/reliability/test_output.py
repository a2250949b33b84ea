"""What commands print: progress bars are shown in terminals only, and lines and bars do not run into each other."""

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import SMALL_MODEL

from gffusion.cli import main

BAR = re.compile(r"%\||it/s|/pair|pair/s|step/s|s/step")


class Terminal(io.StringIO):
    """A terminal that remembers what it shows."""

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """The lines at the end, after carriage returns and movements of the cursor."""
        screen, row, column = [""], 0, 0
        for part in re.findall(r"\r|\n|\x1b\[A|\x1b\[[\d;]*[mK]|[^\r\n\x1b]+", self.getvalue()):
            if part == "\r":
                column = 0
            elif part == "\n":
                row, column = row + 1, 0
                screen += [""] * (row == len(screen))
            elif part == "\x1b[A":
                row -= 1
            elif not part.startswith("\x1b"):
                screen[row] = screen[row].ljust(column)[:column] + part + screen[row][column + len(part) :]
                column += len(part)
        return [line.rstrip() for line in screen if line.strip()]


def words_of(command: str, scenes: Path, folder: Path) -> list[str]:
    """Return the words of a command that takes several steps."""
    sources = ["--visible", scenes / "visible", "--infrared", scenes / "infrared"]
    words: dict[str, list[object]] = {
        "fuse": [scenes / "visible", scenes / "infrared", "-o", folder / "fused", "-m", "gffusion-funet"],
        "fuse the range of the folder": [
            *(scenes / "visible", scenes / "infrared", "-o", folder / "fused", "-m", "gffusion-funet"),
            *("--infrared-range", "folder"),
        ],
        "evaluate": [*sources, "-o", folder / "table", "-m", "gffusion-funet", "--metrics", "EN"],
        "sample": [folder / "scenes", "--count", 3, "--height", 48, "--width", 64],
        "pull": ["gffusion-funet", "-o", folder / "model"],
        "train": [
            *("--train_data", scenes, "--eval_data", scenes, "--output_dir", folder / "run", "--crop_size", 32),
            *("--num_train_epochs", 2, "--head_start_epoch", 1, "--per_device_train_batch_size", 2),
            *("--logging_steps", 1, "--model_config", SMALL_MODEL),
        ],
    }
    return [command.split()[0], *map(str, words[command])]


COMMANDS = ["fuse", "fuse the range of the folder", "evaluate", "sample", "pull", "train"]


def run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert not stop.value.code


@pytest.mark.parametrize("command", COMMANDS)
def test_in_log_files(command: str, scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(words_of(command, scenes, tmp_path))
    printed = "".join(capsys.readouterr())
    assert printed.strip() and "\r" not in printed and "\x1b" not in printed and not BAR.search(printed)


@pytest.mark.parametrize("command", COMMANDS)
def test_in_terminals(command: str, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars vanish when they are finished, except that of a training run, and no line is mixed with one."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TQDM_DISABLE", "0")
    run(words_of(command, scenes, tmp_path))
    bars = [line for line in terminal.lines if BAR.search(line)]
    assert all(re.fullmatch(r"(epoch 2/2: 100%\|.*\d+/\d+ \[.*\]).*", line) for line in bars)
    assert len(bars) == (command == "train"), terminal.lines
    if command in ("fuse", "evaluate", "train"):
        assert BAR.search(terminal.getvalue())  # there was one


def test_terminal() -> None:
    terminal = Terminal()
    terminal.write("one 10%|\rone 50%|\n\rtwo 1%|\x1b[A\r         \rtext\nover")
    assert terminal.lines == ["text", "over1%|"]


@pytest.mark.skipif(sys.platform == "win32", reason="names cannot hold some of these characters")
def test_characters_that_control_terminals(gffusion: Callable, tmp_path: Path) -> None:
    """In names of files: all that are not printed as they are, except joiners, which some scripts need, and marks."""
    controls = "\x1b\x7f\x85\x9b\x9d\u2028\u202a\u202e\u2066\u2069\udcff"
    letters = "क\u200cष प्\u200dर 红外 é"
    for kind in ("visible", "infrared"):
        (tmp_path / kind).mkdir()
        for name in (f"{controls}1", letters):
            (tmp_path / kind / f"{name}.png").write_bytes(b"no image")
    words = ("fuse", tmp_path / "visible", tmp_path / "infrared", "-o", tmp_path / "out")
    for options in ((), ("--dry-run",), ("--json",), ("--json", "--dry-run")):
        outcome = gffusion(*words, *options)
        printed = outcome.out + outcome.err
        assert not set(controls) & set(printed), (options, printed)
        assert "\\" in printed and letters in printed, (options, printed)
        if options == ("--json",):
            assert set(json.loads(outcome.out)["errors"]) == {f"{controls}1", letters}
