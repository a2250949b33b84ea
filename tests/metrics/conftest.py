"""A pair with edges, texture and flat parts, a fusion of it with an artifact, and batches of images and label maps."""

import numpy as np
import pytest
import torch
from metric_tester import NUM_CLASSES, Batches, Gray, Images
from scipy import ndimage


@pytest.fixture(scope="session")
def arrays() -> tuple[Gray, Gray, Gray]:
    """Fused, visible and infrared image of shape (241, 252), as integer gray levels."""
    random = np.random.default_rng(0)
    texture = ndimage.gaussian_filter(random.normal(size=(241, 252)), 2)
    visible = 110 + 400 * texture
    visible[:40] = 255  # an overexposed sky
    visible[100:140, 20:90] -= 70
    infrared = 60 + 15 * ndimage.gaussian_filter(random.normal(size=(241, 252)), 8)
    infrared[90:130, 60:80] = 240  # a warm body
    visible, infrared = (np.rint(image).clip(0, 255) for image in (visible, infrared))
    ghost = 60 * (np.indices((241, 252)).sum(0) // 10 % 2)  # stripes that no source has
    ghost[:, 120:] = 0
    fused = np.rint(ghost + 0.6 * visible + 0.6 * infrared - 30 + 3 * random.normal(size=(241, 252))).clip(0, 255)
    return fused, visible, infrared


@pytest.fixture(scope="session")
def pair(arrays: tuple[Gray, Gray, Gray]) -> Images:
    """The same as tensors."""
    fused, visible, infrared = map(torch.from_numpy, arrays)
    return fused, visible, infrared


@pytest.fixture(scope="session")
def batches(pair: Images) -> Batches:
    """Three pairs of shape (3, 1, 181, 190), and three images' logits and labels; class 4 does not occur."""
    fusion = tuple(torch.stack([image, image.flip(1), image.flip(0)])[:, None, 20:201, :190] for image in pair)
    fusion[0][2] = (fusion[0][2] / 2).floor()
    random = torch.Generator().manual_seed(0)
    logits = torch.randn(3, NUM_CLASSES, 12, 10, generator=random)
    logits[:, 4] = -100
    labels = torch.randint(0, 4, (3, 12, 10), generator=random)
    labels = torch.where(torch.rand(3, 12, 10, generator=random) < 0.5, logits.argmax(1), labels)  # half of them right
    labels[torch.rand(3, 12, 10, generator=random) < 0.1] = 255
    return {"fusion": fusion, "segmentation": (logits, labels)}
