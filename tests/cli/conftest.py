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


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def pair(scenes: Path, cwd: Path) -> Path:
    """Write visible.png and infrared.png into the current folder."""
    for kind in ("visible", "infrared"):
        shutil.copy(scenes / kind / "rendered_0000.png", cwd / f"{kind}.png")
    return cwd


@pytest.fixture
def in_scenes(scenes: Path, cwd: Path) -> None:
    """Put visible/ and infrared/ of three pairs into the current folder."""
    for kind in ("visible", "infrared"):
        (cwd / kind).symlink_to(scenes / kind)


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rendered pairs of 160 x 240 pixels."""
    write_scenes(folder := tmp_path_factory.mktemp("street"), count=3, height=160, width=240)
    return folder


@pytest.fixture
def data(street: Path, cwd: Path) -> Path:
    """The folder data/ with pairs and boxes but no labels, in the current folder."""
    folder = cwd / "data"
    shutil.copytree(street, folder, ignore=shutil.ignore_patterns("labels"))
    return folder
