"""Tables with names of any content: no formulas, no further cells or lines, no commands."""

import csv
import io
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gffusion import GFFusionConfig
from gffusion.evaluation import EvaluationTable
from gffusion.evaluation.figures import draw_table
from gffusion.evaluation.report import render_report
from gffusion.hub import Evaluation, FusionCard, TrainingData

NAMES = [
    "=1+2", "  =1", "+cmd|' /C calc'!A1", "-2+3", "@SUM(A1)", "a|b", r"a\|b", "a\nb", "a&b", "a,b", "a`b", '"', "100%", "<script>",
    "[x](javascript:y)", "[x] begins", "* begins", r"\input{x}", "$\\frac$", "a\u202etxt", "\udcff",
]  # fmt: skip


def make(name: str, image: str) -> EvaluationTable:
    """Make a table of two methods over one image."""
    values = np.array([[[7.0]], [[6.0]]])
    return EvaluationTable((name, "average"), (False, True), ("EN",), ("EN",), (image,), values, "standard")


@given(name=st.sampled_from(NAMES) | st.text(min_size=1), image=st.sampled_from(NAMES) | st.text(min_size=1))
def test_names(name: str, image: str) -> None:
    table = make(name, image)
    rows = list(csv.reader(io.StringIO(table.to_csv())))
    assert [len(row) for row in rows] == [3, 3, 3]
    assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for row in rows for cell in row[:2])
    plain = make("name", "image")
    for written, usual in ((table.to_markdown(), plain.to_markdown()), (table.to_latex(), plain.to_latex())):
        assert len(written.splitlines()) == len(usual.splitlines())
    cells = [re.findall(r"(?<!\\)\|", line) for line in table.to_markdown().splitlines() if line.startswith("|")]
    assert len({len(row) for row in cells}) == 1
    assert (
        table.to_csv().encode() and table.to_markdown().encode() and table.to_latex().encode() and str(table).encode()
    )
    assert not re.search(r"\\\\\n[*\[]", table.to_latex())  # arguments of the end of a row
    (row,) = (line for line in table.to_latex().splitlines() if "7.0" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 2
    assert not re.search(r"(?<!\\)[%#$]", row)


def test_names_of_files_and_methods(gffusion: Callable, scenes: Path, tmp_path: Path) -> None:
    """On the command line; the same command replaces its own table."""
    for kind in ("visible", "infrared"):
        (tmp_path / kind).mkdir()
        source = min((scenes / kind).iterdir())
        for name in NAMES:
            with suppress(OSError, UnicodeError):  # not every system has such names
                shutil.copy(source, tmp_path / kind / f"{name}.png")
    folders = ["--visible", tmp_path / "visible", "--infrared", tmp_path / "infrared"]
    method = "".join(name for name in NAMES if "=" not in name).encode(errors="ignore").decode()
    options = ["--no-baselines", "--metrics", "EN", "-o", tmp_path / "out", "--html"]
    for _ in range(2):
        done = gffusion("evaluate", *folders, "--fused", f"{method}={tmp_path / 'visible'}", *options)
        assert done.exit_code == 0 and "Traceback" not in done.err, done.err
    for file in (tmp_path / "out").glob("*.csv"):
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
        assert not any(cell.lstrip().startswith(("=", "+", "-", "@")) for row in rows for cell in row), file
    assert len((tmp_path / "out" / "table.md").read_text(encoding="utf-8").splitlines()) == 5
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<script>") == 1  # its own


@pytest.mark.parametrize(
    ("name", "csv_text", "markdown", "latex"),
    [
        ("=1+2", "'=1+2", "=1+2", "=1+2"),
        ("<b>", "<b>", "&lt;b>", r"\textless{}b\textgreater{}"),
        (r"\input{x}", r"\input{x}", r"\input{x}", r"\textbackslash{}input\{x\}"),
        ("https://evil.example", "https://evil.example", r"https\://evil.example", "https://evil.example"),
        ("www.evil.example", "www.evil.example", r"www\.evil.example", "www.evil.example"),
        ("good_net", "good_net", "good_net", r"good\_net"),
    ],
)
def test_examples(name: str, csv_text: str, markdown: str, latex: str) -> None:
    table = make(name, "image")
    assert table.to_csv().splitlines()[1].startswith(csv_text)
    assert markdown in table.to_markdown() and latex in table.to_latex()


@pytest.mark.parametrize("name", NAMES)
def test_model_cards(name: str) -> None:
    """Names of models, classes and datasets, and settings, are text in cards."""

    def render(name: str) -> list[str]:
        config = GFFusionConfig(paradigm="cascading", id2label={0: "background", 1: name})
        data = TrainingData(name, 3, "research use")
        results = Evaluation(name, {"EN": 7.0}, 3, "standard", "gffusion evaluate ...")
        settings = {"output": name}
        card = FusionCard(
            model_name=name, config=config, training_data=[data], evaluations=[results], settings=settings
        )
        return card.render().partition("\n---\n")[2].splitlines()

    lines, usual = render(name), render("name")
    assert len(lines) == len(usual) and "\n".join(lines).encode()
    for line, plain in zip(lines, usual, strict=True):
        if line != plain and not line.startswith(("<!--", "fuse =")):
            pipes = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", text)) for text in (line, plain)]
            assert pipes[0] == pipes[1] or not plain.startswith("|"), line
            assert not re.search(r"<script|(?<!\\)\[x\]", re.sub(r"`[^`]*`", "", line)), line


@pytest.mark.usefixtures("drawn_plots")
@pytest.mark.parametrize("name", NAMES)
def test_box_plots(name: str) -> None:
    """A dollar sign starts no formula."""
    pytest.importorskip("matplotlib")
    assert draw_table(make(name, "image"))["boxplots.svg"].startswith(b"<?xml")


@pytest.mark.parametrize("name", NAMES)
def test_reports(name: str) -> None:
    """Names are text in the page, not elements; they can break in lines."""
    pages = [render_report(make(text, text), [], None) for text in (name, "name")]
    assert pages[0].encode(errors="backslashreplace")
    found, usual = (re.findall(r"<(?!wbr>)[a-z/!]\w*", page) for page in pages)
    assert found == usual
