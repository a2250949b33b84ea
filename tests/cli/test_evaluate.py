"""`gffusion evaluate`: output, files and error messages."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.data import read_labels, write_image
from gffusion.evaluation.baselines import BASELINES, fuse_luma
from gffusion.metrics.names import DEFAULT_METRICS
from gffusion.training.arguments import FusionTrainingArguments
from gffusion.zoo import locate

NAMES = [f"rendered_{number:04d}" for number in range(3)]


@pytest.fixture
def here(scenes: Path, cwd: Path) -> Path:
    """Change into a folder with visible/, infrared/, labels/ and mine/, the gray average."""
    for kind in ("visible", "infrared", "labels"):
        shutil.copytree(scenes / kind, cwd / kind)
    (cwd / "mine").mkdir()
    for name in NAMES:
        visible, infrared = (np.asarray(Image.open(scenes / kind / f"{name}.png")) for kind in ("visible", "infrared"))
        gray = np.asarray(Image.fromarray(visible).convert("L"), float)
        Image.fromarray(fuse_luma("average", gray, infrared.astype(float))).save(cwd / "mine" / f"{name}.png")
    return cwd


@pytest.fixture
def evaluate(gffusion: Callable, here: Path) -> Callable:
    """Return a function that runs the command on the pairs and writes to out/."""
    return lambda *arguments: gffusion(
        "evaluate", "--visible", "visible", "--infrared", "infrared", "-o", "out", *arguments
    )


def test_models_folders_and_baselines_together(evaluate: Callable, here: Path) -> None:
    outcome = evaluate("--fused", "mine=mine", "--model", "gffusion-funet")
    assert (outcome.exit_code, outcome.err) == (0, "")
    summary = json.loads((here / "out" / "summary.json").read_text())["methods"]
    assert list(summary) == ["mine", "gffusion-funet", *BASELINES]
    assert list(summary["mine"]) == ["EN", "SCD", "VIF", "Qabf", "SSIM", "Nabf"]
    # mine is the average, except for halves, which Pillow rounds differently.
    assert summary["mine"] == pytest.approx(summary["average"], rel=0.01, abs=1e-3)
    rows = list(csv.DictReader((here / "out" / "per_image.csv").open()))
    assert [row["image"] for row in rows if row["method"] == "gffusion-funet"] == NAMES
    mean = np.mean([float(row["SCD"]) for row in rows if row["method"] == "gffusion-funet"])
    assert summary["gffusion-funet"]["SCD"] == pytest.approx(mean)
    assert "EN ↑" in outcome.out
    assert "Nabf ↓" in outcome.out
    assert "(centered_sum)" in outcome.out
    assert "mine †" in outcome.out
    assert "tables and figures -> out" in outcome.out
    assert {"table.md", "table.tex", "sheet.png", "boxplots.png", "boxplots.svg", "boxplots.pdf"} <= {
        path.name for path in (here / "out").iterdir()
    }


def test_models_have_names_of_their_own(evaluate: Callable, here: Path) -> None:
    """Folders can have `=` in their names."""
    shutil.copytree(locate("gffusion-live"), here / "rate=0.1")
    shutil.copytree(locate("gffusion-live"), here / "seed" / "rate=0.1")
    models = ["rate=0.1", "seed1=seed/rate=0.1", "live=gffusion-live"]
    options = [word for model in models for word in ("--model", model)]
    outcome = evaluate("--no-baselines", "--metrics", "EN", "--compare", "seed1", *options)
    assert outcome.exit_code == 0, outcome.err
    summary = json.loads((here / "out" / "summary.json").read_text())
    assert list(summary["methods"]) == ["rate=0.1", "seed1", "live"]
    given = {"rate=0.1": "rate=0.1", "seed1": "seed/rate=0.1", "live": "gffusion-live"}
    assert summary["settings"]["methods"] == given


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *((name, "mine") for name in ("table.csv", "sheet.png", "sheet-2.png", "report.html", "boxplots.pdf")),
        ("summary.json", '{"methods": 3}'),
        ("records.jsonl", '{"id": 1}\n'),
    ],
)
def test_files_of_others_are_not_replaced(evaluate: Callable, here: Path, name: str, content: str) -> None:
    (here / "out").mkdir()
    (here / "out" / name).write_text(content)
    outcome = evaluate("--fused", "mine=mine", "--metrics", "EN")
    assert outcome.exit_code == 2 and f"{name} is not from an evaluation" in outcome.err
    assert [(path.name, path.read_text()) for path in (here / "out").iterdir()] == [(name, content)]


@pytest.mark.parametrize(
    ("kind", "message"), [("file", " is not from"), ("folder", " is not from"), ("dangling", ": it is a symbolic link")]
)
def test_other_things_are_no_records_of_a_former_evaluation(
    evaluate: Callable, here: Path, kind: str, message: str
) -> None:
    words = ("--fused", "mine=mine", "--metrics", "EN")
    assert evaluate(*words).exit_code == 0
    records = here / "out" / "records.jsonl"
    records.unlink()
    if kind == "file":
        records.write_text("mine\n")
    elif kind == "folder":
        records.mkdir()
    else:
        records.symlink_to(here / "target")
    outcome = evaluate(*words)
    assert outcome.exit_code == 2 and f"records.jsonl{message}" in outcome.err
    assert "remove it, or choose another" in outcome.err and not (here / "target").exists()
    assert kind != "file" or records.read_text() == "mine\n"


def test_pairs_whose_names_are_numbers(evaluate: Callable, here: Path) -> None:
    """003 is a name, and 1 is a number of pairs."""
    for kind in ("visible", "infrared", "mine"):
        for number, name in enumerate(NAMES, start=1):
            (here / kind / f"{name}.png").rename(here / kind / f"{number:03d}.png")
    heights = []
    for shown in ("003", "1", "002,003"):
        assert evaluate("--fused", "mine=mine", "--metrics", "EN", "--sheet", shown).exit_code == 0
        heights.append(Image.open("out/sheet.png").height)
    assert heights[0] == heights[1] < heights[2]


def test_metrics_protocol_and_no_baselines(evaluate: Callable, here: Path) -> None:
    outcome = evaluate("--fused", "mine=mine", "--metrics", "SD", "MSE", "--protocol", "tang2022", "--no-baselines")
    assert outcome.exit_code == 0
    summary = json.loads((here / "out" / "summary.json").read_text())["methods"]
    assert list(summary) == ["mine"]
    assert list(summary["mine"]) == ["SD", "MSE"]
    assert summary["mine"]["MSE"] < 1  # on 0 to 1
    assert "protocol tang2022" in outcome.out


def test_default_metrics_are_named_in_the_help_and_those_of_trainings(gffusion: Callable) -> None:
    assert f"[default: those of {','.join(DEFAULT_METRICS)} that the protocol has]" in " ".join(
        gffusion("evaluate", "--help").out.split()
    )
    assert FusionTrainingArguments("out").eval_metrics == list(DEFAULT_METRICS)


def test_note_on_what_is_replaced(evaluate: Callable, here: Path) -> None:
    """Nothing is lost by a further method or metric, nor by another form of a path."""
    shutil.copytree(here / "mine", here / "copy")
    shutil.copytree(here / "infrared", here / "night")
    options = ("--no-baselines", "--fused", "mine=mine", "--metrics")
    for metrics, more in (
        ("EN", []),
        ("EN,SD", []),
        ("EN,SD", ["--fused", "other=copy", "--infrared", here / "infrared"]),
    ):
        assert evaluate(*options, metrics, *more).err == ""
    outcome = evaluate(
        "--no-baselines", "--fused", "mine=copy", "--fused", "other=mine", "--metrics", "EN", "--infrared", "night",
        "--keep-borders",
    )  # fmt: skip
    assert outcome.exit_code == 0
    changed = f"infrared = {here / 'infrared'} (now night); mine = mine (now copy); other = copy (now mine); metrics = EN, SD (now EN)"
    changed += "; --keep-borders = False (now True)"
    assert outcome.err == f"note: replacing the table with {changed}\n"


@pytest.mark.parametrize(
    ("given", "measured"),
    [("--baselines", [*BASELINES]), ("--baselines maximum,average", ["maximum", "average"]), ("--baselines none", [])],
)
def test_choice_of_baselines(evaluate: Callable, here: Path, given: str, measured: list[str]) -> None:
    assert evaluate("--fused", "mine=mine", "--metrics", "EN", *given.split()).exit_code == 0
    assert list(json.loads((here / "out" / "summary.json").read_text())["methods"]) == ["mine", *measured]


def test_report_for_people_and_for_programs(evaluate: Callable, here: Path) -> None:
    outcome = evaluate("--fused", "mine=mine", "--metrics", "EN", "--html", "--json", "--zoom", "0,0,16,8", "--std")
    assert json.loads(outcome.out) == json.loads((here / "out" / "summary.json").read_text())
    assert outcome.err == "tables and figures -> out\n"
    for name, sign in (("report.html", "±"), ("table.md", "±"), ("table.tex", r"$\pm$")):
        text = (here / "out" / name).read_text(encoding="utf-8")
        assert "mine" in text and sign in text


def test_table_fits_the_terminal(evaluate: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    table = re.sub(r"\x1b\[[0-9;]*m", "", evaluate("--fused", "mine=mine").out).partition("Means over")[0]
    assert max(map(len, table.splitlines())) <= 50 and table.count("mine") == 2


@pytest.mark.parametrize("given", ["labels", "mine=labels"])
def test_segmentation(evaluate: Callable, here: Path, given: str) -> None:
    classes = "background person bicycle car"
    options = ("--metrics", "EN", "--labels", "labels", "--predicted-labels", given, "--class-names", classes)
    outcome = evaluate("--fused", "mine=mine", *options)
    assert outcome.exit_code == 0
    assert "mIoU ↑" in outcome.out
    assert "person ↑" in outcome.out
    assert (
        outcome.err.startswith("note: no label maps of average, maximum, ")
        and "--predicted-labels NAME=DIR" in outcome.err
    )
    summary = json.loads((here / "out" / "summary.json").read_text())["methods"]
    assert summary["mine"]["mIoU"] == summary["mine"]["IoU person"] == 1.0
    outcome = evaluate("--fused", "mine=mine", *options, "--label-map", "1=3,3=1")
    assert outcome.exit_code == 0
    summary = json.loads((here / "out" / "summary.json").read_text())["methods"]
    assert summary["mine"]["IoU person"] == 0.0
    assert summary["mine"]["IoU background"] == 1.0


def test_name_of_a_model_with_an_equals_sign(evaluate: Callable, here: Path) -> None:
    Path("lr=1e-3").symlink_to(locate("gffusion-live"))
    options = ("--no-baselines", "--metrics", "EN", "--class-names", "background,person,bicycle,car")
    outcome = evaluate("--model", "lr=1e-3", *options, "--labels", "labels", "--predicted-labels", "labels")
    assert outcome.exit_code == 0
    assert json.loads((here / "out" / "summary.json").read_text())["methods"]["lr=1e-3"]["mIoU"] == 1.0


def test_unusable_label_maps_are_a_failure(evaluate: Callable, here: Path) -> None:
    shutil.copytree(here / "labels", here / "predicted")
    (here / "predicted" / f"{NAMES[0]}.png").unlink()
    write_image(here / "predicted" / f"{NAMES[1]}.png", np.full((240, 320), 255, np.uint8))
    words = "--fused mine=mine --metrics EN --no-baselines --labels labels --predicted-labels mine=predicted"
    outcome = evaluate(*words.split(), "--class-names", "background,person,bicycle,car")
    assert outcome.exit_code == 1
    summary = json.loads((here / "out" / "summary.json").read_text())
    assert (summary["images"], summary["segmented"], summary["skipped"]) == (3, 1, {})
    assert list(summary["unsegmented"]) == NAMES[:2]
    for name, reason in summary["unsegmented"].items():
        assert f"label map of {name} left out: {reason}" in outcome.err


@pytest.mark.parametrize("with_model", [True, False])
def test_borders_are_filled_for_models_only(evaluate: Callable, here: Path, with_model: bool) -> None:
    for name in NAMES:
        values = np.array(Image.open(here / "infrared" / f"{name}.png"))
        values[:, :40] = 0
        Image.fromarray(values).save(here / "infrared" / f"{name}.png")
    outcome = evaluate("--fused", "mine=mine", "--metrics", "EN", *(["--model", "gffusion-funet"] * with_model))
    assert outcome.exit_code == 0
    assert ("filled by the visible image for models" in outcome.err) == with_model
    assert ("metrics compare with the file as it is" in outcome.err) == with_model
    assert "--keep-borders keeps it" not in outcome.err


def test_frames_of_both_images_are_noted(evaluate: Callable, here: Path) -> None:
    for file in (here / kind / f"{name}.png" for kind in ("visible", "infrared") for name in NAMES[:2]):
        values = np.array(Image.open(file))
        values[[*range(20), *range(-20, 0)]] = 255
        Image.fromarray(values).save(file)
    outcome = evaluate("--fused", "mine=mine", "--metrics", "EN")
    assert outcome.exit_code == 0
    assert re.search(r"note: both images have the same bars or frame of value 255, .* \(2 pairs\)", outcome.err)


def test_bad_images_are_listed_and_left_out(evaluate: Callable, here: Path) -> None:
    (here / "mine" / f"{NAMES[1]}.png").unlink()
    (here / "visible" / f"{NAMES[2]}.png").write_bytes(b"nothing")
    outcome = evaluate("--fused", "mine=mine", "--metrics", "EN")
    assert outcome.exit_code == 1
    assert "Means over 1 image, " in outcome.out
    lines = outcome.err.splitlines()
    assert lines[0] == "2 left out, for all methods:"
    assert lines[1] == f"  {NAMES[1]}: mine: no fused image of this name"
    assert lines[2].startswith(f"  {NAMES[2]}: cannot read the image")


@pytest.mark.parametrize("kinds", [("visible",), ("infrared",), ("visible", "infrared")])
@pytest.mark.parametrize("form", ["@list.txt", "*_000[01].png"])
def test_list_or_pattern_selects_from_a_folder(
    evaluate: Callable, here: Path, kinds: tuple[str, ...], form: str
) -> None:
    selected = []
    for kind in kinds:
        (here / kind / "list.txt").write_text(f"{NAMES[0]}.png\n{NAMES[1]}.png\n")
        selected += [f"--{kind}", f"@{kind}/list.txt" if form.startswith("@") else f"{kind}/{form}"]
    outcome = evaluate("--fused", "mine=mine", "--metrics", "EN", *selected)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert json.loads((here / "out" / "summary.json").read_text())["images"] == 2
    (here / {"visible": "infrared"}.get(kinds[0], "visible") / f"{NAMES[1]}.png").unlink()
    if len(kinds) == 1:  # a selected image without a partner
        outcome = evaluate("--fused", "mine=mine", "--metrics", "EN", *selected)
        assert outcome.exit_code == 1 and f"  {NAMES[1]}: no " in outcome.err


def test_masks_of_0_and_255_are_refused_with_advice(evaluate: Callable, here: Path) -> None:
    for file in (here / "labels").iterdir():
        write_image(file, np.where(read_labels(file) > 0, 255, 0).astype(np.uint8))
    outcome = evaluate("--model", "gffusion-tiny", "--labels", "labels")
    assert outcome.exit_code == 2
    assert "the label maps hold only 0 and 255, but 255 means ignored" in outcome.err
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fused", "mine"], "--fused takes NAME=DIR, such as"),
        (["--fused", "mine=mine", "--fused", "mine=labels"], "--fused names 'mine' twice"),
        (["--fused", "average=mine"], "'average' is the name of a baseline: choose another one"),
        (["--fused", "labels=mine"], "The name 'labels' of a method is that of another image"),
        (
            ["--fused", "mine=mine", "--labels", "labels", "--predicted-labels", "mine=labels", "--predicted-labels", "labels"],
            "--predicted-labels names 'mine' twice",
        ),
        (["--label-map", "1=2,01=3"], "--label-map names 1 twice"),
        (["--class-names", "background,car"], "--class-names needs label maps (--labels)"),
        (["--fused", "mine=nowhere"], "the folder nowhere does not exist"),
        (["--model", "nothing"], "Unknown model 'nothing'"),
        (["--model", "mine=nothing"], "Unknown model 'nothing'"),
        (["--model", "mine="], "--model takes NAME=MODEL, such as seed1=runs/1/best, or a model alone, got 'mine='"),
        (["--model", "average=gffusion-live"], "'average' is the name of a baseline: choose another one"),
        (["--fused", "a=mine", "--model", "a=gffusion-live"], "name models of two folders of this name, as in --model fi"),
        (["--metrics", "EN,XY"], "has no fusion metric 'XY'"),
        (["--metrics", "q_abf"], "has no fusion metric 'q_abf'. Did you mean Qabf?"),
        (["--sheet", "rendered_0001 rendered_0009"], "no pair 'rendered_0009'"),
        (["--device", "warp"], "--device warp:"),
        (["--labels", "labels"], "There is no model with a segmenter: give predicted label maps"),
        (["--labels", "labels", "--predicted-labels", "labels"], "--predicted-labels labels: give the name of one of 0 methods"),
        (["--segment-with", "gffusion-tiny"], "--segment-with needs label maps to compare with: give --labels."),
        (["--predicted-labels", "average=labels"], "are given without label maps to compare them with: give --labels"),
        (["--labels", "labels", "--segment-with", "a.onnx"], "--segment-with a.onnx: an .onnx file segments only"),
        (["--labels", "labels", "--segment-with", "gffusion-live"], "gffusion-live: The model has no segmenter"),
        (["--no-baselines"], "nothing to evaluate"),
        (["--baselines", "none"], "nothing to evaluate"),
        (["--baselines", "average", "nope"], "There is no baseline 'nope'. Allowed are average, maximum, "),
        (["--baselines", "average", "--no-baselines"], "--baselines average contradicts --no-baselines"),
        (["--label-map", "4:1"], "--label-map takes LABELMAP=MODEL,... with whole numbers, such as 4=1,9=255, got '4:1'"),
        (["--label-map", "4=x"], "with whole numbers, such as 4=1,9=255, got '4=x'"),
        (["--label-map", "4=1"], "--label-map needs label maps (--labels)"),
        (["--zoom", "3,4,0,5"], "--zoom takes LEFT,TOP,WIDTH,HEIGHT in pixels, such as 200,120,160,120, got '3,4,0,5'"),
        (["--zoom", "3,x,4,5"], "--zoom takes LEFT,TOP,WIDTH,HEIGHT in pixels, such as 200,120,160,120, got '3,x,4,5'"),
        (["--zoom", "0,0,9000,5"], "the enlarged part (zoom) from 0, 0 to 9000, 5 does not lie in"),
        (["--visible", "pairs.csv"], "pairs.csv lists both images of each pair: give it alone"),
    ],
)  # fmt: skip
def test_errors_are_one_line(evaluate: Callable, arguments: list[str], message: str) -> None:
    outcome = evaluate(*arguments)
    assert outcome.exit_code == 2
    [line] = outcome.err.splitlines()
    assert line.startswith("gffusion: error: ")
    assert message in line
