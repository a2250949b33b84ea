"""The command in this process and in one of its own, and small rendered scenes to run it on."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gffusion.cli import app
from gffusion.synthetic.samples import write_scenes


@dataclass
class Outcome:
    """How a command ended, and what it printed."""

    exit_code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        for name in ("out", "err"):  # some CI services make typer print in colour
            setattr(self, name, re.sub(r"\x1b\[[0-9;]*m", "", getattr(self, name)))


@pytest.fixture
def gffusion(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Runs the command here, without the seconds that an interpreter needs to import torch, and on the CPU."""
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            app([str(argument) for argument in arguments], prog_name="gffusion")
        return Outcome(int(stop.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def gffusion_process() -> Callable[..., Outcome]:
    """Runs the command as a shell does."""

    def run(*arguments: object) -> Outcome:
        command = [sys.executable, "-c", "from gffusion.cli import main; main()", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered pairs of 64 x 96 pixels: visible/, infrared/, labels/."""
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, count=3, height=64, width=96)
    return folder
