"""The function that is exported: values or bytes of a pair in, colored fused images and label maps out."""

import copy
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn

from gffusion.inference.predict import predict_labels
from gffusion.models.gffusion.finet import compute_weights
from gffusion.models.gffusion.image_ops import restore_color
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput

from .funet_graph import FunetGraph


class FusionGraph(nn.Module):
    """Everything between prepared images and images to write, as one module for exporters.

    Args:
        model: A model in evaluation mode.
        segment: Whether to return label maps, too.
        uint8: Whether images are bytes with channels last, as decoders of files return them.
    """

    def __init__(self, model: GFFusionModel, segment: bool, uint8: bool) -> None:
        super().__init__()
        self.model, self.segment, self.uint8 = copy.deepcopy(model), segment, uint8
        self.funet = FunetGraph(self.model.funet)
        _fix_positions(self.model, segment)
        self.requires_grad_(False)

    def forward(self, visible: Tensor, infrared: Tensor) -> tuple[Tensor, ...]:
        """Fuse (B, 3, H, W) and (B, 1, H, W) in [0, 1] -> (B, 3, H, W) in [0, 1], and labels (B, H, W), uint8.

        Bytes are (B, H, W, 3) and (B, H, W) -> (B, H, W, 3).
        """
        if not self.uint8:
            return self._fuse(visible, infrared)
        fused, *labels = self._fuse(
            rearrange(visible, "b h w c -> b c h w").float() / 255, infrared[:, None].float() / 255
        )
        return rearrange((fused * 255).round().to(torch.uint8), "b c h w -> b h w c"), *labels

    def _fuse(self, visible: Tensor, infrared: Tensor) -> tuple[Tensor, ...]:
        model, dtype = self.model, self.model.fusion_dtype
        semantics = model.project_semantics(visible, infrared)
        source, infrared_source = model.to_source(visible), infrared.to(dtype)
        features = self.funet.encode(source, infrared_source)
        if semantics.projections is not None:
            features = _inject(features, semantics.projections)
        fused = self.funet.decode(
            features, source, infrared_source, self.funet.compute_context(source, infrared_source)
        )
        colored = restore_color(fused, visible)
        if not self.segment:
            return (colored,)
        logits = model.predict_logits(fused, visible, semantics.source_tokens)
        output = GFFusionOutput(fused_values=fused, logits=logits)
        return colored, predict_labels(model, output, visible, infrared).to(torch.uint8)


def _inject(spatial: Tensor, projections: Tensor) -> Tensor:
    """Return z as [`FINet.inject`] does, from projections at the size of tokens.

    Both halves are upsampled bilinearly by themselves, as matrix products without transposed copies.
    """
    rows, columns = (compute_weights(projections.shape[axis], spatial.shape[axis], spatial) for axis in (-2, -1))
    logits, features = (rows @ (part @ columns.T) for part in projections.chunk(2, dim=1))
    return torch.addcmul(features + spatial, spatial, torch.sigmoid(logits))


@torch.no_grad()
def _fix_positions(model: GFFusionModel, segment: bool) -> None:
    """Compute the encoders' position embeddings now: exporters fold their interpolation in minutes."""
    config = model.config
    sizes: dict[str, list[tuple[int, ...]]] = {"clip": [tuple(config.clip_size)] if config.needs_clip else []}
    scales = {1, *config.segmenter_scales} if segment else {1}
    sizes["dinov2"] = [tuple(model._dinov2_geometry(scale)[0]) for scale in scales] if config.needs_dinov2 else []
    for name, encoder in model.backbones.items():
        embeddings, patch, positions = encoder.embeddings, encoder.config.patch_size, {}
        for height, width in sizes[name]:
            tokens = torch.zeros(1, 1 + (height // patch) * (width // patch), encoder.config.hidden_size)
            positions[height, width] = embeddings.interpolate_pos_encoding(tokens, height, width)
        embeddings.interpolate_pos_encoding = partial(_look_up, positions)


def _look_up(positions: dict[tuple[int, int], Tensor], tokens: Tensor, height: int, width: int) -> Tensor:
    return positions[height, width].to(tokens.dtype)
