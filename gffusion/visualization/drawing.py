"""Elements that all figures share: colors, text, and tiles on a page."""

from collections.abc import Mapping, Sequence
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
_HEADING = 44


def check_sizes(shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise ValueError if images, whose shapes (H, W) are given by name, differ in size."""
    if len({*map(tuple, shapes.values())}) > 1:
        described = ", ".join(f"{name} {width}x{height}" for name, (height, width) in shapes.items())
        raise ValueError(f"the images must have one size, got (width x height) {described}")


def write_text(
    image: Image.Image, left: float, bottom: float, text: str, size: int, color: Color = INK, width: float | None = None
) -> None:
    """Write a line of text of a size in pixels, shortened to `width`, with its baseline at `bottom`."""
    font = ImageFont.load_default(size)
    if width is not None and font.getlength(text) > width:
        while text and font.getlength(f"{text}...") > width:
            text = text[:-1]
        text = f"{text}..."
    ImageDraw.Draw(image).text((left, bottom), text, fill=color, font=font, anchor="ls")


def arrange_tiles(heading: str, tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    """Arrange tiles of one size in rows below a heading."""
    width, height = tiles[0].size
    rows = -(-len(tiles) // columns)
    block = Image.new("RGB", (columns * (width + GAP) + GAP, _HEADING + rows * (height + GAP) + GAP), PAPER)
    write_text(block, GAP, _HEADING - 12, heading, 24)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        block.paste(tile, (GAP + column * (width + GAP), _HEADING + row * (height + GAP)))
    return block


def stack(blocks: Sequence[Image.Image]) -> Image.Image:
    """Stack images from top to bottom, with their left edges aligned."""
    *tops, height = accumulate((block.height for block in blocks), initial=0)
    page = Image.new("RGB", (max(block.width for block in blocks), height), PAPER)
    for block, top in zip(blocks, tops, strict=True):
        page.paste(block, (0, top))
    return page
