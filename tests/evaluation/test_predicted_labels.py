"""`evaluate` with label maps: mIoU of predicted ones, class names, and pairs without a usable label map."""

import csv
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from evaluation_runs import NAMES, run
from numpy.typing import NDArray
from read_back import read_pixels

from gffusion.data import ReadOptions
from gffusion.evaluation.label_classes import prepare_classes
from gffusion.metrics import MeanIoU


@pytest.fixture
def maps(pairs: Path, save: Callable[[Path, NDArray[Any]], None]) -> MeanIoU:
    """Write label maps and predictions, and return the metric of their mIoU."""
    rng, metric = np.random.default_rng(0), MeanIoU(3)
    for name in NAMES:
        labels, predicted = rng.integers(0, 3, (2, 48, 64), dtype=np.uint8)
        save(pairs / "labels" / f"{name}.png", labels)
        save(pairs / "predicted" / f"{name}.png", predicted)
        metric.update(*(torch.from_numpy(label_map.astype(np.int64))[None] for label_map in (predicted, labels)))
    return metric


def options(pairs: Path, **overrides: Any) -> dict[str, Any]:
    given = {"labels": pairs / "labels", "predicted_labels": {"sharp": pairs / "predicted"}, "class_names": [*"xyz"]}
    return given | overrides


