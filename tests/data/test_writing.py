"""Writing image files, against Pillow and tifffile."""

import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from small_images import COLOR, DEEP_COLOR, DEEP_GRAY, GRAY, assert_same

from gffusion.data import IMAGE_SUFFIXES, write_image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".webp"])
def test_8_bits_without_loss(tmp_path: Path, suffix: str) -> None:
    for image in (GRAY, COLOR):
        write_image(tmp_path / f"image{suffix}", image)
        with Image.open(tmp_path / f"image{suffix}") as stored:
            np.testing.assert_array_equal(np.asarray(stored.convert("L" if image.ndim == 2 else "RGB")), image)


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_keeps_color_resolution(tmp_path: Path, suffix: str) -> None:
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, ::2] = (255, 0, 0)
    image[:, 1::2] = (0, 0, 255)
    write_image(tmp_path / f"stripes{suffix}", image)
    with Image.open(tmp_path / f"stripes{suffix}") as stored:
        assert np.abs(np.asarray(stored).astype(int) - image).mean() < 3


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_gray(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / f"deep{suffix}", DEEP_GRAY)
    with Image.open(tmp_path / f"deep{suffix}") as stored:
        assert_same(np.asarray(stored).astype(np.uint16), DEEP_GRAY)
        assert stored.mode == "I;16"


@pytest.mark.parametrize("image", [DEEP_COLOR, (GRAY / 7 - 3).astype(np.float32), COLOR.astype(np.float32)])
def test_deep_tiff(tmp_path: Path, image: np.ndarray) -> None:
    write_image(tmp_path / "deep.tif", image)
    assert_same(tifffile.imread(tmp_path / "deep.tif"), image)


def test_16_bit_color_png(tmp_path: Path) -> None:
    write_image(tmp_path / "deep.png", DEEP_COLOR)
    assert_same(cv2.imread(str(tmp_path / "deep.png"), cv2.IMREAD_UNCHANGED)[..., ::-1], DEEP_COLOR)


@pytest.mark.parametrize("name", ["image.bmp", "image.webp"])
def test_16_bits_are_rounded_where_the_format_has_8(tmp_path: Path, name: str) -> None:
    every_value = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    write_image(tmp_path / name, np.dstack([every_value] * 3))
    with Image.open(tmp_path / name) as stored:
        np.testing.assert_array_equal(np.asarray(stored)[..., 0], np.rint(every_value / 65535 * 255))


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_any_memory_layout(tmp_path: Path, suffix: str) -> None:
    view = np.dstack([COLOR, GRAY])[::-1, ::-1, :3]
    for name, image in (("view", view), ("copy", view.copy())):
        write_image(tmp_path / f"{name}{suffix}", image)
    assert (tmp_path / f"view{suffix}").read_bytes() == (tmp_path / f"copy{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_any_byte_order(tmp_path: Path, suffix: str) -> None:
    floats = [COLOR / np.float32(255)] if suffix.startswith(".tif") else []
    for image in (DEEP_GRAY, DEEP_COLOR, *floats):
        for name, same in (("native", image), ("swapped", image.astype(image.dtype.newbyteorder()))):
            write_image(tmp_path / f"{name}{suffix}", same)
        assert (tmp_path / f"native{suffix}").read_bytes() == (tmp_path / f"swapped{suffix}").read_bytes()


def test_same_bytes_in_another_process(tmp_path: Path, run_script: Callable) -> None:
    program = (
        "import sys, numpy; from gffusion.data import write_image\n"
        "for name in sys.argv[1:]: write_image(name, numpy.full((4, 6, 3), 99, numpy.uint8))"
    )
    names = [f"image{suffix}" for suffix in IMAGE_SUFFIXES]
    assert run_script(program, *names, folder=tmp_path).returncode == 0
    for name in names:
        write_image(tmp_path / f"here-{name}", np.full((4, 6, 3), 99, np.uint8))
        assert (tmp_path / name).read_bytes() == (tmp_path / f"here-{name}").read_bytes()


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        *((name, GRAY, r"\.png, \.jpg") for name in ("image.gif", "image")),
        *(
            ("image.png", np.zeros(shape, np.uint8), f"shape must be .*{re.escape(str(shape))}")
            for shape in ((4,), (4, 6, 1), (4, 6, 4), (3, 4, 6), (0, 6), (1, 4, 6, 3))
        ),
        *(("image.tif", GRAY.astype(dtype), f"got {dtype}") for dtype in ("bool", "int16", "int64")),
        *(("image.tif", GRAY.astype(dtype), f"got {dtype}; convert it by image.astype") for dtype in ("float16", "float64")),
        ("image.png", np.ma.masked_array(GRAY, GRAY > 9), "masked array"),
        *((f"image.{suffix}", np.float32(GRAY), r"write a \.tif, or .*255 \* image") for suffix in ("png", "jpg", "webp", "bmp")),
        *((f"image.{suffix}", np.zeros((1, 70000), np.uint8), "70000x1") for suffix in ("jpg", "webp")),
    ],
)  # fmt: skip
def test_unsupported_images(tmp_path: Path, name: str, image: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="create it first"):
        write_image(tmp_path / "new" / "image.png", GRAY)
    assert not list(tmp_path.iterdir())


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_image(tmp_path / "image.png", GRAY)
    assert (tmp_path / "image.png").stat().st_mode == (tmp_path / "plain").stat().st_mode
