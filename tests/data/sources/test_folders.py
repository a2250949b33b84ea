"""Pairs of several folders, of which some have no label maps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from gffusion.cameras import Rig
from gffusion.data import FusionDataset, ReadOptions
from gffusion.synthetic.samples import write_scenes

SIZE = (32, 48)


def make_scenes(folder: Path, count: int) -> Path:
    """Write pairs with label maps and class names, without boxes."""
    write_scenes(folder, count=count, height=SIZE[0], width=SIZE[1])
    (folder / "boxes").rename(folder.with_name(f"{folder.name}_boxes"))
    return folder


def remove_labels(folder: Path, names: str = "*") -> None:
    for file in (folder / "labels").glob(names):
        file.unlink()
    if names == "*":
        (folder / "labels").rmdir()


@pytest.mark.parametrize("cache_in_memory", [False, True])
def test_folders_without_labels_are_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, cache_in_memory: bool
) -> None:
    bare, labeled = make_scenes(tmp_path / "bare", 3), make_scenes(tmp_path / "labeled", 2)
    remove_labels(bare)
    (bare / "classes.txt").write_text("of objects that nobody labeled\n")
    dataset, alone = FusionDataset([bare, labeled], cache_in_memory=cache_in_memory), FusionDataset(labeled)
    assert dataset.has_labels and dataset.class_names == alone.class_names
    assert [bool((item["labels"] == 255).all()) for item in dataset] == [True] * 3 + [False] * 2
    assert {item["labels"].shape for item in dataset} == {SIZE}
    assert dataset.read_label_values().keys() == alone.read_label_values().keys() | {255}
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{bare}: its 3 pairs have no label maps, which are taken as 255 (ignored)")
    caplog.clear()
    assert not FusionDataset(bare).has_labels and not caplog.records


def test_a_folder_that_lacks_some_labels_is_refused(tmp_path: Path) -> None:
    complete, damaged = make_scenes(tmp_path / "complete", 2), make_scenes(tmp_path / "damaged", 3)
    remove_labels(damaged, "*2.png")
    message = rf"1 of 3 pairs of {damaged} have no label map \(first: .*_0002\.png\): add maps of 255 \(ignored\)"
    for roots in ([damaged], [complete, damaged]):
        with pytest.raises(ValueError, match=message):
            FusionDataset(roots)


@pytest.mark.parametrize(
    ("align", "scale", "message"),
    [
        (Rig(np.diag([2.0, 2.0, 1.0])), 2, "seems to be drawn on the infrared image, .* with the same rig"),
        (Rig(np.diag([2.0, 2.0, 1.0])), 4, "must have the size of the visible image. Resize it"),
        ("resize", 2, "must have the size of the visible image. Resize it"),
    ],
)
def test_label_maps_drawn_on_moved_infrared_images(tmp_path: Path, align: Any, scale: int, message: str) -> None:
    """To resize them would stretch what a part of the visible image shows; `resize` stretches both."""
    folder = make_scenes(tmp_path / "data", 1)
    for kind, divisor in (("infrared", 2), ("labels", scale)):
        (file,) = (folder / kind).iterdir()
        with Image.open(file) as image:
            image.resize((SIZE[1] // divisor, SIZE[0] // divisor), Image.Resampling.NEAREST).save(file)
    dataset = FusionDataset(folder, read_options=ReadOptions(align=align))
    for read in (dataset.read_sizes, lambda: dataset[0]):
        with pytest.raises(ValueError, match=message):
            read()


RESIZE = "Resize it with nearest neighbor"
ROTATE = "It is rotated by 90 degrees, .* EXIF orientation of the image: rotate it"


@pytest.mark.parametrize(
    ("size", "message", "others"),
    [
        ((48, 32), f"{ROTATE}.* same orientation in its file$", [RESIZE]),
        ((24, 16), f"{ROTATE}.* {RESIZE}", ["cropped"]),
        ((16, 24), f"visible image. {RESIZE}", ["rotated", "cropped"]),
        ((15, 23), f"visible image. {RESIZE}", ["rotated", "cropped"]),  # rounded down
        ((32, 32), "cropped or padded", ["rotated", RESIZE]),
        ((40, 48), "cropped or padded", ["rotated", RESIZE]),
    ],
)
def test_label_maps_of_another_size(tmp_path: Path, size: tuple[int, int], message: str, others: list[str]) -> None:
    """To resize one of another part or orientation would misplace its objects."""
    folder = make_scenes(tmp_path / "data", 1)
    (visible,), (infrared,), (labels,) = ((folder / kind).iterdir() for kind in ("visible", "infrared", "labels"))
    with Image.open(visible) as image, Image.open(infrared) as upright:
        exif = image.getexif()
        exif[ExifTags.Base.Orientation] = 6  # measures 48 x 32 in the file, and 32 x 48 upright
        image.save(visible, exif=exif)
        upright.transpose(Image.Transpose.ROTATE_270).save(infrared)
    Image.new("L", size, 1).save(labels)
    with pytest.raises(ValueError, match=message) as error:
        FusionDataset(folder)[0]
    assert not any(other in str(error.value) for other in others)


def test_label_map_with_the_orientation_of_its_image(tmp_path: Path) -> None:
    """What the error about rotated maps advises."""
    folder = make_scenes(tmp_path / "data", 1)
    exif = Image.Exif()
    expected = np.rot90(FusionDataset(folder)[0]["labels"], -1)
    exif[ExifTags.Base.Orientation] = 6
    for kind in ("visible", "infrared", "labels"):
        (file,) = (folder / kind).iterdir()
        with Image.open(file) as image:
            image.save(file, exif=exif)
    assert (FusionDataset(folder)[0]["labels"].numpy() == expected).all()
