"""What type checkers know of the results of the pipeline."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
from typing import Any, assert_type

import PIL.Image

from gffusion import ImageFusionPipeline, create_model, load_image_processor

fuse = ImageFusionPipeline(model=create_model("gffusion-tiny"), image_processor=load_image_processor("gffusion-tiny"))
assert_type(fuse("visible.png", "infrared.png", segment=False), PIL.Image.Image)
assert_type(fuse("visible.png", "infrared.png", segment=True, timeout=5), dict[str, PIL.Image.Image])
assert_type(fuse("visible.png", "infrared.png"), Any)  # the pipeline may be made with `segment=True`
assert_type(fuse("visible.png", "infrared.png", segment=bool(fuse)), Any)
fuse([("visible.png", "infrared.png")], segment=True, batch_size=2)[0]["fused"].save("fused.png")
fuse("FLIR.jpg", segment=False).save("fused.png")
"""
# Following the large libraries takes minutes. Without them, mypy finds errors in the package that are none.
SETTINGS = """
[mypy]
mypy_path = {root}

[mypy-gffusion.*]
ignore_errors = True

[mypy-numpy.*,scipy.*,skimage.*,torch.*,transformers.*]
follow_imports = skip
"""


@pytest.mark.slow
@pytest.mark.processes
def test_calls_have_the_types_of_their_results(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mypy.ini").write_text(SETTINGS.format(root=ROOT))
    done = subprocess.run([sys.executable, "-m", "mypy", "program.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
