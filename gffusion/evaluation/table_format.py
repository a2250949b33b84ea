"""Format a table of numbers for the terminal, as Markdown and as LaTeX."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from gffusion.utils.escaping import escape_latex, escape_markdown, to_line

if TYPE_CHECKING:
    from rich.console import Group

_STYLES = {"*": "bold green", "+": "green"}


class Marks(NamedTuple):
    """Format strings for numbers, row names and column names, and the sign before a standard deviation."""

    best: str
    second: str
    baseline: str
    outranked: str
    higher_is_better: str
    lower_is_better: str
    plus_minus: str = "±"


_TEXT = Marks("{}*", "{}+", "({})", "{} †", "{} ↑", "{} ↓")
_MARKDOWN = Marks("**{}**", "<u>{}</u>", "*{}*", "{} †", "{} ↑", "{} ↓")
_HTML = Marks("<b>{}</b>", "<u>{}</u>", "<i>{}</i>", "{} †", "{} ↑", "{} ↓")
_LATEX = Marks(
    r"\textbf{{{}}}",
    r"\underline{{{}}}",
    r"\textit{{{}}}",
    r"{}$^\dagger$",
    r"{} $\uparrow$",
    r"{} $\downarrow$",
    r"$\pm$",
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
    spreads: NDArray[np.float64] | None = None  # standard deviations (rows, columns), NaN where there is none

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
        header, columns, has_marks = [], [names], False
        unmarked = marks._replace(best="{}", second="{}")
        spreads = np.full_like(self.values, np.nan) if self.spreads is None else self.spreads
        for name, values, spread, decimals, higher_is_better in zip(
            self.columns, self.values.T, spreads.T, self.decimals, self.higher_is_better, strict=True
        ):
            header.append((marks.higher_is_better if higher_is_better else marks.lower_is_better).format(name))
            plain, column = (
                _format_column(values, spread, decimals, higher_is_better, used) for used in (unmarked, marks)
            )
            columns.append(column)
            has_marks |= column != plain
        if has_marks:
            notes.append(f"{marks.best.format('number')}: best; {marks.second.format('number')}: second best.")
        return header, [list(row) for row in zip(*columns, strict=True)], notes


def to_rich(layout: Layout, width: int) -> "Group":
    """Return the table for a terminal of a width, in blocks of columns if it is wider; `*` and `+` mark the best and second best."""
    from rich import box  # saves start-up time unless a table is printed
    from rich.cells import cell_len
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    # In plain strings, rich would replace [words] and :names:. `Padding` aligns the decimal points of numbers without a mark.
    def cell(text: str) -> Text | Padding:
        style = _STYLES.get(text[-1])
        return Text(text, style) if style else Padding(Text(text), (0, 1, 0, 0))

    def measure(text: str) -> int:
        return cell_len(text) + (text[-1] not in _STYLES)

    header, rows, notes = _escape(layout, to_line).fill(_TEXT)
    names, *columns = ([text, *column] for text, column in zip(["", *header], zip(*rows, strict=True), strict=True))
    name_width = min(max(map(cell_len, names)), width // 2)
    tables: list[Table | str] = []
    for block in _divide([max(map(measure, column)) + 1 for column in columns], width - name_width):
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
        table.add_column("", width=name_width, overflow="fold")
        for index in block:
            table.add_column(cell(columns[index][0]), justify="right", no_wrap=True)
        for row, name in enumerate(names[1:], start=1):
            is_baseline = layout.is_baseline[row - 1]
            table.add_row(Text(name), *(cell(columns[index][row]) for index in block), style="dim" * is_baseline)
        tables += ["", table]
    return Group(*tables[1:], *map(Text, notes))


def _divide(widths: Sequence[int], limit: int) -> list[list[int]]:
    """Return the numbers of the columns of each block, at least one, whose widths together are at most a limit.

    Examples:
        >>> _divide([3, 3, 3, 9, 1], limit=6)
        [[0, 1], [2], [3], [4]]
    """
    blocks: list[list[int]] = []
    for index, width in enumerate(widths):
        if not blocks or sum(widths[other] for other in blocks[-1]) + width > limit:
            blocks.append([])
        blocks[-1].append(index)
    return blocks


def to_markdown(layout: Layout) -> str:
    """Return the table as Markdown: the best number bold, the second best underlined."""
    header, rows, notes = _escape(layout, escape_markdown).fill(_MARKDOWN)
    lines = [["method", *header], ["---", *["---:"] * len(header)]]
    return "\n".join([*(f"| {' | '.join(line)} |" for line in [*lines, *rows]), "", " ".join(notes), ""])


def to_latex(layout: Layout) -> str:
    """Return the table as LaTeX with booktabs, and the notes below it: the best number bold, the second best underlined."""
    header, rows, notes = _escape(layout, escape_latex).fill(_LATEX)
    head, *body = (" & ".join(line) + r" \\" for line in (["Method", *header], *rows))
    begin = "% needs \\usepackage{booktabs}", r"\begin{tabular}{l" + "r" * len(header) + "}", r"\toprule"
    end = r"\bottomrule", r"\end{tabular}", r"\par\smallskip", rf"{{\footnotesize {' '.join(notes)}\par}}", ""
    return "\n".join([*begin, head, r"\midrule", *body, *end])


def escape_html(text: str) -> Markup:
    """Return a text for HTML, whose lines can end after `_` and `/`.

    Examples:
        >>> escape_html("<b> a_b")
        Markup('&lt;b&gt; a_<wbr>b')
    """
    return Markup(re.sub("(?<=[_/])", "<wbr>", Markup.escape(to_line(text))))  # escaped before


def fill_html(layout: Layout) -> tuple[list[Markup], list[list[Markup]], list[Markup]]:
    """Return the column names, rows and notes as HTML: the best number bold, the second best underlined."""
    header, rows, notes = _escape(layout, escape_html).fill(_HTML)
    # Names and notes are escaped above.
    return [*map(Markup, header)], [[*map(Markup, row)] for row in rows], [*map(Markup, notes)]


def to_html(layout: Layout) -> str:
    """Return the table as HTML, for notebooks."""
    header, rows, notes = fill_html(layout)
    head = "".join(f"<th>{name}</th>" for name in ("method", *header))
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{' '.join(notes)}</p>"


def _escape(layout: Layout, escape: Callable[[str], str]) -> Layout:
    """Return a table whose names are text in another language."""
    rows, columns, notes = (tuple(map(escape, texts)) for texts in (layout.rows, layout.columns, layout.notes))
    return replace(layout, rows=rows, columns=columns, notes=notes)


def _format_column(
    values: NDArray[np.float64], spreads: NDArray[np.float64], decimals: int, higher_is_better: bool, marks: Marks
) -> list[str]:
    """Format the numbers of a column, and mark all that are equal to the best or second best after rounding."""
    texts = ["-" if np.isnan(value) else f"{value:z.{decimals}f}" for value in values]  # z: never -0.000
    best, second, *_ = [*sorted({*texts} - {"-"}, key=float, reverse=higher_is_better), "", ""]
    # Nothing is marked if all methods are equal.
    marked = {best: marks.best, second: marks.second} if second else {}
    return [
        marked.get(text, "{}").format(text if np.isnan(spread) else f"{text} {marks.plus_minus} {spread:.{decimals}f}")
        for text, spread in zip(texts, spreads, strict=True)
    ]
