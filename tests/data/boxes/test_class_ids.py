"""Class ids of many YOLO files: labels are made only if all are classes."""

from pathlib import Path

import pytest

from gffusion.data import FusionDataset
from gffusion.data.boxes.class_ids import check_class_ids
from gffusion.synthetic.samples import write_scenes

CLASSES = ("person", "bicycle", "car")


def write(folder: Path, *contents: str) -> list[Path]:
    files = [folder / f"{number}.txt" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(content)
    return files


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (("1 0.5 0.5 1 1", "\n2 0 0 1 1\n3 0 0 1 1"), r"1\.txt, line 3: .* 0 to 2 \(person, bicycle, car\), got 3\. .*at 1\?"),
        (("0 0.5 0.5 1 1", "3 0 0 1 1"), r"1\.txt, line 1: .*, got 3$"),
        (("1 0.5 0.5 1 1", "7 0 0 1 1"), r"got 7$"),
        (("-1 0.5 0.5 1 1", "2 0 0 1 1"), r"0\.txt, line 1: .*, got -1$"),
    ],
)  # fmt: skip
def test_ids_that_are_no_classes(tmp_path: Path, contents: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_class_ids(files := write(tmp_path, *contents), CLASSES)
    if "at 1" in message:
        with pytest.raises(ValueError, match=message):
            check_class_ids(files, CLASSES, can_fail_alone=True)
    else:
        assert check_class_ids(files, CLASSES, can_fail_alone=True) is None


def test_note_if_only_the_first_class_is_missing(tmp_path: Path) -> None:
    files = write(tmp_path, "1 0 0 1 1", "2 0 0 1 1\nx\ninf\n")
    note = check_class_ids(files, CLASSES)
    assert note is not None and note.startswith("no box has the id 0 (person)")
    assert check_class_ids(files[:1], CLASSES[:2]) is None  # data of one kind are common
    assert check_class_ids(files[:1], CLASSES) is None


def test_other_boxes_are_left_out(tmp_path: Path) -> None:
    (kaist,) = write(tmp_path, "% bbGt version=3\nperson 1 2 3 4 0 0 0 0 0 0 0")
    assert check_class_ids([kaist, tmp_path / "missing.txt", tmp_path / "a.xml", None], CLASSES) is None
    for any_class in (None, []):
        assert check_class_ids(write(tmp_path, "9 0 0 1 1"), any_class) is None


def test_dataset_checks_all_files_at_once(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, height=32, width=32)
    (tmp_path / "boxes" / "rendered_0001.txt").write_text("3 0.5 0.5 1 1")
    with pytest.raises(ValueError, match=r"rendered_0001\.txt, line 1: the class must be"):
        FusionDataset(tmp_path)
    FusionDataset(tmp_path, with_boxes=False)
