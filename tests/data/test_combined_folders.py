"""Folders of files that hold both images of a pair."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from camera_files import encode, flir_jpeg, render_pair, screen_jpeg, to_counts, write
from PIL import ImageFile

from gffusion.data import ReadOptions
from gffusion.data.combined_folders import find_combined
from gffusion.data.value_types import find_odd_types

VISIBLE, INFRARED = render_pair()
COUNTS = to_counts(INFRARED)
THERMAL = (250 * INFRARED).astype(np.uint8)
RGBT = np.dstack([VISIBLE, THERMAL])


def test_files_with_both(tmp_path: Path) -> None:
    flir = flir_jpeg(COUNTS, encode(VISIBLE, "JPEG"), (96, 128), (1.0, 0, 0))
    for name, content in {
        "00001D.png": encode(RGBT, "PNG"),
        "FLIR0002.jpg": flir,
        "FLIR0003.jpg": flir_jpeg(COUNTS, None),
        "photo.jpg": encode(VISIBLE, "JPEG"),
        "notes.txt": b"",
        ".hidden.png": b"",
        "damaged.png": b"x",
    }.items():
        write(tmp_path / name, content)
    found = find_combined(tmp_path)
    assert [pair.name for pair in found.pairs] == ["00001D", "damaged", "FLIR0002"]  # reported when it is read
    assert [file.name for file in found.visible_only] == ["FLIR0003.jpg", "photo.jpg"]


def test_files_with_both_next_to_named_pairs(tmp_path: Path) -> None:
    for name, image in {"1D": RGBT, "10D": RGBT, "2_vis": VISIBLE, "2_ir": THERMAL, "3": VISIBLE}.items():
        write(tmp_path / f"{name}.png", encode(image, "PNG"))
    found = find_combined(tmp_path)
    names = [(pair.visible.stem, pair.infrared.stem) for pair in found.pairs]
    assert names == [("1D", "1D"), ("2_vis", "2_ir"), ("10D", "10D")]  # in natural order
    assert [file.stem for file in found.visible_only] == ["3"]


def test_files_without_partner_next_to_named_pairs(tmp_path: Path) -> None:
    """As of a camera with a file for each band."""
    for name in ("1_RGB", "1_NIR", "1_RED", "1_REG", "2_RGB"):
        write(tmp_path / f"{name}.png", encode(VISIBLE if name.endswith("RGB") else THERMAL, "PNG"))
    found = find_combined(tmp_path)
    assert [(pair.visible.stem, pair.infrared.stem) for pair in found.pairs] == [("1_RGB", "1_NIR")]
    assert [file.stem for file in found.visible_only] == ["1_RED", "1_REG", "2_RGB"]


def test_planning_decodes_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers suffice for radiometric files, and for images with a further channel after the first one."""
    for number in range(4):
        write(tmp_path / f"{number}D.png", encode(RGBT, "PNG"))
        write(tmp_path / f"FLIR{number}.jpg", flir_jpeg(COUNTS, encode(VISIBLE, "JPEG"), (96, 128), (1.0, 0, 0)))
    decoded, decode = [], imagecodecs.png_decode
    monkeypatch.setattr("imagecodecs.png_decode", lambda content: decoded.append(content) or decode(content))
    load = ImageFile.ImageFile.load
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image) or load(image))
    pairs = find_combined(tmp_path).pairs
    assert len(pairs) == 8 and decoded == []
    assert len(find_odd_types([pair.infrared for pair in pairs], ReadOptions())) == 4 and decoded == []
    for file in tmp_path.glob("*.jpg"):
        file.unlink()
    assert len(find_combined(tmp_path).pairs) == 4 and len({id(image) for image in decoded}) == 1


def test_mfnet_as_downloaded(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    write(tmp_path / "images" / "00001D.png", encode(RGBT, "PNG"))
    assert [pair.name for pair in find_combined(tmp_path).pairs] == ["00001D"]


def test_options_of_reading(tmp_path: Path) -> None:
    """A file that ends early holds both images if its missing part is filled."""
    write(tmp_path / "cut.tif", encode(RGBT, "TIFF")[:-60])
    with pytest.raises(ValueError, match="no file"):
        find_combined(tmp_path)
    assert [pair.name for pair in find_combined(tmp_path, ReadOptions(truncated="fill")).pairs] == ["cut"]
    with pytest.raises(ValueError, match="no file"):
        find_combined(tmp_path, ReadOptions(truncated="fill", max_pixels=9))


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no images"):
        find_combined(tmp_path)
    write(tmp_path / "a.jpg", screen_jpeg())
    with pytest.raises(ValueError):  # noqa: PT011
        find_combined(tmp_path)


def test_partners_of_other_formats_are_named(tmp_path: Path) -> None:
    write(tmp_path / "1_vis.png", encode(VISIBLE, "PNG"))
    np.save(tmp_path / "1_ir.npy", np.zeros((8, 8)))
    with pytest.raises(ValueError, match=r"1_ir\.npy: the format \(NPY\) is not read; convert to TIFF"):
        find_combined(tmp_path)
