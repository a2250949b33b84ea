"""Audio is copied as it is, whatever the visible file leaves open, and the shape of pixels is kept."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_files import RATE, infrared_frame, read_audio, read_frames, visible_frame, write_pair, write_video

from gffusion.video.audio import AudioCopy
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob
from gffusion.zoo import load_image_processor


def write_pcm(path: Path, layout: str, title: str = "") -> Path:
    """Write 10 frames with uncompressed silence."""
    with av.open(str(path), "w") as container:
        container.metadata["title"] = title
        video, sound = container.add_stream("mpeg4", rate=RATE), container.add_stream("pcm_s16le", 16000, layout=layout)
        sound.metadata["handler_name"] = title
        video.pix_fmt, video.height, video.width = "yuv420p", 48, 64
        for index in range(10):
            image = av.VideoFrame.from_ndarray(visible_frame(index), "rgb24").reformat(format="yuv420p")
            image.pts, image.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(image))
            samples = av.AudioFrame.from_ndarray(
                np.zeros((1, 640 * len(sound.codec_context.layout.channels)), np.int16), "s16", layout
            )
            samples.sample_rate, samples.pts = 16000, 640 * index
            container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize("count", [1, 2, 6, 7, 8])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_few_frames(tmp_path: Path, fuse: Callable, suffix: str, count: int) -> None:
    """FFmpeg gives segments of less than eight frames no decoding times."""
    videos = write_pair(tmp_path, count)
    path, _ = fuse(*videos, name=f"fused{suffix}")
    assert read_frames(path)[1] == pytest.approx(read_frames(videos[0])[1], abs=1e-3)


@pytest.mark.parametrize(("suffix", "layout"), [(".avi", "stereo"), (".mkv", "stereo"), (".avi", "5.1")])
def test_places_of_speakers_that_are_not_named(tmp_path: Path, fuse: Callable, suffix: str, layout: str) -> None:
    visible = write_pcm(tmp_path / f"visible{suffix}", layout)
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(10)))
    path, report = fuse(visible, infrared)
    assert report.frames == 10
    assert b"".join(content for _, content in read_audio(path)) == b"".join(
        content for _, content in read_audio(visible)
    )
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.layout.name == layout


def test_metadata_that_is_no_utf_8(tmp_path: Path, fuse: Callable) -> None:
    visible = write_pcm(tmp_path / "visible.mov", "mono", "m_tro")
    visible.write_bytes(visible.read_bytes().replace(b"m_tro", b"m\xe9tro"))
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(10)))
    with av.open(str(fuse(visible, infrared)[0])) as container:
        assert container.metadata["title"] == container.streams.audio[0].metadata["handler_name"] == "m\ufffdtro"


def test_audio_of_every_output_is_checked_first(tmp_path: Path, funet: Any) -> None:
    visible, infrared = write_pair(tmp_path, 4, audio_seconds=1)
    job = VideoJob(visible, infrared, tmp_path / "fused.mp4", overlay=tmp_path / "overlay.webm")
    with pytest.raises(ValueError, match=r"\.webm files cannot hold the audio"):
        fuse_video(job, funet, load_image_processor("gffusion-funet"))


_ADTS = 7  # bytes of the header of a packet of AAC in transport streams


def copy_with_audio_times(path: Path, target: Path, change: Callable[[int, Fraction], Fraction]) -> Path:
    """Copy a video; the time of its k-th packet of audio becomes change(k, time)."""
    with av.open(str(path)) as source, av.open(str(target), "w") as output:
        copies = [output.add_stream_from_template(stream) for stream in source.streams]
        count = 0
        for packet in source.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "audio":
                packet.pts = packet.dts = round(change(count, packet.pts * packet.time_base) / packet.time_base)
                count += 1
            packet.stream = copies[packet.stream_index]
            output.mux(packet)
    return target


@pytest.mark.parametrize("codec", ["aac", "pcm_s16le"])
@pytest.mark.parametrize("name", ["fused.mp4", "fused.mov", "fused.mkv"])
def test_equal_time_stamps_of_audio_are_raised(tmp_path: Path, fuse: Callable, name: str, codec: str) -> None:
    """A recorder that stamps by the clock of the computer writes them for packets that arrive at once."""
    if codec == "aac":
        whole = write_video(tmp_path / "whole.mkv", map(visible_frame, range(10)), audio_seconds=0.5)
    else:
        whole = write_pcm(tmp_path / "whole.mkv", "mono")
    equal = read_audio(whole)[3][0]
    visible = copy_with_audio_times(whole, tmp_path / "visible.mkv", lambda k, t: equal if 3 <= k < 6 else t)
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(10)))
    path, report = fuse(visible, infrared, name)
    expected, copied = read_audio(visible), read_audio(path)
    assert b"".join(content for _, content in copied) == b"".join(content for _, content in expected)
    if codec == "aac":  # packets of others are read in other lengths
        assert np.allclose([float(time) for time, _ in copied], [float(time) for time, _ in expected], atol=2e-3)
    assert read_frames(path)[1] == pytest.approx(read_frames(visible)[1], abs=1e-3)
    assert (report.frames, report.notes) == (10, [])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_audio_continues_where_the_clock_of_the_frames_restarts(tmp_path: Path, fuse: Callable, suffix: str) -> None:
    """As in players, the second part of two joined streams starts where the frames of the first one end."""
    part = write_video(tmp_path / "part.ts", map(visible_frame, range(10)), audio_seconds=0.4)
    (tmp_path / "joined.ts").write_bytes(2 * part.read_bytes())
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(30)))
    path, _ = fuse(tmp_path / "joined.ts", infrared, f"fused{suffix}")
    with av.open(str(part)) as container:
        first = Fraction(container.start_time, 1_000_000)
    packets = [(time - first, content[_ADTS:]) for time, content in read_audio(part)]
    expected = packets + [(time + Fraction(10, RATE), content) for time, content in packets]
    copied = read_audio(path)
    assert [content for _, content in copied] == [content for _, content in expected]
    # The first part ends with a packet that lasts longer than its frames.
    assert np.allclose([float(time) for time, _ in copied], [float(time) for time, _ in expected], atol=0.07)
    assert abs(copied[-1][0] - expected[-1][0]) < Fraction(2, 1000)


def test_audio_that_restarts_at_an_unknown_time_is_left_out(tmp_path: Path, fuse: Callable) -> None:
    """The clock of the frames restarts twice, that of the audio once."""
    sound, silence = (
        write_video(tmp_path / f"{seconds}.ts", map(visible_frame, range(10)), audio_seconds=seconds)
        for seconds in (0.4, 0)
    )
    (tmp_path / "joined.ts").write_bytes(sound.read_bytes() + silence.read_bytes() + sound.read_bytes())
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(20)))
    path, report = fuse(tmp_path / "joined.ts", infrared)
    count = len(read_audio(sound))
    assert len(read_audio(path)) == count
    assert any(
        f"left out {count} packets of the audio of {tmp_path / 'joined.ts'}, whose time stamps go back after 0." in note
        for note in report.notes
    )


def test_frames_keep_their_times_if_the_audio_starts_before_them(tmp_path: Path, fuse: Callable) -> None:
    """The first packet, of 64 ms, starts before zero and ends after it: Matroska would move all frames."""
    whole = write_video(tmp_path / "whole.mp4", map(visible_frame, range(10)), audio_seconds=0.5)
    visible = copy_with_audio_times(whole, tmp_path / "visible.mp4", lambda k, t: t + Fraction(1, 50))
    assert -Fraction(64, 1000) < read_audio(visible)[0][0] < 0
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(10)))
    path, _ = fuse(visible, infrared, "fused.mkv")
    assert read_frames(path)[1] == read_frames(visible)[1]
    assert [content for _, content in read_audio(path)] == [content for _, content in read_audio(visible)[1:]]


def test_errors_of_writing_name_the_audio(tmp_path: Path, fuse: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, the run continues after its last frame."""
    videos = write_pair(tmp_path, 4, audio_seconds=0.5)
    monkeypatch.setattr("gffusion.video.fusing.SEGMENT_FRAMES", 2)

    def fail(*_: Any) -> list[Any]:
        raise av.error.ArgumentError(22, "Invalid argument")

    with monkeypatch.context() as patch:
        patch.setattr(AudioCopy, "read", fail)
        with pytest.raises(OSError, match=r"fused\.mp4: Invalid argument\. If .* audio of \S*visible\.mp4.*--no-audio"):
            fuse(*videos)
    path, report = fuse(*videos, keep_audio=False)
    assert (report.frames, report.resumed) == (4, 4)
    with av.open(str(path)) as container:
        assert not container.streams.audio


