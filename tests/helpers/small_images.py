"""Images of 4 x 6 pixels, gray and in color, with 8 and 16 bits, and their comparison."""

import numpy as np

GRAY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
COLOR = np.stack([GRAY, 255 - GRAY, GRAY // 2], axis=-1)
DEEP_GRAY = GRAY.astype(np.uint16) * 257 + 3
DEEP_COLOR = COLOR.astype(np.uint16) * 256 + 77


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)
