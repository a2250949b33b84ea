"""Write the table of docs/guides/gpu.md from docs/benchmarks/h100.json: `python tools/gpu_table.py`."""

import argparse
from typing import Any

from page_tables import ROOT, format_table, update

TOOL, RECORD, PAGE = "gpu_table", "h100.json", ROOT / "docs/guides/gpu.md"
COLUMNS = {
    "float32": "float32",
    "float16": "float16",
    "as fuse runs it": "as `fuse` runs it",
    "GPU": "of this, the GPU",
    "reference": "SeAFusion's shape",
}


def make_tables(record: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    rows = []
    for row in record["forward"]:
        times = (f"{row[name]:.2f} ms" if name in row else "" for name in COLUMNS)
        levels = f"{row['gray levels']:.2f} gray levels"
        rows.append([f"{row['size']}, `{row['network']}`", str(row["session"]), *times, levels])
    return format_table(["images, model", "session", *COLUMNS.values(), "largest difference"], rows)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    update(TOOL, RECORD, PAGE, make_tables)
