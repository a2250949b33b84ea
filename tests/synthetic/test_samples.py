"""The folder of rendered scenes: its files, that its labels and boxes agree, and that it can be written again."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gffusion.data import FusionDataset
from gffusion.synthetic.rendering import CLASS_NAMES, render_scene
from gffusion.synthetic.samples import write_scenes

HEIGHT, WIDTH = 64, 96
KINDS = ("visible", "infrared", "labels")


def write(folder: Path, count: int = 1, seed: int = 0) -> list[str]:
    return write_scenes(folder, count, seed, HEIGHT, WIDTH)


def read(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scenes 5, 6 and 7, in a folder two levels below any that exists."""
    folder = tmp_path_factory.mktemp("samples") / "new" / "scenes"
    assert write(folder, count=3, seed=5) == ["rendered_0005.png", "rendered_0006.png", "rendered_0007.png"]
    return folder


def test_layout(folder: Path) -> None:
    stems = ("rendered_0005", "rendered_0006", "rendered_0007")
    pictures = {f"{kind}/{stem}.png" for kind in KINDS for stem in stems}
    assert read(folder).keys() == {"classes.txt", *pictures, *(f"boxes/{stem}.txt" for stem in stems)}


def test_first_scene_is_the_default(tmp_path: Path) -> None:
    assert write_scenes(tmp_path, height=HEIGHT, width=WIDTH) == ["rendered_0000.png"]
    assert (
        np.asarray(Image.open(tmp_path / "infrared/rendered_0000.png")) == render_scene(0, HEIGHT, WIDTH).infrared
    ).all()


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_pictures_are_those_of_the_seed_in_the_name(folder: Path, seed: int) -> None:
    scene = render_scene(seed, HEIGHT, WIDTH)
    for kind, mode in zip(KINDS, ("RGB", "L", "L"), strict=True):
        with Image.open(folder / kind / f"rendered_{seed:04d}.png") as picture:
            assert (picture.mode, picture.size) == (mode, (WIDTH, HEIGHT))
            np.testing.assert_array_equal(np.asarray(picture), getattr(scene, kind))


def test_classes_are_one_a_line_without_the_background(folder: Path) -> None:
    assert (folder / "classes.txt").read_bytes() == b"person\nbicycle\ncar\n"


@pytest.mark.parametrize("stem", ["rendered_0005", "rendered_0006", "rendered_0007"])
def test_boxes_enclose_the_labels_of_their_class(folder: Path, stem: str) -> None:
    labels = np.asarray(Image.open(folder / "labels" / f"{stem}.png"))
    classes = (folder / "classes.txt").read_text().splitlines()
    covered = np.zeros((len(CLASS_NAMES), HEIGHT, WIDTH), bool)
    for row in (folder / "boxes" / f"{stem}.txt").read_text().splitlines():
        number, *shares = row.split(" ")
        label = CLASS_NAMES.index(classes[int(number)])
        left, top, right, bottom = to_pixels(*map(float, shares))
        inside = labels[top:bottom, left:right] == label
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1])), row
        covered[label, top:bottom, left:right] = True
    assert set(np.unique(labels)) >= {CLASS_NAMES.index("person"), CLASS_NAMES.index("car")}
    for label in range(1, len(CLASS_NAMES)):
        assert covered[label][labels == label].all()


def to_pixels(center_x: float, center_y: float, width: float, height: float) -> list[int]:
    """Edges left, top, right and bottom of a YOLO box, which has to begin and end between pixels of the picture."""
    shares = np.array((center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2))
    edges = shares * (WIDTH, HEIGHT, WIDTH, HEIGHT)
    pixels = np.rint(edges).astype(int)
    np.testing.assert_allclose(edges, pixels, atol=1e-3)
    assert 0 <= pixels[0] < pixels[2] <= WIDTH
    assert 0 <= pixels[1] < pixels[3] <= HEIGHT
    return pixels.tolist()


def test_same_arguments_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write(tmp_path, count=3, seed=5)
    assert read(tmp_path) == read(folder)


def test_written_again_replaces_its_files_and_keeps_others(tmp_path: Path) -> None:
    write(tmp_path, count=2)
    first = read(tmp_path)
    for name in ("classes.txt", "visible/rendered_0001.png", "boxes/rendered_0001.txt"):
        (tmp_path / name).write_text("damaged")
    assert write(tmp_path, seed=1) == ["rendered_0001.png"]
    assert read(tmp_path) == first


def test_fusion_dataset_reads_the_folder(tmp_path: Path) -> None:
    names = write(tmp_path, count=2, seed=9999)
    assert names == ["rendered_9999.png", "rendered_10000.png"]
    dataset = FusionDataset(tmp_path)
    assert [f"{item['name']}.png" for item in dataset] == names
    item, scene = dataset[1], render_scene(10000, HEIGHT, WIDTH)
    torch.testing.assert_close(item["visible_values"], torch.tensor(scene.visible / 255.0).permute(2, 0, 1).float())
    torch.testing.assert_close(item["infrared_values"], torch.tensor(scene.infrared / 255.0)[None].float())
    assert torch.equal(item["labels"], torch.tensor(scene.labels).long())


@pytest.mark.parametrize("count", [0, -3])
def test_no_scenes_are_refused(tmp_path: Path, count: int) -> None:
    with pytest.raises(ValueError, match=f"`count` must be at least 1, got {count}"):
        write(tmp_path / "scenes", count=count)
    assert not (tmp_path / "scenes").exists()


def test_arguments_that_cannot_be_rendered_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="seed must be 0 or greater, got -1"):
        write(tmp_path, seed=-1)
    with pytest.raises(ValueError, match="at least 32 pixels, got 64 x 31"):
        write_scenes(tmp_path, height=64, width=31)
    assert not list(tmp_path.rglob("*.png"))


def test_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "scenes").write_text("taken")
    with pytest.raises(OSError, match="scenes"):
        write(tmp_path / "scenes")
    assert (tmp_path / "scenes").read_text() == "taken"


def test_folder_in_the_place_of_a_picture(tmp_path: Path) -> None:
    (tmp_path / "visible" / "rendered_0000.png").mkdir(parents=True)
    with pytest.raises(OSError, match=r"rendered_0000\.png"):
        write(tmp_path)
