"""Files of an evaluation: CSV files of pairs, against the same files in folders, and notes on how images were matched."""

import csv
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_runs import METRICS, NAMES, run
from numpy.typing import NDArray

from gffusion.evaluation import evaluate

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
    nested = nest(labeled, tmp_path / "nested", "night/late")
    given = options | {"labels": nested / "labels", "predicted_labels": {"sharp": nested / "predicted"}}
    table = run(nested, **given)
    assert table.images == table.segmented == ("day/a", "day/b", "night/late/c", "night/late/d")
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
    with pytest.raises(ValueError, match=r"flat.* does not exist; the names of the pairs have folders, such as day/b"):
        run(nested, **given)


def nest(source: Path, root: Path, night: str = "night") -> Path:
    """Copy pairs, label maps and results to two sub-folders, and return their folder."""
    for kind in ("visible", "infrared", "sharp", "flat", "labels", "predicted"):
        for file in (source / kind).iterdir():
            target = root / kind / ("day" if file.stem in "ab" else night) / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    return root


def test_sub_folders_in_other_letters_and_empty_ones(labeled: Path, tmp_path: Path) -> None:
    nested = nest(labeled, tmp_path / "nested")
    options: dict[str, Any] = {"metrics": ["EN"], "class_names": [*"xyz"], "labels": nested / "labels"}
    options["predicted_labels"] = {"sharp": nested / "predicted"}
    expected = run(nested, **options)
    for kind in ("sharp", "labels", "predicted"):
        (nested / kind / "night").rename(nested / kind / "Night")
    table = run(nested, **options)
    assert np.array_equal(table.values, expected.values) and table.segmented == expected.segmented
    (nested / "labels" / "day" / "b.png").rename(nested / "labels" / "day" / "second.png")
    shutil.rmtree(nested / "labels" / "Night")
    for file in (nested / "flat" / "day").iterdir():
        file.unlink()
    (nested / "sharp" / "Night" / "c.bmp").rename(nested / "sharp" / "Night" / "third.bmp")
    lines: list[str] = []
    table = run(nested, **options, progress=True, write=lines.append)
    assert table.images == ("night/d",) and table.segmented == ()
    assert any("labels has no label maps in a sub-folder night" in line for line in lines)
    unused = r"1 of 4 pairs without a label map in \S+labels \(day/b\); 1 unused image in \S+day: second\.png"
    assert any(re.search(unused, line) for line in lines)
    assert re.search(
        r"sharp: no fused image of this name; 1 unused image in \S+Night: third\.bmp", table.skipped["night/c"]
    )


def test_results_inside_the_sources_are_no_sources(labeled: Path, tmp_path: Path) -> None:
    nested = nest(labeled, tmp_path / "nested")
    shutil.move(nested / "sharp", nested / "visible" / "fused")
    options: dict[str, Any] = {"baselines": [], "metrics": ["EN"], "output": nested / "visible" / "out"}
    for _ in range(2):
        table = evaluate(
            nested / "visible", nested / "infrared", fused={"sharp": nested / "visible" / "fused"}, **options
        )
        assert len(table.images) == len(NAMES) and not table.skipped


def test_lists_are_pairs_line_by_line_and_a_folder_can_hold_both(labeled: Path) -> None:
    """As for `gffusion fuse`; a name that stands on another line is refused, as if one was missing."""
    for name in "bcd":
        shutil.copy(labeled / "infrared" / f"{name}.png", labeled / "infrared" / f"t-{name}.png")
    for kind, names in (("visible", ["a", "b", "c"]), ("infrared", ["t-b", "t-c", "t-d"]), ("moved", ["b", "c", "d"])):
        folder = kind.replace("moved", "infrared")
        (labeled / f"{kind}.txt").write_text("\n".join(f"{folder}/{name}.png" for name in names))
    options: dict[str, Any] = {"baselines": ["average"], "metrics": METRICS}
    table = evaluate(f"@{labeled}/visible.txt", f"@{labeled}/infrared.txt", **options)
    both = labeled / "both"
    both.mkdir()
    for name, other in zip("abc", "bcd", strict=True):
        shutil.copy(labeled / "visible" / f"{name}.png", both / f"{name}_vis.png")
        shutil.copy(labeled / "infrared" / f"{other}.png", both / f"{name}_ir.png")
    expected = evaluate(both, **options)
    assert table.images == ("a", "b", "c") and np.array_equal(table.values, expected.values)
    with pytest.raises(
        ValueError,
        match=r"b\.png and c\.png are on one line of the two lists, but @.*moved\.txt has the name of b\.png on",
    ):
        evaluate(f"@{labeled}/visible.txt", f"@{labeled}/moved.txt", **options)


