"""Convert images to 8-bit luma, and check the inputs of metrics."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .memoization import memoized

# BT.601 luma in thousandths: integers keep the sum exact, so that halves round the same on every device.
_LUMA_THOUSANDTHS = (299.0, 587.0, 114.0)
# By which computed values can exceed 1, as the image processor accepts them.
_ROUNDING = 1e-5
# Modes of PIL images that hold no gray levels or RGB, and those that they become, as in `read_image`.
_CONVERTED = {"1": "L"} | dict.fromkeys(("P", "PA", "CMYK", "YCbCr", "HSV", "LAB", "RGBX"), "RGB")
# By which images of networks without a bounded output exceed 0 to 1; those of tanh, -1 to 1, exceed it by more.
_OVERSHOOT = 0.1
# Gray level that more than this share of a source's pixels must reach before a fused image of 0 and 1 is odd.
_BRIGHT, _SHARE = 16, 0.001


def to_luma8(image: ArrayLike | Tensor | PIL.Image.Image) -> Tensor:
    """Convert an image to 8-bit luma, the input of fusion metrics.

    The image is rounded to 8 bits per channel, as saving it would do. Color then becomes the BT.601 luma
    `0.299 R + 0.587 G + 0.114 B`, rounded again. Halves round up. An image in memory and its file give the same result, and
    a gray image stored as RGB keeps its levels. MATLAB's `rgb2gray` and OpenCV's `COLOR_BGR2GRAY` can differ by one gray
    level where the luma ends in exactly .5; on real images, this changes metrics by at most a relative 3e-5.

    Args:
        image: Array of shape (H, W), (H, W, 1) or (H, W, 3), or tensor of shape (H, W), (1, H, W), (3, H, W),
            (B, 1, H, W) or (B, 3, H, W): `uint8` from 0 to 255, `uint16` from 0 to 65535, or floating point from 0 to 1. Or a
            PIL image without alpha, whose EXIF orientation is applied.

    Returns:
        Integer gray levels from 0 to 255 as `torch.float64`, of shape (B, 1, H, W) for a batch and (H, W) otherwise, on the
        device of the image, or on the CPU for an image on MPS, which has no float64.

    Raises:
        ValueError: If the image is empty, the shape or the data type is not supported, a floating-point value is NaN or
            outside 0 to 1, a value is masked, or a tensor is sparse or without values.

    Examples:
        >>> to_luma8(np.array([[[255, 0, 0], [10, 10, 10]]], dtype=np.uint8))
        tensor([[76., 10.]], dtype=torch.float64)
    """
    if np.ma.is_masked(image):
        raise ValueError("Got a masked array. Metrics are defined on whole images only: pass its values, image.data.")
    given = _detach(image, "The image") if isinstance(image, Tensor) else _to_array(image)
    tensor = given if isinstance(given, Tensor) else _channel_first(given)
    if tensor.dim() not in (2, 3, 4) or (tensor.dim() > 2 and tensor.shape[-3] not in (1, 3)):
        raise ValueError(
            f"Got an image of shape {tuple(given.shape)}. Allowed are arrays (H, W), (H, W, 1) and (H, W, 3), and "
            "tensors (H, W), (C, H, W) and (B, C, H, W) with C = 1 or 3; drop an alpha channel first."
        )
    if tensor.numel() == 0:
        raise ValueError(f"The image is empty: its shape is {tuple(given.shape)}.")
    levels = _to_8_bits(tensor)
    if tensor.dim() > 2 and tensor.shape[-3] == 3:
        red, green, blue = (levels.select(-3, c) * weight for c, weight in enumerate(_LUMA_THOUSANDTHS))
        levels = ((red + green + blue) / 1000 + 0.5).floor().unsqueeze(-3)
    return levels.squeeze(0) if tensor.dim() == 3 else levels


def _to_array(image: ArrayLike | PIL.Image.Image) -> NDArray[Any]:
    if isinstance(image, PIL.Image.Image):
        upright = PIL.ImageOps.exif_transpose(image)
        return np.asarray(upright.convert(_CONVERTED.get(upright.mode, upright.mode)))
    try:
        return np.asarray(image)
    except ValueError as error:
        raise ValueError(f"Got a {type(image).__name__} that is no array: its rows differ in length.") from error


def _detach(image: Tensor, name: str) -> Tensor:
    """Return an image without gradient, which rounding does not have, on a device that has float64, unlike MPS."""
    if image.layout != torch.strided or image.is_meta:
        kind = "on the meta device, without values" if image.is_meta else f"of layout {image.layout}"
        raise ValueError(
            f"{name} is a tensor {kind}. Metrics take dense tensors with values: call `to_dense()` on a sparse one."
        )
    image = image.detach()
    return image.cpu() if image.device.type == "mps" else image


def _channel_first(array: NDArray[Any]) -> Tensor:
    if array.dtype.kind not in "uif" or array.ndim not in (2, 3):
        raise ValueError(
            f"Got an array of {array.dtype} with shape {array.shape}. Allowed are numbers of shape (H, W), (H, W, 1) "
            "or (H, W, 3)."
        )
    dtype = np.float64 if array.dtype.itemsize > 8 else array.dtype.newbyteorder("=")  # torch has no longdouble
    tensor = torch.from_numpy(array.astype(dtype))
    return tensor.movedim(-1, 0) if array.ndim == 3 else tensor


def _to_8_bits(image: Tensor) -> Tensor:
    if image.dtype == torch.uint8:
        return image.double()
    if image.dtype == torch.uint16:
        return (image.double() / 257 + 0.5).floor()
    if not image.is_floating_point():
        raise ValueError(f"Got an image of {image.dtype}. Its range is unknown: pass uint8, uint16 or floating point.")
    image = image.double()
    low, high = _limits(image, "The image")
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        raise ValueError(
            f"Got a floating-point image with values from {low:g} to {high:g}. Floating-point images hold 0 to 1: "
            f"{_advise(low, high)}."
        )
    return (image.clamp(0, 1) * 255 + 0.5).floor()


def _advise(low: float, high: float) -> str:
    """Return how to convert an image with these values to 0 to 1, or to uint8."""
    if low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT:
        return "clip it"
    if -1 - _OVERSHOOT <= low < 0 and high <= 1 + _OVERSHOOT:
        return "map -1 to 1, the range of tanh, by (image + 1) / 2; clip only small overshoots"
    return "scale it, or convert 0 to 255 to uint8"


def _limits(image: Tensor, what: str) -> tuple[float, float]:
    low, high = (limit.item() for limit in image.aminmax())
    if math.isnan(low):
        raise ValueError(f"{what} holds NaN. Metrics are defined on finite gray levels only.")
    return low, high


def check_aligned(**images: Tensor | None) -> list[Tensor]:
    """Check that images, (B, 1, H, W) or (H, W) by name, are gray and of one size, and return views of shape (B, H, W).

    Raises:
        ValueError: If an image is missing, empty, sparse, boolean, complex, in color, or differs in shape from the others.
    """
    batches = {name: _batch(image, name) for name, image in images.items()}
    if len({batch.shape for batch in batches.values()}) > 1:
        sizes = ", ".join(f"{name} {'x'.join(map(str, batch.shape))}" for name, batch in batches.items())
        raise ValueError(
            f"The images differ in size: {sizes} (images x height x width). They must be aligned and of the same size: resize "
            "or crop them first."
        )
    return list(batches.values())


def gray_levels(minimum_size: int, **images: Tensor | None) -> list[Tensor]:
    """Check the images of one metric, (B, 1, H, W) or (H, W) by name, and return integer `torch.float64` (B, H, W).

    Raises:
        ValueError: If an image is missing, empty, sparse, boolean, complex, too small, in color, or in the range 0 to 1, differs
            in shape from the others, or has NaN or values outside 0 to 255.

    Warns:
        UserWarning: If the fused image holds only 0 and 1, but one of its sources does not.

    Examples:
        >>> gray_levels(1, fused=torch.tensor([[0.4, 2.5]]))
        [tensor([[[0., 3.]]], dtype=torch.float64)]
    """
    batches = check_aligned(**images)
    size = batches[0].shape[-2:]
    if min(size) < minimum_size:
        raise ValueError(describe_small_images(size, minimum_size))
    levels = [_levels(batch, name) for name, batch in zip(images, batches, strict=True)]
    warn_about_range(*levels)
    return levels


def describe_small_images(size: Sequence[int], minimum_size: int) -> str:
    """Return a message on images whose height and width are too small for a metric."""
    return f"Got images of {size[0]}x{size[1]} pixels. This metric needs {minimum_size}x{minimum_size} or more (height x width)."


@memoized
def warn_about_range(fused: Tensor, *sources: Tensor) -> None:
    """Warn about gray levels (B, H, W) of which a fused image holds only 0 and 1, but one of its sources does not.

    Such an image may also come from a model that makes everything black, so it is no error.
    """
    for index in (fused.amax((1, 2)) == 1).nonzero()[:, 0]:
        if any((source[index] >= _BRIGHT).double().mean() > _SHARE for source in sources):
            warnings.warn(
                "A fused image holds only 0 and 1, but its sources are brighter: if it was made in the range 0 to 1, convert it with "
                "`to_luma8` before it is rounded. Metrics take gray levels from 0 to 255.",
                stacklevel=2,
            )


@memoized
def _batch(image: Tensor | None, name: str) -> Tensor:
    if not isinstance(image, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(image).__name__}. `to_luma8` turns images into tensors.")
    image = _detach(image, name)
    if image.dtype == torch.bool or image.is_complex():
        raise ValueError(f"{name} is {image.dtype}. Metrics take gray levels from 0 to 255: convert it first.")
    if image.numel() == 0:
        raise ValueError(f"{name} is empty: its shape is {tuple(image.shape)}.")
    if image.dim() == 4 and image.shape[1] == 1:
        return image.squeeze(1)  # (B, 1, H, W) -> (B, H, W)
    if image.dim() == 2:
        return image.unsqueeze(0)  # (H, W) -> (1, H, W)
    raise ValueError(
        f"{name} has shape {tuple(image.shape)}. Metrics take gray images of shape (B, 1, H, W) or (H, W): "
        "convert color with `to_luma8`."
    )


@memoized
def _levels(batch: Tensor, name: str) -> Tensor:
    batch = batch.double()
    low, high = _limits(batch, name)
    if low < 0 or high > 255:
        raise ValueError(f"{name} has values from {low:g} to {high:g}. Metrics take gray levels from 0 to 255.")
    levels = (batch + 0.5).floor_()
    if high <= 1 and not torch.equal(levels, batch):
        raise ValueError(
            f"{name} has fractions between 0 and 1 only. Metrics take gray levels from 0 to 255: use `to_luma8`."
        )
    return levels
