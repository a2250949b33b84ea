"""COCO detection files."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion.data import read_boxes, read_coco

SIZE = (100, 200)  # height, width
CONTENT = {
    "categories": [{"id": 7, "name": "car"}, {"id": 2, "name": "person"}],
    "images": [
        {"id": 10, "file_name": "visible/a.png", "height": 100, "width": 200},
        {"id": 3, "file_name": "b.jpg", "height": 100, "width": 200},
    ],
    "annotations": [
        {"id": 1, "image_id": 10, "category_id": 7, "bbox": [10, 20, 30, 40]},
        {"id": 2, "image_id": 10, "category_id": 2, "bbox": [0, 0, 200, 100], "iscrowd": 0, "ignore": 0},
        {"id": 3, "image_id": 10, "category_id": 2, "bbox": [0, 0, 50, 50], "iscrowd": True, "ignore": None},
        {"id": 4, "image_id": 10, "category_id": 2, "bbox": [5, 5, 50, 50], "iscrowd": 0, "ignore": 1},
    ],
}


def coco(folder: Path, **changes: Any) -> Path:
    (folder / "all.json").write_text(json.dumps(CONTENT | changes))
    return folder / "all.json"


def test_byte_order_mark(tmp_path: Path) -> None:
    """As programs on Windows write it."""
    path = tmp_path / "all.json"
    path.write_text(json.dumps({"images": [], "categories": [], "annotations": []}), encoding="utf-8-sig")
    assert read_coco(path) == ({}, ())


def test_ids_with_gaps(tmp_path: Path) -> None:
    images, class_names = read_coco(coco(tmp_path))
    assert images.keys() == {"a", "b"}
    assert class_names == ("person", "car")  # in the order of the ids 2 and 7
    boxes = read_boxes(images["a"], SIZE, class_names)
    np.testing.assert_array_equal(boxes.coordinates, [(10, 20, 40, 60), (0, 0, 200, 100)])
    assert boxes.classes.tolist() == [1, 0]
    assert boxes.ignored.tolist() == [[0, 0, 50, 50], [5, 5, 55, 55]]
    assert read_boxes(images["a"], SIZE, ("bus", "PERSON", "Car")).classes.tolist() == [2, 1]
    assert read_boxes(images["b"], SIZE, class_names).coordinates.shape == (0, 4)
    with pytest.raises(ValueError, match=r"all\.json \(visible/a\.png\): .* drawn on an image of 200x100"):
        read_boxes(images["a"], (50, 100), class_names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"annotations": [{"image_id": 5, "category_id": 2, "bbox": [0, 0, 1, 1]}]}, "the image 5, which"),
        ({"annotations": [{"image_id": 3, "category_id": 5, "bbox": [0, 0, 1, 1]}]}, "the category 5, which"),
        *(
            (
                {"annotations": [{"id": 8, "image_id": 3, "category_id": 2} | box]},
                rf"annotation 8 of b\.jpg has {message}",
            )
            for box, message in (
                ({}, "no bbox: export"),
                ({"bbox": []}, "no bbox: export"),
                ({"bbox": None}, "no bbox: export"),
                ({"bbox": [1, 2, 3]}, r"the bbox \[1, 2, 3\]: it must be"),
                ({"bbox": [1, 2, 3, "x"]}, "the bbox .*: it must be"),
                ({"bbox": 5}, "the bbox 5: it must be"),
                ({"bbox": [1, 2, 3, 10**400]}, "the bbox .*: it must be"),
            )
        ),
        ({"annotations": [{"image_id": 3, "category_id": 2, "bbox": [5, 5, -1, 1]}]}, "negative side"),
        *(
            (
                {"annotations": [{"id": 8, "image_id": 3, key: value}]},
                f"the annotation 8 of the image 3 has the {key} {shown}: ",
            )
            for key, value, shown in (
                ("ignore", "0", "'0'"),
                ("iscrowd", "false", "'false'"),
                ("ignore", [0], r"\[0\]"),
            )
        ),
        ({"annotations": 3}, "not iterable"),
        (
            {"images": [*CONTENT["images"], {"id": 3, "file_name": "c.jpg"}]},
            r"b\.jpg.* and .*c\.jpg.* have the same id 3: give each its own",
        ),
        ({"categories": [*CONTENT["categories"], {"id": 7, "name": "bus"}]}, "car and bus have the same id 7"),
    ],
)
def test_malformed_entries(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=rf"all\.json.*{message}"):
        read_coco(coco(tmp_path, **changes))


def list_images(*names: str, size: tuple[int, int] = SIZE) -> list[dict[str, Any]]:
    return [{"id": name, "file_name": name, "height": size[0], "width": size[1]} for name in names]


@pytest.mark.parametrize(
    ("boxed", "others"),
    [
        (["visible/a.png"], ["infrared/a.png", "visible/b.png", "infrared/b.png"]),
        (["infrared/a.png"], ["visible/a.png", "infrared/b.png", "visible/b.png"]),
        (["task\\RGB\\day\\a.png"], ["task\\thermal\\day\\a.png"]),
        (["visible/a.png", "infrared/b.png"], ["infrared/a.png", "visible/b.png"]),
        (["set1/a.png", "set1/b.png"], ["set2/a.png", "set2/b.png"]),
        (["a.jpg"], ["a.png", "b.png"]),
        (["a.png", "b.png"], ["infrared/a.png", "infrared/b.png"]),
        (["A/visible/a.png"], ["A/infrared/a.png", "A/infrared/b.png"]),
        (["RGB images/visible/a.png"], ["Thermal images/infrared/a.png"]),
        (["images/day/a.png"], ["thermal/day/a.png"]),
        (["thermal/a.png"], ["nir/a.png", "visible/a.png"]),
        (["A/visible/b.png"], ["B/visible/a.png", "C/visible/a.png"]),
        ([], ["visible/a.png", "infrared/a.png"]),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_one_image_of_a_stem_has_objects(tmp_path: Path, boxed: list[str], others: list[str], order: int) -> None:
    """Such as a task of CVAT with both images of the pairs; sizes tell which entry was used."""
    group, other = {"category_id": 2, "bbox": [1, 2, 3, 4]}, (10, 20)
    images = (list_images(*boxed) + list_images(*others, size=other))[::order]
    found, _ = read_coco(coco(tmp_path, images=images, annotations=[group | {"image_id": name} for name in boxed]))
    for name in boxed:
        entry = found[re.split(r"[/\\.]", name)[-2]]
        assert (entry.coordinates, entry.size) == (((1, 2, 4, 6),), SIZE)
    for stem in found.keys() - {re.split(r"[/\\.]", name)[-2] for name in boxed}:
        assert found[stem].coordinates == ()


def test_image_without_objects_is_that_of_the_annotated_folder(tmp_path: Path) -> None:
    box = {"image_id": "infrared/b.png", "category_id": 2, "bbox": [1, 2, 3, 4]}
    images = list_images("visible/a.png") + list_images("infrared/a.png", "infrared/b.png", size=(50, 60))
    assert read_coco(coco(tmp_path, images=images, annotations=[box]))[0]["a"].size == (50, 60)
    for entries in (images[:2], images[1::-1]):
        assert read_coco(coco(tmp_path, images=entries, annotations=[]))[0]["a"].size == SIZE


@pytest.mark.parametrize("kind", ["iscrowd", "other"])
@pytest.mark.parametrize(
    ("boxed", "others", "message"),
    [
        (
            ["visible/a.png", "infrared/a.png"],
            [],
            "visible/a.png and infrared/a.png, and both have boxes; remove the boxes",
        ),
        (["a.png", "a.jpg"], [], "a.png and a.jpg, and both have boxes; rename"),
        (["x\\a.png", "y\\a.png"], [], "x/a.png and y/a.png, and both have boxes; rename"),
        *(
            ([name, *boxed], [other], f"{name} and {other}, and their folders seem to be of different scenes; rename")
            for name, other, boxed in (
                ("x/a.png", "y/a.png", ["y/b.png"]),
                ("A/visible/a.png", "B/infrared/a.png", []),
                ("train/visible/a.png", "test/visible/a.png", []),
                ("infrared/a.png", "test/visible/a.png", []),
                ("A/visible/a.png", "B/a.png", []),
                ("A/a.png", "B/infrared/a.png", []),
                ("thermal/a.png", "nir/a.png", ["nir/b.png"]),
            )
        ),
    ],
)
def test_ambiguous_images(tmp_path: Path, boxed: list[str], others: list[str], kind: str, message: str) -> None:
    box = {"category_id": 2, "bbox": [1, 2, 3, 4], kind: 1}
    annotations = [box | {"image_id": name} for name in boxed]
    with pytest.raises(ValueError, match=rf"all\.json lists two images with the stem a, {message}"):
        read_coco(coco(tmp_path, images=list_images(*boxed, *others), annotations=annotations))


@pytest.mark.parametrize(
    ("rotation", "expected"),
    [
        *((angle, (45, 15, 55, 45)) for angle in (90, -90.0, 270)),
        (60, (38.1699, 14.5096, 61.8301, 45.4904)),
        *((value, (35, 25, 65, 35)) for value in (0.0, 180, "north", None, True, float("nan"), float("inf"))),
        pytest.param(10**400, (35, 25, 65, 35), id="huge"),
    ],
)
def test_rotated_boxes(tmp_path: Path, rotation: Any, expected: tuple[float, ...]) -> None:
    """CVAT stores them before their rotation, and 0 for others; boxes of outlines are those around them."""
    box = {"image_id": 3, "category_id": 2, "bbox": [35, 25, 30, 10], "attributes": {"rotation": rotation}}
    images, names = read_coco(coco(tmp_path, annotations=[box | {"segmentation": []}]))
    np.testing.assert_allclose(read_boxes(images["b"], SIZE, names).coordinates, [expected], atol=1e-3)
    outline = {"segmentation": [[35, 25, 65, 25, 65, 35]]}
    attributes = {"attributes": [], "segmentation": None}
    images, names = read_coco(coco(tmp_path, annotations=[box | outline, box | attributes]))
    assert read_boxes(images["b"], SIZE, names).coordinates.tolist() == [[35, 25, 65, 35]] * 2


def test_category_of_the_project_in_files_of_roboflow(tmp_path: Path) -> None:
    """It is left out, but not a parent that has objects or is not that of all others."""
    project = {"id": 0, "name": "street", "supercategory": "none"}
    person, car, other = (
        {"id": number, "name": name, "supercategory": parent}
        for number, (name, parent) in enumerate([("person", "street"), ("car", "street"), ("dog", "animal")], start=1)
    )
    own = {"image_id": 3, "category_id": 0, "bbox": [1, 2, 3, 4]}
    for categories, annotations, expected in (
        ([project, person, car], [own | {"category_id": 2}], ("person", "car")),
        ([project, person, car], [own], ("street", "person", "car")),
        ([project, person, other], [], ("street", "person", "dog")),
        ([project | {"supercategory": "place"}, person], [], ("street", "person")),
        ([project], [], ("street",)),
    ):
        changes = {"categories": categories, "annotations": annotations}
        info = {"description": "Exported from roboflow.com"}
        assert read_coco(coco(tmp_path, info=info, **changes))[1] == expected
        assert read_coco(coco(tmp_path, **changes))[1] == tuple(category["name"] for category in categories)


def test_repeated_entries_count_once(tmp_path: Path) -> None:
    repeated = {key: CONTENT[key] + [{**CONTENT[key][0], "license": 1}] for key in ("images", "categories")}
    assert read_coco(coco(tmp_path, **repeated)) == read_coco(coco(tmp_path))


@pytest.mark.parametrize("sides", [{}, {"height": 0, "width": 0}, {"height": None}, {"width": 640}])
@pytest.mark.parametrize("order", [1, -1])
def test_one_of_the_entries_of_an_image_can_lack_the_size(tmp_path: Path, sides: dict[str, Any], order: int) -> None:
    entry = {"id": 3, "file_name": "b.jpg"}
    entries = [entry | {"height": 480, "width": 640}, entry | sides][::order]
    assert read_coco(coco(tmp_path, images=entries, annotations=[]))[0]["b"].size == (480, 640)
    with pytest.raises(ValueError, match="have the same id 3"):
        read_coco(coco(tmp_path, images=[*entries, entry | {"height": 480, "width": 641}], annotations=[]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", " is not a COCO detection file: it lacks annotations, categories, images"),
        ("[]", " is not a COCO detection file: it is a list, such as Label Studio's JSON-MIN: export"),
        ("3", " is not a COCO detection file: it lacks an object"),
        ("{", " is not a JSON file"),
    ],
)
def test_other_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "all.json").write_text(content)
    with pytest.raises(ValueError, match=rf"all\.json{message}"):
        read_coco(tmp_path / "all.json")


def encode(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return a mask as run lengths along its columns, the first one of background."""
    runs = [(value, len(list(group))) for value, group in itertools.groupby(mask.T.ravel().tolist())]
    return {"size": list(mask.shape), "counts": [0] * runs[0][0] + [length for _, length in runs]}


