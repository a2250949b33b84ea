"""What videos say about themselves: color matrix, clock, duration, order and direction."""

import contextlib
import gc
from collections.abc import Callable
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import ExifTags, Image, ImageOps
from video_files import RATE, find_marker, infrared_frame, marker_column, visible_frame, write_repeats, write_video

from gffusion.video.formats import EXACT_COLORS
from gffusion.video.matching import VideoPair, describe_counts
from gffusion.video.reading import VideoFile, to_infrared, to_visible

ORIENTATION = ExifTags.Base.Orientation
COLOR = (220, 60, 40)


@pytest.mark.parametrize(
    ("height", "written", "tag"),
    [
        (48, "ITU601", None),
        (720, "ITU709", None),
        (720, "ITU601", 6),
        (48, "ITU709", 1),
    ],
)
def test_colors_without_a_matrix_are_those_of_players(height: int, written: str, tag: int | None) -> None:
    image = np.full((height, 64, 3), COLOR, np.uint8)
    frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p", dst_colorspace=written)
    frame.colorspace = tag or 2
    for decode in (to_visible, to_infrared):
        assert np.abs(decode(frame).astype(int) - image).max() <= 2


@pytest.mark.parametrize("kind", ["yuv420p", "yuvj420p", "yuyv422", "nv12", "yuv420p10le"])
def test_colors_are_those_of_the_standard(kind: str) -> None:
    """BT.601: R = Y + 1.402 V, B = Y + 1.772 U and Y = 0.299 R + 0.587 G + 0.114 B, within a level."""
    full = kind.startswith("yuvj")
    luma = np.broadcast_to(np.arange(60, 180, dtype=np.uint8), (48, 120))
    chroma = [np.full((48, 120), value, np.uint8) for value in (150, 110)]
    frame = av.VideoFrame.from_ndarray(np.stack([luma, *chroma]), "yuvj444p" if full else "yuv444p")
    y, u, v = luma.astype(float), 22.0, -18.0
    y, u, v = (y, u, v) if full else ((y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224)
    red, blue = y + 1.402 * v, y + 1.772 * u
    expected = np.stack([red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue], -1)
    for read in (to_visible, to_infrared):
        assert np.abs(read(frame.reformat(format=kind, interpolation=EXACT_COLORS)) - expected)[:, 2:-2].max() <= 1


def test_frames_are_freed_without_the_garbage_collector(tmp_path: Path) -> None:
    """It runs so seldom beside torch that hundreds of frames, and thousands of FFmpeg's threads, would wait for it."""
    files = [write_video(tmp_path / f"{index}.mp4", map(visible_frame, range(20))) for index in range(2)]
    gc.collect()
    others = {id(frame) for frame in gc.get_objects() if isinstance(frame, av.VideoFrame)}  # that other tests hold
    gc.disable()
    try:
        for pair in VideoPair(*map(VideoFile, files)).read():
            pair.decode()
        assert sum(isinstance(thing, av.VideoFrame) and id(thing) not in others for thing in gc.get_objects()) <= 2
    finally:
        gc.enable()


@pytest.mark.parametrize(("suffix", "audio"), [(".mkv", 0), (".mkv", 1), (".mp4", 0), (".nut", 0)])
def test_a_clock_that_starts_late_is_no_missing_end(suffix: str, audio: int, tmp_path: Path) -> None:
    """The pair lasts a second from second 3700 on, and pairs are found until its end; audio starts at 0."""
    times = [3700 + Fraction(index, RATE) for index in range(RATE)]
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 12800)
    path = tmp_path / f"late{suffix}"
    write_video(path, map(visible_frame, range(RATE)), times, time_base=base, audio_seconds=audio)
    file = VideoFile(path)
    assert file.start == 3700 and abs(file.seconds - 1) <= Fraction(1, RATE)
    pair = VideoPair(file, VideoFile(path))
    assert len(list(pair.read())) == RATE
    assert describe_counts(pair.counts, pair) == []
    assert len(pair.probe()) == 10


