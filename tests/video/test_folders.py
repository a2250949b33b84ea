"""Folders of frames as videos: times, pairs, values as those of images, damaged files, and runs that are continued."""

import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from camera_files import encode_deep_png, flir_jpeg
from interruptions import interrupt
from numpy.typing import NDArray
from video_files import (
    RATE,
    assert_equal_videos,
    assert_paired,
    infrared_frame,
    marker_column,
    read_audio,
    read_columns,
    read_frames,
    visible_frame,
    write_video,
)

from gffusion.data import ReadOptions, match_pairs, read_image, write_image
from gffusion.data.infrared_range import measure_pairs
from gffusion.data.raw_frames import RawFrame
from gffusion.inference.file_jobs import FusionJob
from gffusion.inference.files import fuse_files
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.video.folders import FrameFolder, open_sources
from gffusion.video.segments import SegmentEncoder
from gffusion.zoo import load_image_processor


def write_folder(folder: Path, frames: Iterable[NDArray[Any]], name: str = "frame_{}.png") -> Path:
    """Write image files, numbered from 1 without zeros, so that their alphabetical order is another one."""
    folder.mkdir()
    for index, image in enumerate(frames, 1):
        write_image(folder / name.format(index), image)
    return folder


@pytest.mark.parametrize("rate", [9, 29.97, 60])
def test_frames_are_paired_by_time(tmp_path: Path, fuse: Callable, rate: float) -> None:
    """Also in folders whose files have another alphabetical order; the audio of the visible video is kept."""
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(25)), audio_seconds=1)
    infrared = write_folder(tmp_path / "thermal", map(infrared_frame, range(int(rate) + 1)))
    path, report = fuse(visible, infrared, infrared_fps=rate)
    exact = Fraction(str(rate))
    times = [Fraction(index, RATE) for index in range(25)]
    assert_paired(path, times, [index / exact for index in range(int(rate) + 1)])
    assert (read_frames(path)[1], read_audio(path)) == (times, read_audio(visible))
    assert (report.frames, report.failures) == (25, 0)


@pytest.mark.parametrize(
    ("rate", "name"), [(10, "fused.mp4"), (29.97, "fused.mkv"), (0.5, "fused.mov"), (30, "fused.webm")]
)
def test_visible_folder(tmp_path: Path, fuse: Callable, rate: float, name: str) -> None:
    """It gives the times; 16 bits are reduced to 8."""
    visible = tmp_path / "visible"
    visible.mkdir()
    for index in range(12):
        (visible / f"{index}.png").write_bytes(encode_deep_png(visible_frame(index).astype(np.uint16) * 257))
    exact = Fraction(str(rate))
    infrared = write_video(
        tmp_path / "infrared.mp4", map(infrared_frame, range(12)), [index / exact for index in range(12)]
    )
    path, report = fuse(visible, infrared, name, visible_fps=rate)
    assert read_columns(path) == [(marker_column(index),) * 2 for index in range(12)]
    expected = [float(index / exact) for index in range(12)]
    np.testing.assert_allclose([float(time) for time in read_frames(path)[1]], expected, atol=1e-3)
    assert "the visible images have 16 bits, which are reduced to 8" in report.notes


