"""Files of an evaluation: CSV files of pairs, against the same files in folders, and notes on how images were matched."""

import csv
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_runs import METRICS, NAMES, run
from numpy.typing import NDArray

from gffusion.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("fast_plots")

CSV_NAMES = ("night/1", "night/2", "day/1", "4")


@pytest.fixture
def labeled(pairs: Path, save: Callable[[Path, NDArray[Any]], None]) -> Path:
    """Add label maps and predicted ones to the pairs."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        for kind in ("labels", "predicted"):
            save(pairs / kind / f"{name}.png", rng.integers(0, 3, (48, 64), dtype=np.uint8))
    return pairs


def write_table(file: Path, rows: Sequence[Sequence[str]], columns: Sequence[str]) -> Path:
    file.write_text("\n".join(",".join(row) for row in (columns, *rows)), "utf-8")
    return file


def rename(pairs: Path) -> Path:
    """Give all images names that do not match, move results to the names in CSV, and write the CSV file."""
    rows = []
    for name, new in zip(NAMES, CSV_NAMES, strict=True):
        row = [new]
        for kind in ("visible", "infrared", "labels"):
            target = pairs / "cameras" / f"{kind[::-1]}_{ord(name) * len(kind)}.png"
            target.parent.mkdir(exist_ok=True)
            shutil.move(pairs / kind / f"{name}.png", target)
            row.append(f"cameras/{target.name}")
        for kind in ("sharp", "flat", "predicted"):
            [file] = (pairs / kind).glob(f"{name}.*")
            target = (
                pairs / kind / f"{new}_fused{file.suffix}"
                if kind == "flat"
                else (pairs / kind / new).with_suffix(file.suffix)
            )
            target.parent.mkdir(exist_ok=True)
            shutil.move(file, target)
        rows.append(row)
    return write_table(pairs / "pairs.csv", rows, ("name", "visible", "infrared", "labels"))


@pytest.mark.parametrize("labels", ["pairs.csv", "labels"])
def test_csv_file_equals_folders(labeled: Path, tmp_path: Path, labels: str) -> None:
    given: dict[str, Any] = {
        "predicted_labels": {"sharp": labeled / "predicted"},
        "class_names": [*"xyz"],
        "fused": {name: labeled / name for name in ("sharp", "flat")},
        "baselines": ["maximum"],
        "metrics": METRICS,
    }
    expected = evaluate(labeled / "visible", labeled / "infrared", labels=labeled / "labels", **given)
    table_file = rename(labeled)
    if labels == "labels":
        for name, new in zip(NAMES, CSV_NAMES, strict=True):
            target = labeled / "labels" / f"{new}.png"
            target.parent.mkdir(exist_ok=True)
            shutil.move(labeled / "cameras" / f"slebal_{ord(name) * 6}.png", target)
        rows = [row[:3] for row in csv.reader(table_file.open())][1:]
        write_table(table_file, rows, ("name", "visible", "infrared"))
    table = evaluate(table_file, labels=labeled / labels, output=tmp_path / "out", sheet=["day/1"], html=True, **given)
    assert table.images == table.segmented == CSV_NAMES
    assert np.array_equal(table.values, expected.values)
    assert np.array_equal(table.confusion["sharp"], expected.confusion["sharp"])
    assert "day/1" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_sub_folders_equal_one_folder(labeled: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"baselines": ["maximum"], "metrics": METRICS, "class_names": [*"xyz"]}
    expected = run(labeled, labels=labeled / "labels", predicted_labels={"sharp": labeled / "predicted"}, **options)
    folders = dict(zip(NAMES, ("day", "day", "night/late", "night/late"), strict=True))
    for kind in ("visible", "infrared", "sharp", "flat", "labels", "predicted"):
        for file in [*(labeled / kind).iterdir()]:
            target = tmp_path / "nested" / kind / folders[file.stem] / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    nested = tmp_path / "nested"
    given = options | {"labels": nested / "labels", "predicted_labels": {"sharp": nested / "predicted"}}
    table = run(nested, **given)
    assert table.images == table.segmented == tuple(f"{folders[name]}/{name}" for name in NAMES)
    assert np.array_equal(table.values, expected.values)
    assert np.array_equal(table.confusion["sharp"], expected.confusion["sharp"])
    (nested / "infrared" / "day" / "a.png").unlink()
    shutil.rmtree(nested / "labels" / "night")
    shutil.rmtree(nested / "flat" / "night")
    table = run(nested, **given)
    assert (table.images, table.segmented) == (("day/b",), ("day/b",))
    assert table.skipped["day/a"] == "no infrared image of this name"
    assert table.skipped["night/late/c"].startswith("flat: no fused image of this name")
    shutil.rmtree(nested / "flat" / "day")
    with pytest.raises(FileNotFoundError, match=r"the folder .*flat.* does not exist"):
        run(nested, **given)


def test_csv_file_leaves_out_what_was_not_fused(labeled: Path) -> None:
    table_file = rename(labeled)
    (labeled / "flat" / "night" / "2_fused.png").unlink()
    table = evaluate(table_file, fused={"flat": labeled / "flat"}, baselines=[], metrics=["EN"])
    assert table.images == ("night/1", "day/1", "4") and list(table.skipped) == ["night/2"]


def test_wrong_csv_files(labeled: Path) -> None:
    table_file, options = rename(labeled), {"baselines": ["average"], "metrics": ["EN"]}
    with pytest.raises(ValueError, match=r"pairs\.csv lists both files of each pair: give it alone|lists both images"):
        evaluate(table_file, labeled / "cameras", **options)
    [_, (_, first, second, _), (_, third, fourth, _), *_] = csv.reader(table_file.open())
    columns = ("name", "visible", "infrared", "labels")
    write_table(table_file, [("a/1", first, second, ""), ("A/1", third, fourth, "")], columns)
    with pytest.raises(
        ValueError, match=r"pairs\.csv has two pairs with the name A/1, .*: give each a name of its own"
    ):
        evaluate(table_file, **options)
    write_table(table_file, [("a/1", first, second, ""), ("a/2", third, fourth, "")], columns)
    with pytest.raises(ValueError, match=r"pairs\.csv names no label maps: put them in a column labels"):
        evaluate(table_file, labels=table_file, segment_with="gffusion-tiny", **options)
    assert len(evaluate(table_file, **options).images) == 2


def test_notes_on_the_match_are_told(pairs: Path) -> None:
    """As `gffusion fuse` does: images of a drone's wide camera are used, not those of its zoom camera."""
    for name in NAMES:
        shutil.move(pairs / "infrared" / f"{name}.png", pairs / "infrared" / f"DJI_000{ord(name)}_T.png")
        shutil.copy(pairs / "visible" / f"{name}.png", pairs / "visible" / f"DJI_000{ord(name)}_Z.png")
        shutil.move(pairs / "visible" / f"{name}.png", pairs / "visible" / f"DJI_000{ord(name)}_W.png")
    lines: list[str] = []
    run(pairs, fused={}, baselines=["average"], progress=True, write=lines.append)
    assert any("that of the wide camera is used" in line for line in lines)
