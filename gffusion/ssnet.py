"""SSNet, the segmentation network: a linear head on the patch tokens of a frozen DINOv2 (Eq. 9)."""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class SSNet(nn.Module):
    """Segmentation head, Eq. (9): one linear layer on DINOv2's patch tokens, upsampled to the image.

    Args:
        hidden_size (`int`): D, the width of a token; where those of several layers are concatenated, of all of them.
        num_labels (`int`): Number of classes.
    """

    def __init__(self, hidden_size: int, num_labels: int):
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
