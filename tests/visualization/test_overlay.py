"""Overlays of label maps, against values by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

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
    labels = np.arange(255, dtype=np.uint8).reshape(15, 17)
    result = overlay(np.full((15, 17), 127, np.uint8), labels)
    assert (result[0, 0] == 127).all()
    assert (np.ptp(result.reshape(-1, 3)[1:].astype(int), axis=1) > 10).all()


@pytest.mark.parametrize(
    ("ignored", "dtype"),
    [(-1, np.int64), (-100, np.int16), (255, np.int64), (255, np.uint8), (255, np.uint16), (-1, np.int8)],
)
def test_ignored_pixels_are_not_colored(ignored: int, dtype: Any) -> None:
    image = np.full((1, 3), 127, np.uint8)
    labels, plain = (np.array([[value, 0, 2]], dtype) for value in (ignored, 0))
    assert overlay(image, labels).tolist() == overlay(image, plain).tolist()


def test_first_classes_have_distinct_colors() -> None:
    labels = np.arange(12, dtype=np.uint8)[None]
    colors = overlay(np.full((1, 12), 127, np.uint8), labels)[0].astype(int)
    distances = np.abs(colors[:, None] - colors[None]).sum(-1) + 1000 * np.eye(12, dtype=int)
    assert distances.min() > 15


def test_images_of_other_libraries() -> None:
    rng = np.random.default_rng(0)
    color, labels = rng.integers(0, 256, (8, 9, 3), np.uint8), rng.integers(0, 3, (8, 9), np.uint8)
    expected = overlay(color, labels)
    assert (overlay(Image.fromarray(color), Image.fromarray(labels)) == expected).all()
    assert (overlay(torch.from_numpy(color).movedim(-1, 0), torch.from_numpy(labels)) == expected).all()
    assert (overlay(np.dstack([color, labels]), labels) == expected).all()  # alpha
    assert (overlay((color * np.uint16(257)).astype(">u2"), labels) == expected).all()


@pytest.mark.parametrize(
    ("image", "labels", "message"),
    [
        (
            np.full((4, 6), 200.0),
            np.ones((4, 6), int),
            r"values from 200 to 200, but floating point must be in \[0, 1\]",
        ),
        (np.full((4, 6), 200, np.int32), np.ones((4, 6), int), "convert it to uint8 if 255 is white"),
        (
            np.zeros((4, 6)),
            np.ones((1, 6), int),
            r"integers of shape \(4, 6\) as its image, got int64 of shape \(1, 6\)",
        ),
        (np.zeros((4, 6)), np.full((4, 6), 0.5), "got float64"),
    ],
)
def test_what_would_be_drawn_wrong_is_refused(image: np.ndarray, labels: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlay(image, labels)


# Of Machado et al. (2009), for linear RGB and the complete lack of green or red cones.
DEUTERANOPIA = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTANOPIA = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


@pytest.mark.parametrize("matrix", [DEUTERANOPIA, PROTANOPIA])
def test_person_bicycle_and_car_differ_for_color_blind_readers(matrix: list[list[float]]) -> None:
    drawn = overlay(np.full((1, 3), 110, np.uint8), np.array([[1, 2, 3]])) / 255
    seen = (drawn**2.2 @ np.transpose(matrix)).clip(0, 1) ** (1 / 2.2)
    lab = rgb2lab(seen)[0]
    assert min(deltaE_ciede2000(lab[[0, 0, 1]], lab[[1, 2, 2]])) > 15
