"""Audio is copied as it is, whatever the visible file leaves open, and the shape of pixels is kept."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_files import RATE, infrared_frame, read_audio, read_frames, visible_frame, write_pair, write_video

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
