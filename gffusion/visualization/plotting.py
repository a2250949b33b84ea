"""Elements that all figures of matplotlib share: pages, text that fits, and files with embedded fonts."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from gffusion.utils.extras import check_extra

from .drawing import break_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Publishers refuse fonts of type 3, matplotlib's default in PDF. Text in SVG becomes outlines, which need no fonts; ids of its
# elements are random by default.
_FILE_OPTIONS: Any = {"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "gffusion"}
_DATES = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def check_matplotlib() -> None:
    """Raise ImportError if matplotlib is not installed, without importing it.

    Examples:
        >>> check_matplotlib()
    """
    check_extra("plots", "figures need {}", "matplotlib")


_STYLING = threading.RLock()  # settings of matplotlib are those of the whole process


@contextmanager
def default_style() -> Iterator[None]:
    """Leave out the user's settings of matplotlib: figures are laid out for its defaults, and LaTeX may be missing.

    The user's fonts stay for characters that the default font lacks, such as Chinese ones.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    check_matplotlib()
    import matplotlib.style  # optional dependency: the extra `plots`

    with _STYLING:
        default, families = matplotlib.rcParamsDefault["font.sans-serif"][0], matplotlib.rcParams["font.family"]
        fonts = {key: value for key, value in matplotlib.rcParams.items() if key == f"font.{families[0]}"}
        with matplotlib.style.context(["default", _FILE_OPTIONS | fonts | {"font.family": [default, *families]}]):
            yield


def make_figure(width: float, height: float) -> "Figure":
    """Return an empty figure of a size in inches, whose parts do not overlap."""
    from matplotlib.figure import Figure  # the extra `plots`; without pyplot, which needs a display

    return Figure(figsize=(width, height), layout="constrained")


def render_figure(figure: "Figure", suffix: str, dpi: float = 150) -> bytes:
    """Return the content of a file of a figure: `"png"`, `"svg"` or `"pdf"`; the same figure gives the same bytes."""
    for image in (image for axes in figure.axes for image in axes.images if suffix == "png"):
        if image.get_interpolation() == "none":  # vector files keep the pixels; PNG would omit or repeat some
            image.set_interpolation("antialiased")
    content = BytesIO()
    with default_style():
        figure.savefig(content, format=suffix, dpi=dpi, metadata=_DATES.get(suffix))
    return content.getvalue()


def measure_text(text: str, size: float) -> float:
    """Return the width of the longest line in points, in matplotlib's default font of a size in points."""
    from matplotlib.font_manager import findfont, get_font  # optional dependency: the extra `plots`

    font = get_font(findfont("sans"))
    font.set_size(size, 72)
    widths = []
    for line in text.split("\n"):
        font.set_text(line)
        widths.append(float(font.get_width_height()[0]) / 64)
    return max(widths)


def break_text(text: str, width: float, size: float) -> str:
    r"""Return a text for matplotlib with line breaks, as `break_lines`, at a width in points; `$` does not start a formula.

    Examples:
        >>> break_text("a$b", 100, 8)
        'a\\$b'
    """
    return "\n".join(break_lines(text, width, lambda line: measure_text(line, size))).replace("$", r"\$")


def count_lines(texts: Iterable[str]) -> int:
    """Return the number of lines of the text that has most of them; 1 without texts."""
    return max((text.count("\n") for text in texts), default=0) + 1
