"""Commands name folders of the dataset that they do not read."""

import shutil
from collections.abc import Callable
from pathlib import Path

from gffusion.data import match_pairs
from gffusion.data.layouts.unread import describe_unread
from gffusion.synthetic.samples import write_scenes


def test_masks_name_the_folder_of_boxes(gffusion: Callable, tmp_path: Path) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    (tmp_path / "boxes").rename(tmp_path / "yolo")
    outcome = gffusion("masks", tmp_path, "--method", "threshold")
    assert outcome.exit_code == 2
    assert f"{tmp_path / 'yolo'} is not read: rename the folder to boxes if it holds boxes" in outcome.err


def test_another_dataset_beside_it_holds_no_label_maps(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    (pair,) = match_pairs(tmp_path / "visible", tmp_path / "infrared").pairs
    (tmp_path / "masks_old").mkdir()
    shutil.move(tmp_path / "labels" / f"{pair.name}.png", tmp_path / "masks_old")
    assert f"{tmp_path / 'masks_old'} is not read" in describe_unread([pair], "labels")
    shutil.copy(pair.infrared, tmp_path / "masks_old" / f"{pair.name}_ir.png")
    assert describe_unread([pair], "labels") == ""