def find_number(frame: av.VideoFrame) -> int:
    """Return the column of the marker of a visible frame, which moves."""
    return find_marker(to_visible(frame)[4:14])


def use_b_frames(stream: Any) -> None:
    stream.codec_context.max_b_frames, stream.codec_context.gop_size = 2, 10


@pytest.mark.parametrize("start", [None, Fraction(1, 2)])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".avi", "libx264"), (".avi", "mpeg4"), (".mp4", "libx264"), (".ts", "libx264")]
)
def test_frames_that_were_decoded_in_another_order(
    suffix: str, codec: str, start: Fraction | None, tmp_path: Path
) -> None:
    """AVI stores no times of presentation; transport streams have no index, so that a later key frame is found."""

    base = Fraction(1, 90000) if suffix == ".ts" else Fraction(1, RATE)
    frames = map(visible_frame, range(30))
    file = VideoFile(write_video(tmp_path / f"clip{suffix}", frames, codec=codec, time_base=base, prepare=use_b_frames))
    found = list(file.read(start))
    assert any(item.frame.pict_type == av.video.frame.PictureType.B for item in found)
    first = round(found[0].time * RATE)
    assert first == 0 if start is None else first <= start * RATE
    assert [item.time for item in found] == [Fraction(index, RATE) for index in range(first, 30)]
    assert [find_number(item.frame) for item in found] == [marker_column(index) for index in range(first, 30)]
    assert file.damaged == 0


_EVEN = [Fraction(index, RATE) for index in range(30)]
_UNEVEN = [Fraction(int(index), RATE) for index in np.random.default_rng(1).choice([1, 2, 3, 15], 30).cumsum() - 1]


