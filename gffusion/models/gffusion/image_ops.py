"""Color conversion, gradients, rounding and resizing, shared by networks, losses and the image processor."""

from collections.abc import Callable, Sequence
from operator import truediv
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

# Luma weights of red, green and blue by ITU-R BT.601, the convention of image fusion.
LUMA_WEIGHTS = (0.299, 0.587, 0.114)

# Normalization of the encoders, applied inside the model: callers pass values in [0, 1].
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
DINOV2_MEAN, DINOV2_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# By which computed values can exceed 1; less than a level of 16 bits.
ROUNDING = 1e-5
# Sum of the factors of both axes by which CUDA shrinks an image at once; shared memory holds the windows of both.
MAX_SCALES = 90


def rgb_to_luma(image: Tensor) -> Tensor:
    """Return the luma (Y of YCbCr, ITU-R BT.601, full range) of an RGB image: (..., 3, H, W) -> (..., 1, H, W).

    Range and dtype are those of `image`; a luma (..., 1, H, W) is returned as it is.

    Raises:
        ValueError: If the image has neither one nor three channels.
    """
    channels = image.shape[-3]
    if channels == 1:
        return image
    if channels != 3:
        raise ValueError(f"An image needs 1 (gray) or 3 (RGB) channels, got {channels} in shape {tuple(image.shape)}.")
    red, green, blue = image.chunk(3, dim=-3)
    return LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue


def replace_luma(image: Tensor, luma: Tensor) -> Tensor:
    """Replace the luma of an RGB image and keep its chroma (Cb, Cr), to color a fused image.

    YCbCr is linear in RGB, so replacing Y adds the same difference to all three channels. Where the result would leave [0, 1],
    chroma is scaled down instead of clipping single channels, which keeps the hue and the requested luma exact.

    (..., 3, H, W) and luma (..., 1, H, W) -> (..., 3, H, W), all floating point in [0, 1].

    Raises:
        ValueError: If the image or the luma is not floating point.
    """
    _check_floating(image, luma)
    chroma = image - rgb_to_luma(image)  # (..., 3, H, W), weighted sum over the channels is zero
    red, green, blue = chroma.chunk(3, dim=-3)
    above, below = torch.maximum(torch.maximum(red, green), blue), -torch.minimum(torch.minimum(red, green), blue)
    scale = torch.minimum((1 - luma) / above.clamp(min=1e-6), luma / below.clamp(min=1e-6)).clamp(max=1)
    return (luma + scale * chroma).clamp(0, 1)


def restore_color(fused: Tensor, visible: Tensor) -> Tensor:
    """Return a fused luma (..., 1, H, W) with the chroma of the visible image (..., 3, H, W), and a color image as it is."""
    return replace_luma(visible, fused) if fused.shape[-3] == 1 else fused


def sobel_magnitude(image: Tensor) -> Tensor:
    """Return the Sobel gradient magnitude `|gx| + |gy|` of every channel: (B, C, H, W), H and W at least 2, same shape.

    The separable kernel is written as sums of shifted views, which is several times faster on a CPU than a depthwise
    convolution and needs no buffer in checkpoints. The border is reflected.

    Raises:
        ValueError: If the image is not floating point: sums of 8-bit levels would overflow.
    """
    _check_floating(image)
    padded = F.pad(image, (1, 1, 1, 1), mode="reflect")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]  # (B, C, H, W + 2)
    columns = padded[..., :, :-2] + 2 * padded[..., :, 1:-1] + padded[..., :, 2:]  # (B, C, H + 2, W)
    return (rows[..., :, 2:] - rows[..., :, :-2]).abs() + (columns[..., 2:, :] - columns[..., :-2, :]).abs()


def _check_floating(*images: Tensor) -> None:
    for image in images:
        if not image.is_floating_point():
            raise ValueError(
                f"The image must be floating point in [0, 1], got {image.dtype}: divide 8-bit levels by 255."
            )


def gaussian_matrix(size: int, window: int, sigma: float, like: Tensor) -> Tensor:
    """Return the matrix (size - window + 1, size) whose rows contain a Gaussian of `window` pixels, odd, at every position.

    Its dtype and device are those of `like`.
    """
    center = window // 2
    position = torch.arange(size, dtype=like.dtype, device=like.device)
    offset = position - position[: size - window + 1, None] - center
    weights = torch.exp(-(offset**2) / (2 * sigma**2)).masked_fill(offset.abs() > center, 0)
    return weights / weights[0].sum()


