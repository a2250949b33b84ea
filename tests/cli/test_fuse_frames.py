"""`gffusion fuse` of folders of frames as videos."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("av", reason='videos need PyAV: pip install "gffusion[video]"')

from video_files import find_markers, infrared_frame, marker_column, read_frames, visible_frame, write_pair

from gffusion.data import write_image


@pytest.fixture
def folders(cwd: Path) -> Path:
    """Write visible.mp4 and infrared.mp4, their frames in the folders visible and thermal, and one thermal frame as frame.png."""
    write_pair(cwd, 8, audio_seconds=0.5)
    for folder, draw in (("visible", visible_frame), ("thermal", infrared_frame)):
        (cwd / folder).mkdir()
        for index in range(8):
            write_image(cwd / folder / f"{index}.png", draw(index))
    write_image(cwd / "frame.png", infrared_frame(0))
    return cwd


@pytest.mark.parametrize(
    ("command", "fused"),
    [
        ("visible.mp4 thermal --infrared-fps 25 --semantic-every 4 --segment -o fused.mp4", "fused.mp4"),
        ("visible thermal --visible-fps 25025/1001 --infrared-fps 50/2 --align resize --truncated fill -o fused.mp4", "fused.mp4"),
        ("visible infrared.mp4 --visible-fps 25 -o out --infrared-range folder", "out/visible.mp4"),
        ("visible thermal -o fused", "fused/7.png"),
    ],
)  # fmt: skip
def test_folders_of_frames(gffusion: Callable, folders: Path, command: str, fused: str) -> None:
    """The outputs are those of two videos; two folders without a video as output are folders of images."""
    outcome = gffusion("fuse", *command.split())
    assert outcome.exit_code == 0, outcome.err
    if fused.endswith(".mp4"):
        images, times = read_frames(folders / fused)
        assert [find_markers(image) for image in images] == [(marker_column(index),) * 2 for index in range(8)]
        assert times == read_frames(folders / "visible.mp4")[1]
    else:
        assert len(list((folders / "fused").iterdir())) == 8


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("visible.mp4 thermal -o fused.mp4", r"thermal is a folder of frames, .*with --infrared-fps, such as --infrared-fps 25"),
        ("visible thermal -o fused.mp4 --infrared-fps 9 --dry-run", "visible is a folder .* with --visible-fps"),
        ("visible.mp4 thermal -o fused.mp4 --infrared-fps nan", "--infrared-fps must be from 0.001 to 1000 .* got nan"),
        *(
            (f"visible.mp4 thermal -o fused.mp4 --infrared-fps {rate}", "--infrared-fps.* 25 or 30000/1001, got")
            for rate in ("x", "1/0", "1/x", "9" * 400 + "/2")
        ),
        ("visible.mp4 thermal -o fused.mp4 --infrared-fps 2001/2", "--infrared-fps must be from 0.001 to 1000 .* 1000.5"),
        ("visible thermal -o fused --infrared-fps 9", "--infrared-fps is for two videos"),
        ("visible visible -o fused.mp4 --visible-fps 9 --infrared-fps 9", "visible is given twice"),
        ("visible.mp4 frame.png -o fused.mp4", r"frame\.png is not: give a video or a folder of frames"),
        ("@visible.txt @thermal.txt -o fused.mp4", "--output fused.mp4 is named as a video, .*two folders of frames"),
        ("visible.mp4 thermal -o fused.mp4 --infrared-fps 9 --raw-frame 4x4,uint16", "--raw-frame is for infrared files"),
        ("visible infrared.mp4 -o fused.mp4 --visible-fps 9 --raw-frame 4x4,uint16", "--raw-frame is for images"),
    ],
)  # fmt: skip
def test_refused_folders(gffusion: Callable, folders: Path, command: str, named: str) -> None:
    for name in ("visible", "thermal"):
        (folders / f"{name}.txt").write_text(f"{name}/1.png\n")
    before = sorted(folders.iterdir())
    outcome = gffusion("fuse", *command.split())
    assert (outcome.exit_code, outcome.out) == (2, "")
    assert re.fullmatch(rf"gffusion: error: .*{named}.*\n", outcome.err), outcome.err
    assert sorted(folders.iterdir()) == before
