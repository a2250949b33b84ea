import doctest
import importlib.util
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from gffusion.metrics import METRICS

SCRIPT = Path(__file__).parents[2] / "tools" / "metric_pages.py"
PAGES = SCRIPT.parents[1] / "docs" / "metrics"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("metrics_pages_script", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def copied_pages(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pages = tmp_path / "metrics"
    shutil.copytree(PAGES, pages)
    monkeypatch.setattr(script, "PAGES", pages)
    monkeypatch.setattr(script, "protocols", lambda: "")  # rendering takes seconds
    return pages


def test_every_metric_has_a_page() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*METRICS, "README", "protocols"}


def test_generated_parts_are_up_to_date(script: ModuleType) -> None:
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
def test_values_are_compared_with_a_tolerance(script: ModuleType, change: tuple[str, str], expected: bool) -> None:
    text = (PAGES / "protocols.md").read_text(encoding="utf-8")
    assert change[0] in text
    assert script.is_up_to_date(text, text.replace(*change)) is expected


def test_outdated_page_is_found_and_rewritten(
    script: ModuleType, copied_pages: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script.main([])
    page = copied_pages / "EN.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("0 to 8", "0 to 9"), encoding="utf-8")
    capsys.readouterr()
    assert script.main(["--check"]) == 1
    assert f"{page} is out of date" in capsys.readouterr().out
    assert script.main([]) == 0
    assert page.read_text(encoding="utf-8") == text


def test_a_missing_page_is_named(script: ModuleType, copied_pages: Path) -> None:
    (copied_pages / "Nabf.md").unlink()
    with pytest.raises(SystemExit, match=r"Nabf.md is missing"):
        script.main(["--check"])


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_examples_give_what_they_show(page: Path) -> None:
    # a closing fence would count as part of the expected output
    text = re.sub(r"^```.*$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    examples = doctest.DocTestParser().get_doctest(text, {}, page.stem, str(page), 0)
    assert page.stem not in METRICS or examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_links_between_pages_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (PAGES / target).is_file(), target
