"""Label maps and boxes in the columns of a CSV file of pairs."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gffusion.data import FusionDataset, read_labels
from gffusion.data.layouts import find_pairs
from gffusion.data.pair_lists import list_pairs
from gffusion.synthetic.samples import write_scenes

HEADER = "Boxes,visible,infrared,Labels,name"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with two scenes, and a CSV file of them with other names for all files except the visible ones."""
    names = [Path(name).stem for name in write_scenes(tmp_path / "folder", count=2, height=48, width=64)]
    rows = [HEADER]
    for number, name in enumerate(names):
        files = [f"boxes/{name}.txt", f"infrared/{name}.png", f"labels/{name}.png"]
        boxes, infrared, labels = (Path(file).with_stem(f"{9 - number}") for file in files)
        for file, copy in zip(files, (boxes, infrared, labels), strict=True):
            (tmp_path / copy).parent.mkdir(exist_ok=True)
            shutil.copy(tmp_path / "folder" / file, tmp_path / copy)
        rows.append(f"{boxes},folder/visible/{name}.png,{infrared},{labels},day/{number}")
    shutil.copy(tmp_path / "folder" / "classes.txt", tmp_path)
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    return tmp_path


def test_items_are_those_of_the_folder(root: Path) -> None:
    listed, folder = FusionDataset(root / "pairs.csv"), FusionDataset(root / "folder")
    assert listed.names == ("day/0", "day/1") and listed.class_names == folder.class_names
    assert (listed.has_labels, listed.has_boxes) == (True, True)
    for item, expected in zip(listed, folder, strict=True):
        del item["name"], expected["name"]
        torch.testing.assert_close(item, expected, rtol=0, atol=0)
    assert not FusionDataset(root / "pairs.csv", with_boxes=False).has_boxes


def test_cells_can_be_empty(root: Path) -> None:
    lines = (root / "pairs.csv").read_text().splitlines()
    cells = lines[2].split(",")
    (root / "some.csv").write_text("\n".join([*lines[:2], ",".join(["", *cells[1:3], "", ""])]))
    first, second = find_pairs(root / "some.csv").pairs
    assert (first.boxes, first.labels) == (root / "boxes/9.txt", root / "labels/9.png")
    assert (second.boxes, second.labels, second.name) == (None, None, "rendered_0001")
    with pytest.raises(ValueError, match=r"1 of 2 pairs of .*some\.csv have no label map"):
        FusionDataset(root / "some.csv")


def test_fuse_needs_no_annotations(root: Path) -> None:
    shutil.rmtree(root / "labels")
    shutil.rmtree(root / "boxes")
    assert [pair.name for pair in list_pairs(root / "pairs.csv", None).pairs] == ["day/0", "day/1"]
    with pytest.raises(FileNotFoundError, match=r"pairs\.csv, line 2: the file labels/9\.png does not exist"):
        find_pairs(root / "pairs.csv")


@pytest.mark.parametrize("column", ["mask", "annotations", "scene"])
def test_other_columns_are_named(root: Path, column: str, caplog: pytest.LogCaptureFixture) -> None:
    text = (root / "pairs.csv").read_text()
    (root / "other.csv").write_text(text.replace("Labels", column))
    find_pairs(root / "other.csv")
    assert f"not read of its columns: '{column}'; label maps are in a column labels" in caplog.text
    caplog.clear()
    (root / "match.csv").write_text(text.replace("Labels", "difference"))  # as `gffusion match` writes it
    find_pairs(root / "match.csv")
    assert not caplog.text


def test_boxes_of_many_images_are_refused(root: Path) -> None:
    (root / "boxes" / "coco.json").write_text("{}")
    (root / "pairs.csv").write_text(f"{HEADER}\nboxes/coco.json,folder/visible/rendered_0000.png,infrared/9.png,,")
    with pytest.raises(
        ValueError, match=r"line 2: the boxes of an image must be in a file .* \.txt, \.xml, got coco\.json"
    ):
        find_pairs(root / "pairs.csv")


def test_masks_of_a_csv_file(root: Path, gffusion: Callable) -> None:
    words = ("--method", "threshold", "--quiet")
    assert gffusion("masks", root / "folder", "-o", root / "expected", *words).exit_code == 0
    assert gffusion("masks", root / "pairs.csv", "-o", root / "made", *words).exit_code == 0
    for number in range(2):
        made, expected = root / "made" / "day" / f"{number}.png", root / "expected" / f"rendered_000{number}.png"
        np.testing.assert_array_equal(read_labels(made), read_labels(expected))
    assert gffusion("masks", root / "pairs.csv", *words).exit_code == 0
    assert not (root / "labels" / "day").exists()  # the label maps of the pairs are found


def test_masks_of_pairs_with_one_name(root: Path, gffusion: Callable) -> None:
    header, row, _ = (root / "pairs.csv").read_text().splitlines()
    (root / "pairs.csv").write_text(f"{header}\n{row}\n{row}")
    outcome = gffusion("masks", root / "pairs.csv", "-o", root / "made", "--method", "threshold")
    assert outcome.exit_code == 2 and not (root / "made").exists()
    assert "would have the same label map" in outcome.err and "name the pairs in the CSV file" in outcome.err


@pytest.mark.parametrize(("header", "cell"), [("labels", "day"), ("boxes", "3"), ("labels", "nan")])
def test_columns_of_another_meaning(root: Path, header: str, cell: str) -> None:
    file = root / "other.csv"
    file.write_text(f"Unnamed: 0,visible,infrared,{header}\n0,folder/visible/rendered_0000.png,infrared/9.png,{cell}\n")
    with pytest.raises(
        FileNotFoundError,
        match=rf"line 2: the file {cell} does not exist.*; rename the column {header} if it names no files",
    ):
        find_pairs(file)
    file.write_text(file.read_text().replace(cell, ""))
    assert find_pairs(file).match.notes == ()
