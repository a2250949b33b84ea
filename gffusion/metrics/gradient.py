"""Metrics from differences of neighbouring pixels: SF, AG, Qabf and Nabf."""

import math
from collections.abc import Iterator
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import FusionMetric
from .filtering import sobel, strips
from .images import grey_levels
from .sharing import shared

_PIXELS = (-2, -1)
# Keeps 0 / 0 at 0 and changes nothing else: it vanishes beside the least strength of an edge.
_TINY = 1e-100
_BELOW_16 = math.nextafter(16, 0)


def spatial_frequency(fused: Tensor, *, data_range: float = 255.0) -> Tensor:
    """Spatial frequency (SF) of the fused image: how much neighbouring pixels differ.

    `SF = sqrt(RF^2 + CF^2)`, the root mean squares of the differences along rows and along columns; each mean is over
    the differences that exist, nothing is padded. A constant image has 0; noise raises it as much as detail does.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), 2x2 pixels at least, grey levels from 0 to 255, rounded to whole
            ones.
        data_range: The image is put on 0 to this number first.

    Returns:
        Tensor of shape (B,), `torch.float64`, from 0 to `sqrt(2) * data_range`.

    Raises:
        ValueError: If the image is not such a tensor.

    Source:
        Eskicioglu and Fisher 1995.

    Example:
        >>> spatial_frequency(torch.tensor([[0, 3], [4, 7]]))
        tensor([5.], dtype=torch.float64)
    """
    (levels,) = grey_levels(2, fused=fused)
    energy = sum(levels.diff(dim=dim).square().mean(_PIXELS) for dim in _PIXELS)
    return torch.as_tensor(energy).sqrt() * (data_range / 255)


def average_gradient(fused: Tensor, *, divisor: Literal["pixels", "intervals"] = "pixels") -> Tensor:
    """Average gradient (AG) of the fused image, from 0 to 255: its sharpness.

    `AG = mean(sqrt((Gx^2 + Gy^2) / 2))` with central differences, one-sided at the border. A constant image has 0;
    noise raises it as much as detail does.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), 2x2 pixels at least, grey levels from 0 to 255, rounded to whole
            ones.
        divisor: The sum over the H W pixels is divided by their number, or by (H - 1)(W - 1) `"intervals"` as a widely
            used MATLAB program does.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the image is not such a tensor, or `divisor` is unknown.

    Source:
        Cui et al. 2015.

    Example:
        >>> average_gradient(torch.tensor([[0, 6], [8, 14]]))
        tensor([7.0711], dtype=torch.float64)
    """
    if divisor not in ("pixels", "intervals"):
        raise ValueError(f"Got the divisor {divisor!r}. Allowed are 'pixels' and 'intervals'.")
    (levels,) = grey_levels(2, fused=fused)
    vertical, horizontal = torch.gradient(levels, dim=_PIXELS)
    total = ((vertical.square() + horizontal.square()) / 2).sqrt().sum(_PIXELS)
    height, width = levels.shape[-2:]
    return total / (height * width if divisor == "pixels" else (height - 1) * (width - 1))


@shared
def _edges(region: Tensor) -> tuple[Tensor, Tensor]:
    """Strength of the edge at each inner pixel and its orientation `pi/2 - atan(y / x)` in [0, pi), 0 where x is."""
    x, y = sobel(region)
    # atan2 takes half the time of atan with its special cases; adding 0 makes -0 a 0, whose angle is not pi.
    orientation = torch.atan2(x.abs(), (y * x.sgn()).add_(0.0))
    return x.square_().add_(y.square_()).sqrt_(), orientation


def _regions(images: list[Tensor], border: str) -> Iterator[tuple[Tensor, ...]]:
    """Cut images into regions for [`_edges`] whose inner pixels make up the images: strips, and the four sides.

    Only the sides depend on the border, `"constant"` zeros or `"reflect"`: metrics with another one share the strips.
    """

    def cut(image: Tensor) -> list[Tensor]:
        top, bottom = F.pad(image[:, :2], (1, 1, 1, 0), border), F.pad(image[:, -2:], (1, 1, 0, 1), border)
        left, right = F.pad(image[..., :2], (1, 0, 0, 0), border), F.pad(image[..., -2:], (0, 1, 0, 0), border)
        return [*strips(image, window=3), top, bottom, left, right]

    return zip(*map(cut, images), strict=True)


def _strength_ratio(first: Tensor, second: Tensor) -> Tensor:
    """Weaker over stronger, 0 where both are 0."""
    return torch.minimum(first, second).div_(torch.maximum(first, second).add_(_TINY))


def _logistic(slope: float, values: Tensor, centre: float) -> Tensor:
    return (values - centre).mul_(slope).sigmoid_()


