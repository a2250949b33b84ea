"""SSNet, the segmentation network: a linear head on the patch tokens of a frozen DINOv2 (Eq. 9)."""

from collections.abc import Sequence

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
        windows: (rows, columns) of windows, which divide h and w.

    Returns:
        (B * rows * columns, 1 + N / (rows * columns), D).
    """
    first, patches = tokens[:, :1], tokens[:, 1:]
    parted = rearrange(patches, "b (r h c w) d -> (b r c) (h w) d", r=windows[0], c=windows[1], h=grid[0] // windows[0])
    return torch.cat([first.repeat_interleave(windows[0] * windows[1], dim=0), parted], dim=1)


def join_windows(tokens: Tensor, grid: tuple[int, int], windows: Sequence[int]) -> Tensor:
    """Put windows together: what [`split_windows`] returns -> patch tokens (B, N, D), without class tokens."""
    layout = {"r": windows[0], "c": windows[1], "h": grid[0] // windows[0]}
    return rearrange(tokens[:, 1:], "(b r c) (h w) d -> b (r h c w) d", **layout)
