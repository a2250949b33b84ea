"""Files that a job cannot write, and wrong numbers, are refused before anything is read."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gffusion.video.jobs import VideoJob

NAN, INF = float("nan"), float("inf")


def test_other_names_of_an_input_are_refused(tmp_path: Path) -> None:
    """Such as names that differ in case, on some disks."""
    (tmp_path / "Visible.mp4").touch()
    (tmp_path / "visible.mp4").hardlink_to(tmp_path / "Visible.mp4")
    with pytest.raises(ValueError, match="would overwrite an input"):
        VideoJob(tmp_path / "Visible.mp4", tmp_path / "infrared.mp4", tmp_path / "visible.mp4")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"fused": "a/../visible.mp4"}, "would overwrite an input"),
        ({"fused": "fused.mp4", "overlay": "infrared.mp4"}, "would overwrite an input"),
        ({"fused": "fused.mkv", "labels": "fused.mkv"}, "fused.mkv would overwrite another output"),
        ({"fused": "fused.avi"}, r"fused.avi: its suffix must be one of \.m4v, \.mkv, \.mov, \.mp4, \.webm"),
        ({"fused": "fused.mp4", "overlay": "overlay.png"}, "overlay.png: its suffix must be one of"),
        ({"fused": "fused.mp4", "labels": "labels.mp4"}, r"labels.mp4: its suffix must be one of \.mkv"),
    ],
)
def test_refused(outputs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VideoJob(Path("visible.mp4"), Path("infrared.mp4"), **{kind: Path(path) for kind, path in outputs.items()})
    with pytest.raises(ValueError, match=message):
        VideoJob("visible.mp4", "infrared.mp4", **outputs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"time_offset": value}, "a finite number of seconds, got") for value in ("x", "1", True, NAN, -INF, None)),
        *(({"visible_fps": value}, "from 0.001 to 1000 frames per second, got") for value in ("x", True, NAN, INF, -25)),
        *(({"infrared_fps": value}, "from 0.001 to 1000 frames per second, got") for value in ("25", True, 0)),
        *(({"batch_size": value}, "a whole number of at least 1, got") for value in ("x", True, NAN, INF, -1, 1.5)),
        *(({"semantic_every": value}, "a whole number of at least 1, got") for value in ("x", True, NAN, INF, -1, 1.5)),
    ],
)  # fmt: skip
def test_wrong_numbers(tmp_path: Path, fuse: Callable, options: dict[str, Any], message: str) -> None:
    """They are refused by name, before the files are read."""
    folders = [tmp_path / name for name in ("visible", "infrared")]
    for folder in folders:
        folder.mkdir()
        (folder / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=rf"^`{next(iter(options))}` .*must be {message} \S+$"):
        fuse(*folders, **{"visible_fps": 25, "infrared_fps": 25} | options)
