"""Boxes in another format than that of their file and ids that are no classes, which are refused, and odd ones that are not."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gffusion.data import FusionDataset, NamedBoxes, find_pairs
from gffusion.data.boxes.checks import check_boxes
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import ThresholdMasks
from gffusion.synthetic.samples import write_scenes

SIZE = (100, 200)  # height, width
CLASSES = ("person", "bicycle", "car")


def named(boxes: Any, size: tuple[int, int] | None = SIZE) -> list[NamedBoxes]:
    """Images with a box each, as COCO files have them, and one without."""
    corners = [(left, top, left + width, top + height) for left, top, width, height in np.array(boxes, float).tolist()]
    return [NamedBoxes("all.json", size, ("car",), (box,)) for box in corners] + [NamedBoxes("all.json", SIZE, (), ())]


def write(folder: Path, *contents: str) -> list[Path]:
    files = [folder / f"{number}.txt" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(content)
    return files


def check(sources: Sequence[Any], class_names: Sequence[str] | None = CLASSES, **options: bool) -> str | None:
    return check_boxes({Path(f"{number}.png"): boxes for number, boxes in enumerate(sources)}, class_names, **options)


class TestCoco:
    """100 boxes of random sizes and positions."""

    lefts_tops = np.random.default_rng(0).uniform((0, 0), (180, 90), (100, 2))
    sizes = np.random.default_rng(1).uniform(2, 60, (100, 2)).clip(max=(200, 100) - lefts_tops)

    @pytest.mark.parametrize("count", [5, 100])
    def test_corners(self, count: int) -> None:
        boxes = np.hstack([self.lefts_tops, self.lefts_tops + self.sizes])
        boxes = boxes[np.argsort(-self.lefts_tops.sum(axis=1))][:count]  # five have to be conclusive
        with pytest.raises(
            ValueError, match=r"all.json: .* of \d+ boxes .* in 200x100 .*: are they \[x1, y1, x2, y2\]"
        ):
            check(named(boxes))

    @pytest.mark.parametrize("size", [SIZE, None])
    def test_relative(self, size: tuple[int, int] | None) -> None:
        boxes = np.hstack([self.lefts_tops, self.sizes]) / (200, 100, 200, 100)
        with pytest.raises(ValueError, match=r"all.json: all numbers .*are they relative\? They must be in pixels"):
            check(named(boxes, size))

    def test_objects_that_are_partly_outside(self) -> None:
        boxes = np.hstack([self.lefts_tops, self.sizes])
        beyond = [(150, 50, 90, 20), (120, 60, 130, 70)]  # the second would also fit as two corners
        rounded = [(0, 0, 201, 101), (60, 20, 141, 81)]
        check(named([*boxes, *beyond, *rounded]))
        for box in (beyond[0], *rounded, (0, 0, 0, 0), (np.nan, 0, np.inf, 1)):
            check(named([box]))

    def test_large_objects(self) -> None:
        """Numbers that could be corners, too."""
        check(named([(20, 10, 150, 80), (50, 30, 149, 70)] * 5))


@pytest.mark.parametrize("size", [{}, {"width": None, "height": None}, {"width": 0, "height": 0}])
def test_coco_files_without_sizes(tmp_path: Path, size: dict[str, Any]) -> None:
    """Those of the image files are taken, which tell corners from sizes."""
    stems = [Path(name).stem for name in write_scenes(tmp_path, 6, height=48, width=64)]
    for folder in ("boxes", "labels"):
        shutil.rmtree(tmp_path / folder)
    (tmp_path / "classes.txt").unlink()
    content: dict[str, Any] = {
        "categories": [{"id": 1, "name": "car"}],
        "images": [{"id": stem, "file_name": f"{stem}.png"} | size for stem in stems],
    }

    def annotate(box: list[int]) -> None:
        content["annotations"] = [{"image_id": stem, "category_id": 1, "bbox": box} for stem in stems]
        (tmp_path / "all.json").write_text(json.dumps(content))

    annotate([40, 20, 62, 44])
    for use in (
        lambda: FusionDataset(tmp_path),
        lambda: next(write_labels(find_pairs(tmp_path).pairs, tmp_path / "labels", ThresholdMasks(), ["car"])),
    ):
        with pytest.raises(ValueError, match=r"all\.json: 6 of 6 .* in 64x48 .*are they \[x1, y1, x2, y2\]\?"):
            use()
    annotate([40, 20, 22, 24])
    assert FusionDataset(tmp_path).has_boxes


def test_yolo_corners(tmp_path: Path) -> None:
    """Corners of small objects on a road; boxes of rendered scenes, and with one box far outside, are accepted."""
    write_scenes(tmp_path, 8, height=48, width=64)
    files = sorted((tmp_path / "boxes").iterdir())
    files[0].write_text(files[0].read_text() + "0 0.6 0.6 0.9 0.7\n")
    assert FusionDataset(tmp_path).has_boxes
    shutil.copytree(tmp_path, good := tmp_path.with_name("good"))
    draw = np.random.default_rng(0).uniform
    for file in files:
        corners = draw((0, 0.5), (0.9, 0.7), (25, 2))
        np.savetxt(file, np.hstack([np.zeros((25, 1)), corners, corners + draw(0.02, 0.1, (25, 2))]), "%d %f %f %f %f")
    for use in (
        lambda: FusionDataset(tmp_path),
        lambda: FusionDataset([tmp_path, good]),
        lambda: FusionDataset([good, tmp_path]),
        lambda: next(write_labels(find_pairs(tmp_path).pairs, tmp_path / "labels", ThresholdMasks())),
    ):
        with pytest.raises(
            ValueError, match=rf"^{tmp_path}.boxes: .* boxes extend far beyond .*are they \[x1, y1, x2, y2\]\?"
        ):
            use()
    FusionDataset(tmp_path, with_boxes=False)


@pytest.mark.parametrize("boxes", [["0.3 0.5 0.9 0.9"], ["0.5 0.5 0.6 0.8"] * 26 + ["0.3 0.4 0.8 0.8"] * 4])
def test_close_ups_in_yolo_files(tmp_path: Path, boxes: list[str]) -> None:
    """Large objects, some of them only partly visible: their numbers could be corners, too."""
    (tmp_path / "1.txt").write_text("".join(f"0 {box}\n" for box in boxes))
    check([tmp_path / "1.txt"])


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
        check(files := write(tmp_path, *contents), CLASSES)
    if "at 1" in message:
        with pytest.raises(ValueError, match=message):
            check(files, CLASSES, for_labels=True)
    else:
        assert check(files, CLASSES, for_labels=True) is None


def test_note_if_only_the_first_class_is_missing(tmp_path: Path) -> None:
    files = write(tmp_path, "1 0 0 1 1", "2 0 0 1 1\nx\ninf\n")
    note = check(files, CLASSES)
    assert note is not None and note.startswith("no box has the id 0 (person)")
    assert check(files[:1], CLASSES[:2]) is None  # data of one kind are common
    assert check(files[:1], CLASSES) is None


def test_other_boxes_are_left_out(tmp_path: Path) -> None:
    (kaist,) = write(tmp_path, "% bbGt version=3\nperson 1 2 3 4 0 0 0 0 0 0 0")
    assert check([kaist, tmp_path / "missing.txt", tmp_path / "a.xml", None], CLASSES) is None
    for any_class in (None, []):
        assert check(write(tmp_path, "9 0 0 1 1"), any_class) is None


@pytest.mark.parametrize("names", ["person\nbus\ncar\n", None])
def test_files_are_read_once(tmp_path: Path, names: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scenes(tmp_path, 3, height=32, width=32)
    (tmp_path / "classes.txt").unlink()
    if names:
        (tmp_path / "classes.txt").write_text(names)
    read: list[str] = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.append(path.name), read_bytes(path))[1])
    dataset = FusionDataset(tmp_path)
    assert sorted(name for name in read if name != "classes.txt") == [f"rendered_000{index}.txt" for index in range(3)]
    read.clear()
    assert len(dataset[1]["boxes"]) and read == ["rendered_0001.txt"]


def test_dataset_checks_all_files_at_once(tmp_path: Path) -> None:
    write_scenes(tmp_path, 2, height=32, width=32)
    (tmp_path / "boxes" / "rendered_0001.txt").write_text("3 0.5 0.5 1 1")
    with pytest.raises(ValueError, match=r"rendered_0001\.txt, line 1: the class must be"):
        FusionDataset(tmp_path)
    FusionDataset(tmp_path, with_boxes=False)
