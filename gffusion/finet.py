"""FINet, the feature-injection network: merges frozen encoder features (Eq. 6) and injects them into FuNet (Eq. 7, 8)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .configuration_gffusion import GFFusionConfig


def unite_modalities(visible_tokens: Sequence[Tensor], infrared_tokens: Sequence[Tensor]) -> Tensor:
    """Return f_l, Eq. (6): the maxima of L tokens per modality (B, N, D) -> (B, L, N, D)."""
    pairs = zip(visible_tokens, infrared_tokens, strict=True)
    return torch.stack([torch.maximum(visible, infrared) for visible, infrared in pairs], dim=1)


class FINet(nn.Module):
    """Feature-injection network: merges the tokens of several encoder layers and injects them into FuNet."""

    def __init__(self, config: GFFusionConfig, hidden_size: int):
        super().__init__()
        num_layers = len(config.semantic_layers or ())
        self.merging = config.merging
        if config.merging == "weighted_sum":
            self.layer_weights = nn.Parameter(torch.zeros(num_layers))
        elif config.merging == "group_conv":
            # As even as possible, larger groups first: 11 layers in 2 groups are 6 + 5.
            shortest, longer = divmod(num_layers, config.num_groups)
            self.group_sizes = [shortest + (group < longer) for group in range(config.num_groups)]
            self.group_convolutions = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(
                        size * hidden_size,
                        hidden_size,
                        config.group_kernel_size,
                        padding=config.group_kernel_size // 2,
                        groups=hidden_size,
                    ),
                    nn.BatchNorm2d(hidden_size),
                )
                for size in self.group_sizes
            )
            self.group_weights = nn.Parameter(torch.zeros(config.num_groups))
        self.gate_projection = nn.Conv2d(hidden_size, config.spatial_channels, kernel_size=1)
        self.feature_projection = nn.Linear(hidden_size, config.spatial_channels)

    def merge(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return z_c: f_l (B, L, N, D) -> (B, N, D), N = grid height x grid width."""
        if self.merging == "mean":
            return tokens.mean(dim=1)  # (B, L, N, D) -> (B, N, D)
        if self.merging == "weighted_sum":
            return torch.einsum("l,blnd->bnd", self.layer_weights.softmax(dim=0).to(tokens.dtype), tokens)
        maps = []
        groups = torch.split(tokens, self.group_sizes, dim=1)
        for group, convolve in zip(groups, self.group_convolutions, strict=True):
            # One map per token dimension d, out of the group's layers at d: the layers stand next to each other.
            stacked = rearrange(group, "b l (h w) d -> b (d l) h w", h=grid[0], w=grid[1])
            maps.append(convolve(stacked))  # (B, D, h, w)
        merged = torch.einsum("g,gbdhw->bdhw", self.group_weights.softmax(dim=0).to(tokens.dtype), torch.stack(maps))
        return rearrange(merged, "b d h w -> b (h w) d")

    def inject(self, spatial: Tensor, semantic: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return z and the gate: z_f (B, C, H, W), z_c (B, N, D) -> (B, C, H, W), (B, C, H, W)."""
        token_map = rearrange(semantic, "b (h w) d -> b d h w", h=grid[0], w=grid[1])
        gate = torch.sigmoid(self._upsample(self.gate_projection(token_map), spatial))
        gated = spatial * gate  # z_g, Eq. (7)
        projected = rearrange(self.feature_projection(semantic), "b (h w) c -> b c h w", h=grid[0], w=grid[1])
        return gated + self._upsample(projected, spatial) + spatial, gate  # z, Eq. (8), and the residual from z_f

    @staticmethod
    def _upsample(token_map: Tensor, spatial: Tensor) -> Tensor:
        return F.interpolate(token_map, size=spatial.shape[-2:], mode="bilinear", align_corners=False)
