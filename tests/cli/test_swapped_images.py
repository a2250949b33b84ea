"""Visible and infrared images that were swapped: one line, before anything is written."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

COMMANDS = [
    "fuse {infrared} {visible} -o out",
    "evaluate --visible {infrared} --infrared {visible} -o out --metrics EN",
    "align {infrared} {visible} -o out.json",
    "masks data --method threshold -o out",
    "train --config funet --train_data data --output_dir out",
]


@pytest.fixture
def folders(scenes: Path, cwd: Path) -> dict[str, Path]:
    """Make `data`, a dataset with swapped images, in the current folder."""
    for kind, source in (("visible", "infrared"), ("infrared", "visible"), ("boxes", "boxes")):
        shutil.copytree(scenes / source, cwd / "data" / kind)
    return {kind: scenes / kind for kind in ("visible", "infrared")}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_one_line(gffusion: Callable, folders: dict[str, Path], command: str) -> None:
    outcome = gffusion(*command.format(**folders).split())
    assert (outcome.exit_code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    option = "--infrared_luma" if command.startswith("train") else "--infrared-luma"
    assert "images are swapped: " in outcome.err and option in outcome.err
    assert not list(Path().glob("out*"))


def test_right_images_and_images_taken_on_purpose(gffusion: Callable, folders: dict[str, Path]) -> None:
    right = folders["visible"], folders["infrared"]
    assert gffusion("fuse", *right, "-o", "right", "--dry-run").exit_code == 0
    outcome = gffusion("fuse", *right[::-1], "-o", "out", "-m", "gffusion-funet", "--infrared-luma")
    assert outcome.exit_code == 0 and len(list(Path("out").iterdir())) == 3


def test_videos(gffusion: Callable, cwd: Path) -> None:
    pytest.importorskip("av")
    from video_files import write_pair

    write_pair(cwd, 8)
    outcome = gffusion("fuse", "infrared.mp4", "visible.mp4", "-o", "fused.mp4", "-m", "gffusion-funet")
    assert (outcome.exit_code, outcome.err.count("\n")) == (2, 1)
    assert "infrared.mp4 has images in gray or false colors, and visible.mp4 has photographs" in outcome.err
    assert sorted(path.name for path in cwd.iterdir()) == ["infrared.mp4", "visible.mp4"]
    words = "fuse", "infrared.mp4", "visible.mp4", "-o", "fused.mp4", "-m", "gffusion-funet", "--infrared-luma"
    assert gffusion(*words).exit_code == 0


@pytest.mark.parametrize("command", ["align {0} {1} -o rig.json --accept-uncertain", "fuse {0} {1} -o out --dry-run"])
def test_thermal_images_as_visible_images(gffusion: Callable, pair: Path, command: str) -> None:
    """As DJI's `_T.JPG` in white-hot with the temperatures that were converted from it; one pair or several."""
    with Image.open("infrared.png") as image:
        tifffile.imwrite("infrared_T.tiff", np.asarray(image.convert("L")) * np.float32(0.2) - 10)
        image.convert("RGB").save("infrared_T.jpg", quality=90)
    for number in range(2):
        for kind, suffix in (("v", ".jpg"), ("i", ".tiff")):
            Path(kind).mkdir(exist_ok=True)
            shutil.copy(f"infrared_T{suffix}", f"{kind}/{number}_T{suffix}")
    warning = "warning: the visible images look like thermal images: {} shows the values of {}"
    for files in (("infrared_T.jpg", "infrared_T.tiff"), ("v", "i")):
        outcome = gffusion(*command.format(*files).split())
        first = files if "." in files[0] else (Path("v/0_T.jpg"), Path("i/0_T.tiff"))
        assert outcome.exit_code == 0, outcome.err
        assert outcome.err.count(warning.format(*first)) == 1
        Path("rig.json").unlink(missing_ok=True)
    shutil.copy("visible.png", "v/1_T.png")
    Path("v/1_T.jpg").unlink()
    for files in (("visible.png", "infrared_T.tiff"), ("v", "i")):
        outcome = gffusion(*command.format(*files).split())
        assert "thermal" not in outcome.err
        Path("rig.json").unlink(missing_ok=True)
    for name in ("infrared_nir.tiff", "NIR/1.tiff"):  # near infrared can resemble red so much
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy("infrared_T.tiff", name)
        assert "thermal" not in gffusion(*command.format("infrared_T.jpg", name).split()).err
        Path("rig.json").unlink(missing_ok=True)
