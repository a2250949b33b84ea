"""What model cards are made of: templates, tables, and the signature that tells whether a person has edited one."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gffusion.metrics.base import FusionMetric
    from gffusion.metrics.segmentation import SegmentationMetric

# Closes every generated card; what it says of the text above tells whether a person has edited it.
MARKER = "<!-- Written by gffusion, which leaves this file alone once it is edited. sha256 of the above: "


def fill(template: str, values: Mapping[str, str]) -> str:
    """Fill in a template; a section of it is left out if it has placeholders and all of them are empty."""
    sections = [Template(section) for section in re.split(r"^(?=## )", template, flags=re.MULTILINE)]
    names = [section.get_identifiers() for section in sections]
    kept = [
        section.substitute(values).strip()
        for section, used in zip(sections, names, strict=True)
        if not used or any(values[name] for name in used)
    ]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(kept)) + "\n"


def sign(text: bytes) -> bytes:
    """Close a card with the marker."""
    return text + f"{MARKER}{hashlib.sha256(text).hexdigest()} -->\n".encode()


def is_untouched(card: bytes) -> bool:
    """Tell whether a card is what was generated, to the byte."""
    return card == sign(card.rpartition(MARKER.encode())[0])


def with_source(card: bytes, source: str) -> bytes:
    """Let the snippet of a generated card load its weights from a source; a card that a person edited stays as it is."""
    if not is_untouched(card):
        return card
    text = card.rpartition(MARKER.encode())[0].decode()
    return sign(re.sub(r'(?<=locate\()".*"(?=\))', lambda _: json.dumps(source), text).encode())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table, nothing at all if it has no rows."""
    lines = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *lines)) if lines else ""


def code_block(command: str) -> str:
    """Set a command, nothing at all if there is none."""
    return f"```bash\n{command}\n```" if command else ""


def figures_table(figures: Mapping[str, Mapping[str, float]]) -> str:
    """Lay out figures by data set and metric, with arrows that point to the better ones."""
    names = unique(name for metrics in figures.values() for name in metrics)
    arrows = ["↑" if find_metric(name).higher_is_better else "↓" for name in names]
    header = ["data set", *(f"{name} {arrow}" for name, arrow in zip(names, arrows, strict=True))]
    return table(header, [[key, *(_number(row.get(name)) for name in names)] for key, row in figures.items()])


def log_table(log: Sequence[Mapping[str, float]]) -> str:
    """Lay out the last record of a training log, and before it the best one, by L_st on the validation pairs."""
    scored = [record for record in log if "eval_loss_structural" in record]
    best = sorted(scored, key=lambda record: record["eval_loss_structural"])[:1]
    records = {f"best, epoch {record['epoch'] + 1}": record for record in best}
    records |= {f"last, epoch {record['epoch'] + 1}": record for record in log[-1:]}
    names = unique(name for record in records.values() for name in record if name != "epoch")
    rows = [[f"`{name}`", *(_number(record.get(name)) for record in records.values())] for name in names]
    return table(["training log", *records], rows)


def find_metric(name: str) -> "type[FusionMetric] | type[SegmentationMetric]":
    """Look a metric up; those of single classes have the class behind their name, as in "IoU person".

    Raises:
        ValueError: If there is none of this name.
    """
    from gffusion.metrics import METRICS

    known = name if name in METRICS else name.partition(" ")[0]
    if known not in METRICS:
        raise ValueError(f"Unknown metric {name!r}. Known: {', '.join(METRICS)}.")
    return METRICS[known]


def unique(names: Iterable[str]) -> list[str]:
    """Return each name once, in order."""
    return list(dict.fromkeys(names))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
