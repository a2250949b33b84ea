"""Convert fused images of the model to images with the color and the depth of the visible image."""

from typing import Any

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from .image_arrays import Image
from .image_ops import restore_color, rgb_to_luma
from .infrared_values import to_visible_values


def add_chroma(fused: Tensor, visible: NDArray[Any]) -> Tensor:
    """Add the chroma of the visible image to a fused luma (1, H, W) -> (3, H, W), or (1, H, W) for a gray visible image."""
    if visible.ndim == 2:
        return rgb_to_luma(fused)
    if visible.dtype == np.uint8:  # sent to a GPU as it is, a quarter of the bytes
        values = torch.from_numpy(np.array(visible)).to(fused.device).movedim(-1, 0).contiguous().float() / 255
    else:
        values = torch.from_numpy(np.ascontiguousarray(to_visible_values(visible))).to(fused.device)
    return restore_color(fused, values)


def to_image(fused: Tensor, dtype: np.dtype[Any], output_type: str) -> Image:
    """Convert a fused image (1 or 3, H, W) to an output type, with the depth of a visible image of this `dtype`."""
    if output_type == "pt":
        return fused.cpu()
    if output_type == "np" and np.issubdtype(dtype, np.floating):
        return _interleave(fused).cpu().numpy().astype(dtype)
    is_deep = dtype == np.uint16 and (output_type == "np" or fused.shape[0] == 1)
    levels = (fused * (65535 if is_deep else 255)).round_().to(torch.int32)  # bytes in two steps take half of the time
    if is_deep:
        array = _interleave(levels).cpu().numpy().astype(np.uint16)
    else:
        array = _interleave(levels.to(torch.uint8)).cpu().numpy()
    return array if output_type == "np" else PIL.Image.fromarray(array)


def _interleave(image: Tensor) -> Tensor:
    """Return (1, H, W) as (H, W), and (3, H, W) as (H, W, 3) in twice the speed of `contiguous`."""
    return image[0] if len(image) == 1 else torch.stack(image.unbind(), dim=-1)
