"""Box plots: the quartiles are where the axis says, and no values are too odd to be drawn."""

import numpy as np
import pytest

from gffusion.evaluation import EvaluationTable
from gffusion.visualization.boxplots import (
    _MARGIN,
    _NAMES_WIDTH,
    _PANEL_WIDTH,
    _ROW_HEIGHT,
    _TITLE,
    _ticks,
    draw_box_plots,
)
from gffusion.visualization.drawing import INK, LEARNED, PLAIN


def make(values: np.ndarray) -> EvaluationTable:
    methods, images, metrics = values.shape
    return EvaluationTable(
        methods=tuple(f"method {number}" for number in range(methods)),
        learned=tuple(number == 0 for number in range(methods)),
        metrics=("EN", "SD", "SF", "AG")[:metrics],
        ranked=("EN",),
        images=tuple(map(str, range(images))),
        values=values,
        protocol="standard",
    )


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.3, 1.7), (6.2, 7.9), (0, 0), (255, 255), (1e-7, 3e-7), (0, 65025)]
)
def test_ticks_are_few_and_span_the_values(low: float, high: float) -> None:
    ticks = _ticks(low, high)
    assert ticks[0] <= low <= high <= ticks[-1]
    assert 2 <= len(ticks) <= 7
    assert np.ptp(np.diff(ticks)) < 1e-9 * max(1, abs(high))


def test_a_box_spans_the_quartiles_and_the_line_is_the_median() -> None:
    values = np.zeros((2, 101, 1))
    values[0, :, 0] = np.linspace(2, 6, 101)  # quartiles 3, 4, 5 on an axis from 0 to 6
    page = np.asarray(draw_box_plots(make(values)))
    row = page[_TITLE + _ROW_HEIGHT // 2 - 6, _NAMES_WIDTH + _MARGIN :]  # beside the whisker
    box, median = (np.flatnonzero((row == colour).all(axis=-1)) for colour in (LEARNED, INK))
    middle = median.mean()
    assert _ticks(0, 6)[-1] == 6
    assert middle - box.min() == pytest.approx(_PANEL_WIDTH / 6, abs=2)
    assert box.max() - middle == pytest.approx(_PANEL_WIDTH / 6, abs=2)
    assert not (row == PLAIN).all(axis=-1).any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 1, 4), (3, 5, 2)])
def test_any_number_of_methods_images_and_metrics(shape: tuple[int, int, int]) -> None:
    constant, random = np.full(shape, 3.0), np.random.default_rng(0).normal(size=shape)
    assert draw_box_plots(make(constant)).size == draw_box_plots(make(random)).size
