"""Time stamps that go back: single ones, those of a clock that starts anew, and those of files that overlap."""

from collections.abc import Sequence
from fractions import Fraction

import pytest

from gffusion.video.time_stamps import TimedFrame, TimeStamps


@pytest.mark.parametrize(
    ("seconds", "expected", "left_out"),
    [
        ([*range(20), 2, *range(20, 30)], range(30), 1),  # a damaged frame
        ([*range(20), 0, 1, *range(20, 30)], range(30), 2),
        ([*range(20), 500, *range(20, 40)], [*range(20), 500], 20),
        ([0, 1, 2, 5, 3, 4, 6, 7], [0, 1, 2, 5, 6, 7], 2),  # wrong order
        ([*range(20), 19, 19, 19, 20], range(21), 3),  # repeated
        ([*range(60), *range(52, 80)], range(80), 8),  # files that overlap, whose clock goes on
        ([*range(9), *range(12), *range(8)], range(29), 0),  # files of one length or not
        ([*range(100, 109), *range(30), *range(7, 9)], range(100, 139), 2),  # a clock that was late
        ([*range(60), *range(45, 80)], range(95), 0),  # set back by more than files overlap
    ],
)
def test_times_increase(seconds: list[int], expected: Sequence[int], left_out: int) -> None:
    stamps = TimeStamps(Fraction(1))
    found = [frame for time in seconds for frame in stamps.add(TimedFrame(None, Fraction(time), Fraction(0)))]
    assert [frame.time for frame in found] == list(expected)
    assert (stamps.left_out, stamps.end) == (left_out, expected[-1] + 1)
