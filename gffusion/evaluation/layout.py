"""Format a table of numbers for the terminal, as Markdown and as LaTeX."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rich.console import Group

_STYLES = {"*": "bold green", "+": "green"}
_LINE_ENDS = dict.fromkeys("\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029", " ")
# Signs that would start a cell, HTML, a link or code.
_MARKDOWN_SIGNS = str.maketrans({"|": "\\|", "<": "&lt;", "[": "\\[", "`": "\\`", **_LINE_ENDS})
_LATEX_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {**_LINE_ENDS, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


class Marks(NamedTuple):
    """Format strings for numbers, row names and column names."""

    best: str
    second: str
    baseline: str
    outranked: str
    higher_is_better: str
    lower_is_better: str


_TEXT = Marks("{}*", "{}+", "({})", "{} !", "{} ↑", "{} ↓")
_MARKDOWN = Marks("**{}**", "<u>{}</u>", "*{}*", "{} †", "{} ↑", "{} ↓")
_LATEX = Marks(
    r"\textbf{{{}}}", r"\underline{{{}}}", r"\textit{{{}}}", r"{}$^\dagger$", r"{} $\uparrow$", r"{} $\downarrow$"
)


@dataclass(frozen=True, eq=False)
class Layout:
    """Names and numbers of a table, independent of its format, and sentences below it."""

    rows: tuple[str, ...]
    is_baseline: tuple[bool, ...]
    is_outranked: tuple[bool, ...]  # by the mean rank of a classical baseline
    columns: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    values: NDArray[np.float64]  # (rows, columns), NaN where a value is missing
    decimals: tuple[int, ...]
    notes: tuple[str, ...]

    def fill(self, marks: Marks) -> tuple[list[str], list[list[str]], list[str]]:
        """Return the names of the columns, the rows with their names, and the lines below the table."""
        names, notes = list(self.rows), list(self.notes)
        for mark, is_marked, meaning in (
            (marks.baseline, self.is_baseline, "classical baseline"),
            (marks.outranked, self.is_outranked, "mean rank worse than that of a baseline"),
        ):
            names = [mark.format(name) if marked else name for name, marked in zip(names, is_marked, strict=True)]
            if any(is_marked):
                notes.append(f"{mark.format('name')}: {meaning}.")
        header, columns = [], [names]
        for name, values, decimals, higher_is_better in zip(
            self.columns, self.values.T, self.decimals, self.higher_is_better, strict=True
        ):
            header.append((marks.higher_is_better if higher_is_better else marks.lower_is_better).format(name))
            columns.append(_format_column(values, decimals, higher_is_better, marks))
        return header, [list(row) for row in zip(*columns, strict=True)], notes


def to_rich(layout: Layout) -> "Group":
    """Return the table for a terminal; `*` and `+` mark the best and second best, also without text styles."""
    from rich import box  # saves start-up time unless a table is printed
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    # In plain strings, rich would replace [words] and :names:. `Padding` aligns the decimal points of numbers without a mark.
    def cell(text: str) -> Text | Padding:
        style = _STYLES.get(text[-1])
        return Text(text, style) if style else Padding(Text(text), (0, 1, 0, 0))

    header, rows, notes = layout.fill(_TEXT)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    for column in header:
        table.add_column(cell(column), justify="right")
    for (name, *numbers), is_baseline in zip(rows, layout.is_baseline, strict=True):
        table.add_row(Text(name), *map(cell, numbers), style="dim" if is_baseline else "")
    return Group(table, *map(Text, notes), Text("* best, + second best."))


def to_markdown(layout: Layout) -> str:
    """Return the table as Markdown: the best number bold, the second best underlined."""
    header, rows, notes = _escape(layout, _MARKDOWN_SIGNS).fill(_MARKDOWN)
    lines = [["method", *header], ["---", *["---:"] * len(header)]]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in [*lines, *rows]), "", " ".join(notes), ""])


def to_latex(layout: Layout) -> str:
    """Return the table as LaTeX with booktabs: the best number bold, the second best underlined."""
    header, rows, notes = _escape(layout, _LATEX_SIGNS).fill(_LATEX)
    head, *body = (" & ".join(line) + r" \\" for line in (["Method", *header], *rows))
    begin = "% needs \\usepackage{booktabs}", r"\begin{tabular}{l" + "r" * len(header) + "}", r"\toprule"
    end = r"\bottomrule", r"\end{tabular}", *(f"% {note}" for note in notes), ""
    return "\n".join([*begin, head, r"\midrule", *body, *end])


def _escape(layout: Layout, signs: dict[int, str]) -> Layout:
    """Return a table whose names are text in another language."""
    rows, columns = (tuple(name.translate(signs) for name in names) for names in (layout.rows, layout.columns))
    notes = tuple(" ".join(note.splitlines()) for note in layout.notes)
    return replace(layout, rows=rows, columns=columns, notes=notes)


def _format_column(values: NDArray[np.float64], decimals: int, higher_is_better: bool, marks: Marks) -> list[str]:
    """Format the numbers of a column, and mark all that are equal to the best or second best after rounding."""
    texts = ["-" if np.isnan(value) else f"{value:.{decimals}f}" for value in values]
    best, second, *_ = [*sorted({*texts} - {"-"}, key=float, reverse=higher_is_better), "", ""]
    if not second:  # all methods are equal
        return texts
    marked = {best: marks.best.format(best), second: marks.second.format(second)}
    return [marked.get(text, text) for text in texts]