def test_csv_file_leaves_out_what_was_not_fused(labeled: Path) -> None:
    table_file = rename(labeled)
    (labeled / "flat" / "night" / "2_fused.png").unlink()
    table = evaluate(table_file, fused={"flat": labeled / "flat"}, baselines=[], metrics=["EN"])
    assert table.images == ("night/1", "day/1", "4") and list(table.skipped) == ["night/2"]


def test_wrong_csv_files(labeled: Path) -> None:
    table_file, options = rename(labeled), {"baselines": ["average"], "metrics": ["EN"]}
    with pytest.raises(ValueError, match=r"pairs\.csv lists both images of each pair: give it alone"):
        evaluate(table_file, labeled / "cameras", **options)
    [_, (_, first, second, _), (_, third, fourth, _), *_] = csv.reader(table_file.open())
    columns = ("name", "visible", "infrared", "labels")
    write_table(table_file, [("a/1", first, second, ""), ("A/1", third, fourth, "")], columns)
    with pytest.raises(
        ValueError,
        match=r"two pairs of .*pairs\.csv have the name A/1 \(ignoring case\), .*: give each a name of its own",
    ):
        evaluate(table_file, **options)
    for infrared, message in (
        (fourth, rf"have the name a/1 \(ignoring case\), \S+{second} and \S+{fourth}: give each a name"),
        (second, rf"the pair of \S+{first} and \S+{second} is listed twice in \S+pairs\.csv: list it once"),
    ):
        write_table(table_file, [("a/1", first, second, ""), ("a/1", first, infrared, "")], columns)
        with pytest.raises(ValueError, match=message):
            evaluate(table_file, **options)
    lines: list[str] = []
    rows = [(name, first, second, "") for name in ("a/1", "a/2")]
    write_table(table_file, [*rows, ("a/3", third, fourth, "")], columns)
    assert len(evaluate(table_file, **options, progress=True, write=lines.append).images) == 3
    assert any(line.endswith("under several names, and count several times: a/1 and a/2") for line in lines)
    write_table(table_file, [("a/1", first, second, ""), ("a/2", third, fourth, "")], columns)
    with pytest.raises(ValueError, match=r"pairs\.csv names no label maps: put them in a column labels"):
        evaluate(table_file, labels=table_file, segment_with="gffusion-tiny", **options)
    assert len(evaluate(table_file, **options).images) == 2
    shutil.copytree(labeled / "sharp", labeled / "copy")
    with pytest.raises(NotADirectoryError, match=r"\.csv is a file; give a folder of label maps, or the CSV file of"):
        evaluate(labeled / "sharp", labeled / "copy", labels=table_file, segment_with="gffusion-tiny", **options)


def test_missing_folders(pairs: Path) -> None:
    for visible, infrared in (("nope", None), ("nope", "infrared"), ("visible", "nope")):
        with pytest.raises(FileNotFoundError, match=r"the folder \S*nope does not exist"):
            evaluate(pairs / visible, None if infrared is None else pairs / infrared)
    with pytest.raises(ValueError, match=r"give the infrared images, too \(`infrared`, --infrared\): .*visible"):
        evaluate(pairs / "visible")
    with pytest.raises(ValueError, match=r"are the same file, .*, which holds one image: give two files"):
        evaluate(pairs / "visible", pairs / "visible")


def test_notes_on_the_match_are_told(pairs: Path) -> None:
    """As `gffusion fuse` does: images of a drone's wide camera are used, not those of its zoom camera."""
    for name in NAMES:
        shutil.move(pairs / "infrared" / f"{name}.png", pairs / "infrared" / f"DJI_000{ord(name)}_T.png")
        shutil.copy(pairs / "visible" / f"{name}.png", pairs / "visible" / f"DJI_000{ord(name)}_Z.png")
        shutil.move(pairs / "visible" / f"{name}.png", pairs / "visible" / f"DJI_000{ord(name)}_W.png")
    lines: list[str] = []
    run(pairs, fused={}, baselines=["average"], progress=True, write=lines.append)
    assert any("that of the wide camera is used" in line for line in lines)