@pytest.mark.parametrize("kind", ["iscrowd", "ignore"])
@pytest.mark.parametrize(
    "box",
    [{}] + [{"bbox": box} for box in ([], [1, 2, 3], [5, 5, -1, 1], [0] * 4, [5, 5, 0, 1], [1, 2, 3, float("nan")])],
)
def test_groups_with_an_outline_need_no_box(tmp_path: Path, kind: str, box: dict[str, Any]) -> None:
    group = {"image_id": 3, "category_id": 2, kind: 1} | box
    rng = np.random.default_rng(0)
    masks = [np.zeros(SIZE, bool) for _ in range(20)]
    for mask in masks[2:]:
        top, left, height, width = rng.integers((0, 0, 1, 1), (90, 190, 30, 30))
        mask[top : top + height, left : left + width] = rng.random(SIZE)[top : top + height, left : left + width] < 0.7
        mask[top, left] = True
    masks[0][:, 3:5] = masks[1][50:, 3] = masks[1][:20, 4] = True  # runs over the end of a column
    outlines: list[Any] = [encode(mask) for mask in masks]
    places = [np.nonzero(mask) for mask in masks]
    expected = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places]
    outlines.append([[10, 20, 30, 5, 12.5, 40], [50, 20, 60, 20, 50, 21]])
    annotations = [group | {"segmentation": outline} for outline in outlines]
    image = read_coco(coco(tmp_path, annotations=annotations))[0]["b"]
    assert image.ignored == (*expected, (10, 5, 60, 40))
    assert image.unlocated == 0
    assert image.masked_groups == (len(masks) if kind == "iscrowd" else 0)


