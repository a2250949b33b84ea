"""Draw a small version of an image in a terminal."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gffusion.models.gffusion.image_ops import to_uint8


def draw_blocks(image: NDArray[Any], columns: int, rows: int) -> str:
    r"""Return an image as text: half blocks in 24-bit color, two pixels in each character cell.

    Args:
        image: (H, W) gray or (H, W, 3) RGB: uint8, uint16 in [0, 65535], or float in [0, 1].
        columns: Width of the terminal in characters.
        rows: Height of the terminal in characters.

    Examples:
        >>> text = draw_blocks(np.zeros((4, 6), np.uint8), columns=3, rows=5)
        >>> text.count("▀"), text.count("\n")
        (3, 0)
    """
    converted = Image.fromarray(to_uint8(image)).convert("RGB")
    scale = min(max(columns, 1) / converted.width, 2 * max(rows, 1) / converted.height)
    width, cells = max(1, round(converted.width * scale)), max(1, round(converted.height * scale / 2))
    pixels = np.asarray(converted.resize((width, 2 * cells), Image.Resampling.BOX))
    colors = np.concatenate([pixels[::2], pixels[1::2]], axis=-1).tolist()  # of both halves: (cells, width, 6)
    lines = ("".join("\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*block) for block in row) for row in colors)
    return "\n".join(f"{line}\x1b[0m" for line in lines)
