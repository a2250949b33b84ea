"""Images of one scene side by side, with a part of each enlarged."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_ops import to_uint8

from .drawing import ACCENT, FAINT, GAP, INK, PAPER, Color, arrange_tiles, write_text

_TILE_WIDTH = 380
_CAPTION = 26
_MAX_COLUMNS = (4, 5, 6)
_CROP_SHARE = 0.25  # of each side

Box = tuple[int, int, int, int]  # left, top, right and bottom in pixels


def draw_comparison(
    heading: str,
    sources: Mapping[str, NDArray[Any]],
    fused: Mapping[str, NDArray[Any]],
    baselines: Collection[str] = (),
) -> Image.Image:
    """Draw the images of a scene side by side, each above the enlarged part where the fused images differ most.

    Sources by name and fused images by method, at least one, are of one size, (H, W) or (H, W, 3), uint8, uint16 or floating
    point in [0, 1]. The captions of baselines are gray.

    Example:
        >>> scene = np.eye(64)
        >>> draw_comparison("scene", {"visible": scene, "infrared": 1 - scene}, {"average": scene / 2}).size
        (1188, 858)
    """
    box = find_differing_part([to_luma8(image).numpy() for image in fused.values()])
    images = {**sources, **fused}.items()
    tiles = [_draw_tile(name, image, box, FAINT if name in baselines else INK) for name, image in images]
    # The number of columns that leaves the fewest empty places.
    columns = min(_MAX_COLUMNS, key=lambda columns: (-len(tiles) % columns, columns))
    return arrange_tiles(heading, tiles, min(columns, len(tiles)))


def find_differing_part(lumas: Sequence[NDArray[np.float64]]) -> Box:
    """Return the box, a quarter of the height and width, where the details of gray images (H, W) differ most.

    Example:
        >>> flat, detailed = np.zeros((2, 40, 80))
        >>> detailed[4:6, 60:62] = 255
        >>> find_differing_part([flat, detailed])
        (47, 0, 67, 10)
    """
    height, width = lumas[0].shape
    size = max(1, round(height * _CROP_SHARE)), max(1, round(width * _CROP_SHARE))
    details = [luma - ndimage.gaussian_filter(luma, min(size) / 8) for luma in lumas]
    difference = ndimage.uniform_filter(np.std(details, axis=0), size)
    # A window of n pixels around y reaches from y - n // 2 to y - n // 2 + n - 1.
    rows, columns = (slice(n // 2, n // 2 + side - n + 1) for n, side in zip(size, (height, width), strict=True))
    inside = difference[rows, columns]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(left), int(top), int(left) + size[1], int(top) + size[0]


def _draw_tile(caption: str, image: NDArray[Any], box: Box, color: Color) -> Image.Image:
    """Draw a caption, the image with a frame around the part, and the enlarged part."""
    original = Image.fromarray(to_uint8(image)).convert("RGB")
    scale = _TILE_WIDTH / original.width
    size = _TILE_WIDTH, max(1, round(original.height * scale))
    overview = original.resize(size, Image.Resampling.LANCZOS)
    left, top, right, bottom = (round(side * scale) for side in box)
    ImageDraw.Draw(overview).rectangle([left - 1, top - 1, right, bottom], outline=ACCENT, width=2)
    part = original.resize(size, Image.Resampling.BICUBIC, box=box)
    ImageDraw.Draw(part).rectangle([0, 0, size[0] - 1, size[1] - 1], outline=ACCENT, width=2)
    tile = Image.new("RGB", (size[0], _CAPTION + 2 * size[1] + GAP // 3), PAPER)
    write_text(tile, 0, _CAPTION - 8, caption, 17, color, width=size[0])
    tile.paste(overview, (0, _CAPTION))
    tile.paste(part, (0, _CAPTION + size[1] + GAP // 3))
    return tile
