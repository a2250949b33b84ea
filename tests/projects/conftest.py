"""The scripts of projects/gffusion_tiny as modules, and pairs for them."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from gffusion.synthetic.samples import write_scenes

FOLDER = Path(__file__).parents[2] / "projects" / "gffusion_tiny"
MODULES = (
    "teacher",
    "views",
    "encoders",
    "probe",
    "prepare",
    "scenes",
    "labeler",
    "segmenter",
    "targets",
    "injection",
    "ablation",
    "bundle",
)


@pytest.fixture(scope="module")
def tiny() -> dict[str, ModuleType]:
    """The scripts of gffusion-tiny as modules."""
    return {name: importlib.import_module(f"projects.gffusion_tiny.{name}") for name in MODULES}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, count=2, height=96, width=128)
    return folder
