"""Fuse an image in parts, which fit into the cache of a CPU and need little memory. The result is the same."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from gffusion.models.gffusion.finet import upsample
from gffusion.models.gffusion.funet import Context
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .cpu_funet import CpuFuNet, Frame, Map, Tile, get_cpu_funet
from .threads import run_alone, run_in_threads

# Small enough for a CPU's cache, and large compared with the rows that neighboring bands share.
BAND_PIXELS, MIN_BAND_ROWS = 2**16, 64
# Values of z_f and of images in a tile, and values of images for a pixel. Larger tiles share fewer rows, but from 5 * 2**20 values
# on, the memory of some runs is returned to the system instead of being reused ([`run_in_threads`]).
TILE_VALUES, PIXEL_VALUES = 9 * 2**19, 8
FULL_TILES = 4  # threads up to twice as many get tiles of this size
# Of a map that GPUs pad by reflection; larger ones are refused.
MAX_PADDED = 2**31 - 2
# Widest tile of z_f: a wider image is also divided into columns of tiles, as the memory of a tile would be too large to be reused.
MAX_COLUMNS = 1024

Read = Callable[[slice, slice], tuple[Tensor, Tensor]]
"""Function from rows and columns of pixels to both images there, (1, 3, h, w) and (1, 1, h, w) in [0, 1], float32."""
Write = Callable[[slice, slice, Tensor], None]
"""Function that takes I_fus (1, 1 or 3, h, w) of rows and columns of pixels. Tiles are written by several threads."""


def fuse_in_bands(
    model: GFFusionModel, visible_values: Tensor, infrared_values: Tensor, projections: Tensor | None
) -> Tensor:
    """Compute I_fus band by band: (B, 3, H, W) and (B, 1, H, W) -> (B, 1 or 3, H, W), all in [0, 1], float32.

    On CPUs, every band is computed by one thread ([`run_in_threads`]). `projections` (B, 2 C, h, w) are those of
    [`GFFusionModel.project_semantics`], `None` in the cascading paradigm. The form of FuNet for CPUs is used if there is one
    ([`get_cpu_funet`]): its result differs by less than a hundredth of a gray level.
    """
    form = get_cpu_funet(model)
    if form is not None:
        return _fuse_in_tiles(model, form, visible_values, infrared_values, projections)
    height, width = infrared_values.shape[-2:]
    images, threads = len(infrared_values), torch.get_num_threads()
    step = _choose_rows(height, width, images, threads, BAND_PIXELS)
    funet, factor = model.funet, model.funet.factor
    context = funet.compute_context(model.to_source(visible_values), infrared_values.to(model.fusion_dtype))

    def fuse_band(image: int, top: int) -> Tensor:
        # Both ends are multiples of the factor, unless they are those of the image.
        small = slice(max(0, top - funet.reach) // factor, -(-(top + step + funet.reach) // factor))  # rows of z_f
        rows = slice(factor * small.start, factor * small.stop)
        visible = model.to_source(visible_values[image : image + 1, :, rows])
        infrared = infrared_values[image : image + 1, :, rows].to(model.fusion_dtype)
        features = funet.encode(visible, infrared)  # z_f, Eq. (5)
        if projections is not None:
            size = -(-height // factor), features.shape[-1]
            semantic = upsample(projections[image : image + 1], size, small)
            features, _ = model.finet.inject(features, semantic)  # Eq. (7), (8)
        view = None if context is None else context[image : image + 1]
        return funet.decode(features, visible, infrared, view, small)[:, :, top - rows.start :][:, :, :step]

    tops = range(0, height, step)
    functions = [partial(fuse_band, image, top) for image in range(images) for top in tops]
    bands = (
        run_in_threads(functions) if infrared_values.device.type == "cpu" else [function() for function in functions]
    )
    joined = [torch.cat(bands[start : start + len(tops)], dim=-2) for start in range(0, len(bands), len(tops))]
    return torch.cat(joined)


def needs_bands(model: GFFusionModel, images: int, height: int, width: int) -> bool:
    """Return whether a GPU can fuse images only in bands of rows, because the maps of a whole image are larger than it can pad."""
    config, factor = model.config, model.funet.factor
    sources = config.image_channels * factor**2
    widest = max(sources, 2 * config.stem_channels, config.spatial_channels, *(config.decoder_channels or ()))
    if model.fusion_dtype != torch.float32 and model.device.type == "cuda":
        images = 1  # Triton kernels pad nothing, and compute every image that is smaller
    return images * widest * math.ceil(height / factor) * math.ceil(width / factor) > MAX_PADDED


def choose_grid(model: GFFusionModel, height: int, width: int, images: int = 1) -> tuple[int, int]:
    """Return the number of rows and columns of tiles of every image."""
    factor, threads = model.funet.factor, torch.get_num_threads()
    height, width = math.ceil(height / factor), math.ceil(width / factor)  # of z_f
    columns = math.ceil(width / MAX_COLUMNS)
    # Of many threads, each gets smaller tiles, so that the memory does not grow with their number.
    values = TILE_VALUES // max(1, threads // FULL_TILES)
    pixels = values // (model.config.spatial_channels + PIXEL_VALUES * factor**2)
    step = _choose_rows(height, math.ceil(width / columns), images * columns, threads, pixels)
    return math.ceil(height / step), columns


def _choose_rows(height: int, width: int, images: int, threads: int, pixels: int) -> int:
    """Return the number of rows of a band, so that all threads have the same number of bands."""
    count = math.ceil(height / max(MIN_BAND_ROWS, pixels // width))
    even = math.ceil(count * images / threads) * threads / images
    return math.ceil(height / max(1, even))


def _fuse_in_tiles(
    model: GFFusionModel,
    form: CpuFuNet,
    visible_values: Tensor,
    infrared_values: Tensor,
    projections: Tensor | None,
) -> Tensor:
    """Compute I_fus in tiles of FuNet's form for CPUs: (B, 3, H, W) and (B, 1, H, W) -> (B, 1 or 3, H, W), all in [0, 1], float32.

    `projections` (B, 2 C, h, w) are those of [`GFFusionModel.project_semantics`], `None` in the cascading paradigm.
    """
    height, width = infrared_values.shape[-2:]
    grid = choose_grid(model, height, width, len(visible_values))
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

    def fuse_tile(tile: Tile, frame: Frame, injection: "_Injection | None") -> None:
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
        injection = None if projections is None else _Injection(projections[0], frame)
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


class _Injection:
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
