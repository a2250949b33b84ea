"""Fuse images in tiles with FuNet's form for CPUs."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from gffusion.models.gffusion.funet import Context
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .cpu_funet import CpuFuNet, Frame, Map, Tile
from .threads import run_alone, run_in_threads

Read = Callable[[slice, slice], tuple[Tensor, Tensor]]
"""Function from rows and columns of pixels to both images there, (1, 3, h, w) and (1, 1, h, w) in [0, 1], float32."""
Write = Callable[[slice, slice, Tensor], None]
"""Function that takes I_fus (1, 1 or 3, h, w) of rows and columns of pixels. Tiles are written by several threads."""


def fuse_in_tiles(
    model: GFFusionModel,
    form: CpuFuNet,
    visible_values: Tensor,
    infrared_values: Tensor,
    projections: Tensor | None,
    grid: tuple[int, int],
) -> Tensor:
    """Compute I_fus in tiles: (B, 3, H, W) and (B, 1, H, W) -> (B, 1 or 3, H, W), all in [0, 1], float32.

    `projections` (B, 2 C, h, w) are those of [`GFFusionModel.project_semantics`], `None` in the cascading paradigm; `grid` are
    the rows and columns of tiles.
    """
    height, width = infrared_values.shape[-2:]
    result = visible_values.new_empty(len(visible_values), model.config.image_channels, height, width)
    context = run_alone(lambda: model.funet.compute_context(model.to_source(visible_values), infrared_values))

    def read(index: slice, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        return visible_values[index, :, rows, columns], infrared_values[index, :, rows, columns]

    def write(index: slice, rows: slice, columns: slice, part: Tensor) -> None:
        result[index, :, rows, columns] = part

    jobs: list[Callable[[], None]] = []
    for image in range(len(result)):
        index = slice(image, image + 1)
        semantic, around = (None if values is None else values[index] for values in (projections, context))
        access = partial(read, index), partial(write, index)
        tiles = make_tiles(model, form, *access, (height, width), semantic, around, grid)
        jobs += run_alone(partial(list, tiles))
    run_in_threads(jobs)
    return result


def make_tiles(
    model: GFFusionModel,
    form: CpuFuNet,
    read: Read,
    write: Write,
    pixels: tuple[int, int],
    projections: Tensor | None,
    context: Tensor | None,
    grid: tuple[int, int],
) -> Iterator[Callable[[], None]]:
    """Yield a function for every tile of one image of (height, width) pixels, for [`run_in_threads`]."""
    funet, factor = model.funet, model.funet.factor
    size = -(-pixels[0] // factor), -(-pixels[1] // factor)

    wide = None if context is None else (Context.factor * context.shape[2], Context.factor * context.shape[3])
    scaled = None if context is None else context * form.context_scale

    def fuse_tile(tile: Tile, frame: Frame, injection: "Injection | None") -> None:
        visible, infrared = read(*_cut(frame.inside, factor))
        visible = model.to_source(visible)
        features = form.encode([funet.unshuffle(visible), funet.unshuffle(infrared)], frame, injection)
        around = None if scaled is None else Map(scaled, frame, wide, is_cropped=True)
        maps = form.decode(features, tile, frame, around)
        top, left = tile.top - frame.inside.top, tile.left - frame.inside.left
        rows, columns = _cut(Tile(top, top + tile.bottom - tile.top, left, left + tile.right - tile.left), factor)
        part = funet.finish(maps, visible[:, :, rows, columns], infrared[:, :, rows, columns])
        write(*_cut(tile, factor), part)

    for left, right in _split(size[1], grid[1]):
        frame = Frame.around(Tile(0, 1, left, right), form.reach, size)
        injection = None if projections is None else Injection(projections[0], frame)
        for top, bottom in _split(size[0], grid[0]):
            tile = Tile(top, bottom, left, right)
            yield partial(fuse_tile, tile, Frame.around(tile, form.reach, size), injection)


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

    They are made from gate logits and features for every channel of z_f, (2 * 2 * F, h, w).
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
