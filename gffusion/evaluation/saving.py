"""Files of an evaluation: tables, box plots, sheets and report."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gffusion.data import ImagePair, write_image
from gffusion.utils.atomic import replace_file, replacing_files
from gffusion.visualization.comparison import Box

from .figures import Scene, draw_sheets, draw_table, fuse_scene
from .report import describe_scene, render_report
from .scoring import Plan
from .table import EvaluationTable

_OPTIONAL = re.compile(
    r"sheet(-[0-9]+)?\.png|boxplots\.(png|svg|pdf)|report\.html|per_image_iou\.csv|significance\.csv"
)


def save_results(
    table: EvaluationTable, plan: Plan, shown: Sequence[ImagePair], folder: Path, html: bool, zoom: Box | None
) -> None:
    """Write tables and figures instead of former ones, together; only the scenes of one page are in memory at a time."""
    described: list[dict[str, Any]] = []

    def fuse_scenes() -> Iterator[Scene]:
        for pair in shown:
            scene = fuse_scene(plan, pair)
            if html:
                described.append(describe_scene(scene, table, len(shown)))
            yield scene

    with replacing_files(folder, last="summary.json") as staging:
        table.save(staging)
        plots = draw_table(table)
        for name, content in plots.items():
            replace_file(staging / name, content)
        for number, page in enumerate(draw_sheets(fuse_scenes(), zoom), start=1):
            write_image(staging / ("sheet.png" if number == 1 else f"sheet-{number}.png"), np.asarray(page))
        if html:
            text = render_report(table, described, plots.get("boxplots.svg"))
            replace_file(staging / "report.html", text.encode(errors="backslashreplace"))
        written = {path.name for path in staging.iterdir()}
    for path in folder.iterdir():
        if _OPTIONAL.fullmatch(path.name) and path.name not in written and not path.is_dir():
            path.unlink()