def to_uint8(image: NDArray[Any], name: str = "given") -> NDArray[np.uint8]:
    """Round an image to uint8, halves to even: uint16 is divided by 257, floating point in [0, 1] multiplied by 255.

    Args:
        image: The image, of any shape and byte order.
        name: Name of the image in errors.

    Raises:
        ValueError: If the image has another type, or values outside [0, 1], except for rounding, or NaN.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype.newbyteorder("=") == np.uint16:
        return np.rint(image / 257).astype(np.uint8)
    check_unit_range(image, name)
    return np.rint(image * 255).astype(np.uint8)


def check_unit_range(image: NDArray[Any], name: str) -> None:
    """Raise ValueError if an image is not floating point in [0, 1], except for rounding, or NaN; the message has the name."""
    if image.dtype.kind not in "fb":
        raise ValueError(f"The {name} image must be uint8, uint16 or floating point, got {image.dtype}.")
    low, high = (image.min(), image.max()) if image.size else (0, 1)
    if not (low >= -ROUNDING and high <= 1 + ROUNDING):  # also NaN
        raise ValueError(
            f"The {name} image has values from {low:g} to {high:g}, but floating point must be in [0, 1]: scale it, or convert "
            "0 to 255 to uint8."
        )


def prepare_images(
    images: Tensor, size: list[int], mean: tuple[float, ...], std: tuple[float, ...], dtype: torch.dtype
) -> Tensor:
    """Resize images (B, 1 or 3, H, W) in [0, 1] to an encoder's input and normalize them -> (B, 3, height, width)."""
    images = resize_bicubic(images.float(), size).clamp(0, 1).expand(-1, 3, -1, -1)
    return ((images - images.new_tensor(mean).view(3, 1, 1)) / images.new_tensor(std).view(3, 1, 1)).to(dtype)


def resize_bicubic(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images bicubically, with antialiasing as in the encoders' own processors: (B, C, H, W) -> (B, C, *size), float32.

    The mean difference from CLIP's processor is 0.004, and 0.043 without antialiasing.
    """
    # MPS has no kernel for the gradient.
    if torch.compiler.is_exporting() or (images.device.type == "mps" and images.requires_grad):
        return _resize_by_products(images, size, _weigh_cubic)
    if images.device.type == "cuda" and sum(map(truediv, images.shape[-2:], size)) > MAX_SCALES:
        images = _interpolate(images, (images.shape[-2], size[1]), "bicubic")  # one axis after the other
    return _interpolate(images, size, "bicubic")


def resize_bilinear(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images bilinearly, with antialiasing: (B, C, H, W) -> (B, C, *size), float32."""
    if torch.compiler.is_exporting():
        return _resize_by_products(images, size, _weigh_linear)
    return _interpolate(images, size, "bilinear")


def _interpolate(images: Tensor, size: Sequence[int], mode: str) -> Tensor:
    return F.interpolate(images, size=tuple(size), mode=mode, antialias=True, align_corners=False)


def _resize_by_products(images: Tensor, size: Sequence[int], weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Resize as [`_interpolate`] does, by matrix products: some engines that run exported files ignore antialiasing."""
    rows, columns = (
        _compute_weights(source, target, weigh).to(images)
        for source, target in zip(images.shape[-2:], size, strict=True)
    )
    with torch.autocast(images.device.type, enabled=False):
        return rows @ images @ columns.T


def _compute_weights(source: int, target: int, weigh: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the weights (target, source) of an interpolation whose kernel is as wide as a pixel of the smaller image."""
    pixels = torch.arange(source, dtype=torch.float32) + 0.5
    scale = pixels.new_ones(1) * source / target
    centers = scale * (torch.arange(target, dtype=torch.float32)[:, None] + 0.5)
    weights = weigh((pixels - centers).abs() / scale.clamp(min=1))
    return weights / weights.sum(dim=1, keepdim=True)


def _weigh_linear(distance: Tensor) -> Tensor:
    return (1 - distance).clamp(min=0)


def _weigh_cubic(distance: Tensor) -> Tensor:
    """Return Keys' kernel with a = -0.5 (R. Keys, IEEE TASSP 29(6), 1981), as antialiasing uses it."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
