"""The page that shows label maps made from boxes beside the pictures and the boxes."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from gffusion.data import ImagePair, read_labels, read_pair
from gffusion.data.boxes import Boxes, read_boxes
from gffusion.models.gffusion.image_processing_gffusion import to_infrared_values, to_visible_values
from gffusion.visualization.drawing import FAINT, PAPER, write
from gffusion.visualization.overlay import overlay
from gffusion.visualization.palette import PALETTE

from .masks import IGNORED

_TILE_WIDTH = 500
_GAP = 10
_CAPTION = 28
# Ignored pixels are mixed with this.
_VEIL = np.array((200, 200, 200), dtype=np.uint8)


def choose_pairs(pairs: Sequence[ImagePair], count: int) -> list[ImagePair]:
    """Choose pairs whose label maps are not empty, spread evenly over all.

    Args:
        pairs: Pairs with label maps.
        count: How many to choose at most: one of each of as many runs of pairs.

    Raises:
        OSError: If a label map cannot be read.
    """
    ends = [round(index * len(pairs) / count) for index in range(count + 1)]
    runs = (pairs[start:end] for start, end in itertools.pairwise(ends))
    firsts = (
        next((pair for pair in run if pair.labels is not None and read_labels(pair.labels).any()), None) for run in runs
    )
    return [pair for pair in firsts if pair is not None]


def draw_contact_sheet(pairs: Sequence[ImagePair], class_names: Sequence[str] | None = None) -> Image.Image:
    """Draw a row for every pair: the visible and the infrared picture with the boxes, and the label map over both.

    Under the label map lies the element-wise maximum of both pictures, so that warm people show at night. Objects have the
    colour of their class, ignored pixels are pale.

    Args:
        pairs: At least one, all with boxes and label maps.
        class_names: Classes of the boxes, see [`read_boxes`]; the heading names them in their colours.

    Returns:
        An RGB picture.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a pair has no boxes or label map, or boxes do not fit their picture.
    """
    rows = [_draw_row(pair, class_names) for pair in pairs]
    width, height = 3 * (_TILE_WIDTH + _GAP) + _GAP, _CAPTION + _GAP + sum(row.height for row in rows)
    sheet = Image.new("RGB", (width, height), PAPER)
    _write_legend(ImageDraw.Draw(sheet), class_names or ())
    top = _CAPTION + _GAP
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def _draw_row(pair: ImagePair, class_names: Sequence[str] | None) -> Image.Image:
    if pair.boxes is None or pair.labels is None:
        raise ValueError(f"the pair {pair.name} has {'no boxes' if pair.boxes is None else 'no label map'} to show")
    images = read_pair(pair.visible, pair.infrared)
    visible = np.moveaxis(to_visible_values(images[0]), 0, -1)
    infrared = np.moveaxis(to_infrared_values(images[1]), 0, -1)
    boxes = read_boxes(pair.boxes, visible.shape[:2], class_names)
    labels = read_labels(pair.labels)
    tiles = [
        _draw_tile(_to_8_bits(visible), boxes),
        _draw_tile(_to_8_bits(np.broadcast_to(infrared, visible.shape)), boxes),
        _draw_tile(_draw_labels(np.maximum(visible, infrared), labels), None),
    ]
    row = Image.new("RGB", (3 * (_TILE_WIDTH + _GAP) + _GAP, tiles[0].height + _CAPTION + _GAP), PAPER)
    count = len(boxes.classes)
    write(ImageDraw.Draw(row), (_GAP, _CAPTION - 8), f"{pair.name}: {count} object{'s' * (count != 1)}", 17, "ls")
    for index, tile in enumerate(tiles):
        row.paste(tile, (_GAP + index * (_TILE_WIDTH + _GAP), _CAPTION))
    return row


def _draw_labels(picture: NDArray[np.float32], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    ignored = labels == IGNORED
    drawn = overlay(picture, np.where(ignored, 0, labels))
    drawn[ignored] = drawn[ignored] // 2 + _VEIL // 2
    return drawn


def _draw_tile(picture: NDArray[np.uint8], boxes: Boxes | None) -> Image.Image:
    """Scale a picture to the width of a tile and outline the boxes in it."""
    scale = _TILE_WIDTH / picture.shape[1]
    tile = Image.fromarray(picture).resize((_TILE_WIDTH, max(1, round(picture.shape[0] * scale))))
    if boxes is not None:
        draw = ImageDraw.Draw(tile)
        for box, box_class in zip(boxes.coordinates * scale, boxes.classes, strict=True):
            left, top, right, bottom = box.tolist()
            draw.rectangle([left - 1, top - 1, right, bottom], outline=_colour(int(box_class)))
    return tile


def _write_legend(draw: ImageDraw.ImageDraw, class_names: Sequence[str]) -> None:
    left = float(_GAP)
    for index, name in enumerate(class_names):
        draw.rectangle([left, _GAP, left + 16, _GAP + 16], fill=_colour(index))
        write(draw, (left + 22, _GAP + 14), name, 17, "ls")
        left += 40 + draw.textlength(name, font_size=17)
    draw.rectangle([left, _GAP, left + 16, _GAP + 16], fill=tuple(_VEIL.tolist()))
    write(draw, (left + 22, _GAP + 14), "ignored", 17, "ls", FAINT)


def _colour(box_class: int) -> tuple[int, int, int]:
    """The colour that `overlay` gives the label of a box class."""
    red, green, blue = PALETTE[box_class % (len(PALETTE) - 1) + 1].tolist()
    return red, green, blue


def _to_8_bits(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(picture * 255).astype(np.uint8)
