"""The table of memory: growth is that of a fitted line, and the record has what the page says."""

import itertools
import json

import memory_table
import numpy as np
import page_tables
import pytest


@pytest.mark.parametrize("count", [10, 200])
def test_growth_is_that_of_a_line(count: int) -> None:
    noise = np.tile([-1.0, 1.0], count // 2)
    assert memory_table.measure_growth(500 + noise) == pytest.approx(0, abs=1.5)
    assert memory_table.measure_growth(500 + noise + np.linspace(0, 60, count)) == pytest.approx(30, abs=4)
    start = np.concatenate([np.linspace(0, 300, count // 2), np.full(count // 2, 300.0)])
    assert memory_table.measure_growth(start) == pytest.approx(0, abs=1e-9)


def test_figures_of_the_record() -> None:
    """What the page says in words."""
    record = json.loads((page_tables.RECORDS / memory_table.RECORD).read_text(encoding="utf-8"))
    for row in itertools.chain(record["pairs"].values(), record["frames"].values()):
        assert row["growth"] < 20 and row["count"] >= 5000
    for row in record["peaks"].values():
        assert row["100"] < 3 * 1024
