"""FuNet arranged for CPUs: the same function as `FuNet`, up to float rounding, on tiles of an image.

Differences from `FuNet`, by which it takes about half the time:

- Batch norms are part of the convolutions, and two 1x1 convolutions are one.
- Convolutions with few output channels compute several adjacent pixels at once, as further output channels, so that the
  vector units of the processor are filled.
- Concatenations are replaced by sums of convolutions.
- Borders are reflected by writing single rows and columns, instead of copying padded maps.

Maps are (1, C, rows, columns) in channels-last order, so that adjacent pixels are adjacent in memory.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gffusion.models.gffusion.funet import FuNet, ModalityEncoder
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo.digest import digest_weights

from .folding import SOBEL, can_fold, find_context_scale, fold_batch_norms

# Floats of a vector register of the widest processors, and the most pixels that a convolution computes at once.
_VECTOR, _MAX_PIXELS = 16, 8
# Largest difference from FuNet, in logits of the image, with which this form is used.
_TOLERANCE = 1e-3


class Tile(NamedTuple):
    """A part of an image, rows `top` to `bottom` and columns `left` to `right`."""

    top: int
    bottom: int
    left: int
    right: int


class Map:
    """Small maps that are upsampled bilinearly for frames with the same columns, along columns once for all of them.

    Along rows, every row is a row of the maps plus a share of the step to the next one.

    Args:
        maps: G groups of C channels, (G, C, h, w).
        frame: A frame with the columns.
        size: Height and width to upsample to, by default those of the frame's image.
        is_cropped: Whether only the rows that the frame needs are prepared, for large maps; otherwise, all are.
    """

    def __init__(
        self, maps: Tensor, frame: "Frame", size: tuple[int, int] | None = None, is_cropped: bool = False
    ) -> None:
        self.height, width = size or (frame.height, frame.width)
        self._small, self._first = maps.shape[2], 0
        columns, left = _interpolate(maps.shape[3], width, frame.left, frame.columns)
        maps = maps[..., left : left + columns.shape[1]]
        if is_cropped:
            first, last = (self._locate(row) for row in (frame.top, frame.top + frame.rows - 1))
            self._first = int(first)
            maps = maps[:, :, self._first : int(last) + 2]
        self.groups = (columns @ maps.permute(0, 2, 3, 1)).flatten(2)  # (G, h, columns * C)
        self.steps = self.groups.diff(dim=1, append=self.groups[:, -1:])

    def upsample(self, group: int, top: int, rows: int) -> Tensor:
        """Return rows of the upsampled maps, from row `top` on: (rows, columns * C)."""
        result = self.groups.new_empty(rows, self.groups.shape[2])
        for part, row, share in self._divide(top, rows):
            torch.addcmul(self.groups[group, row], share, self.steps[group, row], out=result[part])
        return result

    def add_to(self, maps: Tensor, group: int, top: int) -> None:
        """Add the upsampled maps to maps of a frame, (1, C, rows, columns), whose first row is `top`."""
        result = maps[0].permute(1, 2, 0).flatten(1)
        for part, row, share in self._divide(top, len(result)):
            result[part].add_(self.groups[group, row]).addcmul_(share, self.steps[group, row])

    def _divide(self, top: int, rows: int) -> Iterator[tuple[slice, int, Tensor]]:
        """Yield parts of rows between two rows of the maps, the first of these, and the shares of the step, (rows, 1)."""
        start = 0
        for row, part in itertools.groupby(map(self._locate, range(top, top + rows)), int):
            shares = torch.tensor([[position - row] for position in part], dtype=torch.float32, device="cpu")
            yield slice(start, start + len(shares)), row - self._first, shares
            start += len(shares)

    def _locate(self, row: int) -> float:
        """Return the position of a row in the small maps."""
        inside = min(max(row, 0), self.height - 1)
        return max(0.0, (inside + 0.5) * self._small / self.height - 0.5)


Inject = Callable[[Tensor, int, int], Tensor]
"""Function from features of the visible (0) or infrared (1) image, and their first row in the image, to injected features.

