"""A pair with edges, texture and flat parts, and a fusion of it with an artefact, as whole grey levels."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

Grey = NDArray[np.float64]


@pytest.fixture(scope="session")
def arrays() -> tuple[Grey, Grey, Grey]:
    """Fused, visible and infrared image of shape (241, 252)."""
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.normal(size=(241, 252)), 2)
    visible = 110 + 400 * texture
    visible[:40] = 255  # an overexposed sky
    visible[100:140, 20:90] -= 70
    infrared = 60 + 15 * ndimage.gaussian_filter(random.normal(size=(241, 252)), 8)
    infrared[90:130, 60:80] = 240  # a warm body
    visible, infrared = (np.rint(image).clip(0, 255) for image in (visible, infrared))
    ghost = 60 * (np.indices((241, 252)).sum(0) // 10 % 2)  # stripes from nowhere
    ghost[:, 120:] = 0
    fused = np.rint(ghost + 0.6 * visible + 0.6 * infrared - 30 + 3 * random.normal(size=(241, 252))).clip(0, 255)
    return fused, visible, infrared


@pytest.fixture(scope="session")
def pair(arrays: tuple[Grey, Grey, Grey]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same as tensors."""
    fused, visible, infrared = map(torch.from_numpy, arrays)
    return fused, visible, infrared


@pytest.fixture(scope="session")
def batch(pair: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Three pairs of shape (3, 1, 181, 190): the pair, mirrored, and upside down with a darker fusion."""
    fused, visible, infrared = (torch.stack([image, image.flip(1), image.flip(0)]).unsqueeze(1) for image in pair)
    fused[2] = (fused[2] / 2).floor()
    return fused, visible, infrared
