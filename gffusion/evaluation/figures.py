"""Figures of an evaluation: box plots of the table, and fused images side by side."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gffusion.data import ImagePair, read_labels
from gffusion.data.label_values import replace_values
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.escaping import to_line
from gffusion.visualization.boxplots import draw_box_plots
from gffusion.visualization.comparison import Box, draw_comparison
from gffusion.visualization.drawing import stack
from gffusion.visualization.label_sheet import draw_legend
from gffusion.visualization.overlay import overlay
from gffusion.visualization.plotting import render_figure

from .baselines import add_chroma
from .methods import Sources
from .scoring import Plan
from .table import EvaluationTable

logger = logging.getLogger(__name__)

_PAGE_HEIGHT = 6000  # pixels, of sheets


@dataclass(frozen=True)
class Scene:
    """Images of a pair to show: sources, fused images by method, and label maps drawn over images.

    The images are (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1].
    """

    name: str
    sources: dict[str, NDArray[Any]]
    fused: dict[str, NDArray[Any]]
    labels: dict[str, NDArray[Any]]
    baselines: tuple[str, ...]
    class_names: tuple[str, ...] = ()  # of the label maps, the background first


def draw_table(table: EvaluationTable) -> dict[str, bytes]:
    """Return `boxplots.png`, `.svg` and `.pdf`, the best mean rank on top; nothing, with a warning, if they cannot be drawn."""
    rows = table.best_first
    methods, is_baseline = [to_line(table.methods[row]) for row in rows], [table.is_baseline[row] for row in rows]
    try:
        figure = draw_box_plots(table.values[rows], methods, table.metrics, table.higher_is_better, is_baseline)
        return {f"boxplots.{suffix}": render_figure(figure, suffix) for suffix in ("png", "svg", "pdf")}
    except ImportError:
        logger.warning('no box plots without matplotlib: pip install "gffusion[plots]"')
    except Exception as error:  # of fonts and installations of all kinds; the tables are written without box plots
        logger.warning("no box plots: matplotlib failed with %s: %s", type(error).__name__, to_line(str(error)))
    return {}


def fuse_scene(plan: Plan, pair: ImagePair) -> Scene:
    """Fuse a pair with all methods; label maps are those that are measured."""
    sources = Sources.read(pair, plan.ranges)
    segmented = [method.name for method in plan.methods if pair.labels is not None and plan.is_segmented(method)]
    predictions = {
        method.name: plan.fuse(method, sources, method.name in segmented and method.name not in plan.label_files)
        for method in plan.methods
    }
    fused = {name: prediction.fused for name, prediction in predictions.items()}
    baselines = tuple(method.name for method in plan.methods if method.is_baseline)
    visible, infrared = sources.images[:2]
    if visible.ndim == 3:
        fused |= {name: add_chroma(visible, fused[name]) for name in baselines}
    if sources.infrared_options != InfraredOptions():
        infrared = sources.infrared_luma.numpy().astype(np.uint8)
    labels: dict[str, NDArray[Any]] = {}
    for name in segmented:
        predicted = predictions[name].labels
        if name in plan.label_files and pair.name in plan.label_files[name]:
            predicted = read_labels(plan.label_files[name][pair.name], sources.read_options.max_pixels)
        if predicted is not None and predicted.shape == visible.shape[:2]:
            labels[f"{name}: labels"] = overlay(fused[name], predicted)
    if labels and pair.labels is not None:
        truth = replace_values(read_labels(pair.labels, sources.read_options.max_pixels), plan.label_map)
        if truth.shape == visible.shape[:2]:
            labels = {"labels": overlay(visible, truth), **labels}
    names = tuple(map(to_line, plan.class_names)) if labels else ()
    return Scene(pair.name, {"visible": visible, "infrared": infrared}, fused, labels, baselines, names)


def draw_sheets(scenes: Iterable[Scene], zoom: Box | None = None) -> Iterator[Image.Image]:
    """Draw the images of scenes side by side, with the part `zoom` (left, top, right, bottom) of each enlarged.

    A page has at least one scene and, beyond that, at most 6000 rows of pixels. Scenes are drawn as pages are asked for.
    """
    page: list[Image.Image] = []
    for scene in scenes:
        block = draw_comparison(scene.name, scene.sources, scene.fused, scene.baselines, scene.labels, zoom)
        if scene.class_names:
            block = stack([block, draw_legend(scene.class_names[1:], block.width, with_ignored=False)])
        if page and sum(drawn.height for drawn in page) + block.height > _PAGE_HEIGHT:
            yield stack(page)
            page = []
        page.append(block)
    if page:
        yield stack(page)
