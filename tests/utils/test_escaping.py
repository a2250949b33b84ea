"""Names as text in Markdown, read by an independent parser."""

import pytest
from rich.markdown import Markdown

from gffusion.utils.escaping import escape_markdown


def read_inline(markdown: str) -> list[tuple[str, str]]:
    """Return the kinds and texts of the parts of a cell of a table."""
    tokens = Markdown(f"| {markdown} |\n| --- |").parsed
    return [(part.type, part.content) for token in tokens for part in token.children or ()]


@pytest.mark.parametrize(
    "name",
    [
        "_ours_",
        "__a__",
        "(_x_)",
        "a_*b*_c",
        "a*b*c",
        "a~~b~~",
        "a|b_ _c",
        r"a\_b_",
        "&copy; &#65;",
        "<b>_x_</b>",
        "`a`",
    ],
)
def test_names_are_text_in_markdown(name: str) -> None:
    assert read_inline(escape_markdown(name)) == [("text", name)]


@pytest.mark.parametrize("name", ["gffusion-tiny", "my_model", "a__b", "R&D", "U2Fusion (2020)", "über_straße_2"])
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert escape_markdown(name) == name
    assert read_inline(name) == [("text", name)]


@pytest.mark.parametrize(("name", "expected"), [("$a$", r"\$a\$"), ("a_www.b.de", r"a_www\.b.de")])
def test_formulas_and_addresses_of_github(name: str, expected: str) -> None:
    assert escape_markdown(name) == expected
