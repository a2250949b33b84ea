"""Box plots: the boxes span the quartiles, and any table can be drawn."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gffusion.visualization.boxplots import draw_box_plots
from gffusion.visualization.drawing import BASELINE, LEARNED
from gffusion.visualization.plotting import render_figure


def draw(values: np.ndarray) -> Figure:
    """Draw one method and baselines."""
    methods = [f"method {number}" for number in range(values.shape[0])]
    metrics = ["EN", "SD", "MSE", "AG"][: values.shape[2]]
    return draw_box_plots(
        values, methods, metrics, [name != "MSE" for name in metrics], [m != methods[0] for m in methods]
    )


def test_boxes_span_the_quartiles_in_the_color_of_their_kind() -> None:
    values = np.zeros((2, 101, 1))
    values[0, :, 0] = np.linspace(2, 6, 101)
    [panel] = draw(values).axes
    box, baseline, _ = panel.patches  # and a band
    corners = box.get_path().vertices
    assert (corners[:, 0].min(), corners[:, 0].max()) == (3, 5)
    assert [to_rgb(patch.get_facecolor()) for patch in (box, baseline)] == [
        pytest.approx(np.array(color) / 255) for color in (LEARNED, BASELINE)
    ]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["method 0", "method 1"]
    assert panel.yaxis_inverted()  # the first method is on top


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 4), (3, 5, 3)])
def test_any_number_of_methods_images_and_metrics(shape: tuple[int, int, int]) -> None:
    for values in (np.full(shape, 3.0), np.random.default_rng(0).normal(size=shape)):
        figure = draw(values)
        directions = [panel.get_title("right").split()[0] for panel in figure.axes]
        assert directions == ["higher", "higher", "lower", "higher"][: shape[2]]
        assert render_figure(figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize(("metrics", "columns"), [(2, 2), (6, 3), (9, 3), (10, 4), (16, 4)])
def test_many_metrics_have_more_columns(metrics: int, columns: int) -> None:
    names = [str(number) for number in range(metrics)]
    figure = draw_box_plots(np.zeros((2, 3, metrics)), ["a", "b"], names, [True] * metrics, [False] * 2)
    figure.draw_without_rendering()
    assert len({round(panel.get_position().x0, 3) for panel in figure.axes}) == columns


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_files_are_the_same_to_the_byte(suffix: str) -> None:
    first, second = (render_figure(draw(np.arange(12.0).reshape(2, 3, 2)), suffix) for _ in range(2))
    assert first == second


def test_names_and_ticks_do_not_overlap() -> None:
    """Many methods with long names, and values of which five decimals matter."""
    names = [f"a network with a very long name of its own, variant {number}" for number in range(30)]
    scale = np.array([1e-4, 0.02, 7, 40_000, 1e6])
    values = scale * np.random.default_rng(0).normal(1, 0.2, size=(30, 9, 5))
    figure = draw_box_plots(values, names, list("ABCDE"), [True] * 5, [False] * 30)
    figure.draw_without_rendering()
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [name.replace("\n", "") for name in shown] == names
    rows = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert all(lower.y1 <= upper.y0 for upper, lower in itertools.pairwise(rows))
    for panel in figure.axes:
        low, high = panel.get_xlim()
        ticks = [label for label in panel.get_xticklabels() if low <= label.get_position()[0] <= high]
        extents = [label.get_window_extent() for label in ticks]
        assert len(ticks) >= 2
        assert all(left.x1 < right.x0 for left, right in itertools.pairwise(extents))
    names_left = min(label.get_window_extent().x0 for label in figure.axes[0].get_yticklabels())
    assert names_left >= 0


def test_values_must_fit_the_names() -> None:
    values = [[[1.0, 2.0], [3.0, 4.0]]]
    assert len(draw_box_plots(values, ["mine"], ["EN", "SD"], [True, True], [False]).axes) == 2
    for methods, metrics, higher, baselines in (
        (["mine", "other"], ["EN", "SD"], [True, True], [False, False]),
        (["mine"], ["EN"], [True], [False]),
        (["mine"], ["EN", "SD"], [True], [False]),
        (["mine"], ["EN", "SD"], [True, True], []),
    ):
        with pytest.raises(ValueError, match=r"`values` must be \(methods, images, metrics\).*; got \(1, 2, 2\) for"):
            draw_box_plots(values, methods, metrics, higher, baselines)
