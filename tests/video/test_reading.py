"""What videos say about themselves: color matrix, clock and duration."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from video_files import RATE, visible_frame, write_video

from gffusion.video.matching import VideoPair, describe_counts
from gffusion.video.reading import VideoFile, to_infrared, to_visible

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
        assert np.abs(decode(frame).astype(int) - image).max() <= 4


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".nut"])
def test_a_clock_that_starts_late_is_no_missing_end(suffix: str, tmp_path: Path) -> None:
    """The pair lasts a second from second 30 on, and pairs are found until its end."""
    times = [30 + Fraction(index, RATE) for index in range(RATE)]
    base = Fraction(1, 1000) if suffix == ".mkv" else Fraction(1, 12800)
    path = write_video(tmp_path / f"late{suffix}", map(visible_frame, range(RATE)), times, time_base=base)
    file = VideoFile(path)
    assert file.start == 30 and abs(file.seconds - 1) <= Fraction(1, RATE)
    pair = VideoPair(file, VideoFile(path))
    assert len(list(pair.read())) == RATE
    assert describe_counts(pair.counts, pair) == []
    assert len(pair.probe()) == 10
