"""Two videos are fused: places, times, audio, ranges, and videos that are not as expected."""

import os
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import (
    RATE,
    assert_paired,
    find_markers,
    infrared_frame,
    marker_column,
    read_audio,
    read_columns,
    read_frames,
    visible_frame,
    write_pair,
    write_video,
)

from gffusion.cameras import InfraredFrame, Rig
from gffusion.data import ReadOptions
from gffusion.video.probing import find_common_border
from gffusion.video.reading import VideoFile, to_infrared


def same(count: int, start: int = 0) -> list[tuple[int, int]]:
    return [(marker_column(index), marker_column(index)) for index in range(start, start + count)]


@pytest.mark.parametrize("name", ["fused.mp4", "fused.mkv", "fused.mov"])
def test_frames_times_and_audio_are_kept(tmp_path: Path, fuse: Callable, name: str) -> None:
    """The marker of frame k is in fused frame k, at the time of frame k, with the same packets of audio."""
    visible, infrared = write_pair(tmp_path, 30, audio_seconds=1.2)
    path, report = fuse(visible, infrared, name, batch_size=4)
    assert read_columns(path) == same(30)
    times, expected = read_frames(path)[1], read_frames(visible)[1]
    assert times == expected
    audio, copied = read_audio(visible), read_audio(path)
    if name.endswith("mkv"):  # which has no negative times, as the delay of AAC needs
        audio = [packet for packet in audio if packet[0] >= 0]
    assert len(audio) > 15
    assert [content for _, content in copied] == [content for _, content in audio]
    assert np.allclose([float(time) for time, _ in copied], [float(time) for time, _ in audio], atol=1e-3)
    with av.open(str(path)) as container:
        assert container.streams.video[0].average_rate == RATE
    assert (report.frames, report.resumed, report.failures, report.notes) == (30, 0, 0, [])
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([name, "infrared.mp4", "visible.mp4"])


def test_audio_of_a_clock_that_starts_anywhere_stays_in_time(tmp_path: Path, fuse: Callable) -> None:
    """Transport streams are shown from their first time stamp on; sound and images are moved by the same time."""
    visible, infrared = write_pair(tmp_path, 10, audio_seconds=0.5)
    broadcast = tmp_path / "broadcast.ts"
    with av.open(str(visible)) as source, av.open(str(broadcast), "w") as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.pts, packet.dts = (stamp + round(5 / packet.time_base) for stamp in (packet.pts, packet.dts))
                packet.stream = copies[packet.stream_index]
                target.mux(packet)
    path, _ = fuse(broadcast, infrared)
    assert VideoFile(broadcast).start == read_frames(path)[1][0]
    delays = [read_audio(file)[0][0] - read_frames(file)[1][0] for file in (visible, path)]
    assert abs(delays[1] - delays[0]) < Fraction(1, 1000)


def test_audio_that_the_container_cannot_hold_is_refused_before_fusing(tmp_path: Path, fuse: Callable) -> None:
    visible, infrared = write_pair(tmp_path, 4, audio_seconds=1)
    with pytest.raises(
        ValueError, match=r"\.webm files cannot hold the audio .*aac.*write \.mp4, \.mkv, \.mov, or .*--no-audio"
    ):
        fuse(visible, infrared, "fused.webm")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["infrared.mp4", "visible.mp4"]
    path, report = fuse(visible, infrared, "fused.webm", keep_audio=False)
    assert (report.frames, read_frames(path)[1]) == (4, read_frames(visible)[1])
    with av.open(str(path)) as container:
        assert not container.streams.audio and "vp9" in container.streams.video[0].name


@pytest.mark.parametrize(("height", "matrix"), [(64, 6), (720, 1)])  # BT.601, and BT.709 by ITU-T H.273
def test_colors_are_those_of_the_visible_video(tmp_path: Path, fuse: Callable, height: int, matrix: int) -> None:
    """Red, green and blue survive decoding, fusion of the luma, and encoding; also in players that ignore the tags."""
    image = np.zeros((height, 96, 3), np.uint8)
    for channel in range(3):
        image[:, 32 * channel : 32 * channel + 32] = 60
        image[:, 32 * channel : 32 * channel + 32, channel] = 180
    visible = write_video(tmp_path / "visible.mkv", [image] * 3, codec="ffv1", pixels="bgr0")
    infrared = write_video(tmp_path / "infrared.mp4", [np.tile(np.arange(96, dtype=np.uint8) * 2, (height, 1))] * 3)
    path, _ = fuse(visible, infrared)
    with av.open(str(path)) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_range) == (matrix, 1)  # limited range
    fused = read_frames(path)[0][1].astype(int)
    for channel in range(3):
        patch = fused[16:48, 32 * channel + 10 : 32 * channel + 22].mean(axis=(0, 1))
        others = np.delete(patch, channel)
        assert patch[channel] - others.max() > 60
        assert np.ptp(others) < 12


