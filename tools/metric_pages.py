"""Write the generated parts of the pages in docs/metrics: `python tools/metric_pages.py`; with `--check`, only compare them.

What stands between the markers comes from the registry of metrics, and the values of the four protocols from a rendered
pair; the prose around it is written by hand.
"""

import argparse
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from gffusion.evaluation.baselines import fuse_luma
from gffusion.metrics import METRICS, PROTOCOLS, FusionMetric, compute_metrics, list_metrics, to_luma8
from gffusion.synthetic.rendering import render_scene

PAGES = Path(__file__).parents[1] / "docs" / "metrics"
GENERATED = re.compile(r"(?<=<!-- generated -->\n).*?(?=<!-- end -->)", re.DOTALL)
NONE = "–"  # noqa: RUF001


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Lay out a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    """Set as code."""
    return f"`{text}`"


def direction(name: str) -> str:
    """Whether more is better, as arrow and word."""
    return "↑ higher" if METRICS[name].higher_is_better else "↓ lower"


def value_range(name: str) -> str:
    """Least and greatest value."""
    return " to ".join(f"{bound:.6g}".replace("inf", "∞") for bound in METRICS[name].value_range)


def minimum_size(name: str) -> str:
    """Least height and width, in pixels."""
    size = METRICS[name].minimum_size
    return f"{size}×{size}"  # noqa: RUF001


def inputs(name: str) -> str:
    """What the metric looks at."""
    metric = METRICS[name]
    if not issubclass(metric, FusionMetric):
        return "logits or predicted labels, labels"
    return "fused, visible, infrared" if metric.needs_sources else "fused"


def protocols_with(name: str) -> dict[str, Mapping[str, Any]]:
    """The protocols that have the metric, and its options there."""
    return {key: protocol.options[name] for key, protocol in PROTOCOLS.items() if name in protocol.options}


def conventions(name: str) -> str:
    """The protocols that have the metric, each with the options that it sets."""
    entries = []
    for protocol, options in protocols_with(name).items():
        settings = ", ".join(code(f"{option}={value!r}") for option, value in options.items())
        entries.append(code(protocol) + (f" ({settings})" if settings else ""))
    return ", ".join(entries) or NONE


def linked(reference: str) -> str:
    """Make a link of the DOI in a reference."""
    return re.sub(r"doi:(\S+)", r"[doi:\1](https://doi.org/\1)", reference)


def header(name: str) -> str:
    """The table at the top of the page of a metric."""
    metric = METRICS[name]
    rows = [
        ("Measures", metric.title),
        ("Class", code(f"gffusion.metrics.{metric.__name__}")),
        ("Better", direction(name)),
        ("Range", value_range(name)),
        ("Minimum size", minimum_size(name)),
        ("Looks at", inputs(name)),
        ("Protocols", conventions(name)),
        ("Defined by", linked(metric.reference)),
    ]
    if issubclass(metric, FusionMetric):
        rows.insert(2, ("Function", code(f"gffusion.metrics.functional.{metric.functional.__name__}")))
    return table((name, ""), rows)


def overview() -> str:
    """All metrics, with links to their pages."""
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
    return table(("Metric", "Measures", "Better", "Range", "Minimum size", "Looks at", "Protocols"), rows)


def values_by_protocol() -> dict[str, dict[str, str]]:
    """Every metric of one image under every protocol: a rendered pair, fused by the rule `maximum`."""
    scene = render_scene(0, 480, 640)
    visible, infrared = to_luma8(scene.visible), to_luma8(scene.infrared)
    fused = torch.from_numpy(fuse_luma("maximum", visible.numpy(), infrared.numpy()))
    return {
        protocol: {
            name: f"{score.item():#.4g}".rstrip(".")
            for name, score in compute_metrics(fused, visible, infrared, protocol=protocol).items()
        }
        for protocol in PROTOCOLS
    }


def protocols() -> str:
    """What the protocols are, and one image under all of them."""
    values = values_by_protocol()

    def cell(protocol: str, name: str) -> str:
        value = values[protocol].get(name, NONE)
        return value if value in (NONE, values["standard"][name]) else f"**{value}**"

    descriptions = ((code(name), protocol.description) for name, protocol in PROTOCOLS.items())
    rows = ((f"[{name}]({name}.md)", *(cell(key, name) for key in PROTOCOLS)) for name in list_metrics())
    return f"{table(('Protocol', 'Whose figures'), descriptions)}\n{table(('Metric', *map(code, PROTOCOLS)), rows)}"


def with_generated(page: Path, part: str) -> str:
    """The text of a page with its generated part replaced.

    Raises:
        SystemExit: If there is no such page, or not exactly one pair of markers in it.
    """
    if not page.is_file():
        raise SystemExit(f"{page} is missing: write it, with the markers <!-- generated --> and <!-- end -->.")
    text, count = GENERATED.subn(lambda _: part, page.read_text(encoding="utf-8"))
    if count != 1:
        raise SystemExit(f"{page} needs the markers <!-- generated --> and <!-- end -->, each on a line of its own.")
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the pages, or compare them; 1 if one of them was found out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if something is out of date")
    check = parser.parse_args(arguments).check
    parts = {"README": overview(), "protocols": protocols()} | {name: header(name) for name in METRICS}
    pages = {PAGES / f"{name}.md": part for name, part in parts.items()}
    pages = {page: with_generated(page, part) for page, part in pages.items()}
    outdated = [page for page, text in pages.items() if page.read_text(encoding="utf-8") != text]
    for page in outdated:
        print(f"{page} {'is out of date: run `python tools/metric_pages.py`' if check else 'rewritten'}")
        if not check:
            page.write_text(pages[page], encoding="utf-8")
    return int(check and bool(outdated))


if __name__ == "__main__":
    raise SystemExit(main())
