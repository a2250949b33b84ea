"""Draw label maps next to the images and boxes that they were made from."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from gffusion.models.gffusion.image_ops import to_uint8

from .drawing import FAINT, GAP, INK, PAPER, arrange_tiles, write_text
from .overlay import IGNORED, overlay
from .palette import color_classes

_TILE_WIDTH = 500
_LEGEND_LINE = 26
# Ignored pixels are mixed with this color.
_VEIL = np.array((200, 200, 200), dtype=np.uint8)


def draw_labeled_pair(
    heading: str,
    visible: NDArray[np.floating[Any]],
    infrared: NDArray[np.floating[Any]],
    labels: NDArray[np.uint8],
    boxes: NDArray[Any],
    classes: Iterable[int],
) -> Image.Image:
    """Draw the visible and the infrared image with boxes, and the label map over the element-wise maximum of both.

    The maximum shows warm objects at night. Objects have the color of their class, ignored pixels are pale. Images are in
    [0, 1], (H, W, 3) and (H, W, 1), labels (H, W) class ids with 0 for the background and 255 for ignored pixels; boxes (N, 4) are left, top, right and
    bottom in pixels, each of one of the `classes`.

    Examples:
        >>> visible, infrared, labels = np.zeros((50, 100, 3)), np.zeros((50, 100, 1)), np.zeros((50, 100), np.uint8)
        >>> draw_labeled_pair("scene", visible, infrared, labels, np.array([[10, 10, 20, 20]]), [1]).size
        (1548, 318)
    """
    labeled, is_ignored = overlay(np.maximum(visible, infrared), labels), labels == IGNORED
    labeled[is_ignored] = labeled[is_ignored] // 2 + _VEIL // 2
    scale = _TILE_WIDTH / labels.shape[1]
    size = _TILE_WIDTH, max(1, round(labels.shape[0] * scale))
    images = to_uint8(visible), to_uint8(np.broadcast_to(infrared, visible.shape)), labeled
    tiles = [Image.fromarray(image).resize(size) for image in images]
    for (left, top, right, bottom), label in zip((boxes * scale).tolist(), classes, strict=True):
        for tile in tiles[:2]:
            color = tuple(color_classes(label).tolist())
            ImageDraw.Draw(tile).rectangle([left - 1, top - 1, right, bottom], outline=color)
    return arrange_tiles(heading, tiles, columns=len(tiles))


def draw_legend(
    class_names: Sequence[str], width: int = 3 * (_TILE_WIDTH + GAP) + GAP, with_ignored: bool = True
) -> Image.Image:
    """Draw the colors of classes, whose ids are 1, 2, ..., and of ignored pixels, in as many lines as `width` needs.

    Examples:
        >>> draw_legend(["person", "car"]).size, draw_legend(["person", "car"], 150, with_ignored=False).size
        ((1548, 38), (150, 64))
    """
    entries = [(name, color_classes(label), INK) for label, name in enumerate(class_names, start=1)]
    if with_ignored:
        entries.append(("ignored", _VEIL, FAINT))
    left, line, places = GAP, 0, []
    for name, *_ in entries:
        length = 40 + round(ImageFont.load_default(17).getlength(name))
        if left > GAP and left + length > width:
            left, line = GAP, line + 1
        places.append((left, GAP + _LEGEND_LINE * line))
        left += length
    legend = Image.new("RGB", (width, 38 + _LEGEND_LINE * line), PAPER)
    draw = ImageDraw.Draw(legend)
    for (name, color, text_color), (left, top) in zip(entries, places, strict=True):
        draw.rectangle([left, top, left + 16, top + 16], fill=tuple(color.tolist()))
        write_text(legend, left + 22, top + 14, [name], 17, text_color)
    return legend
