"""`gffusion match`: its CSV file is what `fuse` reads, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from training_runs import SMALL_MODEL


@pytest.fixture
def folders(scenes: Path, cwd: Path) -> None:
    for kind, name in (("visible", "=20260701_21300{}"), ("infrared", "178294140{}.050")):
        Path(kind).mkdir()
        for number in range(3):
            shutil.copy(scenes / kind / f"rendered_{number:04d}.png", Path(kind, f"{name.format(number + 4)}.png"))


@pytest.mark.parametrize("output", ["pairs.csv", "lists/pairs.csv"])
def test_pairs_are_fused(gffusion: Callable, folders: None, output: str) -> None:
    Path("visible/=20260701_213004.png").unlink()
    Path("infrared/1782941406.050.png").unlink()
    outcome = gffusion("match", "visible", "infrared/*.png", "-o", output, "--tolerance", "0.1")
    assert outcome.exit_code == 0
    assert outcome.out == f"1 pair within 0.1 s, median difference 0.050 s, largest 0.050 s -> {output}\n"
    assert "left out 1 without infrared partner: =20260701_213006.png" in outcome.err
    assert "left out 1 without visible partner: 1782941404.050.png" in outcome.err
    again = gffusion("match", "visible", "infrared/*.png", "-o", output, "--tolerance", "0.1", "--overwrite", "--json")
    assert outcome.out in again.err
    report = json.loads(again.out)
    assert report.pop("unmatched") == {"visible": ["=20260701_213006.png"], "infrared": ["1782941404.050.png"]}
    assert report == {
        "pairs": 1,
        "tolerance": 0.1,
        "median_difference": pytest.approx(0.05, abs=1e-6),
        "largest_difference": pytest.approx(0.05, abs=1e-6),
        "output": output,
    }
    plan = gffusion("fuse", output, "-o", "out", "--dry-run")
    assert (plan.exit_code, plan.out.count(" -> ")) == (0, 1)
    assert "=20260701_213005.png" in plan.out and "1782941405.050.png" in plan.out


def test_pairs_are_trained_on(gffusion: Callable, folders: None) -> None:
    words = ("--output_dir", "run", "--num_train_epochs", "1", "--crop_size", "32", "--model_config", SMALL_MODEL)
    outcome = gffusion("train", "--train_data", ".", *words)
    assert (
        outcome.exit_code == 2
        and "`gffusion match` writes the CSV file" in outcome.err
        and "`gffusion align`" in outcome.err
    )
    assert gffusion("match", "visible", "infrared", "-o", "pairs.csv").exit_code == 0
    outcome = gffusion("train", "--train_data", "pairs.csv", "--eval_data", "pairs.csv", *words)
    assert outcome.exit_code == 0 and "training on 3 pairs" in outcome.out, outcome.err
    assert Path("run/best/model.safetensors").is_file()


def test_what_is_refused(gffusion: Callable, folders: None) -> None:
    words = ("match", "visible", "infrared", "-o")
    for output, options, message in (
        ("pairs.txt", (), "--output must be a .csv file"),
        ("pairs.csv", ("--tolerance", "-1"), "--tolerance must be a number of seconds from 0, got -1.0"),
        ("pairs.csv", ("--time-offset", "3600"), "Clocks or time zones may differ"),
    ):
        outcome = gffusion(*words, output, *options)
        assert outcome.exit_code == 2 and message in outcome.err and not Path(output).exists()
    Path("pairs.csv").write_text("mine")
    outcome = gffusion(*words, "pairs.csv")
    assert outcome.exit_code == 2 and Path("pairs.csv").read_text() == "mine"


def test_sub_folders(gffusion: Callable, folders: None) -> None:
    for kind, days in (("visible", ("a", "b", "b")), ("infrared", ("a", "a", "b"))):
        for file, day in zip(sorted(Path(kind).glob("*.png")), days, strict=True):
            Path(kind, day).mkdir(exist_ok=True)
            file.rename(Path(kind, day, file.name))
    outcome = gffusion("match", "visible", "infrared", "-o", "pairs.csv", "--tolerance", "0.1")
    assert (outcome.exit_code, outcome.out[:7]) == (0, "3 pairs")
    assert "visible/b/=20260701_213005.png,infrared/a/1782941405.050.png," in Path("pairs.csv").read_text()


@pytest.mark.parametrize(
    "names",
    [
        ("DJI_20260701213004_0001_V", "DJI_20260701213004_0001_T"),
        ("DJI_20260701213005_0001_W", "DJI_20260701213004_0001_T", "DJI_20260701213005_0001_Z"),
        ("20260701_213004", "20260701_213004_R"),
        ("2026-07-01_21-30-04_rgb", "2026-07-01_21-30-04_ir"),
        ("vis_1782941404.25", "ir_1782941404.35"),
    ],
)
@pytest.mark.parametrize("infrared", ["card", "card/*.png", "thermal"])
def test_both_kinds_in_one_folder(gffusion: Callable, cwd: Path, names: tuple[str, ...], infrared: str) -> None:
    """A memory card given twice, or beside converted files; a thermal image without a photo is not its own partner."""
    for folder in ("card", "thermal"):
        Path(folder).mkdir()
    for name in (*names, names[1].replace("04", "44")):
        Path("card", f"{name}.png").touch()
    shutil.copy(f"card/{names[1]}.png", "thermal")
    outcome = gffusion("match", "card", infrared, "-o", "pairs.csv", "--tolerance", "1")
    assert outcome.exit_code == 0, outcome.err
    folder = infrared.partition("/")[0]
    rows = [row.split(",")[:2] for row in Path("pairs.csv").read_text().splitlines()[1:]]
    assert rows == [[f"card/{names[0]}.png", f"{folder}/{names[1]}.png"]]
    assert f"left out of the visible images by their names: {min(names[1:])}.png" in outcome.err


def test_near_infrared_beside_thermal_images(gffusion: Callable, folders: None) -> None:
    for path in Path("infrared").iterdir():
        second = int(path.name[9])
        shutil.copy(path, f"infrared/17829414{second:02d}.010_nir.png")
        path.rename(f"infrared/17829414{second:02d}.050_thermal.png")
    assert gffusion("match", "visible", "infrared", "-o", "pairs.csv", "--tolerance", "0.1").exit_code == 0
    rows = Path("pairs.csv").read_text().splitlines()[1:]
    assert len(rows) == 3 and all("thermal" in row for row in rows)
