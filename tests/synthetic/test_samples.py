"""Folders of rendered scenes: their files, that labels and boxes agree, and that they can be written again."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from read_back import read_files

from gffusion.data import read_boxes
from gffusion.synthetic.rendering import render_scene
from gffusion.synthetic.samples import write_scenes

HEIGHT, WIDTH = 48, 72
STEMS = ("rendered_9999", "rendered_10000")


def write(folder: Path | str, count: int = 1, seed: int = 0) -> list[str]:
    return write_scenes(folder, count, seed, HEIGHT, WIDTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes in a folder two levels below any that exists."""
    folder = tmp_path_factory.mktemp("samples") / "new" / "scenes"
    assert write(str(folder), count=2, seed=9999) == [f"{stem}.png" for stem in STEMS]
    return folder


def test_files(folder: Path) -> None:
    images = {f"{kind}/{stem}.png" for kind in ("visible", "infrared", "labels") for stem in STEMS}
    assert read_files(folder).keys() == {"classes.txt", *images, *(f"boxes/{stem}.txt" for stem in STEMS)}
    assert (folder / "classes.txt").read_bytes() == b"person\nbicycle\ncar\n"  # without the background


def test_images_are_those_of_the_seed_in_the_name(folder: Path) -> None:
    scene = render_scene(9999, HEIGHT, WIDTH)
    for kind, mode in (("visible", "RGB"), ("infrared", "L"), ("labels", "L")):
        with Image.open(folder / kind / f"{STEMS[0]}.png") as image:
            assert (image.mode, image.size) == (mode, (WIDTH, HEIGHT))
            np.testing.assert_array_equal(np.asarray(image), getattr(scene, kind))


@pytest.mark.parametrize("stem", STEMS)
def test_boxes_are_those_of_the_scene(folder: Path, stem: str) -> None:
    expected = render_scene(int(stem.split("_")[1]), HEIGHT, WIDTH).boxes
    boxes = read_boxes(folder / "boxes" / f"{stem}.txt", (HEIGHT, WIDTH))
    corners = [(box.left, box.top, box.right, box.bottom) for box in expected]
    np.testing.assert_allclose(boxes.coordinates, corners, atol=1e-3)
    assert boxes.classes.tolist() == [box.class_id - 1 for box in expected]


def test_same_arguments_replace_files_by_the_same_bytes_and_keep_others(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, count=2, seed=9999)
    assert read_files(tmp_path) == read_files(folder)
    for name in (f"visible/{STEMS[1]}.png", f"boxes/{STEMS[1]}.txt"):
        (tmp_path / name).write_text("damaged")
    assert write(tmp_path, seed=10000) == [f"{STEMS[1]}.png"]
    assert read_files(tmp_path) == read_files(folder)


def test_arguments_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        write(tmp_path / "scenes", count=0)
    assert not (tmp_path / "scenes").exists()
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        write(tmp_path, seed=-1)
    for width, message in (
        (31, "at least 32 pixels, got 64 x 31"),
        (250_001, "at most 16,000,000 pixels, got 64 x 250001"),
    ):
        with pytest.raises(ValueError, match=message):
            write_scenes(tmp_path, height=64, width=width)
    assert not list(tmp_path.iterdir())


def test_classes_of_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("car\nperson\n")
    with pytest.raises(
        ValueError, match=r"classes\.txt names the classes car, person, but rendered scenes have person, "
    ):
        write(tmp_path)
    assert read_files(tmp_path) == {"classes.txt": b"car\nperson\n"}


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")
    with pytest.raises(OSError, match="file"):
        write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "taken"
    (tmp_path / "visible" / "rendered_0000.png").mkdir(parents=True)
    with pytest.raises(OSError, match=r"rendered_0000\.png"):
        write(tmp_path)
