"""Images drawn in a terminal."""

import re

import numpy as np
import pytest

from gffusion.visualization.terminal import draw_blocks


def parse(text: str) -> np.ndarray:
    """Return the pixels that a terminal would show: two rows of them for each line."""
    cells = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀")
    lines = [np.array(cells.findall(line), int).reshape(-1, 2, 3) for line in text.splitlines()]
    return np.stack(lines).transpose(0, 2, 1, 3).reshape(2 * len(lines), -1, 3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_shows_the_pixels(dtype: type) -> None:
    values = np.random.default_rng(0).integers(0, 256, (6, 5, 3))
    scale = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    np.testing.assert_array_equal(parse(draw_blocks((values * scale).astype(dtype), 5, 3)), values)


@pytest.mark.parametrize(
    ("shape", "shown"), [((480, 640), (20, 27)), ((480, 1280), (10, 28)), ((100, 10), (20, 2)), ((1, 1), (20, 20))]
)
def test_fits_the_terminal(shape: tuple[int, int], shown: tuple[int, int]) -> None:
    pixels = parse(draw_blocks(np.full(shape, 7, np.uint8), columns=28, rows=10))
    assert pixels.shape[:2] == shown
    assert (pixels == 7).all()