@pytest.mark.parametrize("times", [_EVEN, _UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize(
    ("suffix", "codec"), [(".avi", "mjpeg"), (".avi", "mpeg4"), (".avi", "libx264"), (".flv", "libx264")]
)
def test_a_fine_clock_is_no_frame_rate(suffix: str, codec: str, times: list[Fraction], tmp_path: Path) -> None:
    """AVI names the unit of its time stamps as the rate, and all frames last one unit; the end of the last one is not known."""
    path, pixels = tmp_path / f"clip{suffix}", "yuvj420p" if codec == "mjpeg" else "yuv420p"
    base = Fraction(1, 1000) if suffix == ".flv" else Fraction(1, 24 * RATE)
    prepare = (lambda stream: None) if codec == "mjpeg" else use_b_frames
    write_video(path, map(visible_frame, range(30)), times, codec=codec, pixels=pixels, time_base=base, prepare=prepare)
    pair = VideoPair(VideoFile(path), VideoFile(path))
    found = [item.time for item, _ in pair.read()]
    assert describe_counts(pair.counts, pair) == []
    if times is _EVEN:
        assert pair.visible.rate == RATE
        assert np.allclose([float(time) for time in found], [float(time + found[0]) for time in times], atol=1e-3)
        assert abs(pair.visible.found - Fraction(30, RATE)) < Fraction(1, 100)


@pytest.mark.parametrize(
    ("codec", "damaged", "lost"),
    [("mjpeg", (0, 1, 2), 3), ("mpeg4", (0,), 1), ("libx264", (0, 1, 2), 10), ("libx264", (1,), 1)],
)
def test_damaged_first_packets_move_no_frame(codec: str, damaged: tuple[int, ...], lost: int, tmp_path: Path) -> None:
    """They are no frames that the decoder holds back. Without its key frame, the first group of H.264 is lost."""

    path, pixels = tmp_path / "clip.avi", "yuvj420p" if codec == "mjpeg" else "yuv420p"
    prepare = (lambda stream: None) if codec == "mjpeg" else use_b_frames
    write_video(
        path, map(visible_frame, range(30)), codec=codec, pixels=pixels, time_base=Fraction(1, RATE), prepare=prepare
    )
    content = bytearray(path.read_bytes())
    at = content.index(b"movi") + 4
    for index in range(damaged[-1] + 1):
        end = at + 8 + int.from_bytes(content[at + 4 : at + 8], "little")
        image = content.find(b"\0\0\1\x65", at, end)  # after the parameters of H.264, which are kept
        start = max(at + 8, image)
        if index in damaged:
            content[start:end] = bytes(end - start)
        at = end + end % 2
    path.write_bytes(content)
    found = list((file := VideoFile(path)).read())[-15:]
    assert file.damaged == lost
    assert [item.time for item in found] == [Fraction(index, RATE) for index in range(15, 30)]
    assert [find_number(item.frame) for item in found] == [marker_column(index) for index in range(15, 30)]


@pytest.mark.parametrize(
    ("clock", "seconds"),
    [
        ("00:00:00.500000000", 0.5),
        ("00:00:0000000001/0", 1),
        ("00:00:1e-400000000", 1),
        ("-1:00:02.000000000", 1),
        ("00:00:nan", 1),
    ],
)
def test_crafted_duration(clock: str, seconds: float, tmp_path: Path) -> None:
    """A tag that is no time is replaced by the duration of the file."""
    path = write_video(tmp_path / "clip.mkv", map(visible_frame, range(RATE)), time_base=Fraction(1, 1000))
    content, written = path.read_bytes(), b"00:00:01.000000000"
    assert content.count(written) == 1
    path.write_bytes(content.replace(written, clock.encode().ljust(len(written), b"\0")))
    assert VideoFile(path).seconds == pytest.approx(seconds, abs=0.05)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),  # of a phone: the left column becomes the top row
        ((-1, 0, 0, 1), np.fliplr),
        ((1, 0, 0, -1), np.flipud),
        ((0, 1, 1, 0), np.transpose),
        ((0, -1, -1, 0), lambda image: np.transpose(image[::-1, ::-1])),
    ],
)
def test_display_matrix(matrix: tuple[int, ...], expected: Callable, tmp_path: Path) -> None:
    """QuickTime's matrix turns and mirrors the stored image."""
    image = infrared_frame(4)
    path = write_video(tmp_path / "turned.mp4", [image])
    plain = to_infrared(next(VideoFile(path).read()).frame)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 4 + 20 + 8 + 8  # version, times and ids, reserved, layer to volume
    assert content[at : at + 4] == (0x10000).to_bytes(4, "big")
    a, b, c, d = (value << 16 for value in matrix)
    width, height = (side << 16 if min(matrix) < 0 else 0 for side in (64, 48))
    unit = [a, b, 0, c, d, 0, width, height, 0x40000000]
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in unit)
    path.write_bytes(content)
    assert np.array_equal(to_infrared(next(VideoFile(path).read()).frame), expected(plain))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_frames_with_exif_are_turned(orientation: int, tmp_path: Path) -> None:
    """PyAV 18.1 knows no EXIF of frames. Pillow turns images as the EXIF standard says."""
    image, exif, encoded = Image.fromarray(visible_frame(4)), Image.Exif(), BytesIO()
    exif[ORIENTATION] = orientation
    image.save(encoded, "PNG", exif=exif)
    with av.open(str(tmp_path / "clip.mov"), "w") as container:
        stream = container.add_stream("png", rate=RATE)
        stream.pix_fmt, stream.width, stream.height = "rgb24", *image.size
        packet = av.Packet(encoded.getvalue())
        packet.stream, packet.pts, packet.dts, packet.time_base = stream, 0, 0, Fraction(1, RATE)
        container.mux(packet)
    shown = to_visible(next(VideoFile(tmp_path / "clip.mov").read()).frame)
    assert np.array_equal(shown, ImageOps.exif_transpose(Image.open(encoded)))


