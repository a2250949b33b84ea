"""Write an evaluation as one HTML file that needs neither server nor network."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from gffusion.utils.notes import format_count
from gffusion.visualization.palette import color_classes
from gffusion.visualization.slider import ImageSlider, get_environment

from .figures import Scene
from .settings import summarize_settings
from .table import EvaluationTable
from .table_format import Layout, escape_html, fill_html

_MAX_SIDE, _MIN_SIDE = 1280, 240  # of an image, in pixels
_FULL_SIZE_IMAGES = 60


def describe_scene(scene: Scene, table: EvaluationTable, count: int) -> dict[str, Any]:
    """Return the slider and the legend of one of `count` scenes for the page; with many scenes, images are shown smaller."""
    methods = [table.methods[row] for row in table.best_first]
    best = next((name for name in methods if name not in scene.baselines), methods[0])
    images = {**scene.sources, **{name: scene.fused[name] for name in methods}, **scene.labels}
    # The pixels of all scenes together are bounded.
    largest_side = round(_MAX_SIDE * (_FULL_SIZE_IMAGES / (count * len(images))) ** 0.5)
    return {
        "name": scene.name,
        "legend": [(name, color_classes(label).tolist()) for label, name in enumerate(scene.class_names)][1:],
        **ImageSlider(images, right=best).describe(min(_MAX_SIDE, max(_MIN_SIDE, largest_side))),
    }


def render_report(table: EvaluationTable, scenes: Sequence[dict[str, Any]], box_plots: bytes | None) -> str:
    """Return the page: tables that can be sorted, images with a slider, and box plots (SVG), if given.

    The scenes are of `describe_scene`.
    """
    methods, pairs = format_count(len(table.methods), "method"), format_count(len(table.images), "pair")
    tables = [_describe_table(title, layout) for title, layout in table.layouts.items()]
    return get_environment().get_template("report.html").render(
        title="Comparison of fusion methods",
        subtitle=f"{methods} on {pairs}, protocol {table.protocol}",
        facts=summarize_settings(table.settings),
        tables=tables,
        scenes=scenes,
        plots=Markup(box_plots[box_plots.index(b"<svg") :].decode()) if box_plots else "",  # without an XML declaration
        metrics=table.metrics,
        columns=["method", "image", *tables[0]["header"][:-1]],  # without the mean rank
        values=[
            (escape_html(method), escape_html(image), *(f"{value:.4f}" for value in row))
            for method, rows in zip(table.methods, table.values.tolist(), strict=True)
            for image, row in zip(table.images, rows, strict=True)
        ],
        skipped=table.skipped,
    )  # fmt: skip


def _describe_table(title: str, layout: Layout) -> dict[str, Any]:
    header, rows, notes = fill_html(layout)
    cells = [{"cells": row, "is_baseline": baseline} for row, baseline in zip(rows, layout.is_baseline, strict=True)]
    return {
        "title": title,
        "header": header,
        "is_ranked": layout.columns[-1] == "mean rank",
        "rows": cells,
        "notes": Markup(" ").join(notes),
    }
