"""Metrics from means, variances and correlations of whole images: SD, CC, SCD, MSE and PSNR."""

from typing import Literal

import torch
from torch import Tensor

from .base import FusionMetric
from .images import grey_levels
from .sharing import shared

_PIXELS = (-2, -1)


@shared
def _centred(levels: Tensor) -> Tensor:
    return levels - levels.mean(_PIXELS, keepdim=True)


@shared
def _energy(centred: Tensor) -> Tensor:
    return centred.square().sum(_PIXELS)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Pearson correlation of centred images, 0 where one of them is constant."""
    scale = (_energy(first) * _energy(second)).sqrt()
    return torch.where(scale > 0, (first * second).sum(_PIXELS) / scale, 0.0)


def standard_deviation(fused: Tensor, *, saturating: bool = False) -> Tensor:
    """Standard deviation (SD) of the grey levels of the fused image, from 0 to 127.5: its contrast.

    `SD = sqrt(mean((F - mean F)^2))`, over all pixels. A constant image has 0.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        saturating: Compute as MATLAB does on a `uint8` image: differences are rounded and cut off at 0, squares at
            255. That counts bright pixels only and ends at sqrt(255), near 16; papers of 2022 report such values.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the image is not such a tensor.

    Source:
        Ma, Ma and Li 2019.

    Example:
        >>> standard_deviation(torch.tensor([[0, 0], [100, 100]]))
        tensor([50.], dtype=torch.float64)
    """
    (levels,) = grey_levels(1, fused=fused)
    differences = _centred(levels)
    if saturating:
        return (differences + 0.5).floor().clamp(min=0).square().clamp(max=255).mean(_PIXELS).sqrt()
    return (_energy(differences) / levels[0].numel()).sqrt()


def correlation_coefficient(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Correlation coefficient (CC) of the fused image with each source, mean of both: from -1 to 1.

    `CC = (r(F, V) + r(F, R)) / 2` with Pearson's r, which counts as 0 where an image is constant.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Ma, Ma and Li 2019.

    Example:
        >>> image = torch.tensor([[0, 50], [100, 150]])
        >>> correlation_coefficient(image, visible=image + 10, infrared=150 - image)
        tensor([0.], dtype=torch.float64)
    """
    fused, visible, infrared = map(_centred, grey_levels(1, fused=fused, visible=visible, infrared=infrared))
    return (_correlation(fused, visible) + _correlation(fused, infrared)) / 2