def test_visible_frames_of_few_bits(tmp_path: Path, fuse: Callable) -> None:
    """With their range, they and floating-point frames give the video of the same frames in 16 bits; frames of 8 bits have none."""
    for name, factor in (("few", 16), ("full", 257)):
        (tmp_path / name).mkdir()
        for index in range(6):
            frame = visible_frame(index).astype(np.uint16) * factor
            (tmp_path / name / f"{index}.png").write_bytes(encode_deep_png(frame))
    (tmp_path / "float").mkdir()
    for index in range(6):
        write_image(tmp_path / "float" / f"{index}.tif", visible_frame(index).astype(np.float32) * 16)
    infrared = write_folder(tmp_path / "thermal", map(infrared_frame, range(6)))
    options = {"visible_fps": 10, "infrared_fps": 10}
    limits = ReadOptions(visible_range=(0, 4080))
    found, report = fuse(tmp_path / "few", infrared, "few.mp4", read_options=limits, **options)
    expected, _ = fuse(tmp_path / "full", infrared, "full.mp4", **options)
    np.testing.assert_array_equal(read_frames(found)[0], read_frames(expected)[0])
    assert not any("too dark" in note for note in report.notes)
    found, report = fuse(tmp_path / "float", infrared, "float.mp4", read_options=limits, **options)
    np.testing.assert_array_equal(read_frames(found)[0], read_frames(expected)[0])
    assert "the visible images have floating-point values, which are reduced to 8 bits" in report.notes
    with pytest.raises(ValueError, match=r"0.tif: .* got 640 to 4080\. .* \(--visible-range LOW,HIGH\)"):
        fuse(tmp_path / "float", infrared, "refused.mp4", **options)
    assert any(
        "visible_range=(0, 4095)" in note for note in fuse(tmp_path / "few", infrared, "dark.mp4", **options)[1].notes
    )
    eight = write_folder(tmp_path / "eight", map(visible_frame, range(6)))
    with pytest.raises(ValueError, match=r"\(--visible-range\) .* has 8 bits: leave it out"):
        fuse(eight, infrared, "eight.mp4", read_options=limits, **options)
    video = write_video(tmp_path / "visible.mp4", map(visible_frame, range(6)))
    with pytest.raises(ValueError, match=r"\(--visible-range\) .* is a video, whose frames are read with 8 bits"):
        fuse(video, infrared, "video.mp4", read_options=limits, infrared_fps=10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rounding", [-2e-6, 0, 2e-6])
def test_float_frames_outside_of_the_range_by_rounding(tmp_path: Path, dtype: Any, rounding: float) -> None:
    expected = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
    values = expected / 255
    values[:, 0 if rounding < 0 else -1] += rounding
    (tmp_path / "visible").mkdir()
    tifffile.imwrite(tmp_path / "visible" / "1.tif", values.astype(dtype))
    folder = FrameFolder(tmp_path / "visible", "visible", 10)
    np.testing.assert_array_equal([frame.frame.image for frame in folder.read()], [expected])


def test_times_in_names(tmp_path: Path, fuse: Callable) -> None:
    """Two folders with times share their clock: infrared frames start 0.1 s earlier, and one is missing."""
    visible = tmp_path / "visible"
    infrared = tmp_path / "thermal"
    starts = {visible: 1709208000.0, infrared: 1709207999.9}
    for folder, draw, kept in ((visible, visible_frame, range(10)), (infrared, infrared_frame, (0, 1, 3, 4, 5, 6))):
        folder.mkdir()
        for index in kept:
            write_image(folder / f"{starts[folder] + index / 10:.3f}.png", draw(index))
    path, report = fuse(visible, infrared)
    assert read_columns(path) == [
        (marker_column(seen), marker_column(hot)) for seen, hot in enumerate((1, 1, 3, 4, 5, 6, 6))
    ]
    assert read_frames(path)[1] == [Fraction(index, 10) for index in range(7)]
    assert f"{infrared}: times taken from the names of the files, 10 frames per second" in report.notes
    assert read_columns(fuse(visible, infrared, "typed.mp4", infrared_fps=10)[0])[:2] == [
        (marker_column(0),) * 2,
        (marker_column(1),) * 2,
    ]


@pytest.mark.parametrize("lacking", ["visible", "infrared"])
def test_numbers_that_one_folder_lacks_are_dropped_frames(tmp_path: Path, fuse: Callable, lacking: str) -> None:
    """Frames behind them are not early."""
    visible = write_folder(tmp_path / "visible", (visible_frame(index) for index in range(12)))
    infrared = write_folder(tmp_path / "infrared", (infrared_frame(index) for index in range(12)), "ir{}.png")
    for file in (tmp_path / lacking).glob("*[45].png"):
        file.unlink()
    path, report = fuse(visible, infrared, visible_fps=25, infrared_fps=25)
    left = [index for index in range(12) if index not in (3, 4)]
    shown = left if lacking == "visible" else list(range(12))
    times = [Fraction(index, 25) for index in left]
    if lacking == "infrared":
        found = dict(zip(range(12), read_columns(path), strict=True))
        assert all(found[index] == (marker_column(index),) * 2 for index in left)
        assert {found[index][1] for index in (3, 4)} <= {marker_column(2), marker_column(5)}
    else:
        assert read_columns(path) == [(marker_column(index),) * 2 for index in shown]
        assert read_frames(path)[1] == times
    assert (
        f"{tmp_path / lacking}: 2 frames taken as dropped, because the other folder has their numbers" in report.notes
    )
    assert not any("are missing, as after" in note for note in report.notes)


def test_numbers_of_other_counters_give_no_times(tmp_path: Path) -> None:
    """With another rate, another first number, or numbers that the other folder lacks."""
    folders = [tmp_path / "visible", tmp_path / "infrared"]
    for folder in folders:
        write_folder(folder, (visible_frame(index) for index in range(6)))
    (folders[1] / "frame_3.png").unlink()
    even = [Fraction(index, 25) for index in range(5)]
    assert [frame.time for frame in open_sources((*folders,), (25, 25), ReadOptions())[1].read()] != even
    for change in ("rate", "further", "first"):
        if change == "further":
            (folders[1] / "frame_6.png").rename(folders[1] / "frame_9.png")
        if change == "first":
            (folders[1] / "frame_9.png").rename(folders[1] / "frame_6.png")
            (folders[0] / "frame_1.png").rename(folders[0] / "frame_0.png")
        sources = open_sources((*folders,), (50 if change == "rate" else 25, 25), ReadOptions())
        assert [frame.time for frame in sources[1].read()] == even
        assert "are missing, as after frame_" in sources[1].notes[0]


def test_missing_numbers_are_noted(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "thermal", map(infrared_frame, range(12)))
    assert FrameFolder(folder, "infrared", 9).notes == []
    (folder / "frame_6.png").unlink()
    assert "are missing, as after frame_5.png," in FrameFolder(folder, "infrared", 9).notes[0]


def draw_counts(index: int) -> NDArray[np.uint16]:
    """Return counts of which 8 bits would leave one value."""
    return infrared_frame(index).astype(np.uint16) // 2 + 7050 + 3 * index


def write_kelvin(path: Path, counts: NDArray[np.uint16]) -> None:
    values = counts.astype(np.float32) / 100
    values[20, 30] = np.nan
    write_image(path, values)


def write_radiometric(path: Path, counts: NDArray[np.uint16]) -> None:
    path.write_bytes(flir_jpeg(counts, None))


WRITERS: dict[str, Callable[[Path, Any], None]] = {
    "counts.png": write_image,
    "counts.tiff": write_image,
    "kelvin.tiff": write_kelvin,
    "radiometric.jpg": write_radiometric,
    "raw.raw": lambda path, counts: path.write_bytes(counts.astype("<u2").tobytes()),
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "options", [{"smooth_range": 4, "infrared_range": "percentile"}, {"infrared_range": "folder", "invert": True}]
)
def test_values_are_those_of_images(
    tmp_path: Path,
    fuse: Callable,
    funet: GFFusionModel,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    options: dict[str, Any],
) -> None:
    """Before they are compressed, fused frames equal the images that are fused from the same files."""
    encoded: list[NDArray[np.uint8]] = []
    encode = SegmentEncoder.write

    def keep(encoder: SegmentEncoder, image: NDArray[np.uint8], *times: Fraction) -> None:
        encoded.append(image)
        encode(encoder, image, *times)

    monkeypatch.setattr(SegmentEncoder, "write", keep)
    visible = write_folder(tmp_path / "visible", map(visible_frame, range(8)), f"{Path(kind).stem}_{{}}.png")
    infrared = tmp_path / "thermal"
    infrared.mkdir()
    for index in range(8):
        WRITERS[kind](infrared / f"{kind.replace('.', f'_{index + 1}.')}", draw_counts(index))
    raw = ReadOptions(raw_frame=RawFrame.parse("48x64,uint16") if kind == "raw.raw" else None)
    _, report = fuse(
        visible, infrared, read_options=raw, infrared_options=options, visible_fps=25, infrared_fps=25, batch_size=3
    )
    assert (report.frames, report.failures) == (8, 0)
    processor = load_image_processor("gffusion-funet", **options)
    pairs = match_pairs(visible, infrared, infrared_suffixes=raw.raw_suffixes).pairs
    ranges = measure_pairs(pairs, processor.infrared_options, raw)
    (tmp_path / "images").mkdir()
    jobs = [
        FusionJob(pair, tmp_path / "images" / f"{pair.name}.png", infrared_options=ranges.options_of(pair))
        for pair in pairs
    ]
    results = list(fuse_files(jobs, funet, processor, read_options=raw))
    assert [result.error for result in results] == [None] * 8
    for image, job in zip(encoded, jobs, strict=True):
        np.testing.assert_allclose(image.astype(int), read_image(job.fused), atol=1)  # of batches of another size


def test_damaged_files_are_left_out(tmp_path: Path, fuse: Callable) -> None:
    """As damaged packets are: the nearest other infrared frame is taken, and a note names the file."""
    visible = write_folder(tmp_path / "visible", map(visible_frame, range(12)))
    infrared = write_folder(tmp_path / "thermal", map(draw_counts, range(12)), "frame_{}.tiff")
    for file in (infrared / "frame_5.tiff", visible / "frame_9.png"):
        file.write_bytes(file.read_bytes()[:-400])
    options = {"visible_fps": 25, "infrared_fps": 25, "infrared_options": {"infrared_range": "folder"}}
    path, report = fuse(visible, infrared, **options)
    hot = [index for index in range(12) if index != 8]
    expected = [(marker_column(index), marker_column(index)) for index in hot]
    found = read_columns(path)
    assert found[:4] + found[5:] == expected[:4] + expected[5:]
    assert found[4] in [(marker_column(4), marker_column(other)) for other in (3, 5)]
    assert (report.frames, report.failures) == (11, 0)
    for folder, name in ((visible, "frame_9.png"), (infrared, "frame_5.tiff")):
        assert any(note.startswith(f"{folder}: 1 damaged frame left out: ") and name in note for note in report.notes)
    for file in infrared.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"thermal has no frame that can be decoded: .*frame_1\.tiff"):
        fuse(visible, infrared, "other.mp4", **options)


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("thermal/frame_3.tiff", np.zeros((24, 64), np.uint16), r"frame_3\.tiff has 64x24 pixels, but 4 of 5 frames have 64x48"),
        ("thermal/frame_3.tiff", infrared_frame(2), r"frame_3\.tiff holds 8-bit values, but 4 of 5 images hold 16-bit"),
        ("visible/frame_2.png", np.zeros((48, 64), np.uint16), r"frame_2\.png holds 16-bit values, but 4 of 5 images hold 8-bit"),
        ("visible/frame_2.png", np.zeros((48, 32, 3), np.uint8), r"frame_2\.png has 32x48 pixels, but 4 of 5 frames have 64x48"),
        ("visible/frame_2_mask.png", np.zeros((48, 64), np.uint8), r"frame_2\.png and frame_2_mask\.png in .*visible show one scene by their names"),
    ],
)  # fmt: skip
def test_folders_of_unequal_files_are_refused(
    tmp_path: Path, fuse: Callable, name: str, image: NDArray[Any], message: str
) -> None:
    visible = write_folder(tmp_path / "visible", map(visible_frame, range(5)))
    infrared = write_folder(tmp_path / "thermal", map(draw_counts, range(5)), "frame_{}.tiff")
    write_image(tmp_path / name, image)
    with pytest.raises(ValueError, match=message):
        fuse(visible, infrared, visible_fps=25, infrared_fps=25)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["thermal", "visible"]


