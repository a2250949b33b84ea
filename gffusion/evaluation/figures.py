"""Figures of an evaluation: box plots of the table, and fused images side by side."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gffusion.data import ImagePair
from gffusion.data.atomic import replace_file
from gffusion.data.infrared_range import PairRanges
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.visualization.boxplots import draw_box_plots, render_figure
from gffusion.visualization.comparison import draw_comparison
from gffusion.visualization.drawing import stack

from .baselines import add_chroma
from .methods import Method, Sources
from .table import EvaluationTable

logger = logging.getLogger(__name__)


def save_box_plots(table: EvaluationTable, folder: Path) -> None:
    """Write `boxplots.png` and `boxplots.svg`, with the best mean rank on top, or log that matplotlib is missing."""
    rows = table.best_first
    methods, is_baseline = [table.methods[row] for row in rows], [table.is_baseline[row] for row in rows]
    try:
        figure = draw_box_plots(table.values[rows], methods, table.metrics, table.higher_is_better, is_baseline)
    except ImportError:
        logger.warning('no box plots without matplotlib: pip install "gffusion[plots]"')
        return
    for suffix in ("png", "svg"):
        replace_file(folder / f"boxplots.{suffix}", render_figure(figure, suffix))


def draw_sheet(methods: Sequence[Method], pairs: Sequence[ImagePair], ranges: PairRanges) -> Image.Image:
    """Fuse pairs with all methods, and draw the sources and results side by side."""
    return stack([_draw_pair(methods, pair, ranges) for pair in pairs])


def _draw_pair(methods: Sequence[Method], pair: ImagePair, ranges: PairRanges) -> Image.Image:
    sources = Sources.read(pair, ranges)
    fused = {method.name: method.fuse(sources).fused for method in methods}
    baselines = [method.name for method in methods if method.is_baseline]
    visible, infrared = sources.images[:2]
    if visible.ndim == 3:
        fused |= {name: add_chroma(visible, fused[name]) for name in baselines}
    if sources.infrared_options != InfraredOptions():
        infrared = sources.infrared_luma.numpy().astype(np.uint8)
    return draw_comparison(pair.name, {"visible": visible, "infrared": infrared}, fused, baselines)
