"""Fuse one large pair on a CPU: values of the visible image and colors of the result exist for single tiles only."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion.models.gffusion.finet import merge_modalities
from gffusion.models.gffusion.funet import Context
from gffusion.models.gffusion.image_ops import resize_bicubic
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.image_sizes import ALIGN_FIRST, check_same_size
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import scale_by_type, to_infrared_values, to_visible_values
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput

from .cpu_funet import CpuFuNet, get_cpu_funet
from .folding import is_plain_processor
from .row_bands import Read, choose_grid, make_tiles
from .threads import run_alone, run_in_threads

# Pixels from which on a pair is fused by itself; below, its memory does not matter.
LARGE_PIXELS = 2**23
BAND_PIXELS = 2**20  # of which the blocks are averaged at once


def find_large_form(model: GFFusionModel, processor: GFFusionImageProcessor, shape: Sequence[int]) -> CpuFuNet | None:
    """Return the form of FuNet with which a large pair (height, width) is fused, `None` if it is fused as others are.

    Models of the parallel paradigm read whole images; a processor that pads copies them, and one of your own can do anything.
    """
    height, width = shape[:2]
    is_large = height * width >= LARGE_PIXELS and min(height, width) >= 2 * model.funet.reach
    is_whole = model.config.paradigm == "parallel" or processor.size_divisor > 1
    return None if is_whole or not is_large or not is_plain_processor(processor) else get_cpu_funet(model)


def fuse_large(
    model: GFFusionModel,
    form: CpuFuNet,
    processor: GFFusionImageProcessor,
    visible: NDArray[Any],
    infrared: NDArray[Any],
    options: InfraredOptions,
    missing: NDArray[np.bool_] | None,
) -> NDArray[Any]:
    """Fuse one pair (H, W) or (H, W, 3), as arrays, without holding its values at once -> the visible image's shape and dtype."""
    height, width = visible.shape[:2]
    check_same_size({"the visible image": (height, width), "the infrared image": infrared.shape[:2]}, ALIGN_FIRST)
    infrared_values = torch.from_numpy(to_infrared_values(infrared, options, missing))[None]  # (1, 1, H, W)
    projections = None
    if model.config.needs_clip:
        small = [_shrink_visible(visible, model.config.clip_size), _shrink(infrared_values, model.config.clip_size)]
        tokens = run_in_threads(partial(model.encode_images, image) for image in small)
        united = merge_modalities(*tokens)
        projections = run_alone(lambda: model.project_semantics(small[0], small[1], united)).projections
    fused = np.empty_like(visible)

    def read(rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        values = torch.from_numpy(np.ascontiguousarray(to_visible_values(visible[rows, columns])))
        return values[None], infrared_values[:, :, rows, columns]

    def write(rows: slice, columns: slice, part: Tensor) -> None:
        pair = visible[rows, columns], infrared[rows, columns]
        (fused[rows, columns],) = processor.post_process_fusion(GFFusionOutput(fused_values=part), [pair], "np")

    grid = choose_grid(model, height, width)
    context = None if model.funet.context is None else _compute_context(model, model.funet.context, read, height, width)
    tiles = make_tiles(model, form, read, write, (height, width), projections, context, grid)
    run_in_threads(run_alone(lambda: list(tiles)))
    return fused


def _compute_context(model: GFFusionModel, context: Context, read: Read, height: int, width: int) -> Tensor:
    """Return the context of the whole image, whose blocks are averaged band by band."""
    step = max(1, BAND_PIXELS // (width * context.stride)) * context.stride

    def shrink(top: int) -> Tensor:
        visible, infrared = read(slice(top, min(top + step, height)), slice(0, width))
        return context.shrink(model.to_source(visible), infrared)

    bands = run_in_threads(partial(shrink, top) for top in range(0, height, step))
    return run_alone(lambda: context.layers(torch.cat(bands, dim=2)))


def _shrink(values: Tensor, size: list[int]) -> Tensor:
    """Resize values (1, 1, H, W) as the encoder does, which then leaves them as they are."""
    return resize_bicubic(values, size).clamp_(0, 1)


def _shrink_visible(visible: NDArray[Any], size: list[int]) -> Tensor:
    """Resize a visible image (H, W) or (H, W, 3), one channel after the other -> (1, 3, *size)."""
    channels = [visible] if visible.ndim == 2 else [visible[..., index] for index in range(3)]
    small = [_shrink(torch.from_numpy(scale_by_type(channel, "visible"))[None, None], size) for channel in channels]
    return torch.cat(small, dim=1).expand(-1, 3, -1, -1)
