"""`gffusion sample`: the files it writes, and its errors."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from read_back import read_files

from gffusion.synthetic.samples import write_scenes

SIZE = ("--height", 32, "--width", 48)


def test_writes_the_scenes_of_the_seeds(gffusion: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    outcome = gffusion("sample", folder, "--count", 2, "--seed", 7, *SIZE)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "rendered 2 pairs" in outcome.out
    assert str(folder / "visible" / "rendered_0007.png") in outcome.out
    write_scenes(tmp_path / "expected", count=2, seed=7, height=32, width=48)
    assert read_files(folder) == read_files(tmp_path / "expected")


def test_default_is_the_first_scene_at_640_x_480_pixels(gffusion: Callable, tmp_path: Path) -> None:
    assert gffusion("sample", tmp_path).exit_code == 0
    for kind in ("visible", "infrared", "labels"):
        with Image.open(tmp_path / kind / "rendered_0000.png") as image:
            assert image.size == (640, 480)


@pytest.mark.parametrize("below", ["", "below/that"])
def test_path_is_a_file(gffusion: Callable, tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    outcome = gffusion("sample", file / below, *SIZE)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("gffusion: error: ") and str(file) in outcome.err
    assert read_files(tmp_path) == {"file": b"precious"}


@pytest.mark.parametrize(
    ("option", "value"), [("--count", 0), ("--height", 31), ("--width", 31), ("--seed", -1), ("--count", "many")]
)
def test_options_out_of_range(gffusion: Callable, tmp_path: Path, option: str, value: object) -> None:
    outcome = gffusion("sample", tmp_path / "folder", option, value)
    assert outcome.exit_code == 2
    assert option in outcome.err
    assert not (tmp_path / "folder").exists()
