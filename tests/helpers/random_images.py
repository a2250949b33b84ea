"""Random images for tests of the losses, and their gradients by SciPy."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage


def random_image(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sobel(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return |gx| + |gy| of every plane of (..., H, W)."""
    planes = image.reshape(-1, *image.shape[-2:])
    magnitudes = [sum(np.abs(ndimage.sobel(plane, axis, mode="mirror")) for axis in (0, 1)) for plane in planes]
    return np.stack(magnitudes).reshape(image.shape)
