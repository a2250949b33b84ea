"""The tables of the page about GPUs are those of its figures."""

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_tables_are_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("gpu_table", ROOT / "tools" / "gpu_table.py")
    assert spec is not None and spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    record = json.loads((ROOT / "docs" / "gpu" / "h100.json").read_text(encoding="utf-8"))
    assert tool.update(page, record) == page
    assert "| 640x480, `gffusion-tiny` |" in tool.make_tables(record)
