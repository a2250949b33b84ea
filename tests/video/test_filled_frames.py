"""Damaged frames that decoders fill in are counted, and no others."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_files import RATE, write_video

from gffusion.video.matching import VideoPair, describe_counts
from gffusion.video.reading import VideoFile

_DAMAGED = 14  # packet


def noise(index: int) -> np.ndarray:
    """Return an image whose packets are large, so that damage is in the data of pixels."""
    return np.random.default_rng(index).integers(0, 256, (144, 176, 3)).astype(np.uint8)


def encode(path: Path, codec: str, pixels: str, options: dict[str, str]) -> Path:
    def prepare(stream: Any) -> None:
        stream.codec_context.options = options
        stream.codec_context.gop_size = 10

    return write_video(
        path, map(noise, range(30)), codec=codec, pixels=pixels, time_base=Fraction(1, RATE), prepare=prepare
    )


def damage(path: Path, target: Path) -> Path:
    """Copy a video, and invert bytes of one packet."""
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][_DAMAGED]
        content, data = path.read_bytes(), bytes(packet)
    assert content.count(data) == 1
    at = content.index(data) + len(data) // 3  # not in the footer of a slice
    inverted = bytes(value ^ 0xFF for value in content[at : at + 20])
    target.write_bytes(content[:at] + inverted + content[at + 20 :])
    return target


def read(path: Path) -> tuple[VideoFile, dict[Any, np.ndarray]]:
    file = VideoFile(path)
    return file, {item.time: item.frame.to_ndarray() for item in file.read()}


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels", "options", "is_filled"),
    [
        (".mkv", "ffv1", "gray16le", {"level": "3"}, True),
        (".mkv", "ffv1", "gray12le", {"level": "3", "slices": "1"}, True),
        (".avi", "ffv1", "gray", {"level": "3"}, True),
        (".mkv", "ffv1", "gray16le", {"level": "3", "slicecrc": "0"}, None),
        (".mkv", "ffv1", "gray", {"level": "1"}, None),
        (".mp4", "libx264", "yuv420p", {"x264-params": "cabac=0"}, True),
        (".avi", "libx264", "yuv420p", {"x264-params": "cabac=0:slices=4"}, True),
        (".avi", "mpeg2video", "yuv420p", {}, True),
        (".avi", "mpeg4", "yuv420p", {}, True),
        (".mov", "png", "gray16be", {}, False),
        (".avi", "mjpeg", "yuvj420p", {}, None),
    ],
)
def test_damaged_frames(
    suffix: str, codec: str, pixels: str, options: dict[str, str], is_filled: bool | None, tmp_path: Path
) -> None:
    """The first frame that differs from the healthy file is noted; `None` where the codec does not tell."""
    whole = encode(tmp_path / f"whole{suffix}", codec, pixels, options)
    file, expected = read(whole)
    assert (file.damaged, file.filled.count, len(expected)) == (0, 0, 30)
    file, found = read(damage(whole, tmp_path / f"bad{suffix}"))
    wrong = [time for time, image in found.items() if not np.array_equal(image, expected[time])]
    notes = describe_counts(VideoPair(file, file).counts, VideoPair(VideoFile(whole), file))
    if is_filled:
        assert (file.damaged, file.filled.first) == (0, wrong[0])
        assert len(found) == 30 and 1 <= file.filled.count <= len(wrong)
        assert f"filled in by the decoder, the first one at {float(wrong[0]):.3f} s" in notes[0]
    elif is_filled is None:
        assert file.filled.count == 0 and wrong
    else:
        assert (file.damaged, file.filled.count, len(found), wrong) == (1, 0, 29, [])
        assert notes == [f"{file.path}: 1 damaged frame left out"]


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        (".mp4", "libx264", {"x264-params": "open-gop=1:bframes=3"}),
        (".ts", "libx264", {"x264-params": "open-gop=1:bframes=3"}),
        (".ts", "libx264", {"x264-params": "intra-refresh=1"}),
        (".mp4", "libx264", {"x264-params": "interlaced=1:bframes=3:b-pyramid=2"}),
        (".avi", "libx264", {"x264-params": "slices=4"}),
        (".ts", "mpeg2video", {"bf": "2"}),
        (".avi", "mpeg4", {"bf": "2"}),
        (".mkv", "ffv1", {"level": "3"}),
    ],
)
@pytest.mark.parametrize("needs_key", [True, False])
def test_recordings_that_start_late_are_not_damaged(
    suffix: str, codec: str, options: dict[str, str], needs_key: bool, tmp_path: Path
) -> None:
    """Packets of a healthy video are copied from any one on, or from a key frame on, as players and recorders do."""
    path, cut = encode(tmp_path / f"whole{suffix}", codec, "yuv420p", options), tmp_path / f"cut{suffix}"
    with av.open(str(path)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.dts is not None]
        start = 5 if not needs_key else next((i for i, packet in enumerate(packets[5:], 5) if packet.is_keyframe), 5)
        for packet in packets[start:]:
            packet.stream = stream
            target.mux(packet)
    (file, whole), (cut_file, found) = read(path), read(cut)
    assert (file.filled.count, cut_file.filled.count, len(whole)) == (0, 0, 30)
    count = 8 if "intra-refresh=1" in options.values() else 20  # from the next key frame, or complete refresh, on
    np.testing.assert_array_equal(list(found.values())[-count:], list(whole.values())[-count:])


def test_each_reading_counts_anew(tmp_path: Path, fuse: Callable) -> None:
    """The result of `fuse_video` has the note once."""
    infrared = encode(tmp_path / "infrared.mkv", "ffv1", "gray", {"level": "3"})
    visible = write_video(tmp_path / "visible.mp4", [np.roll(noise(40), 2 * index, 1) for index in range(30)])
    assert not fuse(visible, infrared)[1].notes
    report = fuse(visible, damage(infrared, tmp_path / "bad.mkv"), "bad.mp4")[1]
    assert report.frames == 30
    assert [note for note in report.notes if "bad.mkv: 1 damaged frame filled in" in note] == report.notes
