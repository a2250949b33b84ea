"""SSNet, the segmentation network: a linear head on the patch tokens of a frozen DINOv2 (Eq. 9).

Beside it stands what is ours: windows that DINOv2 reads one by one, and edges that pictures give to label maps.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

# Coefficients of the guided filter: how many there are to a token, each way, and the variance of a guide that counts as flat.
CELLS_PER_TOKEN, FLAT_VARIANCE = 8, 1e-4


class SSNet(nn.Module):
    """Segmentation head, Eq. (9): one linear layer on DINOv2's patch tokens, upsampled to the image.

    Args:
        hidden_size (`int`): D, the width of a token; where those of several layers are concatenated, of all of them.
        num_labels (`int`): Number of classes.
    """

    def __init__(self, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Map (B, N, D) -> (B, num_labels, h, w) -> (B, num_labels, H, W), where `grid` is (h, w) and `size` (H, W)."""
        logits = rearrange(self.classifier(tokens), "b (h w) c -> b c h w", h=grid[0], w=grid[1])
        return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)


def split_windows(tokens: Tensor, grid: tuple[int, int], windows: Sequence[int]) -> Tensor:
    """Part DINOv2's embedded tokens into windows, between which no layer attends (ours; all in one is the paper's).

    Positions are in the tokens already, and stay those of the whole image. Every window gets the class token.

    Args:
        tokens: (B, 1 + N, D), the class token's first.
        grid: (h, w), h * w = N.
        windows: (rows, columns) of windows side by side, which divide h and w. Halfway between neighbours lies another.

    Returns:
        (B * W, 1 + N / (rows * columns), D), where W = (2 * rows - 1) * (2 * columns - 1).
    """
    patches = rearrange(tokens[:, 1:], "b (h w) d -> b h w d", h=grid[0])
    parts = torch.stack([patches[:, rows, columns] for rows, columns in _places(grid, windows)], dim=1)
    first = tokens[:, :1].repeat_interleave(parts.shape[1], dim=0)
    return torch.cat([first, rearrange(parts, "b n r c d -> (b n) (r c) d")], dim=1)


def join_windows(tokens: Tensor, grid: tuple[int, int], windows: Sequence[int]) -> Tensor:
    """Put windows together: what [`split_windows`] returns -> patch tokens (B, N, D), without class tokens.

    Where windows overlap, each counts the more, the nearer the token is to the middle of the window, so that no border shows.
    """
    places = _places(grid, windows)
    height, width = grid[0] // windows[0], grid[1] // windows[1]
    nearness = _nearness(height, tokens.device)[:, None] * _nearness(width, tokens.device)  # (r, c)
    total = nearness.new_zeros(grid)
    for place in places:
        total[place] += nearness
    parts = rearrange(tokens[:, 1:], "(b n) (r c) d -> n b r c d", n=len(places), r=height)
    joined = parts.new_zeros(parts.shape[1], *grid, parts.shape[-1])
    for (rows, columns), part in zip(places, parts, strict=True):
        joined[:, rows, columns] += part * (nearness / total[rows, columns]).to(part.dtype)[..., None]
    return rearrange(joined, "b h w d -> b (h w) d")


def _places(grid: tuple[int, int], windows: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return rows and columns of every window, half a window apart, from the top left."""
    sizes = [side // count for side, count in zip(grid, windows, strict=True)]
    rows, columns = (
        [slice(step * size // 2, step * size // 2 + size) for step in range(2 * count - 1)]
        for size, count in zip(sizes, windows, strict=True)
    )
    return list(product(rows, columns))


def _nearness(size: int, device: torch.device) -> Tensor:
    """Return how near tokens are to the middle of a window, (size,) in (0, 1]."""
    return 1 - (2 * torch.arange(size, device=device) + 1 - size).abs() / size


def refine_logits(logits: Tensor, guides: Tensor, grid: tuple[int, int], radius: float) -> Tensor:
    """Give label maps the edges of pictures, by the guided filter (ours).

    Tokens are too coarse for a head or a foot. Around every place, each class's probability is regressed on the guides, and
    the pictures, at full size, tell it (He, Sun, Tang: Guided Image Filtering, TPAMI 2013; coefficients are computed on a
    smaller grid, as in He, Sun: Fast Guided Filter, 2015). Where the guides are flat, probabilities are smoothed.

    Args:
        logits: (B, C, H, W).
        guides: (B, 2, H, W) in [0, 1], two pictures of the scene.
        grid: (h, w), rows and columns of tokens.
        radius: How far the places lie away on which a regression looks, in tokens.

    Returns:
        Log-probabilities (B, C, H, W), float32.
    """
    size, reach = [side * CELLS_PER_TOKEN for side in grid], max(1, round(radius * CELLS_PER_TOKEN))
    classes, small = (
        F.interpolate(image, size=size, mode="bilinear", antialias=True)
        for image in (logits.float().softmax(dim=1), guides.float())
    )
    first, second = small.chunk(2, dim=1)
    mean, mean_first, mean_second = (_box_mean(image, reach) for image in (classes, first, second))
    # Normal equations of two guides: variances, and covariances with each other and with the classes.
    variance_first = _box_mean(first * first, reach) - mean_first**2 + FLAT_VARIANCE
    variance_second = _box_mean(second * second, reach) - mean_second**2 + FLAT_VARIANCE
    between = _box_mean(first * second, reach) - mean_first * mean_second
    with_first = _box_mean(first * classes, reach) - mean_first * mean
    with_second = _box_mean(second * classes, reach) - mean_second * mean
    determinant = variance_first * variance_second - between**2
    slope_first = (variance_second * with_first - between * with_second) / determinant
    slope_second = (variance_first * with_second - between * with_first) / determinant
    offset = mean - slope_first * mean_first - slope_second * mean_second
    # Every place lies in many regressions, of which it takes the mean.
    coefficients = _box_mean(torch.cat([slope_first, slope_second, offset], dim=1), reach)
    coefficients = F.interpolate(coefficients, size=logits.shape[-2:], mode="bilinear")  # (B, 3 C, H, W)
    slope_first, slope_second, offset = coefficients.chunk(3, dim=1)
    probabilities = slope_first * guides[:, :1] + slope_second * guides[:, 1:] + offset
    return probabilities.clamp(min=1e-6).log()


def _box_mean(image: Tensor, radius: int) -> Tensor:
    """Return the mean over squares of 2 * `radius` + 1 pixels, or what of them lies in the image."""
    side = 2 * radius + 1
    rows = F.avg_pool2d(image, (side, 1), stride=1, padding=(radius, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, side), stride=1, padding=(0, radius), count_include_pad=False)
