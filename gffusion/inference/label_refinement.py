"""Refine label maps along the edges of images with a guided filter (ours, not in the paper, and not used in losses)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from gffusion.models.gffusion.image_ops import resize_bilinear

CELLS_PER_TOKEN = 8  # grid cells per token and direction on which the filter's coefficients are computed
FLAT_VARIANCE = 1e-4  # a guide with a smaller variance counts as flat: the epsilon of the guided filter


def refine_logits(logits: Tensor, guides: Tensor, grid: tuple[int, int], radius: float) -> Tensor:
    """Return log-probabilities that follow the edges of two guide images.

    The probability of each class is regressed on both guides in a square around every grid cell, and the regressions
    are evaluated at full resolution, because tokens alone are too coarse to outline a head or a foot. Where the guides
    are flat, the result is smoothed.

    Logits (B, C, H, W), guides (B, 2, H, W) in [0, 1], token grid (h, w) -> (B, C, H, W), float32. The radius is half
    the side of the squares, in tokens.

    Source: K. He, J. Sun, X. Tang, Guided Image Filtering, TPAMI 35(6), 2013, doi:10.1109/TPAMI.2012.213. Coefficients
    are computed on a smaller grid, as in K. He, J. Sun, Fast Guided Filter, 2015, arXiv:1505.00996.
    """
    size, reach = [side * CELLS_PER_TOKEN for side in grid], max(1, round(radius * CELLS_PER_TOKEN))
    classes, small = (resize_bilinear(image, size) for image in (logits.float().softmax(dim=1), guides.float()))
    first, second = small.chunk(2, dim=1)
    mean, mean_first, mean_second = (_box_mean(image, reach) for image in (classes, first, second))
    # Normal equations for two guides: variances, and covariances with each other and with the classes.
    variance_first = _box_mean(first * first, reach) - mean_first**2 + FLAT_VARIANCE
    variance_second = _box_mean(second * second, reach) - mean_second**2 + FLAT_VARIANCE
    between = _box_mean(first * second, reach) - mean_first * mean_second
    with_first = _box_mean(first * classes, reach) - mean_first * mean
    with_second = _box_mean(second * classes, reach) - mean_second * mean
    determinant = variance_first * variance_second - between**2
    slope_first = (variance_second * with_first - between * with_second) / determinant
    slope_second = (variance_first * with_second - between * with_first) / determinant
    offset = mean - slope_first * mean_first - slope_second * mean_second
    # Every grid cell lies in many squares: average their coefficients.
    coefficients = _box_mean(torch.cat([slope_first, slope_second, offset], dim=1), reach)
    coefficients = F.interpolate(coefficients, size=logits.shape[-2:], mode="bilinear")  # (B, 3 C, H, W)
    slope_first, slope_second, offset = coefficients.chunk(3, dim=1)
    probabilities = slope_first * guides[:, :1] + slope_second * guides[:, 1:] + offset
    return probabilities.clamp(min=1e-6).log()


def _box_mean(image: Tensor, radius: int) -> Tensor:
    """Return the mean over squares of 2 * `radius` + 1 pixels, clipped at the border."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(image, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
