"""Fuse images in tiles with the fused form of FuNet."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from gffusion.models.gffusion.funet import Context
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .fused_funet import Frame, FusedFunet, Map, Tile
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

    around = funet.look_around(model.to_source(visible_values), infrared_values)
    if around is not None:
        around = around * fused.context_scale

    def fuse_tile(image: int, tile: Tile, frame: Frame, injection: "Injection | None", context: Map | None) -> None:
        rows, columns = _cut(frame.inside, factor)
        visible = model.to_source(visible_values[image : image + 1, :, rows, columns])
        infrared = infrared_values[image : image + 1, :, rows, columns]
        features = fused.encode([funet.unshuffle(visible), funet.unshuffle(infrared)], frame, injection)
        maps = fused.decode(features, tile, frame, context)
        inner = tile.top - frame.inside.top, tile.bottom - frame.inside.top, tile.left - frame.inside.left
        rows, columns = _cut(Tile(*inner, inner[2] + tile.right - tile.left), factor)
        part = funet.finish(maps, visible[:, :, rows, columns], infrared[:, :, rows, columns])
        rows, columns = _cut(tile, factor)
        result[image : image + 1, :, rows, columns] = part

    jobs = []
    for image in range(len(result)):
        for left, right in _split(size[1], grid[1]):
            injection = context = None
            for top, bottom in _split(size[0], grid[0]):
                tile = Tile(top, bottom, left, right)
                frame = Frame.around(tile, fused.reach, size)
                if projections is not None and injection is None:
                    injection = Injection(projections[image], frame)
                if around is not None and context is None:
                    context = Map(
                        around[image : image + 1],
                        frame,
                        (Context.factor * around.shape[2], Context.factor * around.shape[3]),
                    )
                jobs.append(partial(fuse_tile, image, tile, frame, injection, context))
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

    Args:
        projections: Gate logits and features for every channel of z_f, (2 * 2 * F, h, w).
        frame: A frame with the columns.
    """

    def __init__(self, projections: Tensor, frame: Frame) -> None:
        # Groups: logits of the visible and of the infrared image, then features of both.
        self.map = Map(projections.view(4, -1, *projections.shape[1:]), frame)

    def __call__(self, spatial: Tensor, index: int, top: int) -> Tensor:
        """Inject into the features of one modality: (1, F, rows, columns) in channels-last order -> the same shape."""
        maps = spatial[0].permute(1, 2, 0).flatten(1)  # (rows, columns * F)
        gate = self.map.upsample(index, top, len(maps)).sigmoid_()
        injected = torch.addcmul(maps, maps, gate, out=gate)
        result = injected.view(1, *spatial.shape[2:], spatial.shape[1]).permute(0, 3, 1, 2)
        self.map.add_to(result, 2 + index, top)
        return result
