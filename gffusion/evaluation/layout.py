"""One table of numbers for the terminal, as Markdown and as LaTeX."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rich.console import Group

MISSING = "-"

_LATEX_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


@dataclass(frozen=True)
class Marks:
    """Format strings of one format: of the best and the second best number, and of names."""

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


_STYLES = {"*": "bold green", "+": "green"}


@dataclass(frozen=True, eq=False)
class Layout:
    """Contents of a table, independent of its format.

    Attributes:
        rows: Names of the rows.
        is_baseline: Whether each row is a classical baseline.
        is_outranked: Whether each row has a worse mean rank than a classical baseline.
        columns: Names of the columns.
        higher_is_better: Direction of each column.
        values: (rows, columns); NaN where a value is missing.
        decimals: Number of decimals in each column.
        notes: Sentences below the table.
    """

    rows: tuple[str, ...]
    is_baseline: tuple[bool, ...]
    is_outranked: tuple[bool, ...]
    columns: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    values: NDArray[np.float64]
    decimals: tuple[int, ...]
    notes: tuple[str, ...]

    def header(self, marks: Marks) -> list[str]:
        """Return the names of the columns with their directions."""
        directions = [marks.higher_is_better if higher else marks.lower_is_better for higher in self.higher_is_better]
        return [direction.format(column) for column, direction in zip(self.columns, directions, strict=True)]

    def body(self, marks: Marks) -> list[list[str]]:
        """Return the name and the numbers of every row; numbers that look like the best or second best are marked, too."""
        columns = zip(self.values.T, self.decimals, self.higher_is_better, strict=True)
        columns_of_text = [self._names(marks), *(_format_column(*column, marks) for column in columns)]
        return [list(row) for row in zip(*columns_of_text, strict=True)]

    def legend(self, marks: Marks) -> list[str]:
        """Return the notes and the meaning of the marks on names."""
        legend = list(self.notes)
        if any(self.is_baseline):
            legend.append(f"{marks.baseline.format('name')}: classical baseline.")
        if any(self.is_outranked):
            legend.append(f"{marks.outranked.format('name')}: mean rank worse than that of a baseline.")
        return legend

    def _names(self, marks: Marks) -> list[str]:
        names = []
        for name, is_baseline, is_outranked in zip(self.rows, self.is_baseline, self.is_outranked, strict=True):
            name = marks.baseline.format(name) if is_baseline else name
            names.append(marks.outranked.format(name) if is_outranked else name)
        return names


def to_rich(layout: Layout) -> "Group":
    """Return the table for a terminal; where styles are not shown, `*` and `+` still mark the best and second best."""
    from rich import box  # rich is imported only where a table is printed
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    # `Text` objects: in plain strings, rich replaces [words] and :names:. `Padding` in place of a mark aligns decimal points.
    def cell(text: str) -> Text | Padding:
        style = _STYLES.get(text[-1])
        return Text(text, style) if style else Padding(Text(text), (0, 1, 0, 0))

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    for name in layout.header(_TEXT):
        table.add_column(cell(name), justify="right")
    for (name, *numbers), is_baseline in zip(layout.body(_TEXT), layout.is_baseline, strict=True):
        table.add_row(Text(name), *map(cell, numbers), style="dim" if is_baseline else "")
    return Group(table, *map(Text, layout.legend(_TEXT)), Text("* best, + second best."))


def to_markdown(layout: Layout) -> str:
    """Return the table as Markdown: the best number bold, the second best underlined."""
    lines = [["method", *layout.header(_MARKDOWN)], ["---", *["---:"] * len(layout.columns)]]
    lines += [[name.replace("|", "\\|"), *cells] for name, *cells in layout.body(_MARKDOWN)]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", " ".join(layout.legend(_MARKDOWN)), ""])


def to_latex(layout: Layout) -> str:
    """Return the table as LaTeX with booktabs: the best number bold, the second best underlined."""
    escaped = replace(
        layout,
        rows=tuple(name.translate(_LATEX_SIGNS) for name in layout.rows),
        columns=tuple(name.translate(_LATEX_SIGNS) for name in layout.columns),
    )
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{tabular}{l" + "r" * len(layout.columns) + "}",
            r"\toprule",
            " & ".join(["Method", *escaped.header(_LATEX)]) + r" \\",
            r"\midrule",
            *(" & ".join(row) + r" \\" for row in escaped.body(_LATEX)),
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in layout.legend(_LATEX)),
            "",
        ]
    )


def _format_column(values: NDArray[np.float64], decimals: int, higher_is_better: bool, marks: Marks) -> list[str]:
    texts = [MISSING if np.isnan(value) else f"{value:.{decimals}f}" for value in values]
    by_value = sorted({text for text in texts if text != MISSING}, key=float, reverse=higher_is_better)
    if len(by_value) < 2:  # all methods are equal
        return texts
    marked = {by_value[0]: marks.best.format(by_value[0]), by_value[1]: marks.second.format(by_value[1])}
    return [marked.get(text, text) for text in texts]