def test_numbers_after_a_time_are_no_fractions(tmp_path: Path, fuse: Callable) -> None:
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(5)))
    infrared = write_folder(tmp_path / "thermal", map(infrared_frame, range(5)), "REC_20240229_120000_00{}.png")
    with pytest.raises(ValueError, match=r"a time and a number, not the time of each: .*--infrared-fps 25"):
        fuse(visible, infrared)
    assert fuse(visible, infrared, infrared_fps=25)[1].frames == 5


def test_an_interrupted_run_is_continued(tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the range of the frames before; a changed file or rate starts anew."""
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 8)
    (tmp_path / "once").mkdir()
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(20)))
    infrared = write_folder(tmp_path / "thermal", map(draw_counts, range(20)), "frame_{}.tiff")
    options = {"infrared_fps": 25, "infrared_options": {"infrared_range": "percentile", "smooth_range": 10}}
    expected, _ = fuse(visible, infrared, "once/fused.mp4", **options)
    interrupt(fuse, visible, infrared, after=12, **options)
    path, report = fuse(visible, infrared, **options)
    assert (report.frames, report.resumed) == (20, 8)
    assert_equal_videos(path, expected)
    interrupt(fuse, visible, infrared, after=12, **options)
    assert fuse(visible, infrared, **options | {"infrared_fps": 25.5})[1].resumed == 0
    interrupt(fuse, visible, infrared, after=12, **options)
    os.utime(infrared / "frame_20.tiff", (1, 1))
    assert fuse(visible, infrared, **options)[1].resumed == 0
