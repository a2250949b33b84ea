"""Tables with names of any content: no formulas, no further cells or lines, no commands."""

import csv
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gffusion.evaluation import EvaluationTable

NAMES = [
    "=1+2",
    "+cmd|' /C calc'!A1",
    "-2+3",
    "@SUM(A1)",
    "a|b",
    "a\nb",
    "<script>",
    "[x](javascript:y)",
    "a`b",
    r"\input{x}",
    "100%",
    "a&b",
    '"',
    "a,b",
]


def make(name: str, image: str) -> EvaluationTable:
    """Make a table of two methods over one image."""
    values = np.array([[[7.0]], [[6.0]]])
    return EvaluationTable((name, "average"), (False, True), ("EN",), ("EN",), (image,), values, "standard")


@given(name=st.sampled_from(NAMES) | st.text(min_size=1), image=st.sampled_from(NAMES) | st.text(min_size=1))
def test_names(name: str, image: str) -> None:
    table = make(name, image)
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    assert [len(row) for row in rows] == [3, 3, 3]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row[:2])
    plain = make("name", "image")
    for written, usual in ((table.to_markdown(), plain.to_markdown()), (table.to_latex(), plain.to_latex())):
        assert len(written.splitlines()) == len(usual.splitlines())
    cells = [re.findall(r"(?<!\\)\|", line) for line in table.to_markdown().splitlines() if line.startswith("|")]
    assert len({len(row) for row in cells}) == 1
    (row,) = (line for line in table.to_latex().splitlines() if "7.0" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 2
    assert not re.search(r"(?<!\\)[%#$]", row)


@pytest.mark.parametrize(
    ("name", "csv_text", "markdown", "latex"),
    [
        ("=1+2", "'=1+2", "=1+2", "=1+2"),
        ("<b>", "<b>", "&lt;b>", "<b>"),
        (r"\input{x}", r"\input{x}", r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("good_net", "good_net", "good_net", r"good\_net"),
    ],
)
def test_examples(name: str, csv_text: str, markdown: str, latex: str) -> None:
    table = make(name, "image")
    assert table.to_csv().splitlines()[1].startswith(csv_text)
    assert markdown in table.to_markdown() and latex in table.to_latex()
