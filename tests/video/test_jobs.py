"""Files that a job cannot write are refused before anything is read."""

from pathlib import Path
from typing import Any

import pytest

from gffusion.video.jobs import VideoJob


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
