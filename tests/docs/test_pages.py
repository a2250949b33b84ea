"""Links and paths in the documentation."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [page for pattern in ("*.md", "docs/**/*.md", "model_cards/*.md") for page in sorted(ROOT.glob(pattern))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "TESTING.md"])
def test_named_paths_exist(page: str) -> None:
    paths = re.findall(r"`([\w.]+/[\w./]*)`", (ROOT / page).read_text(encoding="utf-8"))
    assert paths
    assert [path for path in paths if not (ROOT / path).exists() and not (ROOT / "gffusion" / path).exists()] == []
