"""SSNet, the segmentation network: a linear head on the patch tokens of a frozen DINOv2 (Eq. 9)."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class SSNet(nn.Module):
    """Segmentation head, Eq. (9): one linear layer on DINOv2's patch tokens, upsampled to the image.

    `hidden_size` is D, the width of a token; for concatenated tokens of several layers, the sum of their widths.
    """

    def __init__(self, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(hidden_size, num_labels)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the tokens that the head reads: float32 if it is quantized by `torch.ao`, whose layers have no tensor as weight."""
        weight = self.classifier.weight
        return weight.dtype if isinstance(weight, Tensor) else torch.float32

    def forward(self, tokens: Tensor, grid: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Map (B, N, D) -> (B, num_labels, h, w) -> (B, num_labels, H, W), where `grid` is (h, w) and `size` (H, W)."""
        logits = rearrange(self.classifier(tokens), "b (h w) c -> b c h w", h=grid[0], w=grid[1])
        return F.interpolate(logits.float(), size=size, mode="bilinear", align_corners=False)
