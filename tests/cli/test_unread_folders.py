"""Commands name folders of the dataset that they do not read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gffusion.data import FusionDataset, match_pairs
from gffusion.data.layouts.unread import describe_unread
from gffusion.synthetic.samples import write_scenes


def test_masks_name_the_folder_of_boxes(gffusion: Callable, tmp_path: Path) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    (tmp_path / "boxes").rename(tmp_path / "yolo")
    outcome = gffusion("masks", tmp_path, "--method", "threshold")
    assert outcome.exit_code == 2
    assert f"{tmp_path / 'yolo'} is not read: rename the folder to boxes if it holds boxes" in outcome.err


@pytest.mark.parametrize("layout", ["msrs", "m3fd", "tno"])
def test_boxes_of_your_own_need_no_layout(gffusion: Callable, tmp_path: Path, layout: str) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    outcome = gffusion("masks", tmp_path, "--method", "threshold", "--layout", layout)
    advice = f"{tmp_path / 'boxes'} is not read: leave --layout out if it holds boxes of your own\n"
    assert outcome.exit_code == 2 and outcome.err.endswith(advice)
    assert gffusion("masks", tmp_path, "--method", "threshold").exit_code == 0


def test_masks_name_json_files_of_other_formats(gffusion: Callable, tmp_path: Path) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    shutil.rmtree(tmp_path / "boxes")
    for name in ("via.json", "annotations/default.json", "ann/.hidden.json", "a/b/deep.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text('{"images": [], "annotations": []}')
    outcome = gffusion("masks", tmp_path, "--method", "threshold")
    assert outcome.exit_code == 2
    assert (
        "has boxes to make label maps from; its JSON files (annotations/default.json, via.json) are not" in outcome.err
    )
    assert "COCO file, which needs bbox, or from a Pascal VOC, YOLO or KAIST file" in outcome.err


@pytest.mark.parametrize(
    ("moved", "files"),
    [(None, "the files in {root}/boxes"), ("boxes", "the files in {root}/mine"), ("", "a file of boxes for each pair")],
)
def test_masks_of_a_csv_file_without_boxes(gffusion: Callable, tmp_path: Path, moved: str | None, files: str) -> None:
    (name,) = write_scenes(tmp_path, count=1, height=48, width=64)
    (tmp_path / "pairs.csv").write_text(f"visible,infrared\nvisible/{name},infrared/{name}\n")
    if moved:
        (tmp_path / moved).rename(tmp_path / "mine")
    elif moved == "":
        shutil.rmtree(tmp_path / "boxes")
    outcome = gffusion("masks", tmp_path / "pairs.csv", "--method", "threshold")
    assert outcome.exit_code == 2
    assert outcome.err.endswith(f"; name {files.format(root=tmp_path)} in a column boxes of the CSV file\n")


def test_a_csv_file_beside_a_folder_with_label_maps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for data in ("labeled", "listed"):
        (name,) = write_scenes(tmp_path / data, count=1, height=48, width=64)
    (tmp_path / "pairs.csv").write_text(f"visible,infrared\nlisted/visible/{name},listed/infrared/{name}\n")
    FusionDataset([tmp_path / "labeled", tmp_path / "pairs.csv"])
    assert f"name the files in {tmp_path / 'listed' / 'labels'} in a column labels of the CSV file" in caplog.text


def test_another_dataset_beside_it_holds_no_label_maps(tmp_path: Path) -> None:
    write_scenes(tmp_path, count=1, height=48, width=64)
    (pair,) = match_pairs(tmp_path / "visible", tmp_path / "infrared").pairs
    (tmp_path / "masks_old").mkdir()
    shutil.move(tmp_path / "labels" / f"{pair.name}.png", tmp_path / "masks_old")
    assert f"{tmp_path / 'masks_old'} is not read" in describe_unread([pair], "labels")
    shutil.copy(pair.infrared, tmp_path / "masks_old" / f"{pair.name}_ir.png")
    assert describe_unread([pair], "labels") == ""