@pytest.mark.parametrize(
    "outline",
    [
        None,
        [],
        [[]],
        [[1, 2, 3]],
        ["x"],
        3,
        {},
        {"counts": "52203", "size": [100, 200]},
        {"counts": [1, 2], "size": []},
        {"counts": [9], "size": [100, 200]},
        {"counts": [1, 2], "size": [0, 0]},
        {"counts": [1, "x"], "size": [100, 200]},
        {"counts": [19999, 2], "size": [100, 200]},
        {"counts": [50, -10, 30, 5], "size": [100, 200]},
        {"counts": [1, 2**63], "size": [100, 200]},
        [[None, None, 3, 4, 5, 6]],
        [[1, 2, float("nan"), 4, 5, 6], [1, 2, 3, 4, 5, 7]],
        [[1, 2, 3, float("inf"), 5, 6]],
        [[1, 2, 3, 10**400, 5, 6]],
        [[1, 2, 1, 4, 1, 6]],
    ],
)
def test_groups_without_a_place_are_counted(tmp_path: Path, outline: Any) -> None:
    group = {"image_id": 3, "category_id": 2, "iscrowd": 1, "segmentation": outline}
    image = read_coco(coco(tmp_path, annotations=[group, group]))[0]["b"]
    assert (image.ignored, image.unlocated) == ((), 2)


def test_crowds_without_a_usable_box_are_left_out(tmp_path: Path) -> None:
    crowd = {"image_id": 3, "category_id": 2, "iscrowd": 1}
    boxes = [{}, {"bbox": None}, {"bbox": [5, 5, -1, 1]}, {"bbox": [1, 2, 3, 4]}, {"image_id": 5, "bbox": [1, 2, 3, 4]}]
    images, _ = read_coco(coco(tmp_path, annotations=[crowd | box for box in boxes]))
    assert images["b"].ignored == ((1, 2, 4, 6),) and images["b"].coordinates == ()
    assert images["b"].unlocated == 3


def test_boxes_without_area_are_left_out_and_do_not_refuse_the_file(tmp_path: Path) -> None:
    """Datasets that are in use have such boxes."""
    boxes = [[5, 5, 0, 1], [5, 5, 1, 0], [1, 2, 3, 4]]
    annotations = [{"image_id": 3, "category_id": 2, "bbox": box} for box in boxes]
    images, class_names = read_coco(coco(tmp_path, annotations=annotations))
    assert read_boxes(images["b"], images["b"].size or SIZE, class_names).coordinates.tolist() == [[1, 2, 4, 6]]
