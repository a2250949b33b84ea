"""A small folder of pairs, and images fused from them by two methods."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_runs import NAMES
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gffusion.evaluation.methods import Baseline, FusedFolder

HEIGHT, WIDTH = 48, 64


def smooth_noise(seed: int, shape: tuple[int, ...] = (HEIGHT, WIDTH)) -> NDArray[np.uint8]:
    """Return an image with structure at several scales that uses most gray levels."""
    noise = np.random.default_rng(seed).normal(size=shape)
    blurred = sum(ndimage.gaussian_filter(noise, (sigma, sigma, 0)[: len(shape)]) * sigma for sigma in (0.5, 2, 6))
    low, high = blurred.min(), blurred.max()
    return np.rint(255 * (blurred - low) / (high - low)).astype(np.uint8)


@pytest.fixture(scope="session")
def save() -> Callable[[Path, NDArray[Any]], None]:
    """Return a writer of images that is independent of the package."""

    def write(path: Path, image: NDArray[Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)

    return write


@pytest.fixture(scope="session")
def shared_pairs(tmp_path_factory: pytest.TempPathFactory, save: Callable[[Path, NDArray[Any]], None]) -> Path:
    """Write four pairs, the visible images in color, in visible/ and infrared/, and fused images in sharp/ and flat/."""
    root = tmp_path_factory.mktemp("shared") / "pairs"
    for seed, name in enumerate(NAMES):
        visible, infrared = smooth_noise(seed, (HEIGHT, WIDTH, 3)), smooth_noise(100 + seed)
        gray = np.maximum(visible.mean(axis=-1), infrared).astype(np.uint8)
        save(root / "visible" / f"{name}.png", visible)
        save(root / "infrared" / f"{name}.png", infrared)
        save(root / "sharp" / f"{name}.bmp", gray)
        save(root / "flat" / f"{name}.png", (gray // 4 + 90).astype(np.uint8))
    return root


@pytest.fixture
def pairs(shared_pairs: Path, tmp_path: Path) -> Path:
    """Copy `shared_pairs`, for tests that change them."""
    return Path(shutil.copytree(shared_pairs, tmp_path / "pairs"))


@pytest.fixture
def fusions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return a list that receives (method, image) for every fused image that is made or read."""
    calls: list[tuple[str, str]] = []
    for kind in (Baseline, FusedFolder):

        def fuse(self: Any, sources: Any, segment: bool = False, original: Any = kind.fuse) -> Any:
            calls.append((self.name, sources.pair.name))
            return original(self, sources, segment)

        monkeypatch.setattr(kind, "fuse", fuse)
    return calls
