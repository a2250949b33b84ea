"""The pages of the metrics: complete and up to date."""

import shutil
from pathlib import Path

import metric_pages as script
import pytest

from gffusion.metrics import METRICS

PAGES = Path(__file__).parents[2] / "docs" / "metrics"


@pytest.fixture
def copied_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pages = tmp_path / "metrics"
    shutil.copytree(PAGES, pages)
    monkeypatch.setattr(script, "PAGES", pages)
    monkeypatch.setattr(script, "protocols", lambda: "")  # rendering takes seconds
    return pages


def test_every_metric_has_a_page() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*METRICS, "index", "protocols"}


def test_generated_parts_are_up_to_date() -> None:
    assert script.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("17.56", "17.57"), True),
        (("17.56", "17.76"), False),
        (("| 1140 ", "| **1140** "), False),
        (("PSNR", "SNR"), False),
    ],
)
def test_values_are_compared_with_a_tolerance(change: tuple[str, str], expected: bool) -> None:
    text = (PAGES / "protocols.md").read_text(encoding="utf-8")
    assert change[0] in text
    assert script.is_up_to_date(text, text.replace(*change)) is expected


def test_outdated_page_is_found_and_rewritten(copied_pages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script.main([])
    page = copied_pages / "EN.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("0 to 8", "0 to 9"), encoding="utf-8")
    capsys.readouterr()
    assert script.main(["--check"]) == 1
    assert f"{page} is out of date" in capsys.readouterr().out
    assert script.main([]) == 0
    assert page.read_text(encoding="utf-8") == text


def test_a_missing_page_is_named(copied_pages: Path) -> None:
    (copied_pages / "Nabf.md").unlink()
    with pytest.raises(SystemExit, match=r"Nabf.md is missing"):
        script.main(["--check"])


@pytest.mark.parametrize("name", METRICS)
def test_every_page_has_an_example(name: str) -> None:
    assert ">>> " in (PAGES / f"{name}.md").read_text(encoding="utf-8")  # tests/docs/test_code_blocks.py runs it
