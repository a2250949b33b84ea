"""Box plots: how each metric spreads over the images, a panel a metric and a row a method."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gffusion.evaluation.table import EvaluationTable

from .drawing import FAINT, GRID, INK, LEARNED, PAPER, PLAIN, Colour, write

_COLUMNS = 3
_NAMES_WIDTH = 260
_PANEL_WIDTH = 520
_ROW_HEIGHT = 40
_TITLE = 64
_AXIS = 56
_MARGIN = 56
_BOX_HEIGHT = 22
_INTERVALS = 4

Panel = tuple[float, float, float, float]


def draw_box_plots(table: EvaluationTable) -> Image.Image:
    """Draw the quartiles of every metric (box and line), what lies within 1.5 box widths of them (whiskers), and the rest.

    Methods stand in the order of their mean rank, the best on top.

    Args:
        table: What was measured.

    Returns:
        An RGB picture.
    """
    ranks = table.mean_ranks
    order = sorted(range(len(table.methods)), key=lambda row: ranks[table.methods[row]])
    columns = min(_COLUMNS, len(table.metrics))
    panel_height = _TITLE + len(order) * _ROW_HEIGHT + _AXIS
    page = Image.new(
        "RGB",
        (
            _NAMES_WIDTH + columns * (_PANEL_WIDTH + _MARGIN) + _MARGIN,
            -(-len(table.metrics) // columns) * panel_height + _MARGIN,
        ),
        PAPER,
    )
    draw = ImageDraw.Draw(page)
    for index, metric in enumerate(table.metrics):
        row, column = divmod(index, columns)
        left, top = _NAMES_WIDTH + _MARGIN + column * (_PANEL_WIDTH + _MARGIN), row * panel_height + _TITLE
        panel = (left, top, left + _PANEL_WIDTH, top + len(order) * _ROW_HEIGHT)
        direction = "higher is better" if table.higher_is_better[index] else "lower is better"
        write(draw, (left, top - 18), metric, 26, "ls")
        write(draw, (panel[2], top - 18), direction, 18, "rs", FAINT)
        if column == 0:
            for position, method in enumerate(order):
                colour = INK if table.learned[method] else FAINT
                middle = top + (position + 0.5) * _ROW_HEIGHT
                write(draw, (left - 16, middle), table.methods[method], 20, "rm", colour, _NAMES_WIDTH)
        colours = [LEARNED if table.learned[method] else PLAIN for method in order]
        _draw_panel(draw, panel, table.values[order, :, index], colours)
    return page


def _draw_panel(
    draw: ImageDraw.ImageDraw, panel: Panel, values: NDArray[np.float64], colours: Sequence[Colour]
) -> None:
    """Draw the boxes of (methods, images) values above a common axis."""
    left, top, right, bottom = panel
    ticks = _ticks(float(values.min()), float(values.max()))

    def across(value: float) -> float:
        return left + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (right - left)

    for tick in ticks:
        draw.line([across(tick), top, across(tick), bottom], fill=GRID, width=2)
        write(draw, (across(tick), bottom + 10), f"{tick:g}", 18, "ma", FAINT)
    draw.line([left, bottom, right, bottom], fill=FAINT, width=2)
    for position, (row, colour) in enumerate(zip(values, colours, strict=True)):
        _draw_box(draw, row, across, top + (position + 0.5) * _ROW_HEIGHT, colour)


def _draw_box(
    draw: ImageDraw.ImageDraw,
    values: NDArray[np.float64],
    across: Callable[[float], float],
    middle: float,
    colour: Colour,
) -> None:
    first, median, third = (float(quartile) for quartile in np.percentile(values, [25, 50, 75]))
    reach = 1.5 * (third - first)
    inside = values[(values >= first - reach) & (values <= third + reach)]
    draw.line([across(float(inside.min())), middle, across(float(inside.max())), middle], fill=colour, width=3)
    draw.rectangle(
        [across(first), middle - _BOX_HEIGHT / 2, across(third), middle + _BOX_HEIGHT / 2], fill=colour, outline=colour
    )
    for value in values[(values < first - reach) | (values > third + reach)]:
        draw.circle((across(float(value)), middle), 4, outline=colour, width=2)
    draw.line(
        [across(median), middle - _BOX_HEIGHT / 2 - 3, across(median), middle + _BOX_HEIGHT / 2 + 3], fill=INK, width=4
    )


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers, about five, from below `low` to above `high`."""
    least = (high - low or max(abs(low), 1.0)) / _INTERVALS
    magnitude = 10.0 ** np.floor(np.log10(least))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= least)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return [round(step * number, 12) for number in range(first, max(last, first + 1) + 1)]