def qabf(fused: Tensor, visible: Tensor, infrared: Tensor, *, tie_range: float | None = None) -> Tensor:
    """Edge transfer (Qabf, Q^AB/F): how much of the edges of both sources the fused image keeps, from 0 to 1.

    Each pixel's edge keeps `Q = 0.9994 s(15 (G - 0.5)) 0.9879 s(22 (A - 0.8))` with the logistic function s, the ratio
    G of the weaker to the stronger edge strength (Sobel) and the agreement `A = 1 - |a_S - a_F| / (pi/2)` of the
    orientations. Qabf is the mean of Q over the pixels of both sources, weighted by the sources' edge strength. Zeros
    surround the images, as in all published programs, so their frame counts as an edge. Sources without any edge (both
    black) give 0.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), 3x3 pixels at least, grey levels from 0 to 255, rounded to whole
            ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.
        tie_range: What G is where both strengths are equal. None: 1, as the paper's equation gives. A number: the
            strength itself, of images on 0 to this number, as the widely copied programs have it. With 1 this hangs on
            the last bit of each gradient, and the order of additions of MATLAB's `conv2` is followed to reproduce it.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Xydeas and Petrovic 2000.

    Example:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> qabf(image, visible=image, infrared=image)
        tensor([0.9748], dtype=torch.float64)
    """
    images = grey_levels(3, fused=fused, visible=visible, infrared=infrared)
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
    """Fusion artefacts (Nabf, N^AB/F): edges of the fused image that no source has, from 0 to 1; lower is better.

    Where the fused image's edge is stronger than those of both sources, what it does not keep of the sources' edges
    counts as an artefact: `Nabf = sum m [(1 - Q_V) w_V + (1 - Q_R) w_R] / sum (w_V + w_R)` with `Q = sqrt(0.9999 s(19
    (G - 0.5)) 0.9995 s(22 (A - 0.5)))`, s the logistic function, G the ratio of strengths (0 where one of them is 0), A
    the agreement of orientations (1 when parallel), and w = strength^1.5, or 0.001 below a strength of 2. Sobel
    responses are divided by 8 and images are mirrored at their border.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), 3x3 pixels at least, grey levels from 0 to 255, rounded to whole
            ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Shreyamsha Kumar 2013, after Petrovic and Xydeas 2005.

    Example:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> nabf(image, visible=image // 2, infrared=image // 4)
        tensor([0.4536], dtype=torch.float64)
    """
    images = grey_levels(3, fused=fused, visible=visible, infrared=infrared)
    artefacts, weights = torch.zeros(2, images[0].shape[0], dtype=torch.float64, device=images[0].device)
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
        artefacts += (lost * (fused_strength > strongest)).sum(_PIXELS)
    return artefacts / weights


class SF(FusionMetric):
    """Spatial frequency of the fused image, mean over images. See `functional.spatial_frequency`.

    Example:
        >>> metric = SF()
        >>> metric.update(torch.tensor([[0, 3], [4, 7]]))
        >>> metric.compute()
        tensor(5., dtype=torch.float64)
    """

    name = "SF"
    title = "Spatial frequency of the fused image"
    functional = staticmethod(spatial_frequency)
    needs_sources = False
    higher_is_better = True
    value_range = (0.0, 255 * math.sqrt(2))
    minimum_size = 2
    reference = (
        "A. M. Eskicioglu and P. S. Fisher, Image quality measures and their performance, IEEE Transactions on "
        "Communications 43(12), 1995, doi:10.1109/26.477498"
    )


class AG(FusionMetric):
    """Average gradient of the fused image, mean over images. See `functional.average_gradient`.

    Example:
        >>> metric = AG()
        >>> metric.update(torch.tensor([[0, 6], [8, 14]]))
        >>> metric.compute()
        tensor(7.0711, dtype=torch.float64)
    """

    name = "AG"
    title = "Average gradient of the fused image"
    functional = staticmethod(average_gradient)
    needs_sources = False
    higher_is_better = True
    value_range = (0.0, 255.0)
    minimum_size = 2
    reference = (
        "G. Cui, H. Feng, Z. Xu, Q. Li and Y. Chen, Detail preserved fusion of visible and infrared images using regional "
        "saliency extraction and multi-scale image decomposition, Optics Communications 341, 2015, "
        "doi:10.1016/j.optcom.2014.12.032"
    )


class Qabf(FusionMetric):
    """Edge transfer from both sources, mean over images. See `functional.qabf`.

    Example:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> metric = Qabf()
        >>> metric.update(image, visible=image, infrared=image)
        >>> metric.compute()
        tensor(0.9748, dtype=torch.float64)
    """

    name = "Qabf"
    title = "Edges of both sources that the fused image keeps"
    functional = staticmethod(qabf)
    higher_is_better = True
    value_range = (0.0, 1.0)
    minimum_size = 3
    reference = (
        "C. S. Xydeas and V. Petrovic, Objective image fusion performance measure, Electronics Letters 36(4), 2000, "
        "doi:10.1049/el:20000267"
    )


class Nabf(FusionMetric):
    """Fusion artefacts, mean over images. See `functional.nabf`.

    Example:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> metric = Nabf()
        >>> metric.update(image, visible=image // 2, infrared=image // 4)
        >>> metric.compute()
        tensor(0.4536, dtype=torch.float64)
    """

    name = "Nabf"
    title = "Edges of the fused image that no source has"
    functional = staticmethod(nabf)
    higher_is_better = False
    value_range = (0.0, 1.0)
    minimum_size = 3
    reference = (
        "B. K. Shreyamsha Kumar, Multifocus and multispectral image fusion based on pixel significance using discrete "
        "cosine harmonic wavelet transform, Signal, Image and Video Processing 7(6), 2013, "
        "doi:10.1007/s11760-012-0361-x"
    )
