"""FINet, the feature-injection network: merges frozen encoder features (Eq. 6) and injects them into FuNet (Eq. 7, 8)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from .configuration_gffusion import GFFusionConfig


def merge_modalities(visible_tokens: Sequence[Tensor], infrared_tokens: Sequence[Tensor]) -> Tensor:
    """Return f_l, Eq. (6): element-wise maximum of both modalities for L layers, each (B, N, D) -> (B, L, N, D)."""
    pairs = zip(visible_tokens, infrared_tokens, strict=True)
    return torch.stack([torch.maximum(visible, infrared) for visible, infrared in pairs], dim=1)


class FINet(nn.Module):
    """Feature-injection network: merge tokens of several encoder layers and inject them into FuNet."""

    def __init__(self, config: GFFusionConfig, hidden_size: int) -> None:
        super().__init__()
        num_layers = len(config.semantic_layers or ())
        self.merging = config.merging
        if config.merging == "weighted_sum":
            self.layer_weights = nn.Parameter(torch.zeros(num_layers))
        elif config.merging == "group_conv":
            # Groups are as even as possible, larger ones first: 11 layers in 2 groups give 6 + 5.
            kernel = config.group_kernel_size
            shortest, longer = divmod(num_layers, config.num_groups)
            self.group_sizes = [shortest + (group < longer) for group in range(config.num_groups)]
            self.group_convolutions = nn.ModuleList(
                nn.Sequential(
                    nn.Conv2d(size * hidden_size, hidden_size, kernel, padding=kernel // 2, groups=hidden_size),
                    nn.BatchNorm2d(hidden_size),
                )
                for size in self.group_sizes
            )
            self.group_weights = nn.Parameter(torch.zeros(config.num_groups))
        self.gate_projection = nn.Conv2d(hidden_size, config.spatial_channels, kernel_size=1)
        self.feature_projection = nn.Linear(hidden_size, config.spatial_channels)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Merge tokens and project them: f_l (B, L, N, D) -> z_c (B, N, D), projections (B, 2 C, h, w)."""
        # The encoders can have another dtype.
        merged = self.merge(tokens.to(self.gate_projection.weight.dtype), grid)
        return merged, self.project(merged, grid)

    def merge(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return z_c: f_l (B, L, N, D) -> (B, N, D), N = grid height x grid width."""
        if self.merging == "mean":
            return tokens.mean(dim=1)  # (B, L, N, D) -> (B, N, D)
        if self.merging == "weighted_sum":
            return torch.einsum("l,blnd->bnd", self.layer_weights.softmax(dim=0).to(tokens.dtype), tokens)
        maps = []
        groups = torch.split(tokens, self.group_sizes, dim=1)
        for group, convolve in zip(groups, self.group_convolutions, strict=True):
            # Each output map d is convolved from the group's layers at dimension d, which must be adjacent channels.
            stacked = rearrange(group, "b l (h w) d -> b (d l) h w", h=grid[0], w=grid[1])
            maps.append(convolve(stacked))  # (B, D, h, w)
        merged = torch.einsum("g,gbdhw->bdhw", self.group_weights.softmax(dim=0).to(tokens.dtype), torch.stack(maps))
        return rearrange(merged, "b d h w -> b (h w) d")

    def project(self, semantic: Tensor, grid: tuple[int, int]) -> Tensor:
        """Project tokens to gate logits and features of every channel: z_c (B, N, D) -> (B, 2 C, h, w)."""
        token_map = rearrange(semantic, "b (h w) d -> b d h w", h=grid[0], w=grid[1])
        features = rearrange(self.feature_projection(semantic), "b (h w) c -> b c h w", h=grid[0], w=grid[1])
        return torch.cat([self.gate_projection(token_map), features], dim=1)

    @staticmethod
    def inject(spatial: Tensor, projected: Tensor) -> tuple[Tensor, Tensor]:
        """Return z and the gate: z_f (B, C, H, W), upsampled projections (B, 2 C, H, W) -> (B, C, H, W), (B, C, H, W)."""
        logits, features = projected.chunk(2, dim=1)
        gate = torch.sigmoid(logits)
        # z_g = z_f * gate, Eq. (7); z = z_g + features, Eq. (8), and the residual from z_f.
        return torch.addcmul(features + spatial, spatial, gate), gate


def upsample(maps: Tensor, size: tuple[int, int], rows: slice = slice(None)) -> Tensor:
    """Upsample maps bilinearly and return some rows of the result: (B, C, h, w) -> (B, C, rows, W).

    Columns are upsampled first, on the few rows of the maps, then rows as one matrix product over all columns and channels.
    On CPUs, this is faster than one bilinear interpolation.
    """
    height, width = maps.shape[-2], size[1]
    wide = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False)
    columns = rearrange(wide, "b c h w -> b h (w c)")
    return rearrange(compute_weights(height, size[0], wide)[rows] @ columns, "b r (w c) -> b c r w", w=width)


def compute_weights(source: int, target: int, like: Tensor) -> Tensor:
    """Return the weights (target, source) of linear interpolation, in the dtype and on the device of a tensor."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(source, dtype=dtype, device=like.device)[None]
    return F.interpolate(identity, size=target, mode="linear", align_corners=False)[0].T.to(like.dtype)
