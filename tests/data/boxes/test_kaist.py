"""Box files of KAIST, and box files that a training run does not need."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gffusion.data import FusionDataset, read_boxes, write_image

TEXT = """% bbGt version=3
person 10 20 30 40 0 0 0 0 0 0 0
cyclist 5 6 7 8 1 5 6 3 4 0 0
people 1 2 3 4 0 0 0 0 0 1 0
person? 1 2 3 4 0 0 0 0 0 0 0
"""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Make two pairs without boxes."""
    rng = np.random.default_rng(0)
    for kind, channels in (("visible", (3,)), ("infrared", ())):
        (tmp_path / kind).mkdir()
        for name in "ab":
            write_image(tmp_path / kind / f"{name}.png", rng.integers(0, 256, (100, 120, *channels), np.uint8))
    return tmp_path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_boxes(tmp_path: Path, newline: str) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.replace("\n", newline).encode())
    boxes = read_boxes(path, (100, 120), ["Cyclist", "Person"])
    assert boxes.coordinates.tolist() == [[10, 20, 40, 60], [5, 6, 12, 14]]
    assert boxes.classes.tolist() == [1, 0]
    assert boxes.ignored.tolist() == [[1, 2, 4, 6], [1, 2, 4, 6]]
    path.write_text("% bbGt version=3\n")
    assert len(read_boxes(path, (100, 120), ["person"]).classes) == 0


@pytest.mark.parametrize(
    ("line", "message"), [("person 1 2 x 4", r"line 2: a bbGt line"), ("person 1 2", "a bbGt line")]
)
def test_damaged(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(f"% bbGt version=3\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_boxes(path, (100, 120), ["person"])


def test_class_names_are_needed(pairs: Path) -> None:
    (pairs / "boxes").mkdir()
    for name in "ab":
        (pairs / "boxes" / f"{name}.txt").write_text(TEXT)
    with pytest.raises(ValueError, match="class names; pass class_names="):
        FusionDataset(pairs)
    (pairs / "classes.txt").write_text("person\ncyclist\n")
    assert FusionDataset(pairs)[0]["box_classes"].tolist() == [0, 1]


DAMAGE: dict[str, Callable[[Path], object]] = {
    "malformed": lambda folder: [(folder / f"{name}.txt").write_text("nonsense") for name in "ab"],
    "binary": lambda folder: [(folder / f"{name}.txt").write_bytes(b"\xff\xfe\x00") for name in "ab"],
    "coco": lambda folder: (folder / "all.json").write_text("{"),
    "two coco files": lambda folder: [(folder / f"{name}.json").write_text("{}") for name in "ab"],
    "no names": lambda folder: [(folder / f"{name}.xml").write_text("<annotation/>") for name in "ab"],
    "two formats": lambda folder: [(folder / name).write_text("") for name in ("a.txt", "a.xml")],
    "other names": lambda folder: (folder / "c.txt").write_text(""),
    "empty folder": lambda folder: None,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_boxes_are_not_needed(pairs: Path, damage: Callable[[Path], object]) -> None:
    (pairs / "boxes").mkdir()
    damage(pairs / "boxes")
    dataset = FusionDataset(pairs, with_boxes=False)
    assert not dataset.has_boxes
    assert {"boxes", "box_classes"}.isdisjoint(dataset[0])
    with pytest.raises(ValueError):  # noqa: PT011 (many messages)
        FusionDataset(pairs)[0]


@pytest.mark.parametrize("place", ["boxes/all.json", "all.json", "annotations/all.json"])
def test_coco_file_beside_the_folders(pairs: Path, place: str) -> None:
    (pairs / place).parent.mkdir(exist_ok=True)
    (pairs / place).write_text(
        '{"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}], "categories": [{"id": 3, "name": "car"}],'
        '"annotations": [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}]}'
    )
    if place == "all.json":
        (pairs / "rig.json").write_text('{"version": 1}')
    dataset = FusionDataset(pairs)
    assert dataset.class_names == ("car",)
    assert dataset[0]["boxes"].tolist() == [[1, 2, 4, 6]]
