"""Overlays of label maps, against values by hand."""

from typing import Any

import numpy as np
import pytest

from gffusion.visualization.overlay import overlay
from gffusion.visualization.palette import PALETTE


@pytest.mark.parametrize(
    ("value", "dtype", "gray"), [(100, np.uint8, 100), (100 * 257, np.uint16, 100), (0.4, np.float32, 102)]
)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_values_by_hand(value: float, dtype: Any, gray: int, channels: tuple[int, ...]) -> None:
    image = np.full((2, 3, *channels), value, dtype)
    labels = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    result = overlay(image, labels)
    assert (result.shape, result.dtype) == ((2, 3, 3), np.uint8)
    assert (result[labels == 0] == gray).all()
    for number in (1, 2):
        assert np.abs(result[labels == number] - (0.5 * gray + 0.5 * PALETTE[number])).max() <= 0.5


def test_every_class_but_the_background_is_colored() -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    result = overlay(np.full((16, 16), 127, np.uint8), labels)
    assert (result[0, 0] == 127).all()
    assert (np.ptp(result.reshape(-1, 3)[1:].astype(int), axis=1) > 10).all()


def test_first_classes_have_distinct_colors() -> None:
    labels = np.arange(12, dtype=np.uint8)[None]
    colors = overlay(np.full((1, 12), 127, np.uint8), labels)[0].astype(int)
    distances = np.abs(colors[:, None] - colors[None]).sum(-1) + 1000 * np.eye(12, dtype=int)
    assert distances.min() > 15
