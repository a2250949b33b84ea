"""Visible images with pixels without a value, such as mosaics of aerial images, against images computed by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from gffusion.data import FusionDataset, ReadOptions, read_pair, write_image
from gffusion.data.reading import read_pair_size
from gffusion.data.visible_range import VisibleFrame, map_visible

INFRARED = np.tile(np.arange(64, dtype=np.uint16) * 1000, (48, 1))
NOTES = ("visible border without a value (25 %) black", "visible pixels without a value (0.13 %) filled")


def _draw(dtype: Any, value: float, marker: float, shape: tuple[int, ...] = (48, 64)) -> tuple[NDArray[Any], ...]:
    """Return an image of one value with markers in its left quarter and in a hole of four pixels, and what it becomes."""
    image = np.full(shape, value, dtype)
    expected = image.copy()
    image[:, :16] = marker
    image[20:22, 40:42] = marker
    expected[:, :16] = 0
    return image, expected


@pytest.mark.parametrize(
    ("dtype", "value", "marker", "no_data"),
    [
        (np.float32, 0.75, np.nan, None),
        (np.float32, 0.75, -np.inf, None),
        (np.float16, 0.75, np.inf, None),
        (np.float32, 0.75, -3.4028235e38, None),
        (np.float32, 0.75, -9999, -9999.0),
        (np.float32, 0.75, 0, 0.0),
        (np.uint16, 4000, 65535, 65535.0),
        (np.uint8, 90, 255, 255.0),
    ],
)
@pytest.mark.parametrize("shape", [(48, 64), (48, 64, 3)])
def test_missing_pixels(dtype: Any, value: float, marker: float, no_data: float | None, shape: tuple[int, ...]) -> None:
    image, expected = _draw(dtype, value, marker, shape)
    before = image.copy()
    mapped, notes = map_visible(VisibleFrame(image, no_data), "a.tif", None)
    np.testing.assert_array_equal(mapped, expected)
    np.testing.assert_array_equal(image, before)
    assert notes[:2] == NOTES and mapped.dtype == dtype


@pytest.mark.parametrize("marker", [-9999, 65535, 0])
def test_other_markers_are_values_without_tag(marker: float) -> None:
    """A gray image is no infrared one: 0 is black, 65535 is white, and -9999 is below the range."""
    image = _draw(np.float32 if marker < 0 else np.uint16, 0.75, marker)[0]
    limits = (0, 1) if marker < 0 else None
    mapped, notes = map_visible(VisibleFrame(image), "a.tif", limits)
    np.testing.assert_array_equal(mapped, np.clip(image, 0, None))
    assert not any("without a value" in note for note in notes)


def test_range_of_the_other_pixels() -> None:
    """Markers neither hide that 12 bits are used, nor become gray in a range below 0."""
    image, _ = _draw(np.uint16, 4000, 65535)
    assert "uses 12" in map_visible(VisibleFrame(image, 65535), "a.tif", None)[1][-1]
    mapped, _ = map_visible(VisibleFrame(_draw(np.float32, 0, np.nan)[0]), "a.tif", (-1, 1))
    np.testing.assert_array_equal(mapped, np.where(np.arange(64) < 16, 0, 0.5)[None].repeat(48, 0))


def _save(path: Path, image: NDArray[Any], no_data: float | None, **options: Any) -> None:
    tags = [] if no_data is None else [(42113, "s", 0, str(no_data), True)]
    tifffile.imwrite(path, image, extratags=tags, metadata=None, append=path.exists(), **options)


@pytest.mark.parametrize("kind", ["files", "channels", "pages"])
@pytest.mark.parametrize(("dtype", "value", "no_data"), [(np.uint16, 4000, 65535), (np.int16, 4000, -9999)])
def test_tag_of_the_file(tmp_path: Path, kind: str, dtype: Any, value: int, no_data: int) -> None:
    image, expected = _draw(dtype, value, no_data, (48, 64, 3))
    visible, infrared = tmp_path / "visible.tif", tmp_path / "infrared.tif"
    other = (INFRARED // 4).astype(dtype)
    if kind == "channels":
        _save(visible, np.dstack([image, other]), no_data, photometric="rgb", extrasamples=[0])
        infrared = visible
    else:
        infrared = visible if kind == "pages" else infrared
        _save(visible, image, no_data, photometric="rgb")
        _save(infrared, other, None, photometric="minisblack")
    pair = read_pair(visible, infrared, ReadOptions(visible_range=(0, 4000)))
    np.testing.assert_array_equal(pair.visible > 0, expected > 0)
    assert pair.visible.max() == (65535 if dtype == np.uint16 else 1)
    assert set(NOTES) <= set(pair.notes)


@pytest.mark.parametrize("kind", ["path", "content"])
@pytest.mark.parametrize(("dtype", "no_data"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, -9999)])
def test_rows_are_read_as_folders(tmp_path: Path, caplog: Any, kind: str, dtype: Any, no_data: int) -> None:
    level = {np.uint8: 90, np.uint16: 90 * 257, np.float32: 0.5}[dtype]
    image, _ = _draw(dtype, level, no_data, (48, 64, 3))
    for name in ("visible", "infrared"):
        (tmp_path / name).mkdir()
    file = tmp_path / "visible" / "1.tif"
    _save(file, image, no_data, photometric="rgb")
    write_image(tmp_path / "infrared" / "1.png", INFRARED)
    cell = str(file) if kind == "path" else {"bytes": file.read_bytes(), "path": None}
    rows = FusionDataset.from_dataset([{"visible": cell, "infrared": INFRARED}])
    found, expected = rows[0]["visible_values"], FusionDataset(tmp_path)[0]["visible_values"]
    np.testing.assert_array_equal(found, expected)
    assert found.max() < 0.6
    messages = [message for message in caplog.messages if message.startswith("row 0: ")]
    assert len(messages) == 2 and all(note in message for note, message in zip(NOTES, messages, strict=True))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("share", [0, 0.01, 0.3, 1])
def test_black_is_a_value_also_if_the_tag_is_0(tmp_path: Path, dtype: Any, share: float) -> None:
    """Black pixels are scattered over the image and its sides."""
    image = np.full((48, 64, 3), 200, dtype)
    image[np.random.default_rng(0).random((48, 64)) < share] = 0
    files = tmp_path / "visible.tif", tmp_path / "infrared.png"
    _save(files[0], image, 0, photometric="rgb")
    write_image(files[1], INFRARED)
    pair = read_pair(*files)
    np.testing.assert_array_equal(pair.visible, image)
    assert not any("without a value" in note for note in pair.notes)
    assert read_pair_size(*files, ReadOptions()) == (48, 64)


@pytest.mark.parametrize(("dtype", "value", "no_data"), [(np.float32, np.nan, None), (np.uint8, 255, 255)])
def test_no_value_at_all(tmp_path: Path, dtype: Any, value: float, no_data: float | None) -> None:
    files = tmp_path / "visible.tif", tmp_path / "infrared.png"
    _save(files[0], np.full((48, 64, 3), value, dtype), no_data, photometric="rgb")
    write_image(files[1], INFRARED)
    for read in (read_pair, lambda *files: read_pair_size(*files, ReadOptions())):
        with pytest.raises(ValueError, match=r"visible.tif has no pixel with a value"):
            read(*files)


def test_a_fourth_channel_of_data_hides_nothing(tmp_path: Path) -> None:
    """Half of it is 0, as in a thresholded infrared image; opacity is nearly everywhere 0 or its largest value."""
    visible = np.random.default_rng(0).integers(40, 200, (48, 64, 3), np.uint8)
    data = np.random.default_rng(1).integers(1, 250, (48, 64), np.uint8)
    data[:, :36] = 0
    Image.fromarray(np.dstack([visible, data])).save(tmp_path / "visible.png")
    Image.fromarray(visible[..., 0]).save(tmp_path / "infrared.png")
    np.testing.assert_array_equal(read_pair(tmp_path / "visible.png", tmp_path / "infrared.png").visible, visible)


def test_missing_pixels_of_an_infrared_channel_are_no_opacity(tmp_path: Path) -> None:
    """More than half of the file has no value, as outside the round view of a lens."""
    generator = np.random.default_rng(0)
    image = generator.integers(20_000, 50_000, (48, 64, 4), np.uint16)
    image[:, :40] = 65535
    _save(tmp_path / "both.tif", image, 65535, photometric="rgb", extrasamples=[0])
    pair = read_pair(tmp_path / "both.tif", tmp_path / "both.tif")
    np.testing.assert_array_equal(pair.infrared[:, 40:], image[:, 40:, 3])
    assert pair.missing is not None and (pair.missing == (np.arange(64) < 40)).all()
