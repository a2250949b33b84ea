"""PNG sheets of one scene, drawn with Pillow: images side by side, with a part of each enlarged."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from gffusion.metrics import to_luma8
from gffusion.models.gffusion.image_arrays import Image as AnyImage
from gffusion.models.gffusion.image_arrays import to_array
from gffusion.models.gffusion.image_ops import to_uint8

from .drawing import (
    ACCENT,
    FAINT,
    GAP,
    INK,
    PAPER,
    Color,
    arrange_tiles,
    break_lines,
    line_height,
    write_text,
)

_TILE_WIDTH = 380
_CAPTION, _CAPTION_SIZE = 26, 17
_MAX_COLUMNS = (4, 5, 6)
_CROP_SHARE = 0.25  # of each side

Box = tuple[int, int, int, int]  # left, top, right and bottom in pixels


def draw_comparison(
    heading: str,
    sources: Mapping[str, AnyImage],
    fused: Mapping[str, AnyImage],
    baselines: Collection[str] = (),
    labels: Mapping[str, AnyImage] | None = None,
    zoom: Box | None = None,
) -> Image.Image:
    """Draw the images of a scene side by side, each above an enlarged part.

    Args:
        heading: Name of the scene.
        sources: Sources by name. All images are of one size, (H, W) or (H, W, 3), uint8, uint16 or floating point in [0, 1]; or
            PIL images.
        fused: Fused images by method, at least one.
        baselines: Methods whose captions are gray.
        labels: Further images, such as label maps drawn over images.
        zoom: The enlarged part: left, top, right and bottom in pixels. By default, a quarter of each side, where the details of
            the images differ most.

    Raises:
        ValueError: If there is no fused image, sizes differ, values are out of range, or the part does not lie in the images.

    Examples:
        >>> scene = np.eye(64)
        >>> draw_comparison("scene", {"visible": scene, "infrared": 1 - scene}, {"average": scene / 2}).size
        (1188, 858)
    """
    if not fused:
        raise ValueError(f"there is no fused image of {heading} to compare")
    images = to_bytes({**sources, **fused, **(labels or {})})
    compared = [to_luma8(images[name]).numpy() for name in (*sources, *fused)]
    box = check_box(find_differing_part(compared) if zoom is None else zoom, compared[0].shape, heading)
    measure = ImageFont.load_default(_CAPTION_SIZE).getlength
    captions = {name: break_lines(name, _TILE_WIDTH, measure) for name in images}
    height = _CAPTION + (max(map(len, captions.values())) - 1) * line_height(_CAPTION_SIZE)
    tiles = [
        _draw_tile(captions[name], height, image, box, FAINT if name in baselines else INK)
        for name, image in images.items()
    ]
    return arrange_tiles(heading, tiles, choose_columns(len(tiles)))


def to_bytes(images: Mapping[str, AnyImage]) -> dict[str, NDArray[np.uint8]]:
    """Return images by name as uint8 (H, W) or (H, W, 3).

    Raises:
        ValueError: If there is no image, sizes differ, or an image has an unknown type or values outside [0, 1]; the message has
            its name.
    """
    if not images:
        raise ValueError("there is no image to draw")
    converted = {name: to_uint8(to_array(image, name), name) for name, image in images.items()}
    if len({image.shape[:2] for image in converted.values()}) > 1:
        described = ", ".join(f"{name} {image.shape[1]}x{image.shape[0]}" for name, image in converted.items())
        raise ValueError(f"the images must have one size, got (width x height) {described}")
    return converted


def choose_columns(count: int) -> int:
    """Return the number of columns, at most six, that leaves the fewest empty places.

    Examples:
        >>> choose_columns(3), choose_columns(7), choose_columns(10)
        (3, 4, 5)
    """
    return min(count, min(_MAX_COLUMNS, key=lambda columns: (-count % columns, columns)))


def find_differing_part(lumas: Sequence[NDArray[np.float64]]) -> Box:
    """Return the box, a quarter of the height and width, where the details of gray images (H, W) differ most.

    Examples:
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


def check_box(box: Sequence[float], shape: Sequence[int], heading: str) -> Box:
    """Return a part (left, top, right, bottom) that lies in an image of a shape (height, width, ...).

    Raises:
        ValueError: If it does not, or is anything else than four numbers; the message has the heading.
    """
    sides = np.asarray(box)
    if sides.shape != (4,) or sides.dtype.kind not in "iuf":
        raise ValueError(
            f"the enlarged part (zoom) of {heading} must be four numbers, left, top, right and bottom in pixels, got {box!r}"
        )
    left, top, right, bottom = sides.tolist()
    if not (0 <= left < right <= shape[1] and 0 <= top < bottom <= shape[0]):
        raise ValueError(
            f"the enlarged part (zoom) from {left}, {top} to {right}, {bottom} does not lie in {heading}, which has "
            f"{shape[1]} x {shape[0]} pixels"
        )
    return left, top, right, bottom


def _draw_tile(
    caption: Sequence[str], caption_height: int, image: NDArray[np.uint8], box: Box, color: Color
) -> Image.Image:
    """Draw the lines of a caption, the image with a frame around the part, and the enlarged part."""
    original = Image.fromarray(image).convert("RGB")
    scale = _TILE_WIDTH / original.width
    size = _TILE_WIDTH, max(1, round(original.height * scale))
    overview = original.resize(size, Image.Resampling.LANCZOS)
    left, top, right, bottom = (round(side * scale) for side in box)
    # The frame in the color of the paper is also seen in gray.
    ImageDraw.Draw(overview).rectangle([left - 2, top - 2, right + 1, bottom + 1], outline=PAPER, width=4)
    ImageDraw.Draw(overview).rectangle([left - 1, top - 1, right, bottom], outline=ACCENT, width=2)
    # As large as fits below the image, with its own proportions.
    enlarged = min(size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))
    part_size = max(1, round(enlarged * (box[2] - box[0]))), max(1, round(enlarged * (box[3] - box[1])))
    part = original.resize(part_size, Image.Resampling.BICUBIC, box=box)
    ImageDraw.Draw(part).rectangle([0, 0, part.width - 1, part.height - 1], outline=ACCENT, width=2)
    tile = Image.new("RGB", (size[0], caption_height + 2 * size[1] + GAP // 3), PAPER)
    write_text(tile, 0, caption_height - 8, caption, _CAPTION_SIZE, color)
    tile.paste(overview, (0, caption_height))
    tile.paste(part, (0, caption_height + size[1] + GAP // 3))
    return tile
