"""Visual information fidelity: VIF, the sum that papers report, and VIFF, which they often cite instead."""

from collections.abc import Iterator
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor

from .filtering import Taps, gaussian_taps, local_covariance, smooth, strips
from .images import gray_levels
from .memoization import memoized, memoizing
from .options import check_options

_PIXELS = (-2, -1)
_SCALES = tuple(gaussian_taps(size, sigma=size / 5) for size in (17, 9, 5, 3))
_MIN_SIZE = 41
_FLAT = 1e-10
_NOISE = 2.0
_VIFF_NOISE = 0.005 * 255**2
# By scale; the weight of the second one is 0.
_VIFF_WEIGHTS = {0: 1 / 2.15, 2: 0.15 / 2.15, 3: 1 / 2.15}
_VIFF_GUARD = 1e-7


@memoized
def _pyramid(image: Tensor) -> list[Tensor]:
    """Return the image at the four scales, each smoothed with the scale's own window and halved."""
    return list(accumulate(_SCALES[1:], lambda level, taps: smooth(level, taps, stride=2), initial=image))


def _strips_at(scale: int, *images: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Yield corresponding strips of the images at one scale, cut for its window."""
    return zip(*(strips(_pyramid(image)[scale], len(_SCALES[scale])) for image in images), strict=True)


def _covariance(first: Tensor, second: Tensor, taps: Taps, saturating: bool) -> Tensor:
    """Return the covariance in each window, with 0 for negative values and rounding errors."""
    return F.threshold(local_covariance(first, second, taps, saturating), _FLAT, 0.0)


@memoized
def _channel(source: Tensor, fused: Tensor, taps: Taps, saturating: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Fit `fused = gain * source + residual` in windows; return gain, explained, residual and source variance."""
    source_variance = _covariance(source, source, taps, saturating)
    fused_variance = _covariance(fused, fused, taps, saturating)
    covariance = _covariance(source, fused, taps, saturating)
    # The covariance with a flat window is 0; saturated products can give another value.
    covariance.mul_(source_variance.sgn()).mul_(fused_variance.sgn())
    gain = covariance / (source_variance + _FLAT)
    explained = gain * covariance
    return gain, explained, (fused_variance - explained).clamp_(min=_FLAT), source_variance


def _information(noise: float, explained: Tensor, residual: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the information on the source in each window, from the fused image and from the source, under visual noise."""
    return (explained / (residual + noise)).log1p_(), (variance / noise).log1p_()


def vif(fused: Tensor, visible: Tensor, infrared: Tensor, *, saturating: bool = False) -> Tensor:
    """Return the visual information fidelity (VIF) for both sources, summed: 0 or more, higher is better.

    Each term is the pixel-domain VIF of the fused image against one source: the information about the source in the fused
    image, divided by the information in the source, in windows at four scales, with a visual noise of variance 2. It is 1
    for a copy of the source or a source without contrast, and higher for raised contrast.

    Papers on image fusion report this sum as VIF, often citing Han et al. 2013, whose metric is [`viff`].

    Images (B, 1, H, W) or (H, W), 41x41 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        saturating: Clip products of pixels at 255 at the finest scale, as MATLAB does on `uint8` images, which leaves
            hardly any contrast. Papers of 2022 report such values.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Sheikh and Bovik 2006, doi:10.1109/TIP.2005.859378, in the pixel domain (their program `vifp_mscale`): windows of
    17, 9, 5 and 3 pixels inside the image.

    Examples:
        >>> image = torch.arange(64 * 64).reshape(64, 64) % 256
        >>> vif(image, visible=image, infrared=torch.full((64, 64), 128)).round(decimals=4)
        tensor([2.], dtype=torch.float64)
    """
    check_options(vif, saturating=saturating)
    fused, *sources = gray_levels(_MIN_SIZE, fused=fused, visible=visible, infrared=infrared)
    score = torch.zeros(fused.shape[0], dtype=torch.float64, device=fused.device)
    with memoizing():
        for source in sources:
            kept, available = torch.zeros_like(score), torch.zeros_like(score)
            for scale, taps in enumerate(_SCALES):
                for source_strip, fused_strip in _strips_at(scale, source, fused):
                    _, *channel = _channel(source_strip, fused_strip, taps, saturating and scale == 0)
                    kept_here, available_here = _information(_NOISE, *channel)
                    kept += kept_here.sum(_PIXELS)
                    available += available_here.sum(_PIXELS)
            score += torch.where(available > 0, kept / available, 1.0)
    return score


def viff(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Return the visual information fidelity for fusion (VIFF) of Han et al.: 0 or more, higher is better.

    Each window uses the source with the smaller gain, or the visible source if the gains are equal. At each of the four
    scales of [`vif`], with a visual noise of variance 0.005 * 255^2, the kept information is divided by the available
    information; the scales have the weights 1, 0, 0.15 and 1, divided by 2.15. Three constant images give 1. Papers often
    call [`vif`] by this name.

    Images (B, 1, H, W) or (H, W), 41x41 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Raises:
        ValueError: If an image has another shape, size or range.

    Source: Han et al. 2013, doi:10.1016/j.inffus.2011.08.002, with the constants of their program for gray images.

    Examples:
        >>> image = torch.arange(64 * 64).reshape(64, 64) % 256
        >>> viff(image, visible=image, infrared=image).round(decimals=4)
        tensor([1.], dtype=torch.float64)
    """
    fused, visible, infrared = gray_levels(_MIN_SIZE, fused=fused, visible=visible, infrared=infrared)
    score = torch.zeros(fused.shape[0], dtype=torch.float64, device=fused.device)
    with memoizing():
        for scale, weight in _VIFF_WEIGHTS.items():
            taps = _SCALES[scale]
            kept, available = torch.zeros_like(score), torch.zeros_like(score)
            for fused_strip, visible_strip, infrared_strip in _strips_at(scale, fused, visible, infrared):
                from_visible = _channel(visible_strip, fused_strip, taps, False)
                from_infrared = _channel(infrared_strip, fused_strip, taps, False)
                takes_infrared = (from_infrared[0] < from_visible[0]).double()
                # lerp with weights 0 and 1 selects exactly, and ten times faster than where.
                _, *channel = (
                    torch.lerp(*pair, takes_infrared) for pair in zip(from_visible, from_infrared, strict=True)
                )
                kept_here, available_here = _information(_VIFF_NOISE, *channel)
                kept += (kept_here + _VIFF_GUARD).sum(_PIXELS)
                available += (available_here + _VIFF_GUARD).sum(_PIXELS)
            score += weight * kept / available
    return score
