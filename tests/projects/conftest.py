"""Rendered pairs for the scripts of projects/gffusion_tiny."""

from pathlib import Path

import pytest

from gffusion.synthetic.samples import write_scenes
from projects.gffusion_tiny import prepare


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs with boxes and exact label maps."""
    folder = tmp_path_factory.mktemp("pairs")
    write_scenes(folder, count=2, height=96, width=128)
    return folder


@pytest.fixture(scope="session")
def labeled(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pairs with label maps made from their boxes."""
    output = tmp_path_factory.mktemp("labeled")
    prepare.main([str(pairs), "--output", str(output)])
    return output / pairs.name
