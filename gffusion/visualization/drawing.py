"""What both figures draw with: colours and text. Pillow alone, so that figures need nothing that may be missing."""

from PIL import ImageDraw, ImageFont

Colour = tuple[int, int, int]

PAPER = (255, 255, 255)
INK = (34, 34, 34)
FAINT = (110, 110, 110)
GRID = (226, 226, 226)
ACCENT = (226, 72, 40)
# Of the rows without learning, and of the others.
BASELINE, LEARNED = (150, 150, 150), (38, 112, 178)


def write(
    draw: ImageDraw.ImageDraw,
    position: tuple[float, float],
    text: str,
    size: int,
    anchor: str,
    fill: Colour = INK,
    width: float | None = None,
) -> None:
    """Write a line of text.

    Args:
        draw: What to draw on.
        position: x and y of the anchor, in pixels.
        text: The line.
        size: Of the font, in pixels.
        anchor: As Pillow names it: horizontally l, m, r; vertically a (top), m, s (baseline).
        fill: Colour.
        width: Shorten what is wider, in pixels.
    """
    font = ImageFont.load_default(size)
    if width is not None and font.getlength(text) > width:
        while text and font.getlength(f"{text}...") > width:
            text = text[:-1]
        text = f"{text}..."
    draw.text(position, text, fill=fill, font=font, anchor=anchor)
