from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from gffusion.data import read_image
from gffusion.metrics import to_luma8


def test_is_the_rounded_bt601_luma() -> None:
    color = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    # thousandths in integers, where a half is exact
    expected = (color.astype(np.int64) @ np.array([299, 587, 114]) + 500) // 1000
    assert np.array_equal(to_luma8(color).numpy(), expected)


def test_halves_round_up() -> None:
    color = np.array([[[0, 0, 250], [250, 0, 250]]], dtype=np.uint8)  # 28.5 and 103.25
    assert to_luma8(color).tolist() == [[29, 103]]


def test_an_image_in_memory_equals_its_file() -> None:
    color = np.random.default_rng(0).random((40, 50, 3))
    file = np.floor(color * 255 + 0.5).astype(np.uint8)
    assert torch.equal(to_luma8(color), to_luma8(file))


@pytest.mark.parametrize(
    ("image", "level"),
    [
        (np.full((2, 3), 77, np.uint8), 77),
        (np.full((2, 3), 77 * 257, np.uint16), 77),
        (np.full((2, 3), 77 * 257, ">u2"), 77),
        (np.full((2, 3, 1), 77 / 255, np.float32), 77),
        (np.full((2, 3), 77 / 255, np.longdouble), 77),
        (torch.full((2, 3), 77 / 255, dtype=torch.float16), 77),
        (torch.full((1, 2, 3), 77, dtype=torch.uint8), 77),
        (torch.full((3, 2, 3), 77, dtype=torch.uint8), 77),
    ],
)
def test_range_follows_from_the_data_type(image: Any, level: int) -> None:
    luma = to_luma8(image)
    assert luma.dtype == torch.float64
    assert luma.tolist() == [[level] * 3] * 2


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_pil_images_have_the_luma_of_their_colors(mode: str) -> None:
    """The indices of palette images were taken for gray levels, and the channels of other color spaces for RGB."""
    color = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image = Image.fromarray(color).convert(mode)
    assert torch.equal(to_luma8(image), to_luma8(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_pil_image_equals_its_file(tmp_path: Path, suffix: str) -> None:
    color = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image = Image.fromarray(color).convert("P" if suffix == ".png" else "RGB")
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    path = tmp_path / f"turned{suffix}"
    image.save(path, exif=exif)
    with Image.open(path) as opened:
        assert to_luma8(opened).shape == (50, 40)
        assert torch.equal(to_luma8(opened), to_luma8(read_image(path)))


def test_floats_may_exceed_1_by_rounding() -> None:
    assert to_luma8(np.array([[-1e-7, 1.000005]])).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [
        (-0.98, 0.97, r"by \(image \+ 1\) / 2"),
        (-1.0001, 1.0, r"by \(image \+ 1\) / 2"),
        (-0.03, 1.02, "hold 0 to 1: clip it"),
        (0.0, 255.0, "convert 0 to 255 to uint8"),
        (-2.1, 2.6, "scale it"),
    ],
)
def test_advice_suits_the_values(low: float, high: float, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        to_luma8(torch.linspace(low, high, 12).reshape(3, 4))


def test_outputs_of_networks_lose_their_gradient() -> None:
    image = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(to_luma8(image.clone().requires_grad_()).numpy(), to_luma8(image))


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_keep_their_channel_axis(channels: int) -> None:
    batch = torch.randint(0, 256, (2, channels, 4, 5), dtype=torch.uint8)
    luma = to_luma8(batch)
    assert luma.shape == (2, 1, 4, 5)
    assert torch.equal(luma[1, 0], to_luma8(batch[1]))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), "alpha"),
        (torch.zeros(2, 2, 2, 2, 2), "shape"),
        (np.full((2, 2), 1.5), "0 to 1"),
        (np.full((2, 2), np.nan), "NaN"),
        (np.zeros((2, 2), np.int32), "range is unknown"),
        (np.array(["a", "b"]), "Allowed are numbers"),
        (np.zeros((0, 4)), "empty"),
        (np.zeros((0, 4), np.uint8), "empty"),
        (np.zeros((4, 4), bool), "Allowed are numbers"),
        (torch.zeros(4, 4, dtype=torch.bool), "range is unknown"),
        (torch.zeros(4, 4, dtype=torch.complex64), "range is unknown"),
        (np.ma.masked_equal(np.eye(4, dtype=np.uint8), 0), "masked array"),
        ([[1, 2], [3]], "Got a list that is no array: its rows differ in length"),
        (torch.eye(4).to_sparse(), r"The image is a tensor of layout torch.sparse_coo.*`to_dense\(\)`"),
        (torch.empty(4, 4, device="meta"), "The image is a tensor on the meta device, without values"),
    ],
)
def test_says_what_is_wrong(image: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        to_luma8(image)
