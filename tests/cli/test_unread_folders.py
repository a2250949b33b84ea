"""Commands name folders of the dataset that they do not read."""

from collections.abc import Callable
from pathlib import Path

from gffusion.synthetic.samples import write_scenes


def test_masks_name_the_folder_of_boxes(gffusion: Callable, tmp_path: Path) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    (tmp_path / "boxes").rename(tmp_path / "yolo")
    outcome = gffusion("masks", tmp_path, "--method", "threshold")
    assert outcome.exit_code == 2
    assert f"{tmp_path / 'yolo'} is not read: rename the folder to boxes if it holds boxes" in outcome.err