def write_streams(path: Path, counts: list[int], default: int | None) -> Path:
    """Write a stream of gray frames for each count; the frames of stream `n` are of level `60 + 60 * n`."""
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("mpeg4", rate=RATE) for _ in counts]
        for stream in streams:
            stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
            if default is not None:
                stream.disposition = Disposition(int(stream.index == default))
        for time in range(max(counts)):
            for stream, count in zip(streams, counts, strict=True):
                image = np.full((48, 64), 60 + 60 * stream.index, np.uint8)
                frame = av.VideoFrame.from_ndarray(image, "gray").reformat(format="yuv420p")
                frame.pts, frame.time_base = time, Fraction(1, RATE)
                container.mux(stream.encode(frame) if time < count else [])
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("suffix", "counts", "default", "expected"),
    [
        (".mp4", [1, 5], 0, 1),  # cover art that is not marked as such
        (".mp4", [1, 1], 1, 1),
        (".mkv", [5, 5], 1, 1),
        (".mkv", [5, 5], None, 0),
        (".ts", [5, 5], None, 0),
    ],
)
def test_the_default_one_of_several_streams_is_read(
    suffix: str, counts: list[int], default: int | None, expected: int, tmp_path: Path
) -> None:
    file = VideoFile(write_streams(tmp_path / f"clip{suffix}", counts, default))
    frames = [item.frame.to_ndarray(format="gray") for item in file.read()]
    assert len(frames) == counts[expected] and file.rate == RATE
    assert np.abs(np.array(frames).astype(int) - (60 + 60 * expected)).max() <= 4
    assert f"2 video streams, of which stream {expected} is read" in file.notes[0]
    assert f"-map 0:{1 - expected} -c copy other{suffix}" in file.notes[0]


def test_recordings_of_browsers_have_no_rate(tmp_path: Path) -> None:
    """The rate is that of the time stamps, so that frames of two such files are matched."""
    paths = []
    for name in ("visible", "infrared"):
        paths.append(tmp_path / f"{name}.webm")
        with av.open(str(paths[-1]), "w") as container:
            stream = container.add_stream("libvpx")
            stream.pix_fmt, stream.height, stream.width = "yuv420p", 48, 64
            stream.codec_context.framerate, stream.codec_context.time_base = Fraction(0, 1), Fraction(1, 1000)
            for index, time in enumerate(np.cumsum(np.random.default_rng(len(paths)).integers(20, 50, 30))):
                frame = av.VideoFrame.from_ndarray(visible_frame(index), "rgb24").reformat(format="yuv420p")
                frame.pts, frame.time_base = int(time), Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    pair = VideoPair(*map(VideoFile, paths))
    assert 1000 / 50 < pair.visible.rate < 1000 / 20
    assert len(list(pair.read())) > 20


def copy_video(path: Path, suffix: str, skip: int = 0) -> Path:
    """Copy the packets of a video, except the first ones, into another container."""
    copied = path.with_name(f"copy{path.stem}{suffix}")
    with av.open(str(path)) as source, av.open(str(copied), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in islice((packet for packet in source.demux(video=0) if packet.size), skip, None):
            packet.stream = stream
            target.mux(packet)
    return copied


@pytest.mark.parametrize("suffix", [".mkv", ".flv"])
def test_the_unit_of_time_stamps_is_no_frame_rate(suffix: str, tmp_path: Path) -> None:
    """PyAV names it as the rate of copies, so that frames of different rates would not be matched."""
    paths = []
    for rate in (RATE, 9):
        path = write_video(tmp_path / f"{rate}.mp4", map(visible_frame, range(rate)), rate=rate)
        paths.append(copy_video(path, suffix))
        with av.open(str(paths[-1])) as container:
            assert container.streams.video[0].average_rate >= 1000
    pair = VideoPair(*map(VideoFile, paths))
    assert [float(file.rate) for file in (pair.visible, pair.infrared)] == pytest.approx([RATE, 9], rel=0.02)
    assert len(list(pair.read())) == RATE


@pytest.mark.parametrize(
    ("suffix", "codec", "lost"),
    [
        (".mp4", "libx264", 7),
        (".avi", "libx264", 7),
        (".ts", "libx265", 7),
        (".ts", "mpeg2video", 7),
        (".mp4", "mpeg4", 0),  # whose decoder shows frames without a key frame
    ],
)
def test_frames_before_the_first_key_frame_are_counted(suffix: str, codec: str, lost: int, tmp_path: Path) -> None:
    """As in a recording that was cut anywhere, whose other frames keep their times."""

    def prepare(stream: Any) -> None:
        stream.codec_context.max_b_frames, stream.codec_context.gop_size = 2 * (codec == "libx264"), 10

    path = tmp_path / f"clip{suffix}"
    write_video(path, map(visible_frame, range(30)), codec=codec, time_base=Fraction(1, RATE), prepare=prepare)
    file = VideoFile(copy_video(path, suffix, skip=3))
    found = list(file.read())
    assert (len(found), file.damaged) == (27 - lost, lost)
    if lost:
        assert [find_number(item.frame) for item in found] == [marker_column(index) for index in range(10, 30)]
    if suffix != ".ts":  # whose clock starts with the file
        assert found[0].time == Fraction(30 - len(found), RATE)
    pair = VideoPair(file, file)
    list(pair.read())
    assert any(f"{lost} damaged frames left out" in note for note in describe_counts(pair.counts, pair)) == (lost > 0)


@pytest.mark.parametrize("steps", [[1] * 30 + [10] * 30, [3, 1, 1] * 20, [1, 1, 10] * 20])
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_rates_of_videos_with_uneven_times(suffix: str, steps: list[int], tmp_path: Path) -> None:
    """The rate that a file names, or its mean, is kept."""
    times = [Fraction(int(count), RATE) for count in np.cumsum(steps)]
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 12800)
    path = write_video(tmp_path / f"clip{suffix}", map(visible_frame, range(60)), times, time_base=base)
    expected = RATE if suffix == ".mkv" else 60 / (times[-1] - times[0] + Fraction(1, RATE))
    assert float(VideoFile(path).rate) == pytest.approx(float(expected), rel=0.02)


