"""The scripts of examples/recipes/tiny as modules, and pairs for them."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from gffusion.data.samples import write_scenes

FOLDER = Path(__file__).parents[2] / "examples" / "recipes" / "tiny"
MODULES = (
    "teacher",
    "views",
    "encoders",
    "probe",
    "prepare",
    "scenes",
    "labeller",
    "segmenter",
    "targets",
    "injection",
    "ablation",
    "bundle",
)


@pytest.fixture(scope="module")
def tiny() -> Iterator[dict[str, ModuleType]]:
    """The scripts of gffusion-tiny as modules, imported from their folder as Python does when one of them runs."""
    sys.path.insert(0, str(FOLDER))
    yield {name: importlib.import_module(name) for name in MODULES}
    sys.path.remove(str(FOLDER))
    for name in MODULES:
        del sys.modules[name]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, count=2, height=96, width=128)
    return folder
