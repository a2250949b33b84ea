"""Window operations shared by metrics: strips of an image, separable smoothing, local moments and Sobel."""

import math

import torch
from torch import Tensor

from .memoization import memoized

Taps = tuple[float, ...]

# The kernels of Xydeas and Petrovic as a correlation: left minus right, and below minus above.
_SOBEL_X = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
_SOBEL_Y = ((-1, -2, -1), (0, 0, 0), (1, 2, 1))

# Per thread: a quarter of a megabyte in float64, and the smallest chunk that torch gives to one.
_STRIP_PIXELS = 2**15
_STRIP_ROWS = 16


@memoized
def strips(image: Tensor, window: int) -> list[Tensor]:
    """Cut an image (B, H, W) into views (B, h, W), so that intermediate results stay in the processor's cache.

    Each window of `window` rows inside the image is inside exactly one strip. On other devices than CPUs, one strip is cut.
    """
    batch, height, width = image.shape
    rows = positions = height - window + 1
    if image.device.type == "cpu":
        rows = max(_STRIP_ROWS, _STRIP_PIXELS * torch.get_num_threads() // (batch * width))
    return [image[:, top : min(top + rows, positions) + window - 1] for top in range(0, positions, rows)]


def gaussian_taps(size: int, sigma: float) -> Taps:
    """Return one side of a separable Gaussian window of `size` (odd) taps that sum to 1, as MATLAB's `fspecial`."""
    weights = [math.exp(-((tap - size // 2) ** 2) / (2 * sigma**2)) for tap in range(size)]
    return tuple(weight / math.fsum(weights) for weight in weights)


def smooth(image: Tensor, taps: Taps, stride: int = 1) -> Tensor:
    """Return the weighted mean around every `stride`-th pixel whose window is inside the image (MATLAB's `'valid'`).

    (B, H, W) -> (B, (H - len(taps)) // stride + 1, (W - len(taps)) // stride + 1).
    """
    # Adding shifted images is many times faster than conv2d, which has no fast kernel for float64 on CPUs.
    for dim in (-2, -1):
        first, *others = image.unfold(dim, len(taps), stride).unbind(-1)
        image = first * taps[0]
        for shifted, tap in zip(others, taps[1:], strict=True):
            image.add_(shifted, alpha=tap)
    return image


local_mean = memoized(smooth)


@memoized
def local_covariance(first: Tensor, second: Tensor, taps: Taps, saturating: bool = False) -> Tensor:
    """Return the covariance of two images in each window: two (B, H, W) -> (B, H - len(taps) + 1, W - len(taps) + 1).

    With `saturating`, products of pixels are clipped at 255, as MATLAB does for `uint8` images.
    """
    products = first * second
    if saturating:
        products.clamp_(max=255)
    return smooth(products, taps).sub_(local_mean(first, taps) * local_mean(second, taps))


def sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the Sobel responses, left minus right and below minus above: (B, H, W) -> two of (B, H - 2, W - 2).

    Examples:
        >>> sobel(torch.arange(9.0).reshape(1, 3, 3))
        (tensor([[[-8.]]]), tensor([[[24.]]]))
    """
    neighbors = image.unfold(-2, 3, 1).unfold(-2, 3, 1)  # (B, H, W) -> (B, H - 2, W - 2, 3 rows, 3 columns)
    return _correlate(neighbors, _SOBEL_X), _correlate(neighbors, _SOBEL_Y)


def _correlate(neighbors: Tensor, kernel: tuple[tuple[int, ...], ...]) -> Tensor:
    # In the order of MATLAB's conv2, because on images in 0..1 the last bit decides which gradients are equal, see `qabf`.
    (row, column), *others = [(row, column) for column in (2, 1, 0) for row in (2, 1, 0) if kernel[row][column]]
    result = neighbors[..., row, column] * kernel[row][column]
    for row, column in others:
        result.add_(neighbors[..., row, column], alpha=kernel[row][column])
    return result