@pytest.mark.parametrize("suffix", [".h264", ".mp4"])
def test_a_stream_without_time_stamps_is_refused_with_a_command(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"raw{suffix}"
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", RATE)
        stream.height, stream.width = visible_frame(0).shape[:2]
        for index in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(visible_frame(index), "rgb24")))
        container.mux(stream.encode(None))
    with pytest.raises(ValueError, match=rf"without time stamps.*ffmpeg -r RATE -i {path.name} -c:v ffv1 timed\.mkv"):
        next(VideoFile(path).read())


def test_frames_of_one_time_are_left_out_or_refused(tmp_path: Path) -> None:
    file = VideoFile(write_repeats(tmp_path / "some.webm", [0] * 900 + [40] * 900 + [80]))
    assert [item.time for item in file.read()] == [0, Fraction(40, 1000), Fraction(80, 1000)]
    assert (file.damaged, file.stamps.left_out) == (0, 1799)
    file = VideoFile(write_repeats(tmp_path / "many.webm", [0] * 1100 + [40]))
    with pytest.raises(
        ValueError, match=r"many\.webm has more than 1000 frames in a row after 0\.000 s.*-r RATE -i many\.webm"
    ):
        list(file.read())


def test_a_clock_that_stands_still_for_a_while_is_not_refused(tmp_path: Path) -> None:
    file = VideoFile(write_repeats(tmp_path / "a.webm", [*range(40, 60), *1200 * [60], 61]))
    assert [1000 * item.time for item in file.read()] == [0, *range(40, 62)]
    assert (file.damaged, file.stamps.left_out) == (0, 1199)


def test_reading_from_shortly_before_a_clock_stands_still_ends_there(tmp_path: Path) -> None:
    """It is unknown then how many frames are before, which decides whether the file is refused."""
    file = VideoFile(write_repeats(tmp_path / "a.webm", [*range(5000, 5020), *1200 * [5020], 5021], key_time=5018))
    assert [1000 * item.time for item in file.read(Fraction(5019, 1000))] == [5018, 5019, 5020]


@pytest.mark.parametrize(("frames", "copies"), [(3, 1100), (1200, 2)])
def test_the_time_goes_on_where_the_clock_starts_anew(frames: int, copies: int, tmp_path: Path) -> None:
    """Recordings in one file, as `cat` joins them."""
    single = write_video(tmp_path / "a.ts", map(visible_frame, range(frames)), time_base=Fraction(1, 90000))
    (tmp_path / "all.ts").write_bytes(copies * single.read_bytes())
    file = VideoFile(tmp_path / "all.ts")
    assert [item.time for item in file.read()] == [Fraction(index, RATE) for index in range(frames * copies)]
    assert (file.damaged, file.stamps.left_out, file.stamps.restarts) == (0, 0, copies - 1)


