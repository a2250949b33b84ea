"""Figures are the same with any settings of matplotlib."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager

from gffusion.visualization.boxplots import draw_box_plots
from gffusion.visualization.features import draw_gates, draw_layer_weights, draw_tokens, draw_training
from gffusion.visualization.plotting import default_style, render_figure
from gffusion.visualization.side_by_side import draw_side_by_side

IMAGES = {"visible": np.eye(48, 64), "fused": np.eye(48, 64) / 2}
RUN = [{"epoch": epoch, "loss_structural": 1.0 / (epoch + 1)} for epoch in range(3)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: draw_box_plots(np.arange(10.0).reshape(1, 5, 2), ["mean"], ["EN", "SD"], [True, True], [True]),
        lambda: draw_side_by_side(IMAGES, labels={"fused": np.eye(48, 64, dtype=int)}, class_names=["", "person"]),
        lambda: draw_tokens(IMAGES, {"CLIP": {name: np.random.default_rng(0).random((6, 8, 5)) for name in IMAGES}}),
        lambda: draw_gates(IMAGES, np.random.default_rng(0).random((8, 6, 8))),
        lambda: draw_layer_weights({"1": 0.3, "2": 0.7}),
        lambda: draw_training({"a": RUN, "b": RUN}),
    ],
    ids=["box plots", "side by side", "tokens", "gates", "layer weights", "training"],
)
def test_settings_of_the_user_do_not_change_figures(draw: Callable[[], Figure]) -> None:
    """Such as LaTeX, which can be missing, and dark styles."""
    expected = render_figure(draw(), "svg")
    settings = {
        "text.usetex": True,
        "font.size": 20,
        "axes.facecolor": "black",
        "figure.dpi": 50,
        "font.family": "serif",
    }
    with mpl.rc_context(settings):
        assert render_figure(draw(), "svg") == expected
        assert mpl.rcParams["text.usetex"]


def test_figures_in_threads_keep_the_settings_of_the_user() -> None:
    with mpl.rc_context({"font.size": 20}), ThreadPoolExecutor(4) as threads:
        list(threads.map(draw_layer_weights, [{"1": 0.3, "2": 0.7}] * 40))
        assert mpl.rcParams["font.size"] == 20


def test_fonts_of_the_user_draw_characters_that_the_default_font_lacks() -> None:
    with mpl.rc_context({"font.sans-serif": ["cmr10"]}), default_style():
        files = [fontManager.findfont(FontProperties(family=[name])) for name in mpl.rcParams["font.family"]]
    assert [Path(file).name for file in files] == ["DejaVuSans.ttf", "cmr10.ttf"]
