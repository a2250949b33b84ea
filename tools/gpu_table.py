"""Write the tables of docs/gpu.md from docs/gpu/h100.json: `python tools/gpu_table.py`."""

import json
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "gpu.md"
START, END = "<!-- tools/gpu_table.py writes the lines below -->", "<!-- end -->"


def make_tables(record: dict[str, Any]) -> str:
    """Return the tables in Markdown."""
    lines = ["| images, model | float32 | float16 | as `fuse` runs it | of this, the GPU | largest difference |"]
    lines += ["| --- | --- | --- | --- | --- | --- |"]
    for row in record["forward"]:
        height, width = row["size"]
        times = " | ".join(f"{row[name]:.2f} ms" for name in ("float32", "float16", "float16_graph", "on_gpu"))
        levels = f"{row['largest_gray_levels']:.2f} gray levels"
        lines.append(f"| {width}x{height}, `{row['network']}` | {times} | {levels} |")
    interleaved = record["interleaved"]
    height, width = interleaved["size"]
    lines += ["", f"| {width}x{height}, {interleaved['dtype']}, each network in turn | time |", "| --- | --- |"]
    names = {"reference": "SeAFusion's shape"}
    for name, milliseconds in interleaved["milliseconds"].items():
        network, _, kind = name.partition(", ")
        label = f"{names.get(network, f'`{network}`')}{f', {kind}' if kind else ''}"
        lines.append(f"| {label} | {milliseconds:.2f} ms |")
    return "\n".join(lines)


def update(page: str, record: dict[str, Any]) -> str:
    """Return the page with new tables."""
    before, rest = page.split(START)
    return f"{before}{START}\n\n{make_tables(record)}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    found = json.loads((PAGE.parent / "gpu" / "h100.json").read_text(encoding="utf-8"))
    PAGE.write_text(update(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
