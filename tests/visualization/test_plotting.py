"""Figures are the same with any settings of matplotlib."""

from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from gffusion.visualization.boxplots import draw_box_plots
from gffusion.visualization.features import draw_gates, draw_layer_weights, draw_tokens, draw_training
from gffusion.visualization.plotting import render_figure
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
