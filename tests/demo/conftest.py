"""The demo, served once for all tests, and rendered files to upload."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gffusion.demo.settings import DemoSettings, choose_models


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Serve the demo on a free port, and return its address."""
    pytest.importorskip("gradio", reason='the demo needs Gradio: pip install "gffusion[demo]"')
    from gffusion.demo.serving import serve

    with serve(DemoSettings(choose_models(bundled_only=True), max_megabytes=1, max_frames=60)) as (_, address):
        yield address


@pytest.fixture
def night(scenes: Path, tmp_path: Path) -> dict[str, str]:
    """Return the paths of a pair with names of its own."""
    paths = {kind: tmp_path / f"night_{kind}.png" for kind in ("visible", "infrared")}
    for kind, path in paths.items():
        shutil.copy(scenes / kind / "rendered_0001.png", path)
    return {kind: str(path) for kind, path in paths.items()}
