"""Metrics from differences between neighboring pixels: SF, AG, Qabf and Nabf."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .filtering import sobel, strips
from .images import gray_levels
from .memoization import memoized
from .options import check_options

_PIXELS = (-2, -1)
# Makes 0 / 0 a 0. It changes no other result, because it is rounded away when added to the strength of an edge.
_TINY = 1e-100
_BELOW_16 = math.nextafter(16, 0)


def spatial_frequency(fused: Tensor, *, data_range: float = 255.0) -> Tensor:
    """Return the spatial frequency (SF) of the fused image: 0 to 255 sqrt(2), higher is better.

    `SF = sqrt(RF^2 + CF^2)` with the root mean squares of the differences between neighbors in rows and in columns, without
    padding. A constant image has 0. Noise raises SF as much as detail does.

    Image (B, 1, H, W) or (H, W), 2x2 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        data_range: Scale the image to 0 to this number first; the maximum is then sqrt(2) times it.

    Raises:
        ValueError: If the image has another shape, size or range, or an option another value.

    Source: Eskicioglu and Fisher 1995, doi:10.1109/26.477498.

    Examples:
        >>> spatial_frequency(torch.tensor([[0, 3], [4, 7]]))
        tensor([5.], dtype=torch.float64)
    """
    check_options(spatial_frequency, data_range=data_range)
    (levels,) = gray_levels(2, fused=fused)
    energy = sum(levels.diff(dim=dim).square().mean(_PIXELS) for dim in _PIXELS)
    return torch.as_tensor(energy).sqrt() * (data_range / 255)


def average_gradient(fused: Tensor, *, divisor: Literal["pixels", "intervals"] = "pixels") -> Tensor:
    """Return the average gradient (AG) of the fused image, its sharpness: 0 to 255, higher is better.

    `AG = mean(sqrt((Gx^2 + Gy^2) / 2))` with central differences, one-sided at the border. A constant image has 0.
    Noise raises AG as much as detail does.

    Image (B, 1, H, W) or (H, W), 2x2 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        divisor: Divide the sum over the H W pixels by their number, or by the (H - 1)(W - 1) `"intervals"` as a widely
            used MATLAB program does.

    Raises:
        ValueError: If the image has another shape, size or range, or an option another value.

    Source: Cui et al. 2015, doi:10.1016/j.optcom.2014.12.032.

    Examples:
        >>> average_gradient(torch.tensor([[0, 6], [8, 14]]))
        tensor([7.0711], dtype=torch.float64)
    """
    check_options(average_gradient, divisor=divisor)
    (levels,) = gray_levels(2, fused=fused)
    vertical, horizontal = torch.gradient(levels, dim=_PIXELS)
    total = ((vertical.square() + horizontal.square()) / 2).sqrt().sum(_PIXELS)
    height, width = levels.shape[-2:]
    return total / (height * width if divisor == "pixels" else (height - 1) * (width - 1))


@memoized
def _edges(region: Tensor) -> tuple[Tensor, Tensor]:
    """Return the edge strength of each inner pixel, and its orientation `pi/2 - atan(y / x)` in [0, pi), or 0 if x is 0."""
    x, y = sobel(region)
    # atan2 takes half the time of atan with its special cases; adding 0 turns -0, whose angle is pi, into 0.
    orientation = torch.atan2(x.abs(), (y * x.sgn()).add_(0.0))
    return x.square_().add_(y.square_()).sqrt_(), orientation


def _regions(images: list[Tensor], border: str) -> Iterator[tuple[Tensor, ...]]:
    """Cut images into strips, which all metrics share, and four padded sides; their inner pixels cover the images."""

    def cut(image: Tensor) -> list[Tensor]:
        top, bottom = F.pad(image[:, :2], (1, 1, 1, 0), border), F.pad(image[:, -2:], (1, 1, 0, 1), border)
        left, right = F.pad(image[..., :2], (1, 0, 0, 0), border), F.pad(image[..., -2:], (0, 1, 0, 0), border)
        return [*strips(image, window=3), top, bottom, left, right]

    return zip(*map(cut, images), strict=True)


def _strength_ratio(first: Tensor, second: Tensor) -> Tensor:
    """Return the weaker strength divided by the stronger one, or 0 if both are 0."""
    return torch.minimum(first, second).div_(torch.maximum(first, second).add_(_TINY))


def _logistic(slope: float, values: Tensor, center: float) -> Tensor:
    return (values - center).mul_(slope).sigmoid_()


def qabf(fused: Tensor, visible: Tensor, infrared: Tensor, *, tie_range: float | None = None) -> Tensor:
    """Return the edge transfer (Qabf, Q^AB/F), the edges of both sources that are kept: 0 to 1, higher is better.

    The edge of each pixel keeps `Q = 0.9994 s(15 (G - 0.5)) 0.9879 s(22 (A - 0.8))` with the logistic function s, the
    ratio G of the weaker to the stronger edge strength (Sobel) and the agreement `A = 1 - |a_S - a_F| / (pi/2)` of the
    orientations. Qabf is the mean of Q over the pixels of both sources, weighted by their edge strength.

    Images are padded with zeros, as in all published programs, so the frame counts as an edge. Two black sources give 0.

    Images (B, 1, H, W) or (H, W), 3x3 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        tie_range: G for equal strengths. None: 1, as in the paper's equation. A number: the strength itself, for images in
            the range 0 to this number, as in widely copied programs. With 1, the result depends on the last bit of each
            gradient; additions are in the order of MATLAB's `conv2`.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Xydeas and Petrovic 2000, doi:10.1049/el:20000267.

    Examples:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> qabf(image, visible=image, infrared=image)
        tensor([0.9748], dtype=torch.float64)
    """
    check_options(qabf, tie_range=tie_range)
    images = gray_levels(3, fused=fused, visible=visible, infrared=infrared)
    if tie_range is not None:
        images = [image / (255 / tie_range) for image in images]
    kept, weights = torch.zeros(2, images[0].shape[0], dtype=torch.float64, device=images[0].device)
    for fused, *sources in _regions(images, "constant"):
        fused_strength, fused_orientation = _edges(fused)
        for source in sources:
            strength, orientation = _edges(source)
            ratio = _strength_ratio(strength, fused_strength)
            if tie_range is not None:
                ratio = torch.where(strength == fused_strength, strength, ratio)
            agreement = (orientation - fused_orientation).abs_().div_(-math.pi / 2).add_(1)
            quality = _logistic(15, ratio, 0.5).mul_(_logistic(22, agreement, 0.8))
            kept += 0.9994 * 0.9879 * quality.mul_(strength).sum(_PIXELS)
            weights += strength.sum(_PIXELS)
    return kept / (weights + _TINY)


def nabf(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Return the fusion artifacts (Nabf, N^AB/F), edges of the fused image that no source has: 0 to 1, lower is better.

    Where the fused image has a stronger edge than both sources (m = 1, else 0), the parts of the sources' edges that are
    not kept count as artifacts: `Nabf = sum m [(1 - Q_V) w_V + (1 - Q_R) w_R] / sum (w_V + w_R)` with
    `Q = sqrt(0.9999 s(19 (G - 0.5)) 0.9995 s(22 (A - 0.5)))`, the logistic function s, the ratio G of strengths (0 if one
    of them is 0), the agreement A of orientations (1 when parallel), and w = strength^1.5, or 0.001 for strengths below 2.
    Sobel responses are divided by 8; images are mirrored at the border.

    Images (B, 1, H, W) or (H, W), 3x3 pixels or more, gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Raises:
        ValueError: If an image has another shape, size or range.

    Source: Shreyamsha Kumar 2013, doi:10.1007/s11760-012-0361-x, after Petrovic and Xydeas 2005.

    Examples:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> nabf(image, visible=image // 2, infrared=image // 4)
        tensor([0.4536], dtype=torch.float64)
    """
    images = gray_levels(3, fused=fused, visible=visible, infrared=infrared)
    artifacts, weights = torch.zeros(2, images[0].shape[0], dtype=torch.float64, device=images[0].device)
    for fused, *sources in _regions(images, "reflect"):
        fused_strength, fused_orientation = _edges(fused)
        strongest = lost = torch.zeros_like(fused_strength)
        for source in sources:
            strength, orientation = _edges(source)
            ratio = _strength_ratio(strength, fused_strength)
            agreement = (orientation - fused_orientation).abs_().sub_(math.pi / 2).abs_().div_(math.pi / 2)
            squared_quality = _logistic(19, ratio, 0.5).mul_(_logistic(22, agreement, 0.5))
            edge = F.threshold(strength, _BELOW_16, 0.0).div_(8)
            weight = edge.sqrt().mul_(edge).clamp_(min=0.001)
            strongest = torch.maximum(strongest, strength)
            lost = lost + (1 - squared_quality.mul_(0.9999 * 0.9995).sqrt_()).mul_(weight)
            weights += weight.sum(_PIXELS)
        artifacts += (lost * (fused_strength > strongest)).sum(_PIXELS)
    return artifacts / weights
