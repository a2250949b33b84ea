"""Fusion metrics as terms of the loss: VIF and Qabf, differentiable and in float32 (ours, not in the paper)."""

import math

import torch
from torch import Tensor

from .image_ops import gaussian_matrix, rgb_to_luma

# Windows of the four scales of VIF, with a standard deviation of a fifth of their size; variance of the visual noise.
VIF_WINDOWS = (17, 9, 5, 3)
VIF_NOISE = 2.0
# Information in bits per window below which a scene is too flat for its share to matter.
_FLAT_INFORMATION = 1e-3


def vif_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Compute 2 minus the VIF of both sources, summed; negative for raised contrast.

    The VIF is that of `gffusion.metrics.vif`, on images that are not rounded. Images in [0, 1], (B, 1 or 3, H, W), and
    (B, 1, H, W) for infrared -> ().

    Raises:
        ValueError: If a side is shorter than 41 pixels.
    """
    if min(fused.shape[-2:]) < 41:
        raise ValueError(f"VIF needs images of at least 41 x 41 pixels, got {fused.shape[-2]} x {fused.shape[-1]}.")
    # Centered, because variances are differences of large numbers.
    planes = torch.stack([255 * rgb_to_luma(image).float() - 128 for image in (fused, visible, infrared)])
    kept, available = planes.new_zeros(2, 2, len(fused)).unbind()
    with torch.autocast(fused.device.type, enabled=False):
        for window in VIF_WINDOWS:
            if window != VIF_WINDOWS[0]:
                planes = _smooth(planes, window, stride=2)
            kept_here, available_here = _information(planes, window)
            kept, available = kept + kept_here, available + available_here
    guard = _FLAT_INFORMATION * fused.shape[-2] * fused.shape[-1]
    return (2 - ((kept + guard) / (available + guard)).sum(0)).mean()


def _information(planes: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return the information on both sources in the fused image and in themselves at a scale, each (2, B)."""
    fused, sources = planes[:1], planes[1:]
    means, squares, products = (_smooth(part, window) for part in (planes, planes**2, fused * sources))
    variances = (squares - means**2).clamp(min=0)
    fused_variance, source_variance = variances[:1], variances[1:]
    covariance = (products - means[:1] * means[1:]).clamp(min=0)
    explained = covariance**2 / source_variance.clamp(min=1e-4)
    residual = (fused_variance - explained).clamp(min=0)
    kept = (explained / (residual + VIF_NOISE)).log1p()
    return kept.sum(dim=(2, 3, 4)), (source_variance / VIF_NOISE).log1p().sum(dim=(2, 3, 4))


def _smooth(planes: Tensor, window: int, stride: int = 1) -> Tensor:
    """Average planes (..., H, W) with the Gaussian window of a scale, where it lies inside the image."""
    rows, columns = (gaussian_matrix(size, window, window / 5, planes)[::stride] for size in planes.shape[-2:])
    return rows @ planes @ columns.mT


def qabf_loss(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Compute 1 minus the Qabf, the share of the edges of both sources that the fused image does not keep.

    The Qabf is that of `gffusion.metrics.qabf`, on images that are not rounded and without the frame of zeros. Images in
    [0, 1], (B, 1 or 3, H, W), and (B, 1, H, W) for infrared -> ().
    """
    planes = torch.stack([255 * rgb_to_luma(image).float() for image in (fused, visible, infrared)])
    strengths, orientations = _edges(planes)
    weaker, stronger = torch.minimum(strengths[:1], strengths[1:]), torch.maximum(strengths[:1], strengths[1:])
    agreement = 1 - (orientations[:1] - orientations[1:]).abs() / (math.pi / 2)
    strength_quality = torch.sigmoid(15 * (weaker / stronger.clamp(min=1e-3) - 0.5))
    quality = 0.9994 * 0.9879 * strength_quality * torch.sigmoid(22 * (agreement - 0.8))
    weights = strengths[1:].detach()
    kept, total = (part.sum(dim=(0, 2, 3, 4)) for part in (quality * weights, weights))
    return (1 - kept / total.clamp(min=1e-3)).mean()


def _edges(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Sobel strength and the orientation in [0, pi) of inner pixels: (..., H, W) -> two (..., H - 2, W - 2)."""
    across = planes[..., :, :-2] - planes[..., :, 2:]
    x = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = planes[..., 2:, :] - planes[..., :-2, :]
    y = down[..., :, :-2] + 2 * down[..., :, 1:-1] + down[..., :, 2:]
    square = x**2 + y**2
    # Flat pixels have no direction, and gradients that are not finite.
    flat = square < 1e-6
    strength = square.masked_fill(flat, 1).sqrt().masked_fill(flat, 0)
    # Only gradients up or down have x = 0, and their orientation is 0; atan2(0, 0) has no finite derivative in every torch.
    opposite = x.abs().masked_fill(flat, 1)
    adjacent = (y * x.sign()).masked_fill(x == 0, 1).masked_fill(flat, 0)
    return strength, torch.atan2(opposite, adjacent)


__all__ = ["qabf_loss", "vif_loss"]
