"""`gffusion models`: the table, and what it says of models without weights."""

import re
from collections.abc import Callable

from gffusion.zoo import MODELS


def test_table_names_every_model(gffusion: Callable) -> None:
    outcome = gffusion("models")
    assert (outcome.exit_code, outcome.err) == (0, "")
    lines = {line.split()[0]: line for line in outcome.out.splitlines()[: len(MODELS) + 1]}
    assert lines.keys() == {"name"} | {entry.name for entry in MODELS}
    for entry in MODELS:
        assert entry.status in lines[entry.name] and entry.recipe in lines[entry.name]


def test_figures_stand_beside_the_command_that_measured_them(gffusion: Callable) -> None:
    out = gffusion("models", "gffusion-funet").out
    assert re.search(r"MSRS, 40 validation pairs: EN 6\.569, .*\n +gffusion evaluate .*--model gffusion-funet", out)


def test_pattern_and_status(gffusion: Callable) -> None:
    assert "m3fd" not in gffusion("models", "*funet*").out
    out = gffusion("models", "--status", "recipe-only").out
    assert "gffusion-m3fd" in out and "gffusion-funet" not in out


def test_nothing_to_show(gffusion: Callable) -> None:
    for arguments in (["unknown-*"], ["--status", "published", "*funet*"]):
        outcome = gffusion("models", *arguments)
        assert (outcome.exit_code, outcome.out) == (2, "") and "no model matches" in outcome.err
    outcome = gffusion("models", "--status", "lost")
    assert outcome.exit_code == 2 and "bundled, published, recipe-only" in outcome.err
