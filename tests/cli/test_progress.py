"""Progress of commands where standard error is no terminal: plain lines, and none with --quiet."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hub_server import HubServer

from gffusion.utils import progress
from gffusion.zoo import locate

PAIRS = r"progress: \d of 3 pairs, \d+\.\d( per second| s per pair), 00:\d\d left"
COMMANDS = {
    "fuse {0}/visible {0}/infrared -o {1}/fused -m gffusion-funet": PAIRS,
    "evaluate --visible {0}/visible --infrared {0}/infrared -o {1}/scores --metrics EN": PAIRS,
    "masks {0} --method threshold -o {1}/labels": PAIRS,
    "sample {1}/demo --count 3 --height 32 --width 48": PAIRS.replace("pair", "scene"),
}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show progress, and a line for every item."""
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr(progress, "SECONDS", 0.0)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_lines(gffusion: Callable, scenes: Path, tmp_path: Path, command: str) -> None:
    words = command.format(scenes, tmp_path).split()
    outcome = gffusion(*words, "--quiet")
    assert (outcome.exit_code, "progress" in outcome.err) == (0, False)
    words[words.index("-o") + 1 if "-o" in words else 1] += "-shown"
    outcome = gffusion(*words)
    lines = [line for line in outcome.err.splitlines() if line.startswith("progress")]
    assert outcome.exit_code == 0 and "\r" not in outcome.err + outcome.out
    assert len(lines) >= 3 and all(re.fullmatch(COMMANDS[command], line) for line in lines)


def test_short_work_is_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE")
    assert list(progress.show_progress(range(3), unit="pair")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("shown")
def test_work_of_unknown_length(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.show_progress(unit="frame", description="fusing") as bar:
        bar.update(4)
        bar.refresh()
    assert re.match(r"fusing: [04] frames", capsys.readouterr().err.splitlines()[-1])


def test_downloads(
    hub: HubServer, fork_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """The Hub client itself shows nothing without a terminal."""
    files = {path.name: path.read_bytes() for path in Path(locate("gffusion-funet")).iterdir()}
    hub.add_repository("lab/net", files)
    script = "import gffusion.utils.progress as progress; progress.SECONDS = 0.0; from gffusion.cli import main; main()"
    environment = hub.environment(tmp_path / "home") | {"TQDM_DISABLE": "0"}
    done = fork_script(script, "pull", "lab/net", "-o", tmp_path / "net", environment=environment)
    assert done.returncode == 0 and "\r" not in done.stderr
    size = f"{len(files['model.safetensors']) / 1e6:.1f}"
    assert re.search(rf"^model\.safetensors: {size} of {size} MB", done.stderr, re.MULTILINE), done.stderr
