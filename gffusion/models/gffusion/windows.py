"""Read DINOv2 tokens in overlapping windows, for small encoders that were trained on windows (ours, not in the paper).

`windows=[1, 1]` is the method of the paper: one window with the whole image.
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def split_windows(tokens: Tensor, grid: tuple[int, int], windows: Sequence[int]) -> Tensor:
    """Split embedded tokens into windows that attention layers read separately.

    The position in the whole image is already embedded in the tokens. Every window gets the class token. `windows` are rows
    and columns of adjacent windows, which divide the grid; further windows lie halfway between neighbors:
    (B, 1 + N, D) -> (B * W, 1 + N / (rows * columns), D) with W = (2 * rows - 1) * (2 * columns - 1).
    """
    patches = rearrange(tokens[:, 1:], "b (h w) d -> b h w d", h=grid[0])
    parts = torch.stack([patches[:, rows, columns] for rows, columns in _locate_windows(grid, windows)], dim=1)
    class_tokens = tokens[:, :1].repeat_interleave(parts.shape[1], dim=0)
    return torch.cat([class_tokens, rearrange(parts, "b n r c d -> (b n) (r c) d")], dim=1)


def join_windows(tokens: Tensor, grid: tuple[int, int], windows: Sequence[int]) -> Tensor:
    """Join the windows of [`split_windows`] to patch tokens (B, N, D), without class tokens.

    Overlapping windows are averaged with weights that fall linearly from the center of a window to its border, which avoids
    visible seams.
    """
    places = _locate_windows(grid, windows)
    height, width = grid[0] // windows[0], grid[1] // windows[1]
    weight = _center_weights(height, tokens.device)[:, None] * _center_weights(width, tokens.device)  # (r, c)
    # Sums of padded windows rather than assignments to slices, which ONNX can only express with indices of every value.
    margins = [(columns.start, grid[1] - columns.stop, rows.start, grid[0] - rows.stop) for rows, columns in places]
    total = sum((F.pad(weight, margin) for margin in margins), weight.new_zeros(grid))
    parts = rearrange(tokens[:, 1:], "(b n) (r c) d -> n b r c d", n=len(places), r=height)
    joined = parts.new_zeros(parts.shape[1], *grid, parts.shape[-1])
    for (rows, columns), margin, part in zip(places, margins, parts, strict=True):
        share = (weight / total[rows, columns]).to(part.dtype)
        joined = joined + F.pad(part * share[..., None], (0, 0, *margin))
    return rearrange(joined, "b h w d -> b (h w) d")


def _locate_windows(grid: tuple[int, int], windows: Sequence[int]) -> list[tuple[slice, slice]]:
    """Return rows and columns of every window, half a window apart, from the top left."""
    sizes = [side // count for side, count in zip(grid, windows, strict=True)]
    rows, columns = (
        [slice(step * size // 2, step * size // 2 + size) for step in range(2 * count - 1)]
        for size, count in zip(sizes, windows, strict=True)
    )
    return list(product(rows, columns))


def _center_weights(size: int, device: torch.device) -> Tensor:
    """Return weights in (0, 1] that fall linearly from the center: (size,)."""
    return 1 - (2 * torch.arange(size, dtype=torch.float32, device=device) + 1 - size).abs() / size