def test_miou(pairs: Path, maps: MeanIoU, tmp_path: Path) -> None:
    for _ in range(2):  # measured, then from the records
        table = run(pairs, **options(pairs), output=tmp_path / "out")
        assert table.segmentation["sharp"]["mIoU"] == pytest.approx(maps.compute().item())
    assert "IoU y" in table.to_dict()["sharp"]
    assert "mIoU" not in table.to_dict()["flat"]
    with (tmp_path / "out" / "per_image_iou.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["image"]) for row in rows] == [("sharp", name) for name in NAMES]
    for row in rows:
        predicted, labels = (read_pixels(pairs / kind / f"{row['image']}.png") for kind in ("predicted", "labels"))
        both = [((labels == c) & (predicted == c)).sum() / ((labels == c) | (predicted == c)).sum() for c in range(3)]
        assert [float(row[f"IoU {name}"]) for name in "xyz"] == pytest.approx(both)
        assert float(row["mIoU"]) == pytest.approx(np.mean(both))
    counts = {
        name: [sum(int(row[f"{kind} {name}"]) for row in rows) for kind in ("intersection", "union")] for name in "xyz"
    }
    assert np.mean([common / union for common, union in counts.values()]) == pytest.approx(maps.compute().item())
    run(pairs, output=tmp_path / "out")
    assert not (tmp_path / "out" / "per_image_iou.csv").exists()


def test_classes_that_an_image_lacks(pairs: Path, maps: MeanIoU, save: Callable[[Path, NDArray[Any]], None]) -> None:
    for kind in ("labels", "predicted"):
        save(pairs / kind / "b.png", np.zeros((48, 64), np.uint8))
    save(pairs / "labels" / "c.png", np.full((48, 64), 255, np.uint8))
    lines = run(pairs, **options(pairs)).to_segmentation_csv().splitlines()
    assert lines[2] == "sharp,b,1.0,1.0,,,3072,0,0,3072,0,0"
    assert lines[3] == "sharp,c,,,,,0,0,0,0,0,0"


def test_changed_prediction_is_measured_again(
    pairs: Path, maps: MeanIoU, tmp_path: Path, fusions: list[tuple[str, str]]
) -> None:
    run(pairs, **options(pairs), output=tmp_path / "out", sheet=[])
    fusions.clear()
    shutil.copy(pairs / "labels" / "c.png", pairs / "predicted" / "c.png")
    table = run(pairs, **options(pairs), output=tmp_path / "out", sheet=[])
    assert fusions == [("sharp", "c")]
    assert table.segmentation["sharp"]["mIoU"] > maps.compute().item()


@pytest.mark.parametrize(
    "changed",
    [
        {"label_map": {1: 2, 2: 1}},
        {"class_names": [*"xyzw"]},
        {"infrared_options": {"invert": True}},
        {"read_options": ReadOptions(infrared_luma=True)},
    ],
)
def test_all_is_measured_again_with_another_option(
    pairs: Path, maps: MeanIoU, tmp_path: Path, fusions: list[tuple[str, str]], changed: dict[str, Any]
) -> None:
    given: dict[str, Any] = {"fused": {"sharp": pairs / "sharp"}, "output": tmp_path / "out", "sheet": []}
    run(pairs, **options(pairs), **given)
    fusions.clear()
    again = run(pairs, **options(pairs, **changed), **given)
    assert sorted(fusions) == [("sharp", name) for name in NAMES]
    assert again.to_dict() == run(pairs, **options(pairs, **changed), **given | {"output": None}).to_dict()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"class_names": ["x", "y"]}, r"a\.png holds 2, but the classes are 0 x, 1 y: give `label_map` \(--label-map"),
        ({"label_map": {1: 7}}, r"`label_map` \(--label-map\) gives \[7\], but the classes are 0 x"),
        ({"class_names": None}, "Name the classes in the order of their ids"),
        ({"class_names": "xy"}, "at least two classes"),
        ({"class_names": [*"xyzy"]}, r"`class_names` \(--class-names\) names 'y' twice"),
        ({"class_names": ["x", "y", "mIoU"]}, "names 'mIoU' as a class"),
        ({"predicted_labels": {"blunt": "."}}, "given for 'blunt', but the methods are sharp, flat"),
        ({"predicted_labels": {}}, "There is no model with a segmenter: give predicted label maps"),
        ({"labels": None, "class_names": None}, "without label maps to compare them with"),
    ],
)
def test_bad_arguments(pairs: Path, maps: MeanIoU, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(pairs, **options(pairs, **overrides))


@pytest.mark.parametrize("folder", ["labels", "."])
def test_names_next_to_the_label_maps(pairs: Path, maps: MeanIoU, folder: str) -> None:
    (pairs / folder / "classes.txt").write_text("person\n\ncar\ncar\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"classes\.txt names 'car' twice"):
        run(pairs, **options(pairs, class_names=None))
    (pairs / folder / "classes.txt").write_text("Background\nperson\n\ncar\n", encoding="utf-8")
    table = run(pairs, **options(pairs, class_names=None))
    assert table.class_names == ("background", "person", "car")
    assert run(pairs, **options(pairs)).class_names == ("x", "y", "z")


def test_names_are_compared_without_case_and_underscores(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("Traffic_Light\n", encoding="utf-8")
    method: Any = SimpleNamespace(class_names=("background", "traffic light"))
    inputs: Any = SimpleNamespace(predicted_labels={}, match=SimpleNamespace(pairs=()))
    assert prepare_classes([method], inputs, None, {}, tmp_path, 10**6) == (("background", "Traffic_Light"), "")


@pytest.mark.parametrize(
    ("of_model", "given", "message"),
    [
        ("background person car", "background car person bike", r"gives 1 car, 2 person, .* predicts 2 car, 1 person: .* 1=2,2=1,3=255;"),
        ("background person car", "background Person Bike_rack Car", r"gives 3 Car, but a model predicts 2 car: .* 2=255,3=2;"),
        ("background person bicycle", "unlabeled bike people sign", r"gives 1 bike, 2 people, .* 2 bicycle, 1 person: .* 1=2,2=1,3=255;"),
        ("background person car", "person car", "starts with person, but class 0 of a model is the background: put 'backgr"),
        ("background person car", "car person bike sign", "starts with car"),
        ("background person car", "vehicle sign", "starts with vehicle"),
        ("person car", "background person car", r"gives 1 person, 2 car, .* predicts 0 person, 1 car: .* 0=255,1=0,2=1;"),
        ("background person car", "_background_ pedestrian vehicle bike", None),
        ("background person car", "Unlabeled pedestrian", None),
        ("background person car", "background person car people", None),
        ("background person car", "nothing vehicle", None),
        ("background person car", "road Person", None),
        ("background person car", "Hintergrund Mensch Auto", None),
        ("background person car", "background bike CAR", None),
        ("person car", "Person Car", None),
        ("person car", "pedestrian vehicle bike", None),
        ("LABEL_0 LABEL_1", "car person", None),
    ],
)  # fmt: skip
def test_given_names_have_the_ids_of_the_model(of_model: str, given: str, message: str | None, tmp_path: Path) -> None:
    method: Any = SimpleNamespace(name="m", class_names=tuple(of_model.split()))
    inputs: Any = SimpleNamespace(predicted_labels={}, match=SimpleNamespace(pairs=()))
    names = tuple(given.split())
    if message is None:
        assert prepare_classes([method], inputs, names, {}, tmp_path, 10**6) == (names, "")
        return
    with pytest.raises(ValueError, match=message):
        prepare_classes([method], inputs, names, {}, tmp_path, 10**6)
    inputs.predicted_labels = {"m": {}}  # which replace the label maps of the model
    assert prepare_classes([method], inputs, names, {}, tmp_path, 10**6) == (names, "")


def test_ids_of_the_model_are_named_unless_they_are_given(tmp_path: Path) -> None:
    method: Any = SimpleNamespace(name="m", class_names=("background", "person", "car"))
    inputs: Any = SimpleNamespace(predicted_labels={}, match=SimpleNamespace(pairs=()))
    note = prepare_classes([method], inputs, None, {}, tmp_path, 10**6)[1]
    assert (
        "0 background, 1 person, 2 car" in note and "--label-map LABELMAP=MODEL" in note and "--class-names" not in note
    )
    assert prepare_classes([method], inputs, None, {1: 2, 2: 1}, tmp_path, 10**6) == (method.class_names, "")


def test_missing_prediction_is_reported(pairs: Path, maps: MeanIoU) -> None:
    (pairs / "predicted" / "b.png").rename(pairs / "predicted" / "epoch100_b.png")
    table = run(pairs, **options(pairs))
    advice = f"1 unused image in {pairs / 'predicted'}: epoch100_b.png"
    assert table.unsegmented == {"b": f"sharp: no predicted label map of this name; {advice}"}
    assert table.skipped == {} and "b" in table.images
    assert "over all pixels of 3 images. 1 image without usable label maps left out" in str(table)
    summary = table.summarize()
    assert (summary["segmented"], summary["unsegmented"]) == (3, table.unsegmented)


@pytest.mark.parametrize("renamed", [True, False])
def test_pairs_without_a_label_map_are_named(pairs: Path, maps: MeanIoU, renamed: bool) -> None:
    labels, lines = pairs / "labels", list[str]()
    for name in "bd":
        (labels / f"{name}.png").rename(labels / f"{name * 3}.png" if renamed else pairs / f"{name}.png")
    table = run(pairs, **options(pairs), progress=True, write=lines.append)
    assert (table.segmented, table.unsegmented, table.skipped) == (("a", "c"), {}, {})
    assert "over all pixels of 2 images. 2 images without a label map." in str(table)
    unused = f"; 2 unused images in {labels}: bbb.png, ddd.png" if renamed else ""
    assert f"note: 2 of 4 pairs without a label map in {labels} (b, d){unused}" in lines


@pytest.mark.parametrize(
    ("kind", "pattern", "is_noted"),
    [
        ("labels", "{}_seg.png", True),
        ("predicted", "{}_mask.png", True),
        ("predicted", "GT-{}.PNG", True),
        ("labels", "{}_color.png", False),  # previews that tools write
        ("predicted", "{}_viz.png", False),
    ],
)
def test_files_with_other_names_of_the_same_label_maps(
    pairs: Path, maps: MeanIoU, kind: str, pattern: str, is_noted: bool
) -> None:
    """The exact names count, with a note if others could be label maps, too."""
    for name in "bd":
        shutil.copy(pairs / kind / "a.png", pairs / kind / pattern.format(name))
    lines: list[str] = []
    table = run(pairs, **options(pairs), progress=True, write=lines.append)
    assert table.segmentation["sharp"]["mIoU"] == pytest.approx(maps.compute().item())
    method = "sharp: " if kind == "predicted" else ""
    note = f"note: {method}2 files not used as label maps ({pairs / kind / pattern.format('b')}, ...), because "
    assert any(line.startswith(note) and "such as b.png: if" in line for line in lines) == is_noted
    assert is_noted or not any("not used" in line for line in lines)


@pytest.mark.parametrize("damage", ["text", "size"])
def test_pair_without_a_usable_label_map_keeps_its_metrics(
    pairs: Path, maps: MeanIoU, damage: str, save: Callable[[Path, NDArray[Any]], None], tmp_path: Path
) -> None:
    path = pairs / "labels" / "b.png"
    save(path, np.zeros((8, 10), np.uint8)) if damage == "size" else path.write_text("no image")
    for _ in range(2):  # measured, then from the records
        table = run(pairs, **options(pairs), output=tmp_path / "out")
        assert set(table.images) == set(NAMES) and list(table.unsegmented) == ["b"]
        assert table.confusion["sharp"].sum() == (len(NAMES) - 1) * 48 * 64
        if damage == "size":
            assert re.fullmatch(
                r"sharp: \S+labels/b\.png measures 10 x 8 pixels, but \S+predicted/b\.png 64 x 48 .*",
                table.unsegmented["b"],
            )


def test_no_usable_label_map(pairs: Path, maps: MeanIoU, save: Callable[[Path, NDArray[Any]], None]) -> None:
    for name in NAMES:
        save(pairs / "labels" / f"{name}.png", np.zeros((8, 10), np.uint8))
    with pytest.raises(ValueError, match=r"^No label map could be measured\. a: sharp: .* measures 10 x 8 pixels"):
        run(pairs, **options(pairs))


def test_label_maps_with_other_numbers(
    pairs: Path, maps: MeanIoU, save: Callable[[Path, NDArray[Any]], None], tmp_path: Path
) -> None:
    expected = run(pairs, **options(pairs), output=tmp_path / "out").to_dict()["sharp"]
    for name in NAMES:
        path = pairs / "labels" / f"{name}.png"
        save(path, np.array([0, 40, 1], np.uint8)[read_pixels(path)])
    with pytest.raises(ValueError, match=r"holds 40, but the classes are 0 x, 1 y, 2 z"):
        run(pairs, **options(pairs))
    swapped = run(pairs, **options(pairs), label_map={40: 1, 1: 2}, output=tmp_path / "out")
    assert swapped.to_dict()["sharp"] == expected


def test_names_of_classes_are_text(pairs: Path, maps: MeanIoU, tmp_path: Path) -> None:
    names = ["background", "=a\nb\udcff", "<img src=x>"]
    run(pairs, **options(pairs, class_names=names), output=tmp_path, html=True)
    tables = {name: (tmp_path / f"table.{name}").read_text(encoding="utf-8") for name in ("csv", "md")}
    assert tables["csv"].count("\n") == 3 and r"IoU =a b\udcff" in tables["csv"]
    assert "<img" not in tables["md"] and "&lt;img" in tables["md"].splitlines()[-1]
