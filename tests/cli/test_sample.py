"""`gffusion sample`: what it writes, that it writes it again, and where it cannot."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.synthetic.rendering import render_scene

SIZE = ("--height", 48, "--width", 64)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_writes_the_scenes_of_the_seeds(gffusion: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    outcome = gffusion("sample", folder, "--count", 2, "--seed", 7, *SIZE)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert "rendered 2 pairs" in outcome.out
    assert str(folder / "visible" / "rendered_0007.png") in outcome.out
    stems = ("rendered_0007", "rendered_0008")
    pictures = {f"{kind}/{stem}.png" for kind in ("visible", "infrared", "labels") for stem in stems}
    assert contents(folder).keys() == pictures | {f"boxes/{stem}.txt" for stem in stems} | {"classes.txt"}
    for seed in (7, 8):
        scene = render_scene(seed, 48, 64)
        for kind in ("visible", "infrared", "labels"):
            with Image.open(folder / kind / f"rendered_{seed:04d}.png") as picture:
                np.testing.assert_array_equal(np.asarray(picture), getattr(scene, kind))


def test_same_seed_same_bytes(gffusion: Callable, tmp_path: Path) -> None:
    for name, seed in (("once", 3), ("again", 3), ("again", 3), ("other", 4)):
        assert gffusion("sample", tmp_path / name, "--seed", seed, *SIZE).exit_code == 0
    assert contents(tmp_path / "once") == contents(tmp_path / "again")
    assert contents(tmp_path / "once").keys() != contents(tmp_path / "other").keys()


def test_default_is_the_first_scene_in_the_size_of_a_thermal_camera(gffusion: Callable, tmp_path: Path) -> None:
    assert gffusion("sample", tmp_path).exit_code == 0
    for kind in ("visible", "infrared", "labels"):
        with Image.open(tmp_path / kind / "rendered_0000.png") as picture:
            assert picture.size == (640, 480)


@pytest.mark.parametrize("below", ["", "below", "below/that"])
def test_file_in_the_way(gffusion: Callable, tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("precious")
    outcome = gffusion("sample", file / below, *SIZE)
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("gffusion: error: ") and str(file) in outcome.err
    assert contents(tmp_path) == {"file": b"precious"}


@pytest.mark.parametrize(
    ("option", "value"), [("--count", 0), ("--height", 31), ("--width", 31), ("--seed", -1), ("--count", "many")]
)
def test_options_out_of_range(gffusion: Callable, tmp_path: Path, option: str, value: object) -> None:
    outcome = gffusion("sample", tmp_path / "folder", option, value)
    assert outcome.exit_code == 2
    assert option in outcome.err
    assert not (tmp_path / "folder").exists()
