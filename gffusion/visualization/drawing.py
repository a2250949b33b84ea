"""Elements that all figures share: colors, text, and tiles on a page."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

PAPER = (255, 255, 255)
INK = (34, 34, 34)
FAINT = (110, 110, 110)
ACCENT = (226, 72, 40)
# Colors of classical baselines and of all other methods.
BASELINE, LEARNED = (150, 150, 150), (38, 112, 178)

GAP = 12
_HEADING, _HEADING_SIZE = 44, 24


def break_lines(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """Return the lines of a text, broken after a space or a sign such as `_` if there is one in the second half of a line.

    Names are never shortened, so that those of different methods differ.

    Args:
        text: The text.
        width: Largest length of a line.
        measure: Function that returns the length of a line.

    Examples:
        >>> break_lines("fine_tuned_on_thermal", 12, measure=len)
        ['fine_tuned_', 'on_thermal']
    """
    lines = []
    while measure(text) > width and len(text) > 1:
        end = max(1, bisect_right(range(1, len(text)), width, key=lambda count: measure(text[:count])))
        end = max(text.rfind(sign, end // 2, end) for sign in " _-/") + 1 or end
        lines.append(text[:end])
        text = text[end:]
    return [*lines, text]


def write_text(
    image: Image.Image, left: float, bottom: float, lines: Sequence[str], size: int, color: Color = INK
) -> None:
    """Write lines of text of a size in pixels, the last one with its baseline at `bottom`."""
    for index, line in enumerate(reversed(lines)):
        place = left, bottom - index * line_height(size)
        ImageDraw.Draw(image).text(place, line, fill=color, font=ImageFont.load_default(size), anchor="ls")


def line_height(size: int) -> int:
    """Return the distance between lines of text of a size in pixels."""
    return round(1.2 * size)


def arrange_tiles(heading: str, tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Arrange tiles of one size in rows below a heading."""
    width, height = tiles[0].size
    rows, full_width = -(-len(tiles) // columns), columns * (width + GAP) + GAP
    lines = break_lines(heading, full_width - 2 * GAP, ImageFont.load_default(_HEADING_SIZE).getlength)
    top = _HEADING + (len(lines) - 1) * line_height(_HEADING_SIZE)
    block = Image.new("RGB", (full_width, top + rows * (height + GAP) + GAP), PAPER)
    write_text(block, GAP, top - 12, lines, _HEADING_SIZE)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        block.paste(tile, (GAP + column * (width + GAP), top + row * (height + GAP)))
    return block


def stack(blocks: Sequence[Image.Image]) -> Image.Image:
    """Stack images from top to bottom, with their left edges aligned."""
    *tops, height = accumulate((block.height for block in blocks), initial=0)
    page = Image.new("RGB", (max(block.width for block in blocks), height), PAPER)
    for block, top in zip(blocks, tops, strict=True):
        page.paste(block, (0, top))
    return page
