"""The tables of the pages are those of the records of measurements."""

import json
from types import ModuleType

import gpu_table
import memory_table
import numbers_table
import page_tables
import pytest


@pytest.mark.parametrize("tool", [gpu_table, memory_table, numbers_table], ids=lambda tool: tool.__name__)
def test_tables_are_up_to_date(tool: ModuleType) -> None:
    record = json.loads((page_tables.RECORDS / tool.RECORD).read_text(encoding="utf-8"))
    page = tool.PAGE.read_text(encoding="utf-8")
    assert page_tables.replace_part(page, tool.TOOL, tool.make_tables(record)) == page


def test_pages_without_lines_for_a_table_are_named() -> None:
    page = "before\n<!-- tools/a_table.py writes the lines below -->\nold\n<!-- end -->\nafter"
    assert "old" not in page_tables.replace_part(page, "a_table", "new")
    with pytest.raises(ValueError, match=r"no lines for tools/b_table\.py"):
        page_tables.replace_part(page, "b_table", "new")
