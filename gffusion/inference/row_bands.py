"""Fuse an image in bands of rows, which fit into the cache of a CPU and need little memory. The result is the same."""

import torch
from torch import Tensor

from gffusion.models.gffusion.finet import upsample
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

# Small enough for a CPU's cache, and large compared with the rows that neighboring bands share.
BAND_PIXELS, MINIMUM_BAND_ROWS = 2**16, 64


def fuse_in_bands(
    model: GFFusionModel, visible_values: Tensor, infrared_values: Tensor, projections: Tensor | None
) -> Tensor:
    """Compute I_fus band by band: (B, 3, H, W) and (B, 1, H, W) -> (B, 1 or 3, H, W), all in [0, 1], float32.

    `projections` (B, 2 C, h, w) are those of [`GFFusionModel.project_semantics`], `None` in the cascading paradigm.
    """
    visible, infrared = model.to_source(visible_values), infrared_values.to(model.fusion_dtype)
    height, width = infrared.shape[-2:]
    overlap = model.funet.reach
    step = max(MINIMUM_BAND_ROWS, BAND_PIXELS // (len(infrared) * width))
    bands = []
    for top in range(0, height, step):
        rows = slice(max(0, top - overlap), top + step + overlap)
        features = model.funet.encode(visible[..., rows, :], infrared[..., rows, :])  # z_f, Eq. (5)
        if projections is not None:
            features, _ = model.finet.inject(features, upsample(projections, (height, width), rows))  # Eq. (7), (8)
        bands.append(model.funet.decode(features)[..., top - rows.start :, :][..., :step, :])
    return torch.cat(bands, dim=-2)
