"""Tokens as colors, gates, layer weights and training curves."""

import numpy as np
import pytest

from gffusion.visualization.features import (
    draw_gates,
    draw_layer_weights,
    draw_tokens,
    draw_training,
    find_principal_colors,
)


def test_equal_content_has_equal_colors_in_all_images() -> None:
    """Two kinds of tokens, elsewhere in each map: the first component must part them."""
    kinds = np.random.default_rng(0).normal(size=(2, 32))
    maps = []
    for width in (3, 5):
        classes = np.zeros((6, 8), int)
        classes[:, width:] = 1
        noise = np.random.default_rng(width).normal(scale=0.05, size=(6, 8, 32))
        maps.append((classes, kinds[classes] + noise))
    colors = find_principal_colors([tokens for _, tokens in maps])
    first = [shown[classes == kind, 0] for (classes, _), shown in zip(maps, colors, strict=True) for kind in (0, 1)]
    assert abs(first[0].mean() - first[2].mean()) < 0.05
    assert abs(first[1].mean() - first[3].mean()) < 0.05
    assert abs(first[0].mean() - first[1].mean()) > 0.8


def test_tokens_are_drawn_below_their_images() -> None:
    images = {"visible": np.zeros((24, 32, 3), np.uint8), "infrared": np.ones((24, 32), np.float32)}
    tokens = {"clip": {name: np.random.default_rng(0).normal(size=(3, 4, 8)) for name in images}}
    figure = draw_tokens(images, tokens)
    assert [axis.get_title() for axis in figure.axes] == ["visible", "infrared", "clip: visible", "clip: infrared"]
    assert [axis.images[0].get_array().shape[:2] for axis in figure.axes] == [(24, 32)] * 2 + [(3, 4)] * 2


def test_gates_show_the_channels_that_vary() -> None:
    gate = np.full((40, 6, 8), 0.5)
    gate[7, :3] = 1
    gate[30, :3] = 0
    figure = draw_gates({"fused": np.zeros((6, 8))}, gate)
    panels = {axis.get_title(): axis.images[0].get_array() for axis in figure.axes if axis.get_title()}
    assert {"channel 7", "channel 30"} <= {*panels}
    np.testing.assert_allclose(panels["mean gate of visible features"][:3], 0.5 + 0.5 / 20)
    np.testing.assert_allclose(panels["mean gate of infrared features"][:3], 0.5 - 0.5 / 20)
    assert figure.axes[-1].get_ylabel() == "gate, Eq. (7)"  # of the color bar


def test_layer_weights_are_bars() -> None:
    [axis] = draw_layer_weights({"1": 0.25, "2": 0.75}).axes
    assert [bar.get_height() for bar in axis.patches] == [0.25, 0.75]


def test_training_curves_have_titles_and_the_values_of_the_log() -> None:
    records = [{"epoch": epoch, "loss_structural": 2.0 - epoch, "eval_SSIM": 0.7} for epoch in range(2)]
    figure = draw_training(records, "mine")
    assert figure.get_suptitle() == "mine"
    assert all(axis.get_title() for axis in figure.axes)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xydata(), [[1, 2.0], [2, 1.0]])
    np.testing.assert_allclose(figure.axes[1].lines[0].get_ydata(), [0.7, 0.7])
    assert figure.axes[0].get_yscale() == "log"
    records += [{"epoch": 2, "loss_structural": loss} for loss in (float("nan"), float("-inf"))]
    assert draw_training(records).axes[0].get_yscale() == "log"
    records[1]["loss_structural"] = -0.1
    assert draw_training(records).axes[0].get_yscale() == "linear"
    with pytest.raises(ValueError, match="the records have no losses"):
        draw_training([{"epoch": 0}])


def test_several_runs_share_the_panels_of_each_quantity() -> None:
    """A run without validation, and one whose name matplotlib would leave out of the legend."""
    seed = [{"epoch": epoch, "loss_structural": 2.0 - epoch, "eval_SSIM": 0.7} for epoch in range(2)]
    figure = draw_training({"seed0": seed, "_old": [{"epoch": 0, "loss_structural": 3.0}], "seed2": seed})
    losses, validation = figure.axes
    assert [line.get_ydata().tolist() for line in losses.lines] == [[2, 1], [3], [2, 1]]
    assert [line.get_ydata().tolist() for line in validation.lines] == [[0.7, 0.7]] * 2
    assert [line.get_color() for line in validation.lines] == [losses.lines[run].get_color() for run in (0, 2)]
    assert [text.get_text().strip() for text in figure.legends[0].texts] == ["seed0", "_old", "seed2"]
    with pytest.raises(ValueError, match="the records of b have no losses"):
        draw_training({"a": seed, "b": []})


def test_a_single_evaluation_is_at_a_whole_epoch() -> None:
    records = [{"epoch": 0, "loss_structural": 2.0}, {"epoch": 1, "loss_structural": 1.0, "eval_SSIM": 0.7}]
    axis = draw_training(records).axes[1]
    low, high = axis.get_xlim()
    assert [tick for tick in axis.get_xticks() if low <= tick <= high] == [2]
