"""The command in this process and in one of its own, and small rendered scenes to run it on."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from outcomes import Outcome


@pytest.fixture
def gffusion_process(run_script: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Outcome]:
    """Run the command as a shell does."""

    def run(*arguments: object) -> Outcome:
        done = run_script("from gffusion.cli import main; main()", *arguments)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def pair(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write visible.png and infrared.png into the current folder."""
    for kind in ("visible", "infrared"):
        shutil.copy(scenes / kind / "rendered_0000.png", tmp_path / f"{kind}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path
