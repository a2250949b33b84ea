"""Fuse images in tiles with the fused form of FuNet."""

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .fused_funet import Frame, FusedFunet, Tile
from .threads import run_in_threads


def fuse_in_tiles(
    model: GFFusionModel,
    fused: FusedFunet,
    visible_values: Tensor,
    infrared_values: Tensor,
    projections: Tensor | None,
    grid: tuple[int, int],
) -> Tensor:
    """Compute I_fus in tiles: (B, 3, H, W) and (B, 1, H, W) -> (B, 1 or 3, H, W), all in [0, 1], float32.

    Every tile is computed by one thread ([`run_in_threads`]). `projections` (B, 2 C, h, w) are those of
    [`GFFusionModel.project_semantics`], `None` in the cascading paradigm; `grid` are the rows and columns of tiles.
    """
    funet, factor = model.funet, model.funet.factor
    height, width = infrared_values.shape[-2:]
    size = -(-height // factor), -(-width // factor)
    result = visible_values.new_empty(len(visible_values), model.config.image_channels, height, width)

    def fuse_tile(image: int, tile: Tile, frame: Frame, injection: "Injection | None") -> None:
        rows, columns = _cut(frame.inside, factor)
        visible = model.to_source(visible_values[image : image + 1, :, rows, columns])
        infrared = infrared_values[image : image + 1, :, rows, columns]
        maps = fused([funet.unshuffle(visible), funet.unshuffle(infrared)], tile, frame, injection)
        inner = tile.top - frame.inside.top, tile.bottom - frame.inside.top, tile.left - frame.inside.left
        rows, columns = _cut(Tile(*inner, inner[2] + tile.right - tile.left), factor)
        part = funet.finish(maps, visible[:, :, rows, columns], infrared[:, :, rows, columns])
        rows, columns = _cut(tile, factor)
        result[image : image + 1, :, rows, columns] = part

    jobs = []
    for image in range(len(result)):
        for left, right in _split(size[1], grid[1]):
            injection = None
            for top, bottom in _split(size[0], grid[0]):
                tile = Tile(top, bottom, left, right)
                frame = Frame.around(tile, fused.reach, size)
                if projections is not None and injection is None:
                    injection = Injection(projections[image], frame)
                jobs.append(partial(fuse_tile, image, tile, frame, injection))
    run_in_threads(jobs)
    return result


def _split(length: int, count: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of parts of nearly equal length."""
    step = -(-length // count)
    for start in range(0, length, step):
        yield start, min(start + step, length)


def _cut(tile: Tile, factor: int) -> tuple[slice, slice]:
    """Return rows and columns of the pixels of a tile."""
    return slice(factor * tile.top, factor * tile.bottom), slice(factor * tile.left, factor * tile.right)


class Injection:
    """FINet's gate and features of one image, Eq. (7) and (8), for frames with the same columns.

    Projections are upsampled bilinearly: along columns once, and along rows for each frame, as one matrix product. The
    features are added by the product itself.

    Args:
        projections: Gate logits and features for every channel of z_f, (2 * 2 * F, h, w).
        frame: A frame with the columns.
    """

    def __init__(self, projections: Tensor, frame: Frame) -> None:
        columns = _interpolate(projections.shape[-1], frame.width, frame.left, frame.columns)
        self.height, self.rows = frame.height, projections.shape[-2]
        parts = projections.view(2, 2, -1, *projections.shape[1:]).permute(0, 1, 3, 4, 2)  # (kind, modality, h, w, F)
        self.logits, self.features = (columns @ parts).flatten(3)  # (modality, h, columns * F)

    def __call__(self, spatial: Tensor, index: int, top: int) -> Tensor:
        """Inject into the features of one modality: (1, F, rows, columns) in channels-last order -> the same shape."""
        maps = spatial.permute(0, 2, 3, 1).flatten(2)[0]  # (rows, columns * F)
        rows = _interpolate(self.rows, self.height, top, len(maps))
        gate = torch.mm(rows, self.logits[index]).sigmoid_()
        injected = torch.addcmul(maps, maps, gate, out=gate).addmm_(rows, self.features[index])
        return injected.view(1, *spatial.shape[2:], spatial.shape[1]).permute(0, 3, 1, 2)


def _interpolate(source: int, target: int, start: int, count: int) -> Tensor:
    """Return the weights (count, source) of linear interpolation to `target` positions, from position `start` on."""
    weights = F.interpolate(torch.eye(source)[None], size=target, mode="linear", align_corners=False)[0].T
    return weights[torch.arange(start, start + count).clamp(0, target - 1)]
