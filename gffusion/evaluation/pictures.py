"""The page of pictures: sources and all methods side by side, with a part of each enlarged."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from gffusion.data import ImagePair
from gffusion.metrics import to_luma8
from gffusion.visualization.drawing import ACCENT, FAINT, INK, PAPER, write

from .baselines import with_colour_of
from .methods import Method, Sources

_TILE_WIDTH = 380
_GAP = 12
_CAPTION = 26
_HEADING = 44
_CROP_SHARE = 0.25  # of each side

Box = tuple[int, int, int, int]


def draw_pictures(methods: Sequence[Method], pairs: Sequence[ImagePair]) -> Image.Image:
    """Draw all pictures of some pairs, each with the part enlarged below it where the methods differ most in detail.

    Args:
        methods: What fuses.
        pairs: What to show, at least one pair.

    Returns:
        An RGB picture.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a pair does not suit a method.
    """
    blocks = [_draw_pair(methods, pair) for pair in pairs]
    page = Image.new("RGB", (max(block.width for block in blocks), sum(block.height for block in blocks)), PAPER)
    top = 0
    for block in blocks:
        page.paste(block, (0, top))
        top += block.height
    return page


def _draw_pair(methods: Sequence[Method], pair: ImagePair) -> Image.Image:
    sources = Sources.read(pair)
    fused = {method: method.fuse(sources)[0] for method in methods}
    box = _telling_part([to_luma8(picture).numpy() for picture in fused.values()])
    tiles = [
        _draw_tile(name, _to_rgb(picture), box)
        for name, picture in (("visible", sources.visible), ("infrared", sources.infrared))
    ]
    for method, picture in fused.items():
        if not method.learned and sources.visible.ndim == 3:
            picture = with_colour_of(sources.visible, picture)
        tiles.append(_draw_tile(method.name, _to_rgb(picture), box, italic=not method.learned))
    return _arrange(pair.name, tiles)


def _telling_part(lumas: Sequence[NDArray[np.float64]]) -> Box:
    """Return left, top, right, bottom of the part where the methods' details differ most."""
    height, width = lumas[0].shape
    size = max(1, round(height * _CROP_SHARE)), max(1, round(width * _CROP_SHARE))
    details = [luma - ndimage.gaussian_filter(luma, min(size) / 8) for luma in lumas]
    difference = ndimage.uniform_filter(np.std(details, axis=0), size)
    # A window of n pixels around y reaches from y - n // 2 to y - n // 2 + n - 1.
    inside = difference[
        size[0] // 2 : size[0] // 2 + height - size[0] + 1, size[1] // 2 : size[1] // 2 + width - size[1] + 1
    ]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(left), int(top), int(left) + size[1], int(top) + size[0]


def _to_rgb(picture: NDArray[Any]) -> Image.Image:
    if np.issubdtype(picture.dtype, np.floating):
        picture = np.rint(picture * 255).astype(np.uint8)
    elif picture.dtype == np.uint16:
        picture = np.rint(picture / 257).astype(np.uint8)
    return Image.fromarray(picture).convert("RGB")


def _draw_tile(name: str, picture: Image.Image, box: Box, italic: bool = False) -> Image.Image:
    """Draw a caption, the picture with a frame around the part, and the part."""
    scale = _TILE_WIDTH / picture.width
    size = _TILE_WIDTH, max(1, round(picture.height * scale))
    whole = picture.resize(size, Image.Resampling.LANCZOS)
    frame = [round(side * scale) for side in box]
    ImageDraw.Draw(whole).rectangle([frame[0] - 1, frame[1] - 1, frame[2], frame[3]], outline=ACCENT, width=2)
    part = picture.resize(size, Image.Resampling.BICUBIC, box=box)
    ImageDraw.Draw(part).rectangle([0, 0, size[0] - 1, size[1] - 1], outline=ACCENT, width=2)
    tile = Image.new("RGB", (size[0], _CAPTION + 2 * size[1] + _GAP // 3), PAPER)
    write(ImageDraw.Draw(tile), (0, _CAPTION - 8), name, 17, "ls", FAINT if italic else INK, size[0])
    tile.paste(whole, (0, _CAPTION))
    tile.paste(part, (0, _CAPTION + size[1] + _GAP // 3))
    return tile


def _arrange(heading: str, tiles: Sequence[Image.Image]) -> Image.Image:
    columns = min((4, 5, 6), key=lambda columns: (-len(tiles) % columns, columns)) if len(tiles) > 4 else len(tiles)
    width, height = tiles[0].size
    rows = -(-len(tiles) // columns)
    block = Image.new("RGB", (columns * (width + _GAP) + _GAP, _HEADING + rows * (height + _GAP) + _GAP), PAPER)
    write(ImageDraw.Draw(block), (_GAP, _HEADING - 12), heading, 24, "ls")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        block.paste(tile, (_GAP + column * (width + _GAP), _HEADING + row * (height + _GAP)))
    return block