@pytest.mark.parametrize(("rotation", "expected"), [(0, Fraction(4, 3)), (90, Fraction(3, 4)), (180, Fraction(4, 3))])
def test_pixels_keep_their_shape(tmp_path: Path, fuse: Callable, rotation: int, expected: Fraction) -> None:
    def stretch(stream: Any) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    stored = [np.rot90(visible_frame(index), -rotation // 90) for index in range(3)]
    visible = write_video(tmp_path / "visible.mp4", stored, rotation=rotation, prepare=stretch)
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(3)))
    with av.open(str(fuse(visible, infrared)[0])) as container:
        assert container.streams.video[0].sample_aspect_ratio == expected


def test_interlaced_videos_are_noted(tmp_path: Path, fuse: Callable) -> None:
    def interlace(stream: Any) -> None:
        stream.codec_context.options = {"flags": "+ildct+ilme"}

    frames = [visible_frame(index) for index in range(3)]
    visible = write_video(
        tmp_path / "visible.mkv", frames, codec="mpeg2video", time_base=Fraction(1, RATE), prepare=interlace
    )
    infrared = write_video(tmp_path / "infrared.mp4", map(infrared_frame, range(3)))
    path, report = fuse(visible, infrared)
    assert any("visible.mkv is interlaced" in note for note in report.notes)
    assert len(read_frames(path)[0]) == 3
