"""Structural similarity: SSIM and MS-SSIM."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .filtering import Taps, gaussian_taps, local_covariance, local_mean, strips
from .images import gray_levels
from .memoization import memoized, memoizing
from .options import check_options

_PIXELS = (-2, -1)
_GAUSSIAN = gaussian_taps(11, sigma=1.5)
_UNIFORM = (1 / 7,) * 7
_MS_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_MS_MINIMUM_SIZE = len(_GAUSSIAN) * 2 ** (len(_MS_WEIGHTS) - 1)


def _constants(data_range: float) -> tuple[float, float]:
    return (0.01 * data_range) ** 2, (0.03 * data_range) ** 2


@memoized
def _similarity(first: Tensor, second: Tensor, taps: Taps, c1: float, c2: float) -> tuple[Tensor, Tensor]:
    """Return the means (B,) over all windows of the SSIM and of its contrast-structure factor."""
    ssim_total, structure_total = torch.zeros(2, first.shape[0], dtype=first.dtype, device=first.device)
    for one, other in zip(strips(first, len(taps)), strips(second, len(taps)), strict=True):
        one_mean, other_mean = local_mean(one, taps), local_mean(other, taps)
        luminance = (one_mean * other_mean).mul_(2).add_(c1)
        luminance.div_(one_mean.square().add_(other_mean.square()).add_(c1))
        variances = local_covariance(one, one, taps) + local_covariance(other, other, taps)
        structure = (2 * local_covariance(one, other, taps)).add_(c2).div_(variances.add_(c2))
        structure_total += structure.sum(_PIXELS)
        ssim_total += luminance.mul_(structure).sum(_PIXELS)
    windows = (first.shape[-2] - len(taps) + 1) * (first.shape[-1] - len(taps) + 1)
    return ssim_total / windows, structure_total / windows


def ssim(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    *,
    data_range: float = 255.0,
    window: Literal["gaussian", "uniform"] = "gaussian",
) -> Tensor:
    """Return the structural similarity (SSIM) with both sources, summed: -2 to 2, higher is better.

    Each term is the mean SSIM with K1 = 0.01 and K2 = 0.03 over all windows inside the image, without padding.

    Images (B, 1, H, W) or (H, W), 11x11 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        data_range: The L of both constants; it does not scale the gray levels. With 2, the former default of scikit-image
            for floating-point images, the constants are negligible.
        window: `"gaussian"` is the paper's window, 11x11 with a standard deviation of 1.5; `"uniform"` is scikit-image's
            default, 7x7 (also the minimum size) with sample (n - 1) covariances.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Wang, Bovik, Sheikh and Simoncelli 2004, doi:10.1109/TIP.2003.819861.

    Examples:
        >>> image = torch.arange(256).reshape(16, 16)
        >>> ssim(image, visible=image, infrared=255 - image)
        tensor([0.1738], dtype=torch.float64)
    """
    check_options(ssim, data_range=data_range, window=window)
    taps = _GAUSSIAN if window == "gaussian" else _UNIFORM
    c1, c2 = _constants(data_range)
    if window == "uniform":
        # Sample covariances are 49/48 of ours; dividing the constant instead gives the same quotient.
        c2 *= 48 / 49
    fused, *sources = gray_levels(len(taps), fused=fused, visible=visible, infrared=infrared)
    with memoizing():
        scores = [_similarity(fused, source, taps, c1, c2)[0] for source in sources]
    return torch.stack(scores).sum(0)


@memoized
def _halve(levels: Tensor) -> Tensor:
    return F.avg_pool2d(levels, 2)


def ms_ssim(fused: Tensor, visible: Tensor, infrared: Tensor, *, data_range: float = 255.0) -> Tensor:
    """Return the multi-scale structural similarity (MS-SSIM) with both sources, summed: 0 to 2, higher is better.

    Each term is the product of the mean contrast-structure factors at four scales and the mean [`ssim`] at the fifth and
    coarsest scale, raised to the paper's powers; a negative mean counts as 0. Images are halved by averaging 2x2 pixels; an
    odd last row or column is dropped. The window is the 11x11 Gaussian, inside the image at all scales.

    Images (B, 1, H, W) or (H, W), 176x176 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        data_range: The L of both constants of the SSIM.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Wang, Simoncelli and Bovik 2003, doi:10.1109/ACSSC.2003.1292216.

    Examples:
        >>> image = torch.arange(176 * 176).reshape(176, 176) % 256
        >>> ms_ssim(image, visible=image, infrared=255 - image).round(decimals=4)
        tensor([1.], dtype=torch.float64)
    """
    check_options(ms_ssim, data_range=data_range)
    fused, *sources = gray_levels(_MS_MINIMUM_SIZE, fused=fused, visible=visible, infrared=infrared)
    with memoizing():
        scores = [_ms_ssim_term(fused, source, *_constants(data_range)) for source in sources]
    return torch.stack(scores).sum(0)


def _ms_ssim_term(first: Tensor, second: Tensor, c1: float, c2: float) -> Tensor:
    *finer, coarsest = _MS_WEIGHTS
    term = torch.ones(first.shape[0], dtype=first.dtype, device=first.device)
    for weight in finer:
        _, structure = _similarity(first, second, _GAUSSIAN, c1, c2)
        term *= structure.clamp(min=0) ** weight
        first, second = _halve(first), _halve(second)
    similarity, _ = _similarity(first, second, _GAUSSIAN, c1, c2)
    return term * similarity.clamp(min=0) ** coarsest
