"""Metrics from histograms: EN, MI and NMI."""

import math
from typing import Literal

import torch
from torch import Tensor

from .images import gray_levels
from .memoization import memoized, memoizing
from .options import check_options

_LEVELS = 256


@memoized
def _indices(levels: Tensor) -> Tensor:
    return levels.to(torch.int64)


def _entropy_of_counts(indices: Tensor, bins: int) -> Tensor:
    """Return the entropy in bits of the histogram of each image; `indices` (B, H, W) are the bins."""
    batch = indices.shape[0]
    offsets = torch.arange(0, batch * bins, bins, device=indices.device).view(-1, 1, 1)
    counts = torch.bincount((indices + offsets).flatten(), minlength=batch * bins).view(batch, bins)
    probabilities = counts.double() / indices[0].numel()
    entropies: Tensor = torch.special.entr(probabilities).sum(-1) / math.log(2)
    return entropies


@memoized
def _entropy(levels: Tensor) -> Tensor:
    return _entropy_of_counts(_indices(levels), _LEVELS)


@memoized
def _joint_entropy(first: Tensor, second: Tensor, saturating: bool) -> Tensor:
    rows, columns = _indices(first), _indices(second)
    if saturating:
        rows, columns = rows.clamp(max=254), columns.clamp(max=254)
    return _entropy_of_counts(rows * _LEVELS + columns, _LEVELS**2)


def entropy(fused: Tensor) -> Tensor:
    """Return the entropy (EN) of the fused image, in bits: 0 to 8, higher is better.

    `EN = -sum_l p_l log2 p_l` over 256 gray levels. A constant image has 0. Noise raises EN as much as detail does.

    Image (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Raises:
        ValueError: If the image has another shape, size or range.

    Source: Roberts, van Aardt and Ahmed 2008, doi:10.1117/1.2945910.

    Examples:
        >>> entropy(torch.tensor([[0, 85], [170, 255]]))
        tensor([2.], dtype=torch.float64)
    """
    (levels,) = gray_levels(1, fused=fused)
    return _entropy(levels)


def mutual_information(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    *,
    unit: Literal["bits", "nats"] = "bits",
    saturating: bool = False,
) -> Tensor:
    """Return the mutual information (MI) with both sources, summed: 0 to 16 bits, higher is better.

    `MI = I(F; V) + I(F; R)` with `I(X; Y) = H(X) + H(Y) - H(X, Y)` from histograms of 256 gray levels.

    Images (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Options:
        unit: `"bits"`, or `"nats"` as in scikit-learn.
        saturating: Count the levels 254 and 255 in one bin of the joint histogram, as in a widely used MATLAB program that
            adds 1 to `uint8` images. The entropies of single images keep 256 bins.

    Raises:
        ValueError: If an image has another shape, size or range, or an option another value.

    Source: Qu, Zhang and Yan 2002, doi:10.1049/el:20020212.

    Examples:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> mutual_information(image, visible=image, infrared=torch.zeros(2, 2))
        tensor([2.], dtype=torch.float64)
    """
    check_options(mutual_information, unit=unit, saturating=saturating)
    fused, *sources = gray_levels(1, fused=fused, visible=visible, infrared=infrared)
    with memoizing():
        bits = torch.stack(
            [_entropy(fused) + _entropy(source) - _joint_entropy(fused, source, saturating) for source in sources]
        ).sum(0)
    return bits * math.log(2) if unit == "nats" else bits


def normalized_mutual_information(fused: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
    """Return the normalized mutual information (NMI) with both sources, summed: 0 to 2, higher is better.

    `NMI = 2 [I(F; V) / (H(F) + H(V)) + I(F; R) / (H(F) + H(R))]`. Unlike in [`mutual_information`], a source of high
    entropy does not outweigh the other one. The term of two constant images is 0.

    Images (B, 1, H, W) or (H, W), gray levels 0 to 255 (rounded) -> (B,), `torch.float64`.

    Raises:
        ValueError: If an image has another shape, size or range.

    Source: Hossny, Nahavandi and Creighton 2008, doi:10.1049/el:20081754.

    Examples:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> normalized_mutual_information(image, visible=image, infrared=torch.zeros(2, 2))
        tensor([1.], dtype=torch.float64)
    """
    fused, *sources = gray_levels(1, fused=fused, visible=visible, infrared=infrared)
    score = torch.zeros(fused.shape[0], dtype=torch.float64, device=fused.device)
    with memoizing():
        for source in sources:
            total = _entropy(fused) + _entropy(source)
            information = total - _joint_entropy(fused, source, False)
            score += torch.where(total > 0, 2 * information / total, 0.0)
    return score
