"""The HTML report: complete, without other files or hosts, and with names as text."""

import csv
import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gffusion.evaluation import EvaluationTable, evaluate


class Page(HTMLParser):
    """The cells of all tables, the addresses and the tags of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._inside = tag
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag in ("td", "th") else self._inside

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data


def report(pairs: Path, folder: Path) -> Path:
    names = {"<b>mine</b>": pairs / "visible"}
    options = {"baselines": ["average", "maximum"], "metrics": ["EN", "SCD"], "sheet": 2, "html": True}
    options |= {"compare": "<b>mine</b>"}
    evaluate(pairs / "visible", pairs / "infrared", fused=names, output=folder, **options)
    return folder


@pytest.fixture(scope="module")
def output(shared_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return report(shared_pairs, tmp_path_factory.mktemp("report"))


def test_shows_the_values_of_the_other_files(output: Path) -> None:
    rows = Page((output / "report.html").read_text(encoding="utf-8")).rows
    with (output / "per_image.csv").open(encoding="utf-8", newline="") as file:
        for method, image, *values in list(csv.reader(file))[1:]:
            assert [method, image, *(f"{float(value):.4f}" for value in values)] in rows
    header, *means = rows[:4]
    assert header == ["method", "EN ↑", "SCD ↑", "Nabf ↓", "mean rank ↓"]
    assert {row[0].removesuffix(" †") for row in means} == {"<b>mine</b>", "average", "maximum"}


def test_names_versions_and_digests(output: Path) -> None:
    text = html.unescape((output / "report.html").read_text(encoding="utf-8"))
    settings = json.loads((output / "summary.json").read_text(encoding="utf-8"))["settings"]
    assert all(f"{name} {version}" in text for name, version in settings["versions"].items())
    assert "compared <b>mine</b>." in text
    for name, digest in (("visible", settings["sha256"]["visible"]), *settings["sha256"]["methods"].items()):
        assert f"{name} {digest[:12]}" in text
    assert text.index("SHA-256") > text.index("mean rank")  # the result is first


def test_needs_no_other_file_or_host(output: Path) -> None:
    text = (output / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.tags.count("img") == 2 * 5  # two scenes of two sources and three methods
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "default-src 'none'" in text
    assert not {"iframe", "object", "embed"} & {*page.tags}


@pytest.mark.usefixtures("drawn_plots")
def test_same_files_give_the_same_page(output: Path, shared_pairs: Path, tmp_path: Path) -> None:
    again = report(shared_pairs, tmp_path / "again")
    assert (again / "report.html").read_bytes() == (output / "report.html").read_bytes()


def test_table_shows_itself_in_a_notebook(pairs: Path) -> None:
    table: EvaluationTable = evaluate(pairs / "visible", pairs / "infrared", baselines=["average"], metrics=["EN"])
    rows = Page(table._repr_html_()).rows
    assert rows[0] == ["method", "EN ↑", "Nabf ↓", "mean rank ↓"]
    assert rows[1][0] == "average" and re.fullmatch(r"\d\.\d{3}", rows[1][1])


def test_report_needs_a_folder(pairs: Path) -> None:
    with pytest.raises(ValueError, match="`html` needs a folder to write to"):
        evaluate(pairs / "visible", pairs / "infrared", html=True)
