"""Windows that several metrics look through: strips of an image, separable smoothing, local moments and Sobel."""

import math

import torch
from torch import Tensor

from .sharing import shared

Taps = tuple[float, ...]

# The kernels of Xydeas and Petrovic as a correlation: left minus right, and below minus above.
_SOBEL_X = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
_SOBEL_Y = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))

# For each thread: a quarter of a megabyte in float64, and the least piece of work that torch gives to one.
_STRIP_PIXELS = 2**15
_STRIP_ROWS = 16


@shared
def strips(image: Tensor, window: int) -> list[Tensor]:
    """Cut an image into strips, so that what a metric makes of each window stays in the processor's cache.

    Args:
        image: Tensor of shape (B, H, W).
        window: Height of the windows. Each window that lies inside the image lies inside exactly one strip.

    Returns:
        Views of shape (B, h, W) from top to bottom; the whole image on other devices than a CPU.
    """
    batch, height, width = image.shape
    positions = height - window + 1
    rows = positions
    if image.device.type == "cpu":
        rows = max(_STRIP_ROWS, _STRIP_PIXELS * torch.get_num_threads() // (batch * width))
    return [image[:, top : min(top + rows, positions) + window - 1] for top in range(0, positions, rows)]


def gaussian_taps(size: int, sigma: float) -> Taps:
    """One side of a separable Gaussian window of `size` taps (odd) that sum to 1, as MATLAB's `fspecial`."""
    weights = [math.exp(-((tap - size // 2) ** 2) / (2 * sigma**2)) for tap in range(size)]
    return tuple(weight / math.fsum(weights) for weight in weights)


def uniform_taps(size: int) -> Taps:
    """One side of a square window of `size` equal taps (odd) that sum to 1."""
    return (1 / size,) * size


def smooth(image: Tensor, taps: Taps, stride: int = 1) -> Tensor:
    """Weighted mean around every `stride`-th pixel where the whole window lies inside the image (MATLAB's `'valid'`).

    Args:
        image: Tensor of shape (B, H, W).
        taps: Weights of the window along each side.
        stride: Step between the windows, in both directions.

    Returns:
        Tensor of shape (B, (H - len(taps)) // stride + 1, (W - len(taps)) // stride + 1).
    """
    return _smooth_along(_smooth_along(image, taps, stride, dim=-2), taps, stride, dim=-1)


def _smooth_along(image: Tensor, taps: Taps, stride: int, dim: int) -> Tensor:
    # Adding shifted images is many times faster than conv2d, which has no fast kernel for float64 on CPUs.
    first, *others = image.unfold(dim, len(taps), stride).unbind(-1)
    result = first * taps[0]
    for shifted, tap in zip(others, taps[1:], strict=True):
        result.add_(shifted, alpha=tap)
    return result


local_mean = shared(smooth)


@shared
def local_covariance(first: Tensor, second: Tensor, taps: Taps, saturating: bool = False) -> Tensor:
    """Covariance of two images inside each window; the variance where both are the same.

    Args:
        first: Tensor of shape (B, H, W).
        second: Tensor of shape (B, H, W).
        taps: Weights of the window along each side.
        saturating: Cut the products of pixels off at 255, as MATLAB does for `uint8` images.

    Returns:
        Tensor of shape (B, H - len(taps) + 1, W - len(taps) + 1).
    """
    products = first * second
    if saturating:
        products.clamp_(max=255)
    return smooth(products, taps).sub_(local_mean(first, taps) * local_mean(second, taps))


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Horizontal and vertical Sobel responses where the 3x3 window lies inside the image.

    Args:
        image: Tensor of shape (B, H, W).

    Returns:
        Two tensors of shape (B, H - 2, W - 2): left minus right, and below minus above.
    """
    neighbours = image.unfold(-2, 3, 1).unfold(-2, 3, 1)  # (B, H, W) -> (B, H - 2, W - 2, 3 rows, 3 columns)
    return _correlate(neighbours, _SOBEL_X), _correlate(neighbours, _SOBEL_Y)


def _correlate(neighbours: Tensor, kernel: tuple[tuple[int, ...], ...]) -> Tensor:
    # MATLAB's conv2 adds in this order. On images in 0..1 the last bit decides which gradients are equal, see `qabf`.
    order = [(row, column) for column in (2, 1, 0) for row in (2, 1, 0) if kernel[row][column]]
    (row, column), *others = order
    result = neighbours[..., row, column] * kernel[row][column]
    for row, column in others:
        result.add_(neighbours[..., row, column], alpha=kernel[row][column])
    return result
