"""Write the generated parts of the pages in docs/metrics: `python tools/metric_pages.py`; with `--check`, only compare them.

The tables between the markers come from `METRICS` and `PROTOCOLS`; the prose around them is not generated. The values of
the protocols are measured on a rendered pair, in which a few pixels depend on the versions of NumPy and Pillow and on the
processor. Values that differ by less than `TOLERANCE` are therefore not rewritten.
"""

import argparse
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from gffusion.evaluation.baselines import fuse_luma
from gffusion.hub.rendering import format_table
from gffusion.metrics import METRICS, PROTOCOLS, compute_metrics, list_metrics, to_luma8
from gffusion.metrics.classes import CLASSES
from gffusion.synthetic.rendering import render_scene

PAGES = Path(__file__).parents[1] / "docs" / "metrics"
GENERATED = re.compile(r"(?<=<!-- generated -->\n).*?(?=<!-- end -->)", re.DOTALL)
VALUE = re.compile(r"(?<=\| )(\*{0,2})(\d[\d.]*)(?=\*{0,2} \|)")  # a table cell with a number, bold or not
TOLERANCE = 5e-3
NONE = "–"  # noqa: RUF001


def code(text: str) -> str:
    """Return text as code."""
    return f"`{text}`"


def direction(name: str) -> str:
    """Return the direction of a metric as arrow and word."""
    return "↑ higher" if METRICS[name].higher_is_better else "↓ lower"


def value_range(name: str) -> str:
    """Return the minimum and maximum of a metric."""
    return " to ".join(f"{bound:.6g}".replace("inf", "∞") for bound in METRICS[name].value_range)


def minimum_size(name: str) -> str:
    """Return the minimum height and width, in pixels."""
    size = METRICS[name].minimum_size
    return f"{size}×{size}"  # noqa: RUF001


def inputs(name: str) -> str:
    """Return the inputs of a metric."""
    metric = METRICS[name]
    if metric.task == "segmentation":
        return "logits or predicted labels, labels"
    return "fused, visible, infrared" if metric.needs_sources else "fused"


def protocols_with(name: str) -> dict[str, Mapping[str, Any]]:
    """Return the protocols that have the metric, and its options there."""
    return {key: protocol.options[name] for key, protocol in PROTOCOLS.items() if name in protocol.options}


def conventions(name: str) -> str:
    """Return the protocols that have the metric, each with the options that it sets."""
    entries = []
    for protocol, options in protocols_with(name).items():
        settings = ", ".join(code(f"{option}={value!r}") for option, value in options.items())
        entries.append(code(protocol) + (f" ({settings})" if settings else ""))
    return ", ".join(entries) or NONE


def linked(reference: str) -> str:
    """Return a reference in which the DOI is a link."""
    return re.sub(r"doi:(\S+)", r"[doi:\1](https://doi.org/\1)", reference)


def header(name: str) -> str:
    """Return the table at the top of the page of a metric."""
    metric = METRICS[name]
    rows = [
        ("Measures", metric.title),
        ("Class", code(f"gffusion.metrics.{CLASSES[name].__name__}")),
        ("Function", code(f"gffusion.metrics.functional.{metric.functional.__name__}")),
        ("Better", direction(name)),
        ("Range", value_range(name)),
        ("Minimum size", minimum_size(name)),
        ("Inputs", inputs(name)),
        ("Protocols", conventions(name)),
        ("Defined by", linked(metric.reference)),
    ]
    return format_table((name, ""), rows)


def overview() -> str:
    """Return the table of all metrics, with links to their pages."""
    rows = (
        (
            f"[{name}]({name}.md)",
            metric.title,
            direction(name),
            value_range(name),
            minimum_size(name),
            inputs(name),
            ", ".join(map(code, protocols_with(name))) or NONE,
        )
        for name, metric in METRICS.items()
    )
    return format_table(("Metric", "Measures", "Better", "Range", "Minimum size", "Inputs", "Protocols"), rows)


def values_by_protocol() -> dict[str, dict[str, float]]:
    """Compute every metric under every protocol for a rendered pair, fused by the baseline `maximum`."""
    scene = render_scene(0, 480, 640)
    visible, infrared = to_luma8(scene.visible), to_luma8(scene.infrared)
    fused = torch.from_numpy(fuse_luma("maximum", visible.numpy(), infrared.numpy()))
    scores = {name: compute_metrics(fused, visible, infrared, protocol=name) for name in PROTOCOLS}
    return {name: {metric: value.item() for metric, value in values.items()} for name, values in scores.items()}


def protocols() -> str:
    """Return the table of the protocols, and the values of one image under all of them."""
    values = values_by_protocol()

    def cell(protocol: str, name: str) -> str:
        value, standard = values[protocol].get(name), values["standard"][name]
        if value is None:
            return NONE
        text = f"{value:#.4g}".rstrip(".")
        return text if math.isclose(value, standard, rel_tol=1e-6) else f"**{text}**"

    descriptions = ((code(name), protocol.description) for name, protocol in PROTOCOLS.items())
    rows = ((f"[{name}]({name}.md)", *(cell(key, name) for key in PROTOCOLS)) for name in list_metrics())
    first = format_table(("Protocol", "Definitions"), descriptions)
    return f"{first}\n\n{format_table(('Metric', *map(code, PROTOCOLS)), rows)}"


def is_up_to_date(old: str, new: str) -> bool:
    """Return whether two texts are equal except for values in tables that differ by less than `TOLERANCE`."""
    pairs = zip(VALUE.findall(old), VALUE.findall(new), strict=False)  # equally long if the rest is equal
    close = (math.isclose(float(a), float(b), rel_tol=TOLERANCE) for (_, a), (_, b) in pairs)
    return VALUE.sub(r"\1", old) == VALUE.sub(r"\1", new) and all(close)


def with_generated(page: Path, part: str) -> str:
    """Return the text of a page with its generated part replaced.

    Raises:
        SystemExit: If the page is missing, or does not have exactly one pair of markers.
    """
    if not page.is_file():
        raise SystemExit(f"{page} is missing: create it with the markers <!-- generated --> and <!-- end -->.")
    text, count = GENERATED.subn(lambda _: f"{part}\n", page.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{page} needs the markers <!-- generated --> and <!-- end -->, once, each on its own line.")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them and return 1 if one of them is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is out of date")
    check = parser.parse_args(arguments).check
    parts = {"index": overview(), "protocols": protocols()} | {name: header(name) for name in METRICS}
    pages = {PAGES / f"{name}.md": part for name, part in parts.items()}
    pages = {page: with_generated(page, part) for page, part in pages.items()}
    outdated = [page for page, text in pages.items() if not is_up_to_date(page.read_text(encoding="utf-8"), text)]
    for page in outdated:
        print(f"{page} {'is out of date: run `python tools/metric_pages.py`' if check else 'rewritten'}")
        if not check:
            page.write_text(pages[page], encoding="utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    raise SystemExit(main())