They have the columns of the frame. Outside of the image, where rows and columns can be, values do not matter."""


class CpuFuNet:
    """The form for CPUs of a FuNet in evaluation mode and in float32 on the CPU; see [`get_cpu_funet`]."""

    def __init__(self, funet: FuNet) -> None:
        self.encoders = [_FusedEncoder(funet.visible_encoder), _FusedEncoder(funet.infrared_encoder)]
        first, *others = (layer for layer in fold_batch_norms(funet.decoder) if isinstance(layer, nn.Conv2d))
        halves = first.weight.chunk(2, dim=1)  # of both modalities
        self.first = [_Convolution(halves[0], first.bias), _Convolution(halves[1], None)]
        # Folded batch norms multiply the context, too, which is added after the first convolution.
        self.context_scale = find_context_scale(funet.decoder)[:, None, None]
        self.others = [_Convolution(layer.weight, layer.bias) for layer in others]
        self.slope = self.encoders[0].slope
        self.reach = 4 + len(self.others)

    def encode(self, images: Sequence[Tensor], frame: "Frame", inject: Inject | None = None) -> list[Tensor]:
        """Return z of a frame, by modality, from the parts [`Frame.inside`] of both images, (1, C, rows, columns)."""
        features = []
        for index, encoder in enumerate(self.encoders):
            maps, inner = encoder(frame.place(images[index]), frame)
            if inject is not None:
                maps = inject(maps, index, inner.top)
            features.append(inner.reflect(maps))
        return features

    def decode(self, features: Sequence[Tensor], tile: Tile, frame: "Frame", context: "Map | None" = None) -> Tensor:
        """Return the maps of FuNet's decoder for a tile, (1, O, rows, columns), at the resolution of z_f."""
        maps = self.first[0](features[0]).add_(self.first[1](features[1]))
        for _ in range(4):
            frame = frame.shrink()
        if context is not None:
            context.add_to(maps, 0, frame.top)
        if self.others:
            F.leaky_relu_(maps, self.slope)
        for convolution in self.others:
            last = convolution is self.others[-1]
            maps, frame = convolution(frame.reflect(maps), None if last else self.slope), frame.shrink()
        start = tile.left - frame.left
        return maps[..., start : start + tile.right - tile.left]


class _FusedEncoder:
    """Stem and gradient residual dense block of one modality."""

    def __init__(self, encoder: ModalityEncoder) -> None:
        block = encoder.block
        self.slope = encoder.activation.negative_slope
        self.stem = _Convolution(encoder.stem.weight, encoder.stem.bias)
        self.dense1 = _Convolution(block.dense1.weight, block.dense1.bias)
        of_input, of_first = block.dense2.weight.chunk(2, dim=1)
        self.dense2_input, self.dense2_first = _Convolution(of_input, block.dense2.bias), _Convolution(of_first, None)
        channels = block.dense1.out_channels
        self.sobel = [_channels_last(kernel.repeat(channels, 1, 1, 1)) for kernel in (SOBEL, SOBEL.T)]
        weight = torch.cat([block.dense_align.weight, block.gradient_align.weight], dim=1)
        self.aligns = [_channels_last(part) for part in weight.chunk(4, dim=1)]  # of the four inputs
        self.align_bias = (block.dense_align.bias + block.gradient_align.bias).detach()  # type: ignore[operator]

    def __call__(self, image: Tensor, frame: "Frame") -> tuple[Tensor, "Frame"]:
        """Return the features of one modality and their frame."""
        features = self.stem(frame.reflect(image), self.slope)
        frame = frame.shrink()
        features = frame.reflect(features)
        frame = frame.shrink()
        first = frame.reflect(self.dense1(features, self.slope))
        inner = features[:, :, 1:-1]
        second = F.leaky_relu_(self.dense2_input(inner).add_(self.dense2_first(first)), self.slope)
        # abs(x) is a leaky ReLU with slope -1.
        horizontal, vertical = (
            _convolve(inner, kernel, None, padding=(0, 1), groups=len(kernel), slope=-1.0) for kernel in self.sobel
        )
        inputs = features[:, :, 2:-2], first[:, :, 1:-1], second, horizontal.add_(vertical)
        maps = _convolve(inputs[0], self.aligns[0], self.align_bias)
        for part, align in zip(inputs[1:], self.aligns[1:], strict=True):  # faster than one convolution of all of them
            maps = torch.ops.mkldnn._convolution_pointwise_.binary(
                maps, part, align, None, (0, 0), (1, 1), (1, 1), 1, "add", 1.0, None, [], None
            )
        return F.leaky_relu_(maps, self.slope), frame.shrink()


