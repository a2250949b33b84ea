"""Frames of two videos are matched by time, without fusing them."""

from fractions import Fraction
from pathlib import Path

from video_files import RATE, find_marker, infrared_frame, marker_column, visible_frame, write_video

from gffusion.video.matching import VideoPair, describe_counts
from gffusion.video.reading import VideoFile, to_infrared, to_visible


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
