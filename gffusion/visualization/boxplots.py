"""Box plots of the distribution of each metric over the images."""

from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .drawing import BASELINE, LEARNED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 3
_PANEL_WIDTH, _ROW_HEIGHT, _PANEL_MARGIN = 4.0, 0.3, 0.9  # inches


def draw_box_plots(
    values: NDArray[np.float64],
    methods: Sequence[str],
    metrics: Sequence[str],
    higher_is_better: Sequence[bool],
    is_baseline: Sequence[bool],
) -> "Figure":
    """Draw the distribution of every metric over the images, one panel per metric and one row per method.

    Boxes span the quartiles, with a line at the median. Whiskers reach to the last value within 1.5 box widths, and values
    beyond are drawn as circles. The boxes of classical baselines are gray. `values` are (methods, images, metrics).

    Raises:
        ImportError: If matplotlib is not installed.

    Example:
        >>> figure = draw_box_plots(np.zeros((1, 5, 2)), ["average"], ["EN", "MSE"], [True, False], [True])
        >>> [panel.get_title(loc="right") for panel in figure.axes]
        ['higher is better', 'lower is better']
    """
    from matplotlib.figure import Figure  # optional dependency: the extra `plots`

    columns = min(_COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    size = columns * _PANEL_WIDTH, rows * (len(methods) * _ROW_HEIGHT + _PANEL_MARGIN)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).flatten()
    panels[0].set_yticks(range(len(methods)), methods)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    colors = [np.array(BASELINE if baseline else LEARNED) / 255 for baseline in is_baseline]
    for index, (panel, metric) in enumerate(zip(panels, metrics, strict=False)):
        artists = panel.boxplot(
            values[:, :, index].T,
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
        panel.grid(axis="x", color="gainsboro")
        panel.set_axisbelow(True)
        panel.spines[["left", "top", "right"]].set_visible(False)
        panel.tick_params(axis="y", length=0)
    for panel in panels[len(metrics) :]:
        panel.remove()
    return figure


def render_figure(figure: "Figure", suffix: str) -> bytes:
    """Return the content of a file of a figure, of format `"png"` or `"svg"`; the same figure gives the same bytes."""
    import matplotlib as mpl  # optional dependency: the extra `plots`

    content = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "gffusion"}):  # ids of SVG elements are random otherwise
        figure.savefig(content, format=suffix, dpi=150, metadata={"Date": None} if suffix == "svg" else None)
    return content.getvalue()