@pytest.mark.parametrize("infrared_rate", [9, Fraction(30000, 1001), 60])
def test_other_frame_rates_are_matched_by_time(tmp_path: Path, fuse: Callable, infrared_rate: Fraction) -> None:
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(25)))
    count = int(infrared_rate)
    options = {"rate": infrared_rate, "time_base": Fraction(1, 90000)}
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(count)), **options)
    path, report = fuse(visible, infrared)
    times = [Fraction(index, RATE) for index in range(25)]
    assert_paired(path, times, [index / infrared_rate for index in range(count)])
    assert any("matched by time stamps: the videos have 25 and" in note for note in report.notes)


def test_start_offsets_and_unequal_length(tmp_path: Path, fuse: Callable) -> None:
    """The infrared video starts four frames later and ends six frames earlier; so does the result, with its audio."""
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(30)), audio_seconds=1.2)
    times = [Fraction(index, RATE) for index in range(4, 24)]
    infrared = write_video(tmp_path / "infrared.mkv", map(infrared_frame, range(4, 24)), times)
    path, report = fuse(visible, infrared)
    # One period of tolerance at both ends.
    first, last = (marker_column(3), marker_column(4)), (marker_column(24), marker_column(23))
    assert read_columns(path) == [first, *same(20, 4), last]
    assert read_frames(path)[1] == [Fraction(index, RATE) for index in range(3, 25)]
    assert report.notes == [
        "left out 3 visible frames before the infrared video starts",
        "stopped at the end of the infrared video, which is shorter",
    ]
    expected = [packet for packet in read_audio(visible) if Fraction(3, 25) <= packet[0] < 1]
    assert read_audio(path) == expected


def test_time_offset(tmp_path: Path, fuse: Callable) -> None:
    """Recorders that were started at different times; without the offset, no frames are at the same time."""
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(10)))
    times = [Fraction(index, RATE) + 100 for index in range(10)]
    infrared = write_video(tmp_path / "infrared.mkv", map(infrared_frame, range(10)), times)
    with pytest.raises(
        ValueError, match=r"no frames .* at the same time: .*starts at 0.000 s.*100.000 s.*--time-offset"
    ):
        fuse(visible, infrared)
    assert read_columns(fuse(visible, infrared, time_offset=-100)[0]) == same(10)


def test_variable_frame_rate_and_missing_frames(tmp_path: Path, fuse: Callable) -> None:
    """Time stamps of a phone; the infrared camera lost ten frames, for which no other moment is shown."""
    rng = np.random.default_rng(0)
    ticks = np.cumsum(rng.integers(300, 800, 40))
    times = [Fraction(int(tick), 12800) for tick in ticks]
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(40)), times)
    kept = [index for index in range(40) if not 15 <= index < 25]
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, kept), [times[index] for index in kept])
    path, report = fuse(visible, infrared)
    times = read_frames(visible)[1]
    assert set(read_frames(path)[1]) <= set(times)
    tolerance = Fraction(1, 15)
    for time, (seen, hot) in zip(read_frames(path)[1], read_columns(path), strict=True):
        assert seen == marker_column(times.index(time))
        assert hot in [marker_column(index) for index in kept if abs(times[index] - time) <= tolerance]
    assert re_find(report.notes, "without an infrared frame within")


def re_find(notes: list[str], words: str) -> bool:
    return any(words in note for note in notes)


