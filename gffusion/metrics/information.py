"""Metrics from histograms: entropy and mutual information."""

import math
from typing import Literal

import torch
from torch import Tensor

from .base import FusionMetric
from .images import grey_levels
from .sharing import shared, sharing

_LEVELS = 256


@shared
def _indices(levels: Tensor) -> Tensor:
    return levels.to(torch.int64)


def _entropy_of_counts(indices: Tensor, bins: int) -> Tensor:
    """Entropy in bits of the histogram of each image; `indices` (B, H, W) name the bins."""
    batch = indices.shape[0]
    offsets = torch.arange(0, batch * bins, bins, device=indices.device).view(-1, 1, 1)
    counts = torch.bincount((indices + offsets).flatten(), minlength=batch * bins).view(batch, bins)
    probabilities = counts.double() / indices[0].numel()
    entropies: Tensor = torch.special.entr(probabilities).sum(-1) / math.log(2)
    return entropies


@shared
def _entropy(levels: Tensor) -> Tensor:
    return _entropy_of_counts(_indices(levels), _LEVELS)


@shared
def _joint_entropy(first: Tensor, second: Tensor, saturating: bool) -> Tensor:
    rows, columns = _indices(first), _indices(second)
    if saturating:
        rows, columns = rows.clamp(max=254), columns.clamp(max=254)
    return _entropy_of_counts(rows * _LEVELS + columns, _LEVELS**2)


def entropy(fused: Tensor) -> Tensor:
    """Entropy (EN): the information of the grey levels of the fused image, in bits, from 0 to 8.

    `EN = -sum_l p_l log2 p_l` over 256 grey levels. A constant image has 0. Noise raises it as much as detail does.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the image is not such a tensor.

    Source:
        Roberts, van Aardt and Ahmed 2008.

    Example:
        >>> entropy(torch.tensor([[0, 85], [170, 255]]))
        tensor([2.], dtype=torch.float64)
    """
    (levels,) = grey_levels(1, fused=fused)
    return _entropy(levels)


def mutual_information(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    *,
    unit: Literal["bits", "nats"] = "bits",
    saturating: bool = False,
) -> Tensor:
    """Mutual information (MI) of the fused image with each source, summed: from 0 to 16 bits.

    `MI = I(F; V) + I(F; R)` with `I(X; Y) = H(X) + H(Y) - H(X, Y)` from histograms of 256 grey levels.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.
        unit: `"bits"`, or `"nats"` as scikit-learn has it.
        saturating: Let the levels 254 and 255 share a bin of the joint histogram, as a widely used MATLAB program
            does that adds 1 to `uint8` images; the single entropies keep 256 bins.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the images are not such tensors, or `unit` is unknown.

    Source:
        Qu, Zhang and Yan 2002.

    Example:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> mutual_information(image, visible=image, infrared=torch.zeros(2, 2))
        tensor([2.], dtype=torch.float64)
    """
    if unit not in ("bits", "nats"):
        raise ValueError(f"Got the unit {unit!r}. Allowed are 'bits' and 'nats'.")
    fused, *sources = grey_levels(1, fused=fused, visible=visible, infrared=infrared)
    with sharing():
        bits = torch.stack(
            [_entropy(fused) + _entropy(source) - _joint_entropy(fused, source, saturating) for source in sources]
        ).sum(0)
    return bits * math.log(2) if unit == "nats" else bits


def normalized_mutual_information(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Normalised mutual information (NMI) of the fused image with each source, summed: from 0 to 2.

    `NMI = 2 [I(F; V) / (H(F) + H(V)) + I(F; R) / (H(F) + H(R))]`, so that a source with much entropy does not outweigh
    the other. Two constant images share no information: their term is 0.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, rounded to whole ones.
        visible: Visible source of the same shape.
        infrared: Infrared source of the same shape.

    Returns:
        Tensor of shape (B,), `torch.float64`.

    Raises:
        ValueError: If the images are not such tensors.

    Source:
        Hossny, Nahavandi and Creighton 2008.

    Example:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> normalized_mutual_information(image, visible=image, infrared=torch.zeros(2, 2))
        tensor([1.], dtype=torch.float64)
    """
    fused, *sources = grey_levels(1, fused=fused, visible=visible, infrared=infrared)
    score = torch.zeros(fused.shape[0], dtype=torch.float64, device=fused.device)
    with sharing():
        for source in sources:
            total = _entropy(fused) + _entropy(source)
            information = total - _joint_entropy(fused, source, False)
            score += torch.where(total > 0, 2 * information / total, 0.0)
    return score


class EN(FusionMetric):
    """Entropy of the fused image, mean over images. See `functional.entropy`.

    Example:
        >>> metric = EN()
        >>> metric.update(torch.tensor([[0, 85], [170, 255]]))
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    name = "EN"
    title = "Entropy of the fused image, in bits"
    functional = staticmethod(entropy)
    needs_sources = False
    higher_is_better = True
    value_range = (0.0, 8.0)
    reference = (
        "J. W. Roberts, J. van Aardt and F. Ahmed, Assessment of image fusion procedures using entropy, image quality, "
        "and multispectral classification, Journal of Applied Remote Sensing 2, 2008, doi:10.1117/1.2945910"
    )


class MI(FusionMetric):
    """Mutual information with both sources, mean over images. See `functional.mutual_information`.

    Example:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> metric = MI()
        >>> metric.update(image, visible=image, infrared=torch.zeros(2, 2))
        >>> metric.compute()
        tensor(2., dtype=torch.float64)
    """

    name = "MI"
    title = "Mutual information with both sources, summed, in bits"
    functional = staticmethod(mutual_information)
    higher_is_better = True
    value_range = (0.0, 16.0)
    reference = (
        "G. Qu, D. Zhang and P. Yan, Information measure for performance of image fusion, Electronics Letters 38(7), "
        "2002, doi:10.1049/el:20020212"
    )


class NMI(FusionMetric):
    """Normalised mutual information, mean over images. See `functional.normalized_mutual_information`.

    Example:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> metric = NMI()
        >>> metric.update(image, visible=image, infrared=torch.zeros(2, 2))
        >>> metric.compute()
        tensor(1., dtype=torch.float64)
    """

    name = "NMI"
    title = "Mutual information with both sources, each divided by its mean entropy, summed"
    functional = staticmethod(normalized_mutual_information)
    higher_is_better = True
    value_range = (0.0, 2.0)
    reference = (
        "M. Hossny, S. Nahavandi and D. Creighton, Comments on 'Information measure for performance of image fusion', "
        "Electronics Letters 44(18), 2008, doi:10.1049/el:20081754"
    )
