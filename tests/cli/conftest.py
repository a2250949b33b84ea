"""The command in this process and in one of its own, and small rendered scenes to run it on."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from outcomes import Outcome

from gffusion.synthetic.samples import write_scenes


@pytest.fixture
def gffusion_process(run_script: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Outcome]:
    """Run the command as a shell does."""

    def run(*arguments: object) -> Outcome:
        done = run_script("from gffusion.cli import main; main()", *arguments)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three rendered pairs of 64 x 96 pixels to visible/, infrared/ and labels/."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, count=3, height=64, width=96)
    return folder


@pytest.fixture
def pair(scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write visible.png and infrared.png into the current folder."""
    for kind in ("visible", "infrared"):
        shutil.copy(scenes / kind / "rendered_0000.png", tmp_path / f"{kind}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path