@pytest.mark.parametrize(("height", "width"), [(49, 64), (48, 65), (51, 67)])
def test_odd_sizes(tmp_path: Path, fuse: Callable, height: int, width: int) -> None:
    """The last row or column is repeated, because H.264 for all players needs even sides."""
    images, heat = ([frame(index, height, width) for index in range(4)] for frame in (visible_frame, infrared_frame))
    visible = write_video(tmp_path / "visible.mkv", images, codec="ffv1", pixels="bgr0")
    infrared = write_video(tmp_path / "infrared.mkv", heat, codec="ffv1", pixels="gray")
    path, _ = fuse(visible, infrared)
    fused = read_frames(path)[0]
    assert fused[0].shape == (height + height % 2, width + width % 2, 3)
    assert np.abs(fused[0][height:].astype(int) - fused[0][height - 1]).max(initial=0) < 32
    assert np.abs(fused[0][:, width:].astype(int) - fused[0][:, width - 1 : width]).max(initial=0) < 32
    assert [find_markers(image[:height, :width]) for image in fused] == [
        (marker_column(index, width),) * 2 for index in range(4)
    ]


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotated_phone_videos_are_upright(tmp_path: Path, fuse: Callable, rotation: int) -> None:
    stored = [np.rot90(visible_frame(index), -rotation // 90) for index in range(5)]
    visible = write_video(tmp_path / "visible.mp4", stored, rotation=rotation)
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(5)))
    path, _ = fuse(visible, infrared)
    assert read_columns(path) == same(5)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == 0


@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [("ffv1", "gray16le", "mkv"), ("png", "gray16be", "mov"), ("ffv1", "gray12le", "mkv")],
)
def test_raw_counts(tmp_path: Path, fuse: Callable, codec: str, pixels: str, suffix: str) -> None:
    """Counts of 12 to 16 bits are not rounded: a range of few counts shows the marker."""
    counts = [(3000 + (infrared_frame(index).astype(np.uint16) >> 3)) for index in range(4)]
    infrared = write_video(tmp_path / f"infrared.{suffix}", counts, codec=codec, pixels=pixels)
    stored = [to_infrared(item.frame) for item in VideoFile(infrared).read()]
    assert all(np.array_equal(first, second) for first, second in zip(stored, counts, strict=True))
    visible = write_video(tmp_path / "visible.mp4", map(visible_frame, range(4)))
    path, report = fuse(visible, infrared, infrared_options={"infrared_range": [3000, 3032]})
    assert report.notes == []
    assert [hot for _, hot in read_columns(path)] == [marker_column(index) for index in range(4)]


@pytest.mark.parametrize(("transfer", "hdr"), [(16, ["PQ"]), (18, ["HLG"]), (1, [])])  # by ITU-T H.273
def test_bits_and_brightness_that_are_lost_are_noted(
    tmp_path: Path, fuse: Callable, transfer: int, hdr: list[str]
) -> None:
    def prepare(stream: av.VideoStream) -> None:
        stream.codec_context.color_trc = transfer

    visible, infrared = (
        write_video(
            tmp_path / f"{name}.mkv", map(render, range(2)), codec="ffv1", pixels="yuv420p10le", prepare=prepare
        )
        for name, render in (("visible", visible_frame), ("infrared", infrared_frame))
    )
    assert fuse(visible, infrared)[1].notes == [
        "the visible video has 10 bits, which are reduced to 8",
        *(f"the visible video is HDR ({name}): its values are taken without tone mapping" for name in hdr),
        "the infrared video has 10 bits but no gray format: they are reduced to 8",
    ]


def test_alignment_and_crop(tmp_path: Path, fuse: Callable) -> None:
    """An infrared video of half the size, at an offset, by the file of a rig. Sizes hold for the video, not for a time."""
    for count in (12, 4):
        visible, _ = write_pair(tmp_path, count)
        small = [infrared_frame(index)[::2, ::2] for index in range(count)]
        infrared = write_video(tmp_path / "small.mp4", small)
        with pytest.raises(ValueError, match=r"^no frame could be fused.*: \S*visible.mp4 measures 64.*48.*32.*24"):
            fuse(visible, infrared)
    path, _ = fuse(visible, infrared, read_options=ReadOptions(align="resize"))
    assert all(abs(hot - marker_column(index)) <= 2 for index, (_, hot) in enumerate(read_columns(path)))
    shifted = np.array([[1, 0, 0.125], [0, 1, 0], [0, 0, 1]])
    path, _ = fuse(visible, infrared, "crop.mp4", read_options=ReadOptions(align=Rig(shifted), crop=True))
    assert read_frames(path)[0][0].shape[1] < 64


