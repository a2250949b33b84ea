"""Box plots of the distribution of each metric over the images."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .drawing import BASELINE, LEARNED
from .plotting import break_text, count_lines, default_style, make_figure, measure_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANEL_WIDTH, _ROW_HEIGHT, _LINE_HEIGHT, _PANEL_MARGIN = 3.6, 0.3, 0.2, 0.9  # inches
_NAME_SIZE, _MAX_NAME_LENGTH = 10, 210  # points


@default_style()
def draw_box_plots(
    values: ArrayLike,
    methods: Sequence[str],
    metrics: Sequence[str],
    higher_is_better: Sequence[bool],
    is_baseline: Sequence[bool],
) -> "Figure":
    """Draw the distribution of every metric over the images, one panel per metric and one row per method.

    Boxes span the quartiles, with a line at the median. Whiskers reach to the last value within 1.5 box widths, and values
    beyond are drawn as circles. The boxes of classical baselines are gray. Long names have several lines. `values`
    are (methods, images, metrics).

    Raises:
        ImportError: If matplotlib is not installed.
        ValueError: If there is no method or no metric, or `values` or a sequence does not fit their numbers.

    Examples:
        >>> figure = draw_box_plots(np.zeros((1, 5, 2)), ["average"], ["EN", "MSE"], [True, False], [True])
        >>> [panel.get_title(loc="right") for panel in figure.axes]
        ['higher is better', 'lower is better']
    """
    array = np.asarray(values, np.float64)
    expected = (len(methods), *array.shape[1:2], len(metrics))
    counts = len(is_baseline), len(higher_is_better)
    if array.shape != expected or counts != expected[::2] or 0 in counts:
        raise ValueError(
            f"`values` must be (methods, images, metrics), with one `is_baseline` per method and one `higher_is_better` per metric; got "
            f"{array.shape} for {len(methods)} methods, {len(metrics)} metrics, {counts[0]} `is_baseline` and {counts[1]} `higher_is_better`"
        )
    columns = min(len(metrics), max(_COLUMNS, math.ceil(len(metrics) ** 0.5)))
    rows = -(-len(metrics) // columns)
    names = [break_text(name, _MAX_NAME_LENGTH, _NAME_SIZE) for name in methods]
    width = columns * _PANEL_WIDTH + max(measure_text(name, _NAME_SIZE) for name in names) / 72
    row_height = _ROW_HEIGHT + (count_lines(names) - 1) * _LINE_HEIGHT
    figure = make_figure(width, rows * (len(methods) * row_height + _PANEL_MARGIN))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    panels[0].set_yticks(range(len(methods)), names, fontsize=_NAME_SIZE)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    colors = [np.array(BASELINE if baseline else LEARNED) / 255 for baseline in is_baseline]
    for index, (panel, metric) in enumerate(zip(panels, metrics, strict=False)):
        artists = panel.boxplot(
            array[:, :, index].T,
            positions=range(len(methods)),
            orientation="horizontal",
            manage_ticks=False,
            patch_artist=True,
            widths=0.6,
            medianprops={"color": "black", "linewidth": 2},
        )
        for row, color in enumerate(colors):
            artists["boxes"][row].set(facecolor=color, edgecolor=color)
            artists["fliers"][row].set(markeredgecolor=color, markersize=4)
            for line in artists["whiskers"][2 * row : 2 * row + 2] + artists["caps"][2 * row : 2 * row + 2]:
                line.set(color=color)
        panel.set_title(metric, loc="left")
        direction = "higher is better" if higher_is_better[index] else "lower is better"
        panel.set_title(direction, loc="right", fontsize="small", color="dimgray")
        panel.locator_params(axis="x", nbins=5)
        panel.ticklabel_format(axis="x", scilimits=(-3, 4))
        panel.grid(axis="x", color="gainsboro")
        panel.set_axisbelow(True)
        for row in range(1, len(methods), 2):  # leads the eye from a name to its boxes
            panel.axhspan(row - 0.5, row + 0.5, color="whitesmoke", zorder=0)
        panel.spines[["left", "top", "right"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    for panel in panels[len(metrics) :]:
        panel.remove()
    return figure
