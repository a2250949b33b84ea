"""Ranges over several images: their histogram, and the running range of frames."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion.cameras.range_histogram import RangeHistogram
from gffusion.cameras.running_range import RunningRange, measure_ranges
from gffusion.models.gffusion.infrared_options import InfraredOptions

RNG = np.random.default_rng(0)
Array = NDArray[Any]
FOLDERS: dict[str, list[Array]] = {
    "uint8": [RNG.integers(0, 200, (30, 40), np.uint8) for _ in range(3)],
    "uint16": [RNG.normal(center, 300, (30, 40)).astype(np.uint16) for center in (7000, 9000, 40000)],
    "uint8_and_uint16": [RNG.integers(0, 256, (30, 40), np.uint8), RNG.integers(0, 65536, (9, 9), np.uint16)],
    "kelvin": [RNG.normal(center, 5, (30, 40)) for center in (280, 300, 350)],
    "celsius": [RNG.normal(center, 5, (30, 40)).astype(np.float32) for center in (-30, 0.5, 20)],
    "uint_like_decidegrees": [RNG.integers(-200, 140, (30, 40)).astype(np.float32), np.full((9, 9), -5, np.int16)],
    "unit": [RNG.random((30, 40)), RNG.random((30, 40)) / 1000],
    "first_flat": [np.full((30, 40), 0.0), RNG.normal(300, 20, (30, 40))],
    "integers_first": [RNG.integers(0, 9, (30, 40), np.uint8), RNG.random((30, 40))],
    "tiny_values": [RNG.random((30, 40)) * 1e-20, RNG.random((30, 40)) * 1e-18],
    "int32": [RNG.integers(-100000, 100000, (30, 40)).astype(np.int32) for _ in range(2)],
    "mostly_0": [RNG.random((30, 40)).clip(0.6, 1) - 0.6 for _ in range(2)],
    "millikelvin_first": [RNG.integers(270_000, 370_000, (30, 40)).astype(float), 280_000.25 + RNG.random((30, 40))],
    "one_pixel": [np.full((1, 1), 5, np.uint16)],
    "flat": [np.full((3, 4), 300.15)],
    "huge": [np.full((3, 4), -1e29), np.full((3, 4), -1e29), np.full((3, 4), 9e28)],
    "flat_and_huge": [np.full((3, 4), 1e29)],
    "huge_first": [np.full((3, 4), 1e29), RNG.random((3, 4))],
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folder_range_is_that_of_all_pixels_together(kind: str) -> None:
    images = FOLDERS[kind]
    pixels = np.concatenate([image.ravel().astype(float) for image in images])
    expected = np.percentile(pixels, [0.1, 99.9])
    tolerance = 0 if kind.startswith("uint") else np.ptp(pixels) / 32768 + 1e-12 * abs(pixels).max()
    limits = measure_ranges(((image, None) for image in images), InfraredOptions("folder"))
    assert len(limits) == len(images) and len(set(limits)) == 1
    np.testing.assert_allclose(limits[0], expected, rtol=1e-12 if kind.startswith("uint") else 0, atol=tolerance)
    assert np.mean((pixels < limits[0][0]) | (pixels > limits[0][1])) <= 0.005


def test_color_counts_as_luma_and_missing_pixels_do_not_count() -> None:
    image = np.zeros((10, 10, 3), np.uint8)
    image[:, 5:] = 255, 0, 0
    missing = np.zeros((10, 10), bool)
    missing[0] = True
    image[0] = 255
    histogram = RangeHistogram()
    histogram.add(image, missing)
    np.testing.assert_allclose(histogram.limits, [0, 0.299 * 255], atol=0.01)


def test_an_empty_histogram_has_no_range() -> None:
    with pytest.raises(ValueError, match="No infrared image"):
        _ = RangeHistogram().limits


def test_one_frame_means_no_smoothing() -> None:
    running = RunningRange(1)
    for frame in FOLDERS["kelvin"]:
        np.testing.assert_allclose(running.update(frame), np.percentile(frame, [0.1, 99.9]))


@pytest.mark.parametrize("kind", ["swapped", "partly swapped", "other gain"])
def test_a_damaged_frame_does_not_last(kind: str) -> None:
    """The range goes on as without it, also if a run continues right after it; the second frame like it is believed."""
    frames = [RNG.normal(29000 + 5 * index, 300, (60, 80)).astype(np.uint16) for index in range(6)]
    damaged = frames[2].byteswap() if kind != "other gain" else (frames[2] // 2)
    if kind == "partly swapped":
        damaged[15:] = frames[2][15:]
    running, expected = RunningRange(20), RunningRange(20)
    for frame in frames[:3]:
        running.update(frame)
        before = expected.update(frame)
    shown = running.update(damaged)
    assert shown != before and len(running.state) == 2
    running = RunningRange(20, running.state)
    for frame in frames[3:]:
        assert running.update(frame) == expected.update(frame)
    assert len(running.state) == 1
    running.update(damaged)
    other = damaged[:, ::-1]  # another frame of the same range
    second, wider = running.update(other), np.percentile(damaged, [0.1, 99.9])
    assert abs(second - wider).sum() <= abs(np.subtract(shown, wider)).sum()


@pytest.mark.parametrize("count", [2, 4])
def test_repeated_frames_count_once(count: int) -> None:
    """As a slower camera repeats them: the range recovers from a damaged one in the same way. Others can be masked."""
    frames = [RNG.normal(7500, 100, (40, 50)).astype(np.uint16) for _ in range(6)]
    frames[3][:10], frames[3][20:30] = 60000, 0
    running, expected = RunningRange(20), RunningRange(20)
    buffer = np.empty_like(frames[0])  # of a camera
    for frame in frames:
        limits = expected.update(frame)
        buffer[:] = frame
        assert [running.update(buffer) for _ in range(count)] == [limits] * count
        continued = RunningRange(20, running.state)
        continued.remember(frame)
        assert continued.update(buffer) == limits
    assert limits[1] - limits[0] < 1000
    running = RunningRange(20)
    assert running.update(frames[3]) != running.update(frames[3], frames[3] == 60000)


def test_missing_pixels_do_not_move_it() -> None:
    frame = RNG.normal(300, 5, (30, 40))
    damaged = frame.copy()
    damaged[:3], damaged[3:5] = -9999, np.nan
    missing = np.zeros(frame.shape, bool)
    missing[:5] = True
    np.testing.assert_allclose(RunningRange(3).update(damaged, missing), np.percentile(frame[5:], [0.1, 99.9]))


def test_less_than_one_frame() -> None:
    with pytest.raises(ValueError, match=r"at least 1, got 0\.5"):
        RunningRange(0.5)