def test_borders_come_from_all_frames(tmp_path: Path, fuse: Callable) -> None:
    frames = []
    for index in range(12):
        frame = np.random.default_rng(index).integers(90, 160, (48, 64)).astype(np.uint8)
        frame[:, :16] = 0
        frames.append(frame)
    frames[5][:] = 0  # a black frame is no border
    infrared = write_video(tmp_path / "infrared.mkv", frames, codec="ffv1", pixels="gray")
    visible = write_video(tmp_path / "visible.mp4", [np.full((48, 64, 3), 120, np.uint8)] * 12)
    path, report = fuse(visible, infrared)
    assert re_find(report.notes, "infrared border (2")
    images = read_frames(path)[0]
    assert all(abs(image[:, 2:10].mean() - 120) < 6 for index, image in enumerate(images) if index != 5)
    path, report = fuse(visible, infrared, "cut.mp4", read_options=ReadOptions(align="resize", crop=True))
    assert re_find(report.notes, "infrared border (28 %) cut off")
    assert {image.shape[:2] for image in read_frames(path)[0]} == {(48, 46)}
    path, report = fuse(visible, infrared, "kept.mp4", read_options=ReadOptions(keep_borders=True))
    assert not re_find(report.notes, "border")


def test_a_border_is_that_of_all_frames() -> None:
    """Dark content of some frames is no border, and counts have none."""
    frames = [np.random.default_rng(index).integers(90, 160, (48, 64)).astype(np.uint8) for index in range(3)]
    for frame, width in zip(frames, (16, 20, 24), strict=True):
        frame[:, :width] = 0
    found = find_common_border([InfraredFrame(frame) for frame in frames])
    assert found is not None and found[:, :16].all() and not found[:, 20:].any()  # with a rim
    others = InfraredFrame(np.roll(frames[0], 32, axis=1)), InfraredFrame(frames[0], is_raw=True)
    assert [find_common_border([InfraredFrame(frames[0]), other]) for other in others] == [None, None]


def test_false_colors(tmp_path: Path, fuse: Callable) -> None:
    """A known palette is mapped back; another palette in the middle of the video is refused for the rest."""
    from gffusion.cameras.palettes import load_palettes

    jet, hot = (load_palettes()[name].astype(np.uint8) for name in ("jet", "inferno"))
    rows = np.add.outer(np.arange(96), np.arange(128))
    levels = [((rows * 255) // rows.max() + 2 * index).clip(0, 255).astype(np.uint8) for index in range(4)]
    visible = write_video(tmp_path / "visible.mp4", [visible_frame(index, 96, 128) for index in range(4)])
    colors = write_video(tmp_path / "jet.mkv", [jet[level] for level in levels], codec="ffv1", pixels="bgr0")
    gray = write_video(tmp_path / "gray.mkv", levels, codec="ffv1", pixels="gray")
    images = [read_frames(fuse(visible, path, f"{path.stem}.mp4")[0])[0][2] for path in (colors, gray)]
    assert np.abs(images[0].astype(int) - images[1]).mean() < 2
    mixed = [jet[levels[0]], jet[levels[1]], hot[levels[2]], hot[levels[3]]]
    path = write_video(tmp_path / "mixed.mkv", mixed, codec="ffv1", pixels="bgr0")
    report = fuse(visible, path, "mixed.mp4")[1]
    assert (report.frames, report.failures) == (2, 2)
    assert "the palette of" in report.errors[0]
    assert "--infrared-luma" in report.errors[0]


def test_same_video_twice(tmp_path: Path, fuse: Callable) -> None:
    visible, _ = write_pair(tmp_path, 4)
    gray = write_video(
        tmp_path / "gray.mp4", [(visible_frame(index) @ [0.299, 0.587, 0.114]).astype(np.uint8) for index in range(4)]
    )
    with pytest.raises(ValueError, match="show the same image"):
        fuse(visible, gray)


def test_damaged_packets_and_cut_off_files(tmp_path: Path, fuse: Callable) -> None:
    """A transport stream that is damaged in the middle and cut off at the end is fused as far as it goes."""
    visible = write_video(tmp_path / "visible.ts", map(visible_frame, range(60)), time_base=Fraction(1, 90000))
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(60)))
    content = bytearray(visible.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    visible.write_bytes(content[: int(0.9 * len(content))])
    path, report = fuse(visible, infrared)
    assert 30 < report.frames < 60
    times = read_frames(path)[1]
    assert times[0] == 0  # the clock of the stream starts elsewhere
    good = [
        find_markers(image)[1] == marker_column(round(time * RATE))
        for time, image in zip(times, read_frames(path)[0], strict=True)
    ]
    assert np.mean(good) > 0.8


@pytest.mark.parametrize("change", [Path.touch, Path.unlink])
def test_a_file_that_changes_while_it_is_read_is_noted(tmp_path: Path, fuse: Callable, change: Callable) -> None:
    visible, infrared = write_pair(tmp_path, 6)
    _, report = fuse(visible, infrared, progress=lambda *_: change(infrared) if infrared.exists() else None)
    assert len(report.notes) == 1 and "was written or replaced while it was read" in report.notes[0]


@pytest.mark.parametrize("count", [90, 12])
@pytest.mark.parametrize("cut", ["visible", "infrared"])
def test_a_file_that_is_cut_off_is_noted(tmp_path: Path, fuse: Callable, cut: str, count: int) -> None:
    """Its header tells the duration, and what is left can be decoded without an error."""
    files = [
        write_video(tmp_path / f"{name}.mkv", map(frame, range(count)), codec="ffv1", pixels="bgr0")
        for name, frame in (("visible", visible_frame), ("infrared", infrared_frame))
    ]
    assert not fuse(*files, "whole.mp4")[1].notes
    file = tmp_path / f"{cut}.mkv"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    report = fuse(*files)[1]
    assert report.frames < 0.7 * count
    seconds = [
        f"{frames / RATE:.2f}" for frames in (report.frames - (cut == "infrared"), count)
    ]  # the last one is used twice
    assert re_find(report.notes, f"{cut}.mkv has frames for {seconds[0]} s, but says that it lasts {seconds[1]} s")
    assert f"stopped at the end of the {cut} video, which is shorter" in report.notes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"nothing"), "cannot read the video"),
        (lambda path: path.write_bytes(b""), r"bad\.mp4: the file is empty \(0 bytes\)"),
        (lambda path: None, "does not exist"),
    ],
)
def test_files_that_are_no_videos(tmp_path: Path, fuse: Callable, make: Callable, message: str) -> None:
    visible, _ = write_pair(tmp_path, 2)
    path = tmp_path / "bad.mp4"
    make(path)
    with pytest.raises(OSError, match=message):
        fuse(visible, path)


