"""Metrics from means, variances and correlations of whole images: SD, CC, SCD, MSE and PSNR."""

from typing import Literal

import torch
from torch import Tensor

from .images import gray_levels
from .memoization import memoized
from .options import check_options

_PIXELS = (-2, -1)


@memoized
def _centered(levels: Tensor) -> Tensor:
    return levels - levels.mean(_PIXELS, keepdim=True)


@memoized
def _energy(centered: Tensor) -> Tensor:
    return centered.square().sum(_PIXELS)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return the Pearson correlation of centered images, or 0 if one of them is constant."""
    scale = (_energy(first) * _energy(second)).sqrt()
    return torch.where(scale > 0, (first * second).sum(_PIXELS) / scale, 0.0)


def standard_deviation(fused: Tensor, *, saturating: bool = False) -> Tensor:
    """Return the standard deviation (SD) of the fused image, its contrast: 0 to 127.5, higher is better.

    `SD = sqrt(mean((F - mean F)^2))` over all pixels. A constant image has 0.

    Image (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        saturating: Compute as MATLAB does on a `uint8` image: differences are rounded and clipped at 0, squares at 255.
            Pixels below the mean count as 0, and the value stays below sqrt(255), about 16. Papers of 2022 report such values.

    Raises:
        ValueError: If the image has another shape, size or range, or an option another value.

    Source: Ma, Ma and Li 2019, doi:10.1016/j.inffus.2018.02.004.

    Examples:
        >>> standard_deviation(torch.tensor([[0, 0], [100, 100]]))
        tensor([50.], dtype=torch.float64)
    """
    check_options(standard_deviation, saturating=saturating)
    (levels,) = gray_levels(1, fused=fused)
    differences = _centered(levels)
    if saturating:
        return (differences + 0.5).floor().clamp(min=0).square().clamp(max=255).mean(_PIXELS).sqrt()
    return (_energy(differences) / levels[0].numel()).sqrt()


def correlation_coefficient(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Return the mean correlation coefficient (CC) with both sources: -1 to 1, higher is better.

    `CC = (r(F, V) + r(F, R)) / 2` with Pearson's r, or 0 if an image is constant.

    Images (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Raises:
        ValueError: If an image has another shape, size or range.

    Source: Ma, Ma and Li 2019, doi:10.1016/j.inffus.2018.02.004.

    Examples:
        >>> image = torch.tensor([[0, 50], [100, 150]])
        >>> correlation_coefficient(image, visible=image, infrared=torch.tensor([[0, 50], [50, 0]]))
        tensor([0.5000], dtype=torch.float64)
    """
    fused, visible, infrared = map(_centered, gray_levels(1, fused=fused, visible=visible, infrared=infrared))
    return (_correlation(fused, visible) + _correlation(fused, infrared)) / 2


def sum_of_correlations_of_differences(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Return the sum of the correlations of differences (SCD): -2 to 2, higher is better.

    `SCD = r(F - R, V) + r(F - V, R)` with Pearson's r, or 0 if an image or a difference is constant. The difference between
    F and one source should correlate with the other source. The sum of both sources minus a constant scores nearly 2.

    Images (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Raises:
        ValueError: If an image has another shape, size or range.

    Source: Aslantas and Bendes 2015, doi:10.1016/j.aeue.2015.09.004.

    Examples:
        >>> visible = torch.tensor([[0, 50], [100, 100]])
        >>> infrared = torch.tensor([[100, 0], [0, 50]])
        >>> sum_of_correlations_of_differences(visible + infrared, visible, infrared).round(decimals=4)
        tensor([2.], dtype=torch.float64)
    """
    fused, visible, infrared = gray_levels(1, fused=fused, visible=visible, infrared=infrared)
    # Differences of gray levels are exact, so that a constant one is 0 after centering.
    without_infrared, without_visible = _centered(fused - infrared), _centered(fused - visible)
    return _correlation(without_infrared, _centered(visible)) + _correlation(without_visible, _centered(infrared))


def mean_squared_error(fused: Tensor, visible: Tensor, infrared: Tensor, *, data_range: float = 255.0) -> Tensor:
    """Return the mean squared error (MSE) against both sources, mean of both: 0 to 65025, lower is better.

    `MSE = (mean((F - V)^2) + mean((F - R)^2)) / 2` over all pixels.

    Images (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        data_range: Scale the images to 0 to this number first; the maximum is then its square.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Jagalingam and Hegde 2015, doi:10.1016/j.aqpro.2015.02.019.

    Examples:
        >>> fused = torch.full((2, 2), 10)
        >>> mean_squared_error(fused, visible=fused + 2, infrared=fused)
        tensor([2.], dtype=torch.float64)
    """
    check_options(mean_squared_error, data_range=data_range)
    fused, *sources = gray_levels(1, fused=fused, visible=visible, infrared=infrared)
    return torch.stack([_squared_error(fused, source) for source in sources]).mean(0) * (data_range / 255) ** 2


@memoized
def _squared_error(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().mean(_PIXELS)


def peak_signal_to_noise_ratio(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    *,
    data_range: float = 255.0,
    peak: float | Literal["fused"] = 255.0,
) -> Tensor:
    """Return the peak signal-to-noise ratio (PSNR) against both sources, in decibels: 0 or more, higher is better.

    `PSNR = 10 log10(peak^2 / MSE)` with the [`mean_squared_error`] of both sources. Infinite if all three images are equal.

    Images (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        data_range: Scale the images to 0 to this number before the MSE is computed.
        peak: Peak signal; `"fused"` uses the maximum of the fused image, and the value can then be negative. A published
            MATLAB program uses `data_range=1` and `peak=255`, which adds 48.13 dB.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Jagalingam and Hegde 2015, doi:10.1016/j.aqpro.2015.02.019.

    Examples:
        >>> fused = torch.full((2, 2), 100)
        >>> peak_signal_to_noise_ratio(fused, visible=fused + 10, infrared=fused - 10)
        tensor([28.1308], dtype=torch.float64)
    """
    check_options(peak_signal_to_noise_ratio, data_range=data_range, peak=peak)
    error = mean_squared_error(fused, visible, infrared, data_range=data_range)
    (levels,) = gray_levels(1, fused=fused)
    signal = levels.amax(_PIXELS) if peak == "fused" else torch.full_like(error, peak)
    return 20 * signal.log10() - 10 * error.log10()
