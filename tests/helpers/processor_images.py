"""Images of the tests of the image processor, and a model's output for them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (40, 48, 3), np.uint8)
GRAY = RNG.integers(0, 256, (40, 48), np.uint8)
FLAT = np.zeros((40, 48), np.uint8)
WIDE = np.uint16(257)  # 65535 = 255 * 257


def output(fused_values: Array | Tensor, logits: Tensor | None = None) -> SimpleNamespace:
    """Output of a model."""
    return SimpleNamespace(fused_values=torch.as_tensor(fused_values).float(), logits=logits)


def luma_of(visible_values: Array) -> Array:
    """(..., 3, H, W) -> (..., 1, H, W)."""
    return np.einsum("...chw,c->...hw", visible_values, LUMA)[..., None, :, :]


def with_orientation(stored: Array, orientation: int) -> PIL.Image.Image:
    image = PIL.Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    return image
