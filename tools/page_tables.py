"""Write tables into the pages of the documentation, between lines that name the tool that writes them."""

import json
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "benchmarks"


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table with a left-aligned first column."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replace_part(page: str, tool: str, text: str) -> str:
    """Return a page with new text between the lines of a tool.

    Raises:
        ValueError: If the page has no such lines.
    """
    pattern = re.compile(rf"(<!-- tools/{tool}\.py writes the lines below -->\n).*?(<!-- end -->)", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no lines for tools/{tool}.py")
    return pattern.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", page, count=1)


def import_benchmark(name: str) -> Any:
    """Import a script of benchmarks/."""
    with mock.patch.object(sys, "path", [str(ROOT / "benchmarks"), *sys.path]):
        return import_module(name)


def update(
    tool: str, name: str, page: Path, make_text: Callable[[dict[str, Any]], str], record: dict[str, Any] | None = None
) -> None:
    """Write a record, if it is new, to docs/benchmarks/NAME, and the tables of the record to the page."""
    path = RECORDS / name
    if record is not None:
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = make_text(json.loads(path.read_text(encoding="utf-8")))
    page.write_text(replace_part(page.read_text(encoding="utf-8"), tool, text), encoding="utf-8")
