"""Thermal images given as visible: any palette is found, and photographs are not, whatever their light."""

import numpy as np
import pytest
from camera_files import to_jpeg
from PIL import Image
from scipy import ndimage

from gffusion.cameras.palettes import load_palettes
from gffusion.cameras.thermal_visible import shows_infrared
from gffusion.synthetic.rendering import render_scene

SCENE = render_scene(3, 240, 320)
HEAT = ndimage.uniform_filter(SCENE.infrared, 3)  # cameras reduce noise first
GRAYS = np.arange(256)[:, None].repeat(3, axis=1)
PALETTES = load_palettes() | {
    "white-hot": GRAYS,
    "black-hot": GRAYS[::-1],
    "unknown": 127 + 127 * np.sin(np.arange(256)[:, None] / [60, 90, 40] + [0, 2, 4]),
}


def save_as_jpeg(colors: np.ndarray) -> np.ndarray:
    """Return an image as the camera's JPEG file of twice the size has it."""
    return to_jpeg(np.asarray(Image.fromarray(colors.astype(np.uint8)).resize((640, 480), Image.Resampling.BICUBIC)))


@pytest.mark.parametrize("name", ["white-hot", "black-hot", "iron", "jet of OpenCV", "rainbow of cameras", "unknown"])
def test_palettes(name: str) -> None:
    """With temperatures as the converted file has them, and pixels that were not measured."""
    image, celsius = save_as_jpeg(PALETTES[name][HEAT]), HEAT * np.float32(0.2) - 10
    assert shows_infrared(image, celsius)
    missing = np.zeros(HEAT.shape, bool)
    missing[:100], celsius[:100], celsius[100:110] = True, -1000, np.nan
    assert shows_infrared(image, celsius, missing)


@pytest.mark.parametrize("lamp", [(1, 1, 1), (1.6, 0.9, 0.3), (0.4, 0.8, 1.5)], ids=["day", "sodium", "moon"])
def test_photographs(lamp: tuple[float, ...]) -> None:
    light = SCENE.visible.mean(axis=-1, keepdims=True) if lamp != (1, 1, 1) else SCENE.visible
    photograph = save_as_jpeg(np.clip(light * np.array(lamp), 0, 255))
    assert not shows_infrared(photograph, HEAT)
    assert not shows_infrared(photograph[..., 0], HEAT)


def test_outlines_show_nothing() -> None:
    """A fire is the brightest of both images, as sky is of one and ground of the other, but neither has the values of the other."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:240, :320]
    fire = np.exp(-((rows - 150) ** 2 + (columns - 160) ** 2) / 1800)
    night = np.clip(fire * 400 + generator.poisson(2, fire.shape), 0, 255)
    assert not shows_infrared(night[..., None] * [1, 0.6, 0.2], fire * 300 + generator.normal(20, 0.5, fire.shape))
    sky = (rows < 120) * 140
    noise = generator.normal(0, 12, (2, *sky.shape))
    assert not shows_infrared(60 + sky + noise[0], 200 - sky + noise[1])


def test_flat_and_tiny_images_show_nothing() -> None:
    assert not shows_infrared(np.full((64, 64, 3), 9, np.uint8), HEAT)
    assert not shows_infrared(HEAT[:16, :16], HEAT[:16, :16])
