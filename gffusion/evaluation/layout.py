"""One table of numbers as text, Markdown and LaTeX: directions, best and second best, rows without learning."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISSING = "-"

_LATEX_SIGNS = str.maketrans(
    {sign: f"\\{sign}" for sign in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
)


@dataclass(frozen=True, eq=False)
class Layout:
    """What is to be shown, whatever the format.

    Attributes:
        rows: Names of the rows.
        plain: Which rows learn nothing.
        marked: Which rows are outranked by one that learns nothing.
        columns: Names of the columns.
        higher_is_better: Their directions.
        values: (rows, columns); NaN where there is none.
        decimals: How many to show in each column.
        notes: Sentences to stand below.
    """

    rows: tuple[str, ...]
    plain: tuple[bool, ...]
    marked: tuple[bool, ...]
    columns: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    values: NDArray[np.float64]
    decimals: tuple[int, ...]
    notes: tuple[str, ...]

    def cells(self, best: Callable[[str], str], second: Callable[[str], str]) -> list[list[str]]:
        """Format the numbers, row by row, the best and the second best of each column decorated; so are those that look alike."""
        columns = zip(self.values.T, self.decimals, self.higher_is_better, strict=True)
        return [list(row) for row in zip(*(_column(*column, best, second) for column in columns), strict=True)]

    def legend(self, plain: str, mark: str) -> list[str]:
        """The notes, and what the signs mean."""
        legend = [plain] * any(self.plain)
        if any(self.marked):
            legend.append(f"{mark} has a worse mean rank than a row without learning.")
        return [*self.notes, *legend]


def as_text(layout: Layout) -> str:
    """Lay out for a terminal: `*` behind the best number, `+` behind the second best."""
    names = [f"({row})" if plain else row for row, plain in zip(layout.rows, layout.plain, strict=True)]
    names = [f"{name} !" if marked else name for name, marked in zip(names, layout.marked, strict=True)]
    arrows = ["↑" if higher else "↓" for higher in layout.higher_is_better]
    header = ["", *(f"{name} {arrow} " for name, arrow in zip(layout.columns, arrows, strict=True))]
    cells = [
        [cell if cell.endswith(("*", "+")) else f"{cell} " for cell in row]
        for row in layout.cells("{}*".format, "{}+".format)
    ]
    lines = [header, *([name, *row] for name, row in zip(names, cells, strict=True))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = [
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    ]
    notes = layout.legend("(In brackets): without learning.", "!")
    return "\n".join(
        [table[0].rstrip(), "-" * len(table[0].rstrip()), *table[1:], *notes, "* best, + second best.", ""]
    )


def as_markdown(layout: Layout) -> str:
    """Lay out for Markdown: the best number bold, the second best underlined."""
    names = [f"*{row}*" if plain else row for row, plain in zip(layout.rows, layout.plain, strict=True)]
    names = [f"{name} †" if marked else name for name, marked in zip(names, layout.marked, strict=True)]
    arrows = ["↑" if higher else "↓" for higher in layout.higher_is_better]
    header = ["method", *(f"{name} {arrow}" for name, arrow in zip(layout.columns, arrows, strict=True))]
    cells = layout.cells("**{}**".format, "<u>{}</u>".format)
    lines = [header, ["---", *["---:"] * len(layout.columns)]]
    lines += [[name.replace("|", "\\|"), *row] for name, row in zip(names, cells, strict=True)]
    notes = layout.legend("*In italics*: without learning.", "†")
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", " ".join(notes), ""])


def as_latex(layout: Layout) -> str:
    """Lay out for LaTeX with booktabs: the best number bold, the second best underlined."""
    names = [_escape(row) for row in layout.rows]
    names = [rf"\textit{{{name}}}" if plain else name for name, plain in zip(names, layout.plain, strict=True)]
    names = [rf"{name}$^\dagger$" if marked else name for name, marked in zip(names, layout.marked, strict=True)]
    arrows = [r"$\uparrow$" if higher else r"$\downarrow$" for higher in layout.higher_is_better]
    header = ["Method", *(f"{_escape(name)} {arrow}" for name, arrow in zip(layout.columns, arrows, strict=True))]
    cells = layout.cells(r"\textbf{{{}}}".format, r"\underline{{{}}}".format)
    body = [" & ".join([name, *row]) + r" \\" for name, row in zip(names, cells, strict=True)]
    notes = layout.legend(r"\textit{In italics}: without learning.", r"$^\dagger$")
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{tabular}{l" + "r" * len(layout.columns) + "}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *(f"% {note}" for note in notes),
            "",
        ]
    )


def _column(
    values: NDArray[np.float64],
    decimals: int,
    higher_is_better: bool,
    best: Callable[[str], str],
    second: Callable[[str], str],
) -> list[str]:
    texts = [MISSING if np.isnan(value) else f"{value:.{decimals}f}" for value in values]
    by_value = sorted({text for text in texts if text != MISSING}, key=float, reverse=higher_is_better)
    if len(by_value) < 2:  # nothing stands out
        return texts
    decorated = {by_value[0]: best(by_value[0]), by_value[1]: second(by_value[1])}
    return [decorated.get(text, text) for text in texts]


def _escape(text: str) -> str:
    return text.translate(_LATEX_SIGNS)