def test_sound_and_still_images_are_refused(tmp_path: Path, fuse: Callable) -> None:
    from PIL import Image
    from video_files import write_tone

    visible, _ = write_pair(tmp_path, 2)
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        write_tone(container, container.add_stream("aac", rate=16000, layout="mono"), 0.5)
    with pytest.raises(ValueError, match=r"sound\.mp4 has no video stream"):
        fuse(visible, tmp_path / "sound.mp4")
    Image.fromarray(visible_frame(0)).save(tmp_path / "still.png")
    (tmp_path / "still.png").rename(tmp_path / "still.mp4")
    with pytest.raises(ValueError, match=r"still\.mp4 is a still image"):
        fuse(visible, tmp_path / "still.mp4")
    first, *others = (Image.fromarray(visible_frame(index)) for index in range(3))
    first.save(tmp_path / "moving.gif", save_all=True, append_images=others)
    with pytest.raises(ValueError, match=r"moving\.gif is a still image or an animation"):
        fuse(visible, tmp_path / "moving.gif")


def test_metadata(tmp_path: Path, fuse: Callable) -> None:
    visible, infrared = write_pair(tmp_path, 2)
    titled = tmp_path / "titled.mp4"
    with av.open(str(visible)) as source, av.open(str(titled), "w") as target:
        target.metadata["title"] = "night drive"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.pts is not None:
                packet.stream = stream
                target.mux(packet)
    titles = []
    for number, keep in enumerate((True, False)):
        path, _ = fuse(titled, infrared, f"fused{number}.mp4", keep_metadata=keep)
        with av.open(str(path)) as container:
            titles.append(container.metadata.get("title"))
    assert titles == ["night drive", None]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
def test_memory_is_constant(tmp_path: Path, fuse: Callable) -> None:
    """Python's memory after 700 frames is that after 400, and so is the memory of FFmpeg, which counts in the process."""
    visible, infrared = write_pair(tmp_path, 700)
    marks: dict[int, tuple[int, int]] = {}

    def measure(done: int, total: int | None) -> None:
        if done in (400, 700):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            marks[done] = tracemalloc.get_traced_memory()[0], pages * os.sysconf("SC_PAGE_SIZE")

    tracemalloc.start()
    try:
        fuse(visible, infrared, progress=measure)
    finally:
        tracemalloc.stop()
    assert marks[700][0] - marks[400][0] < 500_000
    assert marks[700][1] - marks[400][1] < 20_000_000  # one frame of all stages takes 100,000
