"""Convert 8-bit images to tensors on the GPU: a quarter of the transfer, and no CPU work."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.image_sizes import MIN_SIZE
from gffusion.models.gffusion.infrared_options import InfraredOptions

from .folding import is_plain_processor


def prepare_bytes(
    image_processor: GFFusionImageProcessor,
    images: Sequence[tuple[NDArray[Any], NDArray[Any]]],
    infrared_options: Sequence[InfraredOptions],
    device: torch.device,
) -> dict[str, Tensor] | None:
    """Return the tensors that the processor gives, or `None` if images or options need more than a division by 255.

    Images are arrays (H, W, 3) and (H, W) without missing values.
    """
    height, width = images[0][1].shape[:2]
    if image_processor.size_divisor != 1 or min(height, width) < MIN_SIZE or not all(map(_is_plain, infrared_options)):
        return None
    if not is_plain_processor(image_processor):
        return None
    shapes = (height, width, 3), (height, width)
    if any(
        image.dtype != np.uint8 or image.shape != shape
        for pair in images
        for image, shape in zip(pair, shapes, strict=True)
    ):
        return None
    visible, infrared = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*images, strict=True))
    # A tensor, because CUDA would multiply by the reciprocal of a number.
    largest = torch.full((), 255.0, dtype=torch.float32, device=device)
    return {
        "visible_values": visible.movedim(-1, 1).to(torch.float32, memory_format=torch.contiguous_format) / largest,
        "infrared_values": infrared[:, None].float() / largest,
    }


def _is_plain(options: InfraredOptions) -> bool:
    return options.infrared_range in ("auto", "type") and options.agc == "linear" and not options.is_inverted
