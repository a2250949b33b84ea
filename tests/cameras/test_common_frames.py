"""Bars and frames that both images of a pair have are noted; dark or bright edges are not."""

import numpy as np
import pytest
from camera_files import to_jpeg

from gffusion.cameras.common_frames import note_common_frame
from gffusion.data import ReadOptions, read_pair, write_image

RNG = np.random.default_rng(0)


def make(sides, width=20, value=255, channels=3, dtype=np.uint8):
    """Return an image of noise with bars at some of top, bottom, left and right."""
    image = RNG.integers(20, 230, (120, 160, channels)).astype(dtype)
    for turns in (("top", "left", "bottom", "right").index(side) for side in sides):
        np.rot90(image, -turns)[:width] = value
    return image[..., 0] if channels == 1 else image


def blacken_corners(image):
    """Return an image with black corners of one pixel, which are no bars."""
    image[:: len(image) - 1, :: image.shape[1] - 1] = 0
    return image


ALL, ROWS, COLUMNS = ("top", "bottom", "left", "right"), ("top", "bottom"), ("left", "right")


@pytest.mark.parametrize("is_jpeg", [False, True])
@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("sides", [ALL, ROWS, COLUMNS])
def test_in_both_images(sides, value, is_jpeg):
    visible, infrared = make(sides, 28, value), make(sides, 28, value, channels=1)
    if is_jpeg:
        visible, infrared = to_jpeg(visible, 80), to_jpeg(infrared, 80)
    (note,) = note_common_frame(visible, infrared)
    assert f"of value {value}," in note and "crop them in both images" in note


@pytest.mark.parametrize(
    ("visible", "infrared"),
    [
        (make(()), make((), channels=1)),
        (make(ALL), make((), channels=1)),
        (make(()), make(ALL, channels=1)),
        (make(ALL, value=0), make(ALL, value=255, channels=1)),
        (make(ALL, value=255), make(ALL, value=65535, channels=1, dtype=np.uint16)),
        (make(ALL, value=(255, 0, 0)), make(ALL, channels=1)),
        (make(("top",), value=0), make(("top",), value=0, channels=1)),
        (make(("top", "left"), value=0), make(("top", "left"), value=0, channels=1)),
        (blacken_corners(make(("top",), value=0)), blacken_corners(make(("top",), value=0, channels=1))),
        (blacken_corners(make(("left",), value=0)), blacken_corners(make(("left",), value=0, channels=1))),
        (make(ALL, 5), make(ALL, 5, channels=1)),
        (make(ALL, 20, 0), make(ALL, 50, 0, channels=1)),  # a border in a dark image
        (np.zeros((120, 160, 3), np.uint8), make(ROWS, value=0, channels=1)),
        (np.zeros((120, 160, 3), np.uint8), np.zeros((120, 160), np.uint8)),
        (make(ALL), make(ALL, channels=1)[:100]),
        (np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.uint8)),
    ],
)
def test_others(visible, infrared):
    assert note_common_frame(visible, infrared) == ()


@pytest.mark.parametrize("value", [0, 255])
def test_the_frame_is_not_also_noted_as_an_infrared_border(tmp_path, value):
    for name, channels in (("visible", 3), ("infrared", 1)):
        write_image(tmp_path / f"{name}.png", make(ALL, value=value, channels=channels))
    (note,) = read_pair(tmp_path / "visible.png", tmp_path / "infrared.png").notes
    assert note.startswith(f"both images have the same bars or frame of value {value}")
    paths = tmp_path / "visible.png", tmp_path / "infrared.png"
    cropped = read_pair(*paths, ReadOptions(align="resize", crop=True))
    assert len(cropped.notes) == 1 and "cut off" in cropped.notes[0]  # in both images
