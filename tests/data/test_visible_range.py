"""Values of visible images that become black and white, against values computed by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from gffusion.data import FusionDataset, ReadOptions, read_pair, write_image
from gffusion.data.visible_range import VisibleFrame, map_visible

INFRARED = np.tile(np.arange(64, dtype=np.uint16) * 1000, (48, 1))


@pytest.mark.parametrize(
    ("values", "limits", "expected"),
    [
        (np.uint16([0, 819, 2457, 4095, 5000]), (0, 4095), [0, 13107, 39321, 65535, 65535]),
        (np.uint16([0, 100, 150, 200, 65535]), (100.0, 200.0), [0, 0, 32768, 65535, 65535]),
        (np.uint16([0, 1]), (-1, 1), [32768, 65535]),
        (np.float32([-1, 0.125, 0.25, 0.375, 7]), (0.125, 0.375), [0, 0, 0.5, 1, 1]),
        (np.float64([0, 2500, 10000]), (0, 10000), [0, 0.25, 1]),
        (np.float16([0, 0.25, 0.5]), (0, 0.5), [0, 0.5, 1]),
    ],
)
def test_range_becomes_that_of_the_type(
    values: NDArray[Any], limits: tuple[float, float], expected: list[float]
) -> None:
    before = values.copy()
    mapped, notes = map_visible(VisibleFrame(values[None]), "a.tif", limits)
    np.testing.assert_array_equal(mapped[0], expected)
    np.testing.assert_array_equal(values, before)
    assert (mapped.dtype.kind, notes) == (values.dtype.kind, ())


@pytest.mark.parametrize(
    ("values", "limits", "color"),
    [
        (np.float32([0, 0.37]), (0, 10000), "black"),
        (np.uint16([300, 4095]), (0, 1), "white"),
        (np.uint16([0, 4095]), (5000, 6000), "black"),
        (np.uint16([0] + [3000] * 199), (0, 1), "white"),
        (np.uint16([0, 4095]), (0, 1), None),
        (np.float32([0.25] + [np.nan] * 199), (0, 1), None),
    ],
)
def test_range_in_another_unit_is_noted(values: NDArray[Any], limits: tuple[float, float], color: str | None) -> None:
    notes = map_visible(VisibleFrame(values[None]), "a.tif", limits)[1]
    found = [note for note in notes if "nearly everywhere" in note]
    assert [f"becomes {color} " in note for note in found] == [True] * (color is not None)


@pytest.mark.parametrize(
    "limits", [(1, 1), (2, 1), (0, np.inf), (np.nan, 1), (0,), (0, 1, 2), 4095, "4095", "0,x", ["0", "1", "2"]]
)
def test_wrong_ranges(limits: Any) -> None:
    with pytest.raises(ValueError, match=r"`visible_range` \(--visible-range\) must be two finite numbers LOW,HIGH"):
        ReadOptions(visible_range=limits)


def test_equal_ranges_are_equal_options() -> None:
    """So that a run that is continued, and a table that is kept, do not depend on how they are written."""
    options = ReadOptions(visible_range=[0, np.uint16(4095)])  # type: ignore[arg-type]
    assert repr(options) == repr(ReadOptions(visible_range=(0.0, 4095.0)))
    assert hash(options) == hash(ReadOptions(visible_range=(0.0, 4095.0)))


def _write_files(folder: Path, visible: NDArray[Any]) -> tuple[Path, Path]:
    write_image(folder / "visible.tif", visible)
    write_image(folder / "infrared.png", INFRARED)
    return folder / "visible.tif", folder / "infrared.png"


def _write_channels(folder: Path, visible: NDArray[Any]) -> tuple[Path, Path]:
    tifffile.imwrite(folder / "both.tif", np.dstack([visible, INFRARED]), photometric="rgb", extrasamples=[0])
    return folder / "both.tif", folder / "both.tif"


def _write_pages(folder: Path, visible: NDArray[Any]) -> tuple[Path, Path]:
    with tifffile.TiffWriter(folder / "both.tif") as file:
        file.write(visible, photometric="rgb")
        file.write(INFRARED, photometric="minisblack")
    return folder / "both.tif", folder / "both.tif"


Write = Callable[[Path, NDArray[Any]], tuple[Path, Path]]


@pytest.mark.parametrize("write", [_write_files, _write_channels, _write_pages])
def test_files_of_few_bits(tmp_path: Path, write: Write) -> None:
    """Without a range, a note names the one to set. Infrared values stay in any case."""
    visible = np.random.default_rng(0).integers(0, 4096, (48, 64, 3), np.uint16)
    visible[0, 0] = 4095
    files = write(tmp_path, visible)
    stored = read_pair(*files)
    np.testing.assert_array_equal(stored.visible, visible)
    note = "the visible image has 16 bits but uses 12: if it looks too dark, set `visible_range=(0, 4095)` (--visible-range 0,4095)"
    assert note in stored.notes
    mapped = read_pair(*files, ReadOptions(visible_range=(0, 4095)))
    np.testing.assert_array_equal(mapped.visible, np.rint(visible / 4095 * 65535))
    np.testing.assert_array_equal(mapped.infrared, INFRARED)
    assert set(stored.notes) - set(mapped.notes) == {note}


@pytest.mark.parametrize("write", [_write_files, _write_pages])
def test_8_bits_are_refused(tmp_path: Path, write: Write) -> None:
    files = write(tmp_path, np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=rf"\(--visible-range\) is for .*{files[0].name} has 8 bits: leave it out"):
        read_pair(*files, ReadOptions(visible_range=(0, 255)))


def test_copies_are_found_in_stored_values(tmp_path: Path) -> None:
    """A visible image in its range is no longer equal to the same file that is given as the infrared image."""
    content = np.random.default_rng(0).integers(0, 4096, (48, 64), np.uint16)
    files = tmp_path / "a.png", tmp_path / "b.tif"
    for file in files:
        write_image(file, content)
    with pytest.raises(ValueError, match="show the same image"):
        read_pair(*files, ReadOptions(visible_range=(0, 4095)))


@pytest.mark.parametrize(
    ("largest", "end"),
    [(0.37, "0.4"), (0.3, "0.3"), (0.301, "0.4"), (0.0042, "0.1"), (0.5, None), (1, None), (0.003, None)],
)
def test_reflectance_is_noted(tmp_path: Path, largest: float, end: str | None) -> None:
    files = _write_files(tmp_path, np.linspace(0, largest, 48 * 64, dtype=np.float32).reshape(48, 64))
    notes = [note for note in read_pair(*files).notes if "visible" in note]
    advice = f"if it looks too dark, set `visible_range=(0, {end})` (--visible-range 0,{end})"
    assert [note.endswith(advice) for note in notes] == [True] * (end is not None)


@pytest.mark.parametrize("kind", ["folder", "rows"])
def test_datasets(tmp_path: Path, kind: str) -> None:
    visible = np.random.default_rng(0).integers(0, 4096, (48, 64, 3), np.uint16)
    for name, image in (("visible", visible), ("infrared", INFRARED)):
        (tmp_path / name).mkdir()
        write_image(tmp_path / name / "a.png", image)
    rows = [{"visible": visible, "infrared": INFRARED}]
    found = [
        FusionDataset(tmp_path, read_options=ReadOptions(visible_range=limits))
        if kind == "folder"
        else FusionDataset.from_dataset(rows, visible_range=limits)
        for limits in (None, (0, 4095))
    ]
    values = [dataset[0]["visible_values"].permute(1, 2, 0).numpy() for dataset in found]
    np.testing.assert_allclose(values[0], visible / 65535, atol=1e-6)
    np.testing.assert_allclose(values[1], visible / 4095, atol=1e-5)
    assert found[0].settings != found[1].settings
