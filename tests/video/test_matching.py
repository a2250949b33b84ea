"""Frames of two videos are matched by time, without fusing them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_files import RATE, find_marker, infrared_frame, marker_column, visible_frame, write_video

from gffusion.video.matching import VideoPair, describe_counts
from gffusion.video.reading import VideoFile, to_infrared, to_visible
from gffusion.video.time_stamps import TimedFrame


def test_probes_of_recorders_that_were_started_at_different_times(tmp_path: Path) -> None:
    times = [Fraction(index, RATE) + 100 for index in range(45)]
    visible = write_video(tmp_path / "visible.mkv", map(visible_frame, range(45)), times)
    infrared = write_video(tmp_path / "infrared.mkv", map(infrared_frame, range(30)), codec="ffv1", pixels="gray")
    pairs = VideoPair(VideoFile(visible), VideoFile(infrared), Fraction(100)).probe()
    images = [(to_visible(pair.visible.frame), to_infrared(pair.infrared.frame)) for pair in pairs]
    columns = [(find_marker(visible[4:14]), find_marker(infrared[-16:-6])) for visible, infrared in images]
    assert columns == [(marker_column(index),) * 2 for index in range(2, 30, 3)]  # after the middles of ten parts


def test_one_infrared_frame_is_that_of_the_visible_frames_near_it(tmp_path: Path) -> None:
    visible = write_video(tmp_path / "visible.mkv", map(visible_frame, range(25)))
    infrared = write_video(tmp_path / "infrared.mkv", [infrared_frame(10)], [Fraction(10, RATE)])
    pair = VideoPair(VideoFile(visible), VideoFile(infrared))
    assert [round(found.time * RATE) for found in pair.read()] == [9, 10, 11]
    assert (pair.counts.before, pair.counts.after, pair.counts.gaps) == (9, True, 0)


def test_a_missing_end_is_noted_if_it_is_no_rounding(tmp_path: Path) -> None:
    infrared = write_video(tmp_path / "infrared.mkv", map(infrared_frame, range(400)), codec="ffv1", pixels="bgr0")
    content, cut = infrared.read_bytes(), tmp_path / "cut.mkv"
    for share, is_noted in ((0.98, False), (0.95, True)):
        cut.write_bytes(content[: int(share * len(content))])
        pair = VideoPair(VideoFile(infrared), VideoFile(cut))
        lost = 400 - sum(1 for _ in pair.read())
        assert lost > 3 and (lost > 8) == is_noted  # a duration may exceed the frames by three of them
        assert any("it may be truncated" in note for note in describe_counts(pair.counts, pair)) == is_noted


def times_between(rate: Fraction | int, *spans: tuple[int, int]) -> list[Fraction]:
    return [start + index / Fraction(rate) for start, end in spans for index in range(int((end - start) * rate))]


@dataclass
class Times:
    """Frames of a video that are only times."""

    times: list[Fraction]
    rate: Fraction

    def identify(self) -> tuple[()]:
        return ()

    def read(self, start: Fraction | None = None) -> Iterator[TimedFrame]:
        assert start is None
        return (TimedFrame(None, time, Fraction(0)) for time in self.times)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pauses_of_a_recorder_are_no_period(tmp_path: Path, suffix: str) -> None:
    """MP4 and MOV files tell no rate but the number of frames divided by the duration."""
    times = [times_between(25, (0, 3), (60, 63)), times_between(9, (0, 2), (61, 63))]
    small = np.zeros((16, 16), np.uint8)
    files = [
        write_video(tmp_path / f"{name}{suffix}", [small] * len(own), own, rate=rate, time_base=Fraction(1, 90_000))
        for name, own, rate in zip(("visible", "infrared"), times, (25, 9), strict=True)
    ]
    pair = VideoPair(*map(VideoFile, files))
    pairs = list(pair.read())
    near = [time for time in times[0] if min(abs(time - other) for other in times[1]) < Fraction(112, 1000)]
    assert len(pairs) == len(near)
    assert all(abs(found.time - found.infrared.time) < Fraction(112, 1000) for found in pairs)
    left_out = (
        f"left out {len(times[0]) - len(near)} visible frames without an infrared frame within 0.111 s, the first"
    )
    assert describe_counts(pair.counts, pair)[0].startswith(left_out)


@pytest.mark.parametrize("rates", [(25, 5), (5, 25), (10, 10)])
def test_a_rate_that_changes_or_is_named_wrongly_loses_no_frame(rates: tuple[int, int]) -> None:
    infrared = times_between(rates[0], (0, 3)) + times_between(rates[1], (3, 9))
    pair = VideoPair(Times(times_between(30, (0, 9)), Fraction(30)), Times(infrared, Fraction(25)))  # type: ignore[arg-type]
    assert len(list(pair.read())) == 9 * 30


@pytest.mark.parametrize("clock", [1000, 90_000])
@pytest.mark.parametrize("rates", [(30, 9), (Fraction(30000, 1001), 30), (60, 60), (9, 30), (25, 240), (2, 1)])
def test_frames_of_a_constant_rate_are_at_most_one_period_away(
    rates: tuple[Fraction | int, Fraction | int], clock: int
) -> None:
    """At both ends and in gaps; times are rounded as those of files."""
    visible, infrared = (
        [Fraction(round(time * clock), clock) for time in times_between(rate, *spans)]
        for rate, spans in zip(rates, ([(0, 10)], [(2, 5), (7, 9)]), strict=True)
    )
    pair = VideoPair(*(Times(own, Fraction(rate)) for own, rate in zip((visible, infrared), rates, strict=True)))  # type: ignore[arg-type]
    period = 1 / Fraction(min(rates))
    assert [found.time for found in pair.read()] == [
        time for time in visible if min(abs(time - other) for other in infrared) <= period
    ]


def test_frames_that_come_in_bursts_are_matched() -> None:
    """As a network delivers them: four frames within 3 ms, and none for the rest of the time."""
    times = [Fraction(burst * 160 + index, 1000) for burst in range(25) for index in range(4)]
    pair = VideoPair(Times(times, Fraction(25)), Times(times, Fraction(25)), Fraction(4, 100))  # type: ignore[arg-type]
    assert len(list(pair.read())) == len(times)