def sum_of_correlations_of_differences(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Sum of the correlations of differences (SCD): from -2 to 2.

    `SCD = r(F - R, V) + r(F - V, R)` with Pearson's r: what the fused image has beyond one source should come from the
    other. r counts as 0 where an image or a difference is constant. Mind that the plain sum of both sources, less their
    mean, scores close to 2.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Aslantas and Bendes 2015.

    Example:
        >>> visible = torch.tensor([[0, 50], [100, 100]])
        >>> infrared = torch.tensor([[100, 0], [0, 50]])
        >>> sum_of_correlations_of_differences(visible + infrared, visible, infrared)
        tensor([2.], dtype=torch.float64)
    """
    # Centring is linear, so the centred difference is the difference of the centred images.
    fused, visible, infrared = map(_centred, grey_levels(1, fused=fused, visible=visible, infrared=infrared))
    return _correlation(fused - infrared, visible) + _correlation(fused - visible, infrared)


def mean_squared_error(fused: Tensor, visible: Tensor, infrared: Tensor, *, data_range: float = 255.0) -> Tensor:
    """Mean squared error (MSE) between the fused image and each source, mean of both; lower is better.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.
        data_range: The images are put on 0 to this number first.

    Returns:
        Tensor of shape (B,), `torch.float64`, from 0 to `data_range ** 2`.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Jagalingam and Hegde 2015.

    Example:
        >>> fused = torch.full((2, 2), 10)
        >>> mean_squared_error(fused, visible=fused + 2, infrared=fused)
        tensor([2.], dtype=torch.float64)
    """
    fused, *sources = grey_levels(1, fused=fused, visible=visible, infrared=infrared)
    return torch.stack([_squared_error(fused, source) for source in sources]).mean(0) * (data_range / 255) ** 2


@shared
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
    """Peak signal-to-noise ratio (PSNR) of the fused image against both sources, in decibels.

    `PSNR = 10 log10(peak^2 / MSE)` with the MSE of both sources. Infinite where all three images are the same.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.
        data_range: The images are put on 0 to this number before the MSE is taken.
        peak: Peak signal; `"fused"` takes the brightest level of the fused image. A published MATLAB program has
            `data_range=1` and `peak=255`, which adds 48.13 dB.

    Returns:
        Tensor of shape (B,), `torch.float64`; 0 or more with the default options.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Jagalingam and Hegde 2015.

    Example:
        >>> fused = torch.full((2, 2), 100)
        >>> peak_signal_to_noise_ratio(fused, visible=fused + 10, infrared=fused - 10)
        tensor([28.1308], dtype=torch.float64)
    """
    error = mean_squared_error(fused, visible, infrared, data_range=data_range)
    (levels,) = grey_levels(1, fused=fused)
    signal = levels.amax(_PIXELS) if peak == "fused" else torch.full_like(error, peak)
    return 20 * signal.log10() - 10 * error.log10()


class SD(FusionMetric):
    """Standard deviation of the fused image, mean over images. See `functional.standard_deviation`.

    Example:
        >>> metric = SD()
        >>> metric.update(torch.tensor([[0, 0], [100, 100]]))
        >>> metric.compute()
        tensor(50., dtype=torch.float64)
    """

    name = "SD"
    title = "Standard deviation of the fused image"
    functional = staticmethod(standard_deviation)
    needs_sources = False
    higher_is_better = True
    value_range = (0.0, 127.5)
    reference = (
        "J. Ma, Y. Ma and C. Li, Infrared and visible image fusion methods and applications: A survey, Information "
        "Fusion 45, 2019, doi:10.1016/j.inffus.2018.02.004"
    )


class CC(FusionMetric):
    """Correlation with both sources, mean over images. See `functional.correlation_coefficient`.

    Example:
        >>> image = torch.tensor([[0, 50], [100, 150]])
        >>> metric = CC()
        >>> metric.update(image, visible=image + 10, infrared=150 - image)
        >>> metric.compute()
        tensor(0., dtype=torch.float64)
    """

    name = "CC"
    title = "Correlation coefficient with the sources, mean of both"
    functional = staticmethod(correlation_coefficient)
    higher_is_better = True
    value_range = (-1.0, 1.0)
    reference = SD.reference


class SCD(FusionMetric):
    """Sum of the correlations of differences, mean over images. See `functional.sum_of_correlations_of_differences`.

    Example:
        >>> visible = torch.tensor([[0, 50], [100, 100]])
        >>> infrared = torch.tensor([[100, 0], [0, 50]])
        >>> metric = SCD()
        >>> metric.update(visible + infrared, visible, infrared)
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    name = "SCD"
    title = "Sum of the correlations of differences"
    functional = staticmethod(sum_of_correlations_of_differences)
    higher_is_better = True
    value_range = (-2.0, 2.0)
    reference = (
        "V. Aslantas and E. Bendes, A new image quality metric for image fusion: The sum of the correlations of "
        "differences, AEU International Journal of Electronics and Communications 69(12), 2015, "
        "doi:10.1016/j.aeue.2015.09.004"
    )


class MSE(FusionMetric):
    """Mean squared error against both sources, mean over images. See `functional.mean_squared_error`.

    Example:
        >>> fused = torch.full((2, 2), 10)
        >>> metric = MSE()
        >>> metric.update(fused, visible=fused + 2, infrared=fused)
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    name = "MSE"
    title = "Mean squared error against the sources, mean of both"
    functional = staticmethod(mean_squared_error)
    higher_is_better = False
    value_range = (0.0, 65025.0)
    reference = (
        "P. Jagalingam and A. V. Hegde, A review of quality metrics for fused image, Aquatic Procedia 4, 2015, "
        "doi:10.1016/j.aqpro.2015.02.019"
    )


class PSNR(FusionMetric):
    """Peak signal-to-noise ratio against both sources, mean over images. See `functional.peak_signal_to_noise_ratio`.

    Example:
        >>> fused = torch.full((2, 2), 100)
        >>> metric = PSNR()
        >>> metric.update(fused, visible=fused + 10, infrared=fused - 10)
        >>> metric.compute()
        tensor(28.1308, dtype=torch.float64)
    """

    name = "PSNR"
    title = "Peak signal-to-noise ratio against both sources, in dB"
    functional = staticmethod(peak_signal_to_noise_ratio)
    higher_is_better = True
    value_range = (0.0, float("inf"))
    reference = MSE.reference
