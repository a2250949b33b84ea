"""Infrared ranges as text, and ranges of several pairs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gffusion.data import FusionDataset, ImagePair, ReadOptions, read_image, write_image
from gffusion.data.infrared_range import measure_pairs, parse_infrared_range
from gffusion.models.gffusion.infrared_options import InfraredOptions


@pytest.mark.parametrize("text", ["-5,7.5", "-5 7.5", "-5, 7.5", ["-5", "7.5"], ["-5,7.5"]])
def test_numbers(text: str | list[str]) -> None:
    assert parse_infrared_range(text) == [-5.0, 7.5]


@pytest.mark.parametrize("name", ["auto", "type", "percentile", "folder"])
def test_names(name: str) -> None:
    assert parse_infrared_range(name) == parse_infrared_range([name]) == name


@pytest.mark.parametrize("text", ["", "celsius", "1", "1,2,3", "1,1", "0,inf", "nan,1", "type,percentile"])
def test_errors_name_the_option(text: str) -> None:
    with pytest.raises(ValueError, match=f"^--range .*got '{text}'"):
        parse_infrared_range(text, "--range")


@pytest.fixture
def pairs(tmp_path: Path) -> list[ImagePair]:
    """Two pairs of other sizes, whose positions cannot be found, and a damaged one."""
    files = []
    for name in ("a", "b", "damaged"):
        visible, infrared = tmp_path / f"{name}.png", tmp_path / f"{name}.tif"
        write_image(visible, np.zeros((64, 80, 3), np.uint8))
        write_image(infrared, np.linspace(7000, 8000 + 100 * len(files), 40 * 32).reshape(40, 32).astype(np.uint16))
        files.append(ImagePair(name, visible, infrared))
    files[2].infrared.write_bytes(b"damaged")
    return files


def test_pairs_are_measured_before_they_are_aligned(pairs: list[ImagePair]) -> None:
    ranges = measure_pairs(pairs, InfraredOptions("folder", invert=True), ReadOptions("auto"))
    counts = [np.linspace(7000, high, 40 * 32).astype(np.uint16) for high in (8000, 8100)]
    expected = np.percentile(counts, [0.1, 99.9])
    options = ranges.options_of(pairs[1])
    np.testing.assert_allclose(options.limits, expected)
    assert options.invert and options.infrared_range != "folder"
    words = "infrared range of 2 images: {:.7g} to {:.7g}, in the unit of the files"
    assert ranges.description == words.format(*expected)
    assert ranges.options_of(pairs[2]).infrared_range == "folder"


def test_a_frame_listed_twice_has_a_range_for_each_place(pairs: list[ImagePair]) -> None:
    frames = [pairs[0], pairs[1], replace(pairs[0], name="again")]
    ranges = measure_pairs(frames, InfraredOptions("percentile", smooth_range=2), ReadOptions("auto"))
    highs = [ranges.options_of(pair).limits[1] for pair in frames]
    assert len(ranges.limits) == 3 and highs[0] < highs[2] < highs[1]


def test_each_folder_in_names_has_a_running_range(pairs: list[ImagePair]) -> None:
    """Also if a CSV file lists the frames of several recordings in turn."""
    names = ["0", "day/0", "night/0", "day/1", "night/1", "1", "night/street/0"]
    files = [pairs[index] for index in (0, 0, 1, 1, 0, 1, 1)]
    frames = [replace(pair, name=name) for name, pair in zip(names, files, strict=True)]
    ranges = measure_pairs(frames, InfraredOptions("percentile", smooth_range=2), ReadOptions("auto"))
    highs = [ranges.options_of(pair).limits[1] for pair in frames]
    first, second = (np.percentile(read_image(pair.infrared), 99.9) for pair in pairs[:2])
    between = (first + second) / 2
    np.testing.assert_allclose(highs, [first, first, second, between, between, between, second])


@pytest.mark.parametrize("kind", ["low gain", "bar", "warm", "two units", "two gains"])
def test_images_that_widen_the_range_of_all_are_named(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Counts that differ as those of scenes do are no reason for a warning. All images are named in one."""
    folders = [tmp_path / folder for folder in ("visible", "infrared")]
    for folder in folders:
        folder.mkdir()
    pairs = [ImagePair(f"{index}", *(folder / f"{index}.png" for folder in folders)) for index in range(6)]
    for index, pair in enumerate(pairs):
        write_image(pair.visible, np.zeros((64, 80, 3), np.uint8))
        counts = np.linspace(29000 + 500 * index, 31000 + 900 * index, 64 * 80).reshape(64, 80).astype(np.uint16)
        if index == 2:
            bar = np.where(np.arange(80) < 9, np.linspace(100, 60000, 64)[:, None], counts)
            counts = {"low gain": counts // 4, "bar": bar}.get(kind, counts)
        if index % 2:
            counts = {"two units": counts - 27315, "two gains": counts // 4}.get(kind, counts)
        write_image(pair.infrared, counts.astype(np.uint16))
    ranges = measure_pairs(pairs, InfraredOptions("folder"))
    expected = {"warm": [], "two units": ["1", "3", "5"], "two gains": ["1", "3", "5"]}.get(kind, ["2"])
    assert ranges.odd == expected
    assert (ranges.warning is None) == (kind == "warm")
    FusionDataset(tmp_path, infrared_range="folder")
    warnings = [record.message for record in caplog.records if "is far from" in record.message]
    assert len(warnings) == (kind != "warm")
    assert all(f"{name}.png" in warning for name in expected for warning in warnings)


def test_nothing_is_read_without_need(tmp_path: Path) -> None:
    pair = ImagePair("no", tmp_path / "no.png", tmp_path / "no.tif")
    ranges = measure_pairs([pair], InfraredOptions("percentile"))
    assert (ranges.options_of(pair), ranges.description) == (InfraredOptions("percentile"), None)
