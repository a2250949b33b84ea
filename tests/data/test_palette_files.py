"""Infrared images in files with a palette: the values are those of the scene, whatever the palette is."""

import io

import numpy as np
import pytest
from camera_files import packed_tiff, render_pair
from numpy.typing import NDArray
from PIL import Image

from gffusion.cameras.palettes import load_palettes
from gffusion.data.reading import decode_infrared

SCENE = render_pair()[1]
LEVELS = np.rint(255 * (SCENE - SCENE.min()) / np.ptp(SCENE)).astype(np.uint8)
GRAY = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
JET, IRON = (load_palettes()[name].astype(np.uint8) for name in ("jet", "iron"))
BY_LUMA = np.argsort(JET @ np.array([0.299, 0.587, 0.114]))
INDICES, BRIGHTNESS, MAPPED = "indices of the palette", "brightness of the palette", "infrared colors mapped back"


def read(
    indices: NDArray[np.uint8], palette: NDArray[np.uint8], kind: str = "PNG", **options: object
) -> tuple[NDArray[np.float64], tuple[str, ...], NDArray[np.bool_] | None]:
    """Return the values (H, W), the notes and the mask of a file."""
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.ravel().tolist())
    content = io.BytesIO()
    image.save(content, kind, **options)
    frame = decode_infrared(content.getvalue(), f"infrared.{kind.lower()}")
    values = frame.values if frame.values.ndim == 2 else frame.values[..., 0]
    return values.astype(float), frame.notes, frame.missing


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
@pytest.mark.parametrize(
    ("palette", "colors", "note"),
    [
        (GRAY, 256, ""),
        (GRAY // 4 * 4, 256, ""),
        (GRAY[::17], 16, ""),
        (GRAY[::-1], 256, "brightness; invert=True (--invert) if black is cold"),
        (GRAY[::-1] // 4 * 4, 256, "brightness; invert=True (--invert) if black is cold"),
        (GRAY[::-17], 16, "brightness; invert=True (--invert) if black is cold"),
        (JET, 256, "jet; invert=True (--invert) if dark red is cold"),
        (JET[::-1], 256, "jet; invert=True (--invert) if dark blue is cold"),
        (JET[::17], 16, "jet; invert=True (--invert) if dark red is cold"),
        (np.repeat(JET[::4], 4, axis=0), 256, "jet; invert=True (--invert) if dark red is cold"),
        (IRON[::17], 16, "iron; invert=True (--invert) if white is cold"),
    ],
)
def test_scales(kind: str, palette: NDArray[np.uint8], colors: int, note: str) -> None:
    """Cameras store heat as indices: from cold to hot, in as many steps as there are colors, also in black-hot."""
    values, notes, missing = read(LEVELS // (256 // colors), palette, kind)
    assert np.abs(values - LEVELS).max() <= 16 and np.ptp(values) > 250 and missing is None
    assert notes == ((f"{INDICES} image taken as values: its palette is ordered by {note}",) if note else ())


@pytest.mark.parametrize("order", ["rising", "falling", "random"])
def test_gray_palettes_with_a_gap(order: str) -> None:
    """Programs that store only the levels in use sort them in any way: the brightness is the value."""
    levels = np.where(LEVELS < 128, LEVELS // 2, 192 + (LEVELS - 128) // 2).astype(np.uint8)
    stored = np.unique(levels)
    stored = {"rising": stored, "falling": stored[::-1], "random": np.random.default_rng(0).permutation(stored)}[order]
    values, notes, _ = read(np.argsort(stored)[np.searchsorted(np.sort(stored), levels)].astype(np.uint8), GRAY[stored])
    np.testing.assert_array_equal(values, levels)
    assert notes == (
        (f"{BRIGHTNESS} image taken as values; invert=True (--invert) if black is hot",) if order == "falling" else ()
    )


def test_colors_in_the_order_of_luma_are_no_heat() -> None:
    indices = np.argsort(BY_LUMA)[LEVELS].astype(np.uint8)
    values, notes, _ = read(indices, JET[BY_LUMA])
    assert np.abs(values - LEVELS).mean() < 1 and notes[0].startswith(f"{MAPPED} to intensity by the palette jet")


@pytest.mark.parametrize("palette", [GRAY, JET])
def test_transparent_colors_are_missing(palette: NDArray[np.uint8]) -> None:
    values, notes, missing = read(LEVELS, palette, transparency=bytes([0] * 20 + [128] * 10 + [255] * 226))
    assert missing is not None and notes[-1].startswith("transparent infrared pixels")
    np.testing.assert_array_equal(missing, LEVELS < 20)
    np.testing.assert_array_equal(values[~missing], LEVELS[~missing])
    assert read(LEVELS, palette, transparency=bytes(256))[2] is None  # the whole image is no image


@pytest.mark.parametrize("palette", [GRAY[::-1], JET])
def test_the_tag_no_data_names_an_index(palette: NDArray[np.uint8]) -> None:
    """Its color can be any, and the same as that of another index."""
    indices = np.maximum(LEVELS, 1)
    indices[40:60, 50:80] = 0
    colors = np.vstack([[[255, 0, 255]], palette[1:]])
    values, notes, missing = read(indices, colors, "TIFF", tiffinfo={42113: "0"})
    np.testing.assert_array_equal(missing, indices == 0)
    assert np.abs(values - indices)[~missing].max() <= 1
    assert notes[0].startswith(INDICES) and notes[1:] == ("infrared pixels without a measurement (4.9 %) filled",)


def test_the_tag_no_data_names_a_stored_gray() -> None:
    content = packed_tiff(LEVELS >> 4, 4, extratags=[(42113, "s", 0, "3", True)])
    frame = decode_infrared(content, "infrared.tif")
    np.testing.assert_array_equal(frame.missing, LEVELS >> 4 == 3)


@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 255, 255)])
def test_hidden_colors_are_not_in_the_palette(hidden: tuple[int, int, int]) -> None:
    colors = np.dstack([JET[LEVELS], np.full_like(LEVELS, 255)])
    colors[:, 90:] = (*hidden, 0)
    content = io.BytesIO()
    Image.fromarray(colors).save(content, "PNG")
    frame = decode_infrared(content.getvalue(), "infrared.png")
    assert [note.split(" (")[0] for note in frame.notes[:1]] == ["transparent infrared pixels"]
    assert len(frame.notes) == 2 and frame.notes[1].startswith(MAPPED)
    assert np.abs(frame.values[:, :90].astype(int) - LEVELS[:, :90]).mean() < 1
