"""Ranges of infrared videos: measured over all frames, or fixed, also with frames that do not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from video_files import read_frames, visible_frame, write_frames, write_video

from gffusion.cameras.palettes import load_palettes

SIZE = (96, 128)


def make_levels(index: int) -> NDArray[np.uint8]:
    """Return an image with all levels from 100 to 160."""
    return (100 + (np.add.outer(np.arange(SIZE[0]), np.arange(SIZE[1])) + 3 * index) % 61).astype(np.uint8)


def test_ranges_of_raw_counts(tmp_path: Path, fuse: Callable) -> None:
    """A hot object that enters changes the rest less with smoothing, and not at all with one range for the video."""
    base = np.tile(np.arange(64, dtype=np.uint16), (48, 1)) * 4 + 7000
    frames = [base.copy() for _ in range(12)]
    for frame in frames[6:]:
        frame[30:40, 20:40] = 7800
    infrared = write_video(tmp_path / "infrared.mkv", frames, codec="ffv1", pixels="gray16le")
    visible = write_video(tmp_path / "visible.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 12)
    jumps = []
    percentile = {"infrared_range": "percentile"}
    for number, options in enumerate((percentile, percentile | {"smooth_range": 8}, {"infrared_range": "folder"})):
        path, report = fuse(visible, infrared, f"fused{number}.mp4", infrared_options=options)
        levels = [image[:20].mean() for image in read_frames(path)[0]]
        jumps.append(np.abs(np.diff(levels)).max())
    assert jumps[0] > 2 * jumps[1] > 2 * jumps[2]
    assert report.measured == ["infrared range of the video: 7000 to 7800, in the unit of the file"]


@pytest.mark.parametrize("kind", ["dead pixels", "border", "false colors"])
def test_common_range_is_that_of_measured_values(tmp_path: Path, fuse: Callable, kind: str) -> None:
    """As for a folder of images, what is no measurement does not count, and colors are mapped back first."""
    levels = [make_levels(index) for index in range(4)]
    expected = (100, 160)
    if kind == "dead pixels":
        frames = [7000 + 10 * level.astype(np.uint16) for level in levels]
        for frame in frames:
            frame[40:44, 60:64] = 0
        visible, infrared = write_frames(tmp_path, frames, "gray16le")
        expected = (8000, 8600)
    elif kind == "border":
        for level in levels:
            level[:, :24] = 0
        visible, infrared = write_frames(tmp_path, levels, "gray")
    else:
        jet = load_palettes()["jet"].astype(np.uint8)
        visible, infrared = write_frames(tmp_path, [jet[level] for level in levels], "bgr0")
    report = fuse(visible, infrared, infrared_options={"infrared_range": "folder"})[1]
    assert (report.frames, report.failures) == (4, 0)
    (note,) = report.measured
    low, high = map(float, note.partition(": ")[2].partition(",")[0].split(" to "))
    assert abs(low - expected[0]) <= 2 and abs(high - expected[1]) <= 2


@pytest.mark.parametrize("option", ["auto", "type"])
def test_counts_of_12_bits_have_the_range_of_their_format(tmp_path: Path, fuse: Callable, option: str) -> None:
    files = write_frames(tmp_path, [1000 + 8 * make_levels(index).astype(np.uint16) for index in range(3)], "gray12le")
    found, expected = (
        fuse(*files, f"{name}.mp4", infrared_options={"infrared_range": infrared_range})[0]
        for name, infrared_range in (("found", option), ("expected", [0, 4095]))
    )
    assert found.read_bytes() == expected.read_bytes()


def test_frames_that_widen_the_range_of_all_are_named(tmp_path: Path, fuse: Callable) -> None:
    frames = [7000 + 10 * make_levels(index).astype(np.uint16) for index in range(8)]
    frames[5] = frames[5].byteswap()
    report = fuse(*write_frames(tmp_path, frames, "gray16le"), infrared_options={"infrared_range": "folder"})[1]
    assert [note[:36] for note in report.notes if "is far" in note] == ["0.200 s: the range of 1 infrared ima"]


@pytest.mark.parametrize("rate", [25, 9])
def test_frozen_frames_are_noted(tmp_path: Path, fuse: Callable, rate: int) -> None:
    """Not those that a slower camera repeats, nor if the visible video stands still, too."""
    count = 2 * rate
    visible = write_video(tmp_path / "visible.mp4", [visible_frame(index, *SIZE) for index in range(50)])
    still = write_video(tmp_path / "still.mp4", [visible_frame(0, *SIZE)] * 50, codec="mpeg4")
    frames = [make_levels(min(index, rate) if index < 1.8 * rate else index) for index in range(count)]
    options = {"codec": "ffv1", "pixels": "gray", "rate": rate}
    frozen = write_video(tmp_path / "frozen.mkv", frames, **options)
    repeated = write_video(tmp_path / "repeated.mkv", [make_levels(index // 2) for index in range(count)], **options)
    for files, expected in (((visible, frozen), 1), ((still, frozen), 0), ((visible, repeated), 0)):
        notes = fuse(*files, f"{files[0].stem}_{files[1].stem}.mp4")[1].notes
        notes = [note for note in notes if "frames are identical since" in note]
        assert len(notes) == expected and all("since 1." in note or "since 0.96" in note for note in notes)


def test_frames_that_show_nothing(tmp_path: Path, fuse: Callable) -> None:
    """Dead ones are left out; a note has the time of the first one behind a shutter."""
    frames = [7000 + 10 * make_levels(index).astype(np.uint16) for index in range(12)]
    frames[3][:], frames[5][:], frames[6][:], frames[8][:], frames[9][:] = 0, 29315, 29315, 29420, 65535
    report = fuse(*write_frames(tmp_path, frames, "gray16le"), infrared_options={"infrared_range": "percentile"})[1]
    assert [error.split(": ")[0] for error in report.errors] == ["0.120 s", "0.360 s"]
    assert [note.split(",")[0] for note in report.notes] == ["from 0.200 s: all infrared values are 29315"]


@pytest.mark.parametrize(
    ("count", "dead", "infrared_range"),
    [
        (20, 12, [7000, 10000]),
        (20, 12, "percentile"),
        (20, 12, "folder"),
        (150, 130, "percentile"),
        (30, 29, "percentile"),
    ],
)
@pytest.mark.parametrize("kind", ["video", "folder"])
def test_many_frames_that_show_nothing_at_the_start(
    tmp_path: Path, fuse: Callable, kind: str, count: int, dead: int, infrared_range: str | list[int]
) -> None:
    """A camera that starts late hides nothing of the rest."""
    frames = [7000 + 10 * make_levels(index).astype(np.uint16) * (index >= dead) for index in range(count)]
    frames[:dead] = [np.zeros_like(frame) for frame in frames[:dead]]
    visible, infrared = write_frames(tmp_path, frames, "gray16le")
    options: dict = {"infrared_options": {"infrared_range": infrared_range}}
    if kind == "folder":
        infrared, options["infrared_fps"] = tmp_path / "thermal", 25
        infrared.mkdir()
        for index, frame in enumerate(frames):
            Image.fromarray(frame).save(infrared / f"{index:04d}.tif")
    path, report = fuse(visible, infrared, **options)
    assert (report.frames, report.failures, len(read_frames(path)[0])) == (count - dead, dead, count - dead)
    assert report.errors[0].startswith("0.000 s: ")
    assert not [note for note in report.notes if "left out" in note or "truncated" in note]


@pytest.mark.parametrize(
    ("infrared_options", "counts", "expected"),
    [
        ({"infrared_range": "percentile"}, 6, 1),
        ({"infrared_range": "percentile"}, 60, 0),
        ({"infrared_range": "percentile", "smooth_range": 20}, 6, 0),
        ({"infrared_range": [7000, 10000]}, 6, 0),
    ],
)
def test_noise_behind_a_shutter_is_noted(
    tmp_path: Path, fuse: Callable, infrared_options: dict, counts: int, expected: int
) -> None:
    """Noise is stretched to full contrast by `percentile` only; a scene of a tenth of the contrast is no noise."""
    frames = [7000 + 10 * make_levels(index).astype(np.uint16) for index in range(12)]
    for index in (5, 6, 7):
        frames[index] = 8000 + np.random.default_rng(index).integers(0, counts, SIZE).astype(np.uint16)
    report = fuse(*write_frames(tmp_path, frames, "gray16le"), infrared_options=infrared_options)[1]
    noted = [note for note in report.notes if "range of the infrared frame is below" in note]
    assert (report.frames, len(noted)) == (12, expected)
    assert all(note.startswith("from 0.200 s: ") and "--smooth-range 20" in note for note in noted)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_frame_outside_a_fixed_range_is_left_out(tmp_path: Path, fuse: Callable, batch_size: int) -> None:
    """Such as the shutter of a camera that calibrates itself; frames in its batch are fused."""
    frames = [make_levels(index) for index in range(10)]
    frames[5][:] = 255
    visible, infrared = write_frames(tmp_path, frames, "gray")
    report = fuse(visible, infrared, infrared_options={"infrared_range": [90, 200]}, batch_size=batch_size)[1]
    assert (report.frames, report.failures) == (9, 1)
    assert report.errors[0].startswith("0.200 s: 100% of the infrared image is outside the range")


def test_a_range_that_fits_no_frame_ends_early(tmp_path: Path, fuse: Callable) -> None:
    visible, infrared = write_frames(tmp_path, [make_levels(index) for index in range(30)], "gray")
    seen: list[int] = []
    message = r"fused, neither the first 10, up to 0\.360 s, nor others over the whole time: .*outside the range"
    options = {"infrared_options": {"infrared_range": [0, 20]}}
    with pytest.raises(ValueError, match=message):
        fuse(visible, infrared, progress=lambda done, _: seen.append(done), **options)
    assert len(seen) < 15
    assert sorted(file.name for file in tmp_path.iterdir()) == ["infrared.mkv", "visible.mp4"]
