"""`gffusion models`: the table, results, selection, and the terminal."""

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from gffusion.training.recipe import list_recipes
from gffusion.zoo import MODELS, create_model, list_models


def test_table_lists_every_model(gffusion: Callable) -> None:
    outcome = gffusion("models")
    assert (outcome.exit_code, outcome.err) == (0, "")
    rows = [re.split(r"\s{2,}", line.strip()) for line in outcome.out.splitlines()[: len(MODELS) + 1]]
    assert rows[0] == ["name", "status", "license", "training data", "recipe"]
    assert [row[:4] for row in rows[1:]] == [
        [entry.name, entry.status, entry.license or "-", entry.training_data] for entry in MODELS
    ]
    for (*_, recipe), entry in zip(rows[1:], MODELS, strict=True):
        assert recipe == (entry.recipe if entry.recipe in list_recipes() else f"{entry.recipe} (in the repository)")


@pytest.mark.parametrize("columns", ["80", "74", "0", "7"])
def test_terminal_folds_the_table(gffusion: Callable, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """Widths that no table fits are taken as 80."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    table = re.sub(r"\x1b\[[0-9;]*m", "", gffusion("models").out.partition("`gffusion models NAME`")[0])
    assert "─" in table and "…" not in table and max(map(len, table.splitlines())) <= 80
    assert all(f" {name} " in table for name in list_models())
    _, *texts = re.sub(r"\x1b\[[0-9;]*m", "", gffusion("models", "gffusion-tiny").out).split("gffusion-tiny: ")
    lines = "".join(texts).splitlines()
    assert all(len(line) <= 80 or line.startswith("    gffusion evaluate ") for line in lines)  # which can be copied
    assert " ".join(line.strip() for line in lines[:2]).endswith(
        MODELS[list_models().index("gffusion-tiny")].description
    )


@pytest.mark.parametrize("columns", [73, 45, 20])
def test_narrow_terminals_get_a_block_for_each_model(
    gffusion: Callable, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(columns))
    blocks = re.sub(r"\x1b\[[0-9;]*m", "", gffusion("models").out.partition("`gffusion")[0])
    lines = [line.rstrip() for line in blocks.splitlines() if line.strip()]
    assert [line for line in lines if not line.startswith("  ")] == list_models()
    assert max(len(line) for line in lines if line not in list_models()) <= columns
    for entry, block in zip(MODELS, re.split(r"^(?=\S)", blocks, flags=re.MULTILINE)[1:], strict=True):
        texts = (entry.status, f"license:{entry.license or '-'}", f"trainingdata:{entry.training_data}", entry.recipe)
        assert all(text.replace(" ", "") in re.sub(r"\s", "", block) for text in texts)


@pytest.mark.parametrize(
    "command",
    ["fuse a.png b.png -o out.png", "fuse a.png b.png -o out.png --backend onnx", "benchmark", "export -o a.onnx"],
)
def test_name_of_a_baseline_is_no_model(gffusion: Callable, cwd: Path, command: str) -> None:
    for name in ("a.png", "b.png"):
        Image.new("L", (64, 64)).save(name)
    name, *words = command.split()
    model = ["average"] if name == "export" else ["--model", "average"]
    outcome = gffusion(name, *words, *model)
    assert outcome.exit_code == 2
    assert outcome.err == (
        "gffusion: error: Unknown model 'average': average is a baseline of `gffusion evaluate`: name it there in --baselines average\n"
    )


def test_results_with_the_command_that_measures_them(gffusion: Callable) -> None:
    out = gffusion("models", "gffusion-funet").out
    assert re.search(r"MSRS, 40 validation pairs: EN 6\.569, .*\n +gffusion evaluate .*--model gffusion-funet", out)


def test_parameters_are_those_of_the_loaded_models(gffusion: Callable) -> None:
    entries = {entry["name"]: entry for entry in json.loads(gffusion("models", "--json").out)}
    for name, entry in entries.items():
        if entry["status"] != "bundled":
            assert entry["parameters"] is None
            continue
        parts: Counter[str] = Counter()
        for path, value in create_model(name).named_parameters():
            parts["frozen" if path.split(".")[0] in ("clip", "dinov2") else "trained"] += value.numel()
        assert entry["parameters"] == {"trained": parts["trained"], "frozen": parts["frozen"]}
        line = f"  {parts['trained']:,} trained and {parts['frozen']:,} frozen parameters\n"
        assert line in gffusion("models", name).out
    assert entries["gffusion-tiny"]["parameters"]["frozen"] > 1e6


def test_pattern_and_status(gffusion: Callable) -> None:
    out = gffusion("models", "*funet*").out
    assert "m3fd" not in out and "gffusion evaluate" not in out
    out = gffusion("models", "--status", "recipe-only").out
    assert "gffusion-m3fd" in out and "gffusion-funet" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unknown-*"], "No model matches 'unknown-*'"),
        (["--status", "published", "*funet*"], "No model matches '*funet*' with the status 'published'"),
        (["--status", "lost"], "must be one of bundled, published, recipe-only"),
    ],
)
def test_errors(gffusion: Callable, arguments: list[str], message: str) -> None:
    outcome = gffusion("models", *arguments)
    assert (outcome.exit_code, outcome.out) == (2, "") and message in outcome.err
