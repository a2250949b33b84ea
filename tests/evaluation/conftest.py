"""A small folder of pairs, and pictures that a method has fused of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

NAMES = ("a", "b", "c", "d")
HEIGHT, WIDTH = 48, 64


def smooth_noise(seed: int, shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """A picture with structure at several scales that uses most grey levels."""
    noise = np.random.default_rng(seed).normal(size=shape)
    blurred = sum(ndimage.gaussian_filter(noise, (sigma, sigma, 0)[: len(shape)]) * sigma for sigma in (0.5, 2, 6))
    low, high = blurred.min(), blurred.max()
    return np.rint(255 * (blurred - low) / (high - low)).astype(np.uint8)


@pytest.fixture
def save() -> Callable[[Path, NDArray[Any]], None]:
    """Writes a picture, without the package's own writer."""

    def write(path: Path, picture: NDArray[Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)

    return write


@pytest.fixture
def pairs(tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]) -> Path:
    """Four pairs, the visible ones in colour: visible/, infrared/, and what two methods made of them: sharp/, flat/."""
    root = tmp_path / "pairs"
    for seed, name in enumerate(NAMES):
        visible, infrared = smooth_noise(seed, (HEIGHT, WIDTH, 3)), smooth_noise(100 + seed)
        grey = np.maximum(visible.mean(axis=-1), infrared).astype(np.uint8)
        save(root / "visible" / f"{name}.png", visible)
        save(root / "infrared" / f"{name}.png", infrared)
        save(root / "sharp" / f"{name}.bmp", grey)
        save(root / "flat" / f"{name}.png", (grey // 4 + 90).astype(np.uint8))
    return root
