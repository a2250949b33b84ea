"""Figures from files: every image is shown in its own color, and missing matplotlib is reported."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion.data import ImagePair
from gffusion.data.infrared_range import PairRanges
from gffusion.evaluation import evaluate
from gffusion.evaluation.figures import draw_sheet
from gffusion.evaluation.methods import Baseline, FusedFolder
from gffusion.models.gffusion.infrared_options import InfraredOptions


def test_every_image_in_its_own_color(tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]) -> None:
    colors = {"visible": (200, 40, 40), "infrared": (90, 90, 90), "mine": (20, 180, 60)}
    for kind, color in colors.items():
        save(tmp_path / f"{kind}.png", np.full((40, 60, 3), color, np.uint8))
    pair = ImagePair("scene", tmp_path / "visible.png", tmp_path / "infrared.png")
    methods = [FusedFolder("mine", {"scene": tmp_path / "mine.png"}), Baseline("maximum")]
    ranges = PairRanges(InfraredOptions())
    page = np.asarray(draw_sheet(methods, [pair, pair], ranges))
    single = np.asarray(draw_sheet(methods, [pair], ranges))
    assert page.shape == (2 * single.shape[0], *single.shape[1:])
    # The luma of the visible image is 88, the maximum 90: nearly the same red.
    expected = [*colors.values(), (202, 42, 42)]
    shares = [(abs(single.astype(int) - color).max(axis=-1) <= 1).mean() for color in expected]
    assert all(share > 0.15 for share in shares), shares


def test_without_matplotlib_only_the_box_plots_are_missing(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.WARNING):
        evaluate(pairs / "visible", pairs / "infrared", baselines=["average"], metrics=["EN"], output=tmp_path / "out")
    assert caplog.messages == ['no box plots without matplotlib: pip install "gffusion[plots]"']
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"per_image.csv", "records.jsonl", "sheet.png", "summary.json", "table.md", "table.tex"}
