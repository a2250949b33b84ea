"""The messages that the page about troubleshooting quotes are those of the package."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = "".join(re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)).splitlines()
GAP = "\0"


def text_of(node: ast.AST) -> str | None:
    """Return the text of a string in the source, with gaps where values are filled in; `None` for other nodes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) or GAP for value in node.values)
    return None


@cache
def strings_of_the_package() -> str:
    """Return all strings of the package, one a line."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "gffusion").rglob("*.py")))
    return "\n".join(filter(None, (text_of(node) for tree in trees for node in ast.walk(tree))))


def test_many_messages_are_explained() -> None:
    assert len(MESSAGES) > 40


def test_sections_that_messages_name_exist() -> None:
    named = set(re.findall(r'"([^"\n]+)" in the guide "([^"\n]+)"', strings_of_the_package()))
    pages = [path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "guides").glob("*.md")]
    assert ("Color masks", "Data for training") in named
    for section, guide in named:
        (page,) = [page for page in pages if page.startswith(f"# {guide}\n")]
        assert f"\n## {section}\n" in page


@pytest.mark.parametrize("message", MESSAGES)
def test_quoted_messages_exist(message: str) -> None:
    parts = [part.strip() for part in message.split("…") if re.search(r"\w{3}", part)]
    assert parts
    assert [part for part in parts if part not in strings_of_the_package()] == []