@pytest.mark.parametrize("counts", [(60, 30), (30, 60)])
def test_frames_after_a_restart_are_found(counts: tuple[int, int], tmp_path: Path) -> None:
    """The two parts have the same times in the file."""
    parts = [
        write_video(tmp_path / f"{start}.ts", map(visible_frame, range(start, end)), prepare=use_b_frames)
        for start, end in ((0, counts[0]), (counts[0], 90))
    ]
    (tmp_path / "all.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    infrared = write_video(tmp_path / "i.mkv", map(infrared_frame, range(90)))
    pair = VideoPair(VideoFile(tmp_path / "all.ts"), VideoFile(infrared))
    for pairs in (pair.probe(), list(pair.read())):
        assert all(find_number(item.visible.frame) == marker_column(round(item.time * RATE)) for item in pairs)
    assert len(pairs) == 90
    (note,) = describe_counts(pair.counts, pair)
    back, time = Fraction(counts[0] - 1, RATE), Fraction(counts[0], RATE)
    assert f"all.ts: its clock goes back by {float(back):.3f} s at {float(time):.3f} s, as in files" in note


def test_files_without_an_index_are_read_from_the_start(tmp_path: Path) -> None:
    """FFmpeg cannot find a time in SWF files; a crafted duration leads to times that no file has."""
    frames = [visible_frame(index) for index in range(RATE)]
    flash = write_video(tmp_path / "clip.swf", frames, codec="flv", time_base=Fraction(1, RATE))
    matroska = write_video(tmp_path / "clip.mkv", frames, time_base=Fraction(1, 1000))
    for path, start in ((flash, Fraction(1, 2)), (matroska, Fraction(10**30))):
        file = VideoFile(path)
        assert [item.time for item in file.read(start)] == [item.time for item in file.read()]
        assert [find_number(item.frame) for item in file.read(start)] == [marker_column(index) for index in range(RATE)]


@pytest.mark.parametrize(("suffix", "start"), [(".mkv", 0), (".mkv", 2), (".flv", 0), (".nut", 0)])
def test_sound_that_is_longer_than_the_images_is_no_missing_end(suffix: str, start: int, tmp_path: Path) -> None:
    """Files give the end of the longest stream as their duration, and only Matroska that of each stream, too."""
    times = [start + Fraction(index, RATE) for index in range(RATE)]
    path = tmp_path / f"clip{suffix}"
    write_video(path, map(visible_frame, range(RATE)), times, time_base=Fraction(1, 1000), audio_seconds=5)
    pair = VideoPair(VideoFile(path), VideoFile(path))
    assert abs(pair.visible.seconds - (1 if suffix == ".mkv" else 5)) < 0.2
    assert (pair.visible.spare is not None) == (suffix == ".mkv")  # else, no missing end can be told
    assert len(list(pair.read())) == RATE
    assert describe_counts(pair.counts, pair) == []


def test_damage_in_transport_streams(tmp_path: Path) -> None:
    """Damaged tables of a stream can announce further streams, at which PyAV's own iterator raises IndexError."""
    content = write_video(tmp_path / "a.ts", map(visible_frame, range(90)), audio_seconds=3).read_bytes()
    hits, path = 0, tmp_path / "damaged.ts"
    for seed in range(8):
        damaged, rng = bytearray(content), np.random.default_rng(seed)
        for position in rng.integers(2000, len(content), 60):
            damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with av.open(str(path)) as container, contextlib.suppress(av.error.FFmpegError):
            try:
                for _ in container.demux(video=0):
                    pass
            except IndexError:
                hits += 1
        with contextlib.suppress(OSError, ValueError):
            assert sum(1 for _ in VideoFile(path).read()) <= 90
    assert hits
