"""Pairs whose two files show the same image, and files that hold both images."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_files import encode, flir_jpeg, render_pair, to_counts
from PIL import Image

from gffusion.data import FusionDataset, ReadOptions, match_pairs, read_image, read_pair, write_image
from gffusion.data.wrong_pairs import check_different_files
from gffusion.models.gffusion.image_ops import to_uint8


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Make a folder of two color images, and an empty one."""
    (visible := tmp_path / "visible").mkdir()
    (infrared := tmp_path / "infrared").mkdir()
    for seed in range(2):
        write_image(visible / f"{seed}.png", np.random.default_rng(seed).integers(0, 256, (40, 48, 3), np.uint8))
    return visible, infrared


@pytest.mark.parametrize("make", [shutil.copy, os.link, os.symlink, "bmp", "webp", "gray", "16 bits", "jpg"])
def test_copies_are_refused(folders: tuple[Path, Path], make: Any) -> None:
    visible, infrared = folders
    for file in visible.iterdir():
        if callable(make):
            make(file, infrared / file.name)
            continue
        image = read_image(file)
        image = to_uint8(image @ np.array([0.299, 0.587, 0.114]) / 255) if make == "gray" else image
        image = image.astype(np.uint16) * 257 if make == "16 bits" else image
        suffix = {"16 bits": ".tif", "gray": ".png"}.get(make, f".{make}")
        write_image(infrared / f"{file.stem}{suffix}", image)
    pairs = match_pairs(visible, infrared).pairs
    for pair in pairs:
        with pytest.raises(ValueError, match=r"show the same image: give|holds one image"):
            read_pair(pair.visible, pair.infrared)
    if callable(make):  # before anything is fused
        with pytest.raises(ValueError, match=r"\(like 1 other pair\)$"):
            check_different_files(pairs)
    with pytest.raises(
        ValueError, match=r"the same file, .*\(like 1 other pair\)\. If the folder holds both .*give lists"
    ):
        check_different_files(match_pairs(visible, visible).pairs)


def test_one_copy_among_others(folders: tuple[Path, Path]) -> None:
    visible, infrared = folders
    write_image(infrared / "0.png", np.random.default_rng(7).integers(0, 256, (40, 48), np.uint8))
    shutil.copy(visible / "1.png", infrared)
    pairs = match_pairs(visible, infrared).pairs
    check_different_files(pairs)
    with pytest.raises(ValueError, match=r"1\.png show the same image"):
        check_different_files(pairs, every=True)


def test_files_with_both_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 48, 4), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "00001D.png")
    check_different_files(match_pairs(tmp_path, tmp_path).pairs, every=True)


def test_copies_with_both_images_are_aligned(tmp_path: Path) -> None:
    """Images of two sizes, which the file gives no position for."""
    visible, infrared = render_pair()
    content = flir_jpeg(to_counts(infrared)[::2, ::2], encode(visible, "PNG"), visible.shape[:2])
    for name in ("visible", "infrared"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "FLIR0001.jpg").write_bytes(content)
    pairs = match_pairs(tmp_path / "visible", tmp_path / "infrared").pairs
    check_different_files(pairs, options=ReadOptions("resize", reference="infrared", crop=True))
    (item,) = FusionDataset(tmp_path, read_options=ReadOptions("resize"))
    assert item["visible_values"].shape[-2:] == item["infrared_values"].shape[-2:] == visible.shape[:2]


def test_flat_images_are_no_copies(tmp_path: Path) -> None:
    """Both cameras can be dark."""
    for name in ("visible.png", "infrared.png"):
        write_image(tmp_path / name, np.zeros((40, 48), np.uint8))
    images = read_pair(tmp_path / "visible.png", tmp_path / "infrared.png")
    for image in (images.visible, images.infrared):
        np.testing.assert_array_equal(image, np.zeros((40, 48), np.uint8))