class _Convolution:
    """A 3x3 convolution that computes several adjacent pixels as channels, with a stride of as many columns."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.out_channels, in_channels = weight.shape[:2]
        self.pixels = _count_pixels(self.out_channels)
        packed = weight.new_zeros(self.pixels, self.out_channels, in_channels, 3, self.pixels + 2)
        for pixel in range(self.pixels):
            packed[pixel, ..., pixel : pixel + 3] = weight.detach()
        self.weight = _channels_last(packed.flatten(0, 1))
        self.bias = None if bias is None else bias.detach().repeat(self.pixels)

    def __call__(self, maps: Tensor, slope: float | None = None) -> Tensor:
        """Return maps with two rows less; `slope` is that of a leaky ReLU."""
        packed = _convolve(maps, self.weight, self.bias, (1, self.pixels), (0, 1), slope=slope)
        return _unpack(packed, self.out_channels)


class Frame(NamedTuple):
    """Position of maps in an image: their first row and column, number of rows and columns, and the image's height and width."""

    top: int
    left: int
    rows: int
    columns: int
    height: int
    width: int

    @classmethod
    def around(cls, tile: Tile, reach: int, size: tuple[int, int]) -> "Frame":
        """Return the frame of the images (height, width) from which a tile is computed."""
        left = -1 if tile.left == 0 else tile.left - reach
        right = size[1] + 1 if tile.right == size[1] else tile.right + reach
        columns = -(-(right - left) // _MAX_PIXELS) * _MAX_PIXELS
        return cls(tile.top - reach, left, tile.bottom - tile.top + 2 * reach, columns, *size)

    @property
    def inside(self) -> Tile:
        """The part of the frame that is inside of the image."""
        bottom, right = min(self.height, self.top + self.rows), min(self.width, self.left + self.columns)
        return Tile(max(0, self.top), bottom, max(0, self.left), right)

    def place(self, image: Tensor) -> Tensor:
        """Return maps of the frame, zero outside of the image, from the part that is inside."""
        inside = self.inside
        maps = image.new_zeros(1, self.rows, self.columns, image.shape[1]).permute(0, 3, 1, 2)
        rows = slice(inside.top - self.top, inside.bottom - self.top)
        maps[:, :, rows, inside.left - self.left : inside.right - self.left] = image
        return maps

    def shrink(self) -> "Frame":
        """Return the frame after a convolution, which computes columns outside of the image but no such rows."""
        return self._replace(top=self.top + 1, rows=self.rows - 2)

    def reflect(self, maps: Tensor) -> Tensor:
        """Overwrite the rows and columns next to the image with those that reflect padding gives."""
        below, right = self.height - self.top, self.width - self.left
        if self.top < 0:
            maps[:, :, -1 - self.top] = maps[:, :, 1 - self.top]
        if below < maps.shape[2]:
            maps[:, :, below] = maps[:, :, below - 2]
        if self.left < 0:
            maps[..., -1 - self.left] = maps[..., 1 - self.left]
        if right < maps.shape[3]:
            maps[..., right] = maps[..., right - 2]
        return maps


def get_cpu_funet(model: GFFusionModel) -> CpuFuNet | None:
    """Return the form of a model's FuNet for CPUs, built once for its present weights; `None` if the network has to run as it is.

    That is the case with gradients, in autocast regions, on other devices than CPUs, in other types than float32, and for
    networks whose parts or results are not those of this form.

    Examples:
        >>> from gffusion import create_model
        >>> with torch.no_grad():
        ...     get_cpu_funet(create_model("gffusion-funet")) is not None
        True
    """
    funet = model.funet
    is_elsewhere = any(value.device.type != "cpu" or value.dtype != torch.float32 for value in funet.parameters())
    if is_elsewhere or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return None
    if not can_fold(model) or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    digest = digest_weights(funet, repr(funet))  # with the settings of layers
    known = _FORMS.get(funet)
    if known is None or known[0] != digest:
        known = _FORMS[funet] = digest, _build(funet)
    return known[1]


_FORMS: "weakref.WeakKeyDictionary[FuNet, tuple[str, CpuFuNet | None]]" = weakref.WeakKeyDictionary()


@torch.no_grad()
def _build(funet: FuNet) -> CpuFuNet | None:
    """Return the form for CPUs if its maps of a test image are those of the network."""
    rows, columns = (torch.arange(size, dtype=torch.float32, device="cpu") for size in (20, 24))
    image = (0.5 + 0.5 * torch.sin(rows[:, None] * columns + rows[:, None] / 3))[None, None]
    images = [
        image.expand(1, encoder.stem.in_channels, -1, -1).contiguous()
        for encoder in (funet.visible_encoder, funet.infrared_encoder)
    ]
    spatial = torch.cat([funet.visible_encoder(images[0]), funet.infrared_encoder(images[1])], dim=1)
    expected = funet.decoder(spatial)
    tile = Tile(0, 20, 0, 24)
    try:
        form = CpuFuNet(funet)
        frame = Frame.around(tile, form.reach, (20, 24))
        maps = form.decode(form.encode(images, frame), tile, frame)
    except (AttributeError, RuntimeError):  # the processor, or this version of torch, has no such convolution
        return None
    return form if torch.allclose(maps, expected, atol=_TOLERANCE, rtol=0) else None


def _count_pixels(channels: int) -> int:
    """Return the number of adjacent pixels, a power of 2, whose channels fill a vector register."""
    pixels = 1
    while pixels < _MAX_PIXELS and 2 * pixels * channels <= _VECTOR:
        pixels *= 2
    return pixels


def _channels_last(weight: Tensor) -> Tensor:
    """Copy a weight in channels-last order, also if it has one channel, where `contiguous` keeps the order."""
    return weight.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def _unpack(maps: Tensor, channels: int) -> Tensor:
    """View pixels that are channels as pixels: (1, pixels * C, rows, columns) -> (1, C, rows, columns * pixels)."""
    return maps.permute(0, 2, 3, 1).view(1, maps.shape[2], -1, channels).permute(0, 3, 1, 2)


def _convolve(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    groups: int = 1,
    slope: float | None = None,
) -> Tensor:
    """Convolve maps, and apply a leaky ReLU if it has a slope, in one step."""
    kind, scalars = ("none", []) if slope is None else ("leaky_relu", [slope])
    return torch.ops.mkldnn._convolution_pointwise(
        maps, weight, bias, padding, stride, (1, 1), groups, kind, scalars, ""
    )


def _interpolate(source: int, target: int, start: int, count: int) -> tuple[Tensor, int]:
    """Return the weights (count, n) of linear interpolation to `target` positions, from position `start` on.

    They are those of n of the `source` values; the index of the first one is returned, too. With weights of all values, the
    time of every tile would grow with the width of the image.
    """
    inside = torch.arange(start, start + count, dtype=torch.float64, device="cpu").clamp(0, target - 1)
    positions = ((inside + 0.5) * source / target - 0.5).clamp(0, source - 1)
    first, last = int(positions[0]), min(int(positions[-1]) + 1, source - 1)
    distances = positions[:, None] - torch.arange(first, last + 1, device="cpu")
    return (1 - distances.abs()).clamp(min=0).float(), first
