"""Uploaded videos are fused as `gffusion fuse` does, within limits. Needs no Gradio."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from outcomes import Outcome

pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')

from video_files import read_frames, write_pair, write_repeats

from gffusion.demo.samples import CLIP_FRAMES, write_clip
from gffusion.demo.settings import DemoSettings, choose_models
from gffusion.demo.turns import Turns
from gffusion.demo.videos import VideoRequest, fuse_clip


def test_video_equals_that_of_the_command(gffusion: Callable[..., Outcome], tmp_path: Path) -> None:
    visible, infrared = write_pair(tmp_path, count=6)
    shares: list[float] = []
    request = VideoRequest(visible, infrared, "gffusion-tiny", segment=True)
    files, _ = fuse_clip(request, tmp_path, DemoSettings(choose_models()), shares.append)
    assert [file.name for file in files] == ["visible_fused.mp4", "visible_labels.mkv", "visible_overlay.mp4"]
    assert shares[-1] == 1 and shares == sorted(shares)
    assert gffusion("fuse", visible, infrared, "-o", tmp_path / "command.mp4").exit_code == 0
    np.testing.assert_array_equal(read_frames(files[0])[0], read_frames(tmp_path / "command.mp4")[0])


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_frames": 5}, "visible.mp4 has about 6 frames, more than 5: cut it, or use gffusion fuse"),
        ({"max_pixels": 3000}, "visible.mp4: its 64 x 48 pixels are more than 3,000"),
        ({"max_seconds": 0}, "the fusion took more than 0 seconds: cut it"),
    ],
)
def test_limits(tmp_path: Path, limits: dict[str, int], message: str) -> None:
    request = VideoRequest(*write_pair(tmp_path, count=6), "gffusion-live")
    with pytest.raises(ValueError, match=message):
        fuse_clip(request, tmp_path, DemoSettings(choose_models(), **limits))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["infrared.mp4", "visible.mp4"]


def test_frames_are_counted_if_the_file_declares_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = VideoRequest(*write_pair(tmp_path, count=6), "gffusion-live")
    monkeypatch.setattr("gffusion.demo.videos._check_length", lambda file, max_frames: None)
    with pytest.raises(ValueError, match="more than 3 frames"):
        fuse_clip(request, tmp_path, DemoSettings(choose_models(), max_frames=3))


@pytest.mark.parametrize(
    ("infrared", "segment", "message"),
    [
        ("damaged.mp4", False, "cannot read the video"),
        ("list.mp4", False, "is a playlist"),
        ("infrared.mp4", True, "no segmenter"),
    ],
)
def test_refused(tmp_path: Path, infrared: str, segment: bool, message: str) -> None:
    visible, _ = write_pair(tmp_path, count=3)
    (tmp_path / "damaged.mp4").write_bytes(b"no video")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile infrared.mp4\n")
    request = VideoRequest(visible, tmp_path / infrared, "gffusion-live", segment=segment)
    with pytest.raises((ValueError, OSError), match=message):
        fuse_clip(request, tmp_path, DemoSettings(choose_models()))


def test_time_is_limited_while_videos_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that are left out come to no fusion, after which `progress` is called."""
    monkeypatch.setattr("gffusion.demo.videos.time", SimpleNamespace(monotonic=iter(range(10**6)).__next__))
    visible, _ = write_pair(tmp_path, count=6)
    request = VideoRequest(visible, write_repeats(tmp_path / "repeats.webm", [0] * 900), "gffusion-live")
    shares: list[float] = []
    with pytest.raises(ValueError, match="the fusion took more than 500 seconds"):
        fuse_clip(request, tmp_path, DemoSettings(choose_models(), max_seconds=500), shares.append)
    assert shares == []


def test_a_cancelled_request_ends(tmp_path: Path) -> None:
    turns, shares = Turns(), []

    def cancel(share: float) -> None:
        shares.append(share)
        turns.cancel()

    request = VideoRequest(*write_pair(tmp_path, count=60), "gffusion-live")
    with turns.take() as check, pytest.raises(ValueError, match="the request was cancelled"):
        fuse_clip(request, tmp_path, DemoSettings(choose_models()), cancel, check)
    assert len(shares) == 1


def test_sample(tmp_path: Path) -> None:
    visible, infrared = (read_frames(file)[0] for file in write_clip(tmp_path))
    assert len(visible) == len(infrared) == CLIP_FRAMES and visible[0].shape == (240, 320, 3)
    assert np.abs(visible[0].astype(int) - visible[-1]).mean() > 5  # the camera turns
