"""The command in this process and in one of its own, and small rendered scenes to run it on."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gffusion.cli import main
from gffusion.synthetic.samples import write_scenes


@dataclass
class Outcome:
    """Exit code and output of a command."""

    exit_code: int
    out: str
    err: str


@pytest.fixture
def gffusion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Run the command in this process, which has imported torch already, on the CPU."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return Outcome(int(stop.value.code or 0), *capsys.readouterr())

    return run


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
