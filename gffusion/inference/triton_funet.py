"""FuNet in half precision on a GPU: eight Triton kernels that read every map once, instead of some 80 of torch.

Maps are stored channels-last. A gradient residual dense block has one buffer for the features and both dense maps, which
replaces concatenations; borders are reflected by index arithmetic, which replaces padding. Products are summed in float32.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from gffusion.models.gffusion.funet import FuNet, ModalityEncoder
from gffusion.models.gffusion.image_ops import LUMA_WEIGHTS

CHUNK = 16  # channels per matrix product, the smallest number that Triton supports
ROWS, COLUMNS = 8, 16  # of pixels in a block
MAXIMUM_ELEMENTS = 2**31  # of a map, whose indices have 32 bits


@triton.jit
def _reflect(index, size):
    """Reflect indices at the borders of an axis."""
    index = tl.abs(index)
    return tl.where(index >= size, 2 * size - 2 - index, index)


@triton.jit
def _locate(ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Return the rows and columns of the pixels of this block."""
    pixels = tl.arange(0, ROWS * COLUMNS)
    return tl.program_id(1) * ROWS + pixels // COLUMNS, tl.program_id(0) * COLUMNS + pixels % COLUMNS


@triton.jit
def _leaky_relu(values, SLOPE: tl.constexpr):
    return tl.where(values > 0, values, values * SLOPE)


@triton.jit
def _stem_kernel(
    source,
    weights,
    bias,
    target,
    height,
    width,
    SLOPE: tl.constexpr,
    IN: tl.constexpr,
    OUT: tl.constexpr,
    OUT_PADDED: tl.constexpr,
    STRIDE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Convolve an image (IN, H, W), float32, and write OUT of the STRIDE channels of every pixel."""
    rows, columns = _locate(ROWS, COLUMNS)
    image = tl.program_id(2).to(tl.int64) * height * width
    source += image * IN
    target += image * STRIDE
    outputs = tl.arange(0, OUT_PADDED)
    total = tl.zeros((ROWS * COLUMNS, OUT_PADDED), tl.float32) + tl.load(bias + outputs)[None, :]
    for tap in tl.static_range(9):
        pixels = _reflect(rows + tap // 3 - 1, height) * width + _reflect(columns + tap % 3 - 1, width)
        for channel in tl.static_range(IN):
            values = tl.load(source + channel * height * width + pixels)
            total += values[:, None] * tl.load(weights + (tap * IN + channel) * OUT_PADDED + outputs)[None, :]
    mask = ((rows < height) & (columns < width))[:, None] & (outputs < OUT)[None, :]
    places = ((rows * width + columns) * STRIDE)[:, None] + outputs[None, :]
    tl.store(target + places, _leaky_relu(total, SLOPE).to(target.dtype.element_ty), mask=mask)


@triton.jit
def _convolution_kernel(
    source,
    weights,
    bias,
    target,
    height,
    width,
    images_per_set,
    target_image_stride,
    target_channel_stride,
    SLOPE: tl.constexpr,
    SIGMOID: tl.constexpr,
    IN: tl.constexpr,
    IN_PADDED: tl.constexpr,
    OUT: tl.constexpr,
    OUT_PADDED: tl.constexpr,
    SOURCE_STRIDE: tl.constexpr,
    TARGET_STRIDE: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Convolve IN of the SOURCE_STRIDE channels of every pixel. Every set of images has its own weights."""
    rows, columns = _locate(ROWS, COLUMNS)
    image = tl.program_id(2)
    source += image.to(tl.int64) * height * width * SOURCE_STRIDE
    target += image.to(tl.int64) * target_image_stride
    weights += (image // images_per_set) * 9 * IN_PADDED * OUT_PADDED
    outputs = tl.arange(0, OUT_PADDED)
    total = tl.zeros((ROWS * COLUMNS, OUT_PADDED), tl.float32)
    total += tl.load(bias + (image // images_per_set) * OUT_PADDED + outputs)[None, :]
    for tap in tl.static_range(9):
        pixels = _reflect(rows + tap // 3 - 1, height) * width + _reflect(columns + tap % 3 - 1, width)
        for start in tl.static_range(0, IN_PADDED, CHUNK):
            channels = start + tl.arange(0, CHUNK)
            places = (pixels * SOURCE_STRIDE)[:, None] + channels[None, :]
            values = tl.load(source + places, mask=channels[None, :] < IN, other=0.0)
            kernel = tl.load(weights + ((tap * IN_PADDED + channels) * OUT_PADDED)[:, None] + outputs[None, :])
            total = tl.dot(values, kernel, total)
    total = tl.sigmoid(total) if SIGMOID else _leaky_relu(total, SLOPE)
    mask = ((rows < height) & (columns < width))[:, None] & (outputs < OUT)[None, :]
    places = ((rows * width + columns) * TARGET_STRIDE)[:, None] + (outputs * target_channel_stride)[None, :]
    tl.store(target + places, total.to(target.dtype.element_ty), mask=mask)


@triton.jit
def _interpolate(maps, top, bottom, left, right, down, across, channels, mask):
    """Interpolate maps bilinearly between rows `top` and `bottom`, and columns `left` and `right`."""
    upper = (1 - across)[:, None] * tl.load(maps + (top + left)[:, None] + channels[None, :], mask=mask, other=0.0)
    upper += across[:, None] * tl.load(maps + (top + right)[:, None] + channels[None, :], mask=mask, other=0.0)
    lower = (1 - across)[:, None] * tl.load(maps + (bottom + left)[:, None] + channels[None, :], mask=mask, other=0.0)
    lower += across[:, None] * tl.load(maps + (bottom + right)[:, None] + channels[None, :], mask=mask, other=0.0)
    return (1 - down)[:, None] * upper + down[:, None] * lower


@triton.jit
def _align_kernel(
    source,
    weights,
    gradient_weights,
    bias,
    projections,
    target,
    height,
    width,
    grid_height,
    grid_width,
    images_per_set,
    SLOPE: tl.constexpr,
    INJECT: tl.constexpr,
    IN: tl.constexpr,
    IN_PADDED: tl.constexpr,
    DENSE_PADDED: tl.constexpr,
    OUT: tl.constexpr,
    OUT_PADDED: tl.constexpr,
    CHUNK: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Align both branches of a gradient residual dense block, inject semantics, and write one modality's part of z."""
    rows, columns = _locate(ROWS, COLUMNS)
    image = tl.program_id(2)
    modality, item = image // images_per_set, image % images_per_set
    source += image.to(tl.int64) * height * width * 3 * IN
    target += item.to(tl.int64) * height * width * 2 * OUT + modality * OUT
    weights += modality * DENSE_PADDED * OUT_PADDED
    gradient_weights += modality * IN_PADDED * OUT_PADDED
    outputs = tl.arange(0, OUT_PADDED)
    total = tl.zeros((ROWS * COLUMNS, OUT_PADDED), tl.float32)
    total += tl.load(bias + modality * OUT_PADDED + outputs)[None, :]
    above, below = _reflect(rows - 1, height) * width, _reflect(rows + 1, height) * width
    here = _reflect(rows, height) * width
    before, after, middle = _reflect(columns - 1, width), _reflect(columns + 1, width), _reflect(columns, width)
    stride: tl.constexpr = 3 * IN
    for start in tl.static_range(0, DENSE_PADDED, CHUNK):
        channels = start + tl.arange(0, CHUNK)
        places = ((here + middle) * stride)[:, None] + channels[None, :]
        values = tl.load(source + places, mask=channels[None, :] < stride, other=0.0)
        total = tl.dot(values, tl.load(weights + (channels * OUT_PADDED)[:, None] + outputs[None, :]), total)
    for start in tl.static_range(0, IN_PADDED, CHUNK):
        channels = start + tl.arange(0, CHUNK)
        mask = channels[None, :] < IN
        base = source + channels[None, :]
        top_left = tl.load(base + ((above + before) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        top_right = tl.load(base + ((above + after) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        low_left = tl.load(base + ((below + before) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        low_right = tl.load(base + ((below + after) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        left = tl.load(base + ((here + before) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        right = tl.load(base + ((here + after) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        top = tl.load(base + ((above + middle) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        low = tl.load(base + ((below + middle) * stride)[:, None], mask=mask, other=0.0).to(tl.float32)
        magnitude = tl.abs(top_right + 2 * right + low_right - top_left - 2 * left - low_left)
        magnitude += tl.abs(low_left + 2 * low + low_right - top_left - 2 * top - top_right)
        kernel = tl.load(gradient_weights + (channels * OUT_PADDED)[:, None] + outputs[None, :])
        total = tl.dot(magnitude.to(kernel.dtype), kernel, total)
    total = _leaky_relu(total, SLOPE)
    is_output = (outputs < OUT)[None, :]
    if INJECT:
        # As torch's bilinear interpolation without aligned corners: pixel centers, and constant outside of the outer ones.
        y = tl.maximum((rows + 0.5) * (grid_height / height) - 0.5, 0.0)
        x = tl.maximum((columns + 0.5) * (grid_width / width) - 0.5, 0.0)
        top_row, left_column = tl.minimum(y.to(tl.int32), grid_height - 1), tl.minimum(x.to(tl.int32), grid_width - 1)
        down, across = y - top_row, x - left_column
        pixel: tl.constexpr = 4 * OUT
        top, bottom = top_row * grid_width * pixel, tl.minimum(top_row + 1, grid_height - 1) * grid_width * pixel
        left, right = left_column * pixel, tl.minimum(left_column + 1, grid_width - 1) * pixel
        projections += item * grid_height * grid_width * pixel + modality * OUT
        gate = tl.sigmoid(_interpolate(projections, top, bottom, left, right, down, across, outputs, is_output))
        semantic = _interpolate(projections + 2 * OUT, top, bottom, left, right, down, across, outputs, is_output)
        total += total * gate + semantic  # Eq. (7), (8)
    mask = ((rows < height) & (columns < width))[:, None] & is_output
    places = ((rows * width + columns) * 2 * OUT)[:, None] + outputs[None, :]
    tl.store(target + places, total.to(target.dtype.element_ty), mask=mask)


class TritonFuNet:
    """The trained FuNet in the dtype of its weights, half precision, with batch normalization folded into convolutions.

    Args:
        funet: FuNet in evaluation mode. Its weights are copied.
        is_luma: Whether FuNet reads the luma of the visible image, which becomes a part of its first convolution.
    """

    def __init__(self, funet: FuNet, is_luma: bool) -> None:
        visible, infrared = funet.visible_encoder, funet.infrared_encoder
        blocks = (visible.block, infrared.block)
        self.dtype = visible.stem.weight.dtype
        self.stem_channels = visible.stem.out_channels
        self.features = blocks[0].dense_align.out_channels
        self.maximum_pixels = MAXIMUM_ELEMENTS // max(3 * self.stem_channels, 2 * self.features)
        self.slope = float(visible.activation.negative_slope)
        self._stems = [_pack_stem(visible.stem, is_luma), _pack_stem(infrared.stem, False)]
        self._dense = [
            _pack([(conv.weight, conv.bias) for conv in convs], self.dtype)
            for convs in ([block.dense1 for block in blocks], [block.dense2 for block in blocks])
        ]
        biases = [block.dense_align.bias.float() + block.gradient_align.bias.float() for block in blocks]
        self._align = _pack([(b.dense_align.weight, bias) for b, bias in zip(blocks, biases, strict=True)], self.dtype)
        self._gradient = _pack([(block.gradient_align.weight, None) for block in blocks], self.dtype)[0]
        self._decoder = [
            (_pack([(weight, bias)], self.dtype), *weight.shape[:2]) for weight, bias in _fold_decoder(funet.decoder)
        ]

    def __call__(self, visible: Tensor, infrared: Tensor, projections: Tensor | None = None) -> Tensor:
        """Return I_fus, float32 in [0, 1]: (B, 3, H, W), (B, 1, H, W), (B, 2 C, h, w) -> (B, 1 or 3, H, W).

        `projections` are those of [`GFFusionModel.project_semantics`], `None` in the cascading paradigm.
        """
        batch, _, height, width = infrared.shape
        stem, features = self.stem_channels, self.features
        maps = infrared.new_empty((2, batch, height, width, 3 * stem), dtype=self.dtype)
        for image, (weights, bias), target in zip((visible, infrared), self._stems, maps, strict=True):
            image = image.float().contiguous()
            tiles = (triton.cdiv(width, COLUMNS), triton.cdiv(height, ROWS), batch)
            sizes = {"IN": image.shape[1], "OUT": stem, "OUT_PADDED": len(bias), "STRIDE": 3 * stem}
            blocks = {"ROWS": ROWS, "COLUMNS": COLUMNS}
            _stem_kernel[tiles](image, weights, bias, target, height, width, self.slope, **sizes, **blocks)
        maps = maps.flatten(0, 1)
        for number, packed in enumerate(self._dense, start=1):
            self._convolve(maps, packed, maps[..., number * stem :], (number * stem, stem), 3 * stem)
        mixed = infrared.new_empty((batch, height, width, 2 * features), dtype=self.dtype)
        self._align_both(maps, mixed, projections)
        for packed, outputs, inputs in self._decoder[:-1]:
            target = infrared.new_empty((batch, height, width, outputs), dtype=self.dtype)
            self._convolve(mixed, packed, target, (inputs, outputs), outputs)
            mixed = target
        packed, outputs, inputs = self._decoder[-1]
        fused = infrared.new_empty((batch, outputs, height, width), dtype=torch.float32)
        self._convolve(mixed, packed, fused, (inputs, outputs), 1, last=True)
        return fused

    def _convolve(
        self,
        source: Tensor,
        packed: tuple[Tensor, Tensor],
        target: Tensor,
        channels: tuple[int, int],
        target_stride: int,
        last: bool = False,
    ) -> None:
        images, height, width, source_stride = source.shape
        weights, bias = packed
        _convolution_kernel[(triton.cdiv(width, COLUMNS), triton.cdiv(height, ROWS), images)](
            source,
            weights,
            bias,
            target,
            height,
            width,
            images // len(weights),
            target.stride(0),
            height * width if last else 1,
            SLOPE=self.slope,
            SIGMOID=last,
            IN=channels[0],
            IN_PADDED=weights.shape[2],
            OUT=channels[1],
            OUT_PADDED=weights.shape[3],
            SOURCE_STRIDE=source_stride,
            TARGET_STRIDE=target_stride,
            CHUNK=CHUNK,
            ROWS=ROWS,
            COLUMNS=COLUMNS,
        )

    def _align_both(self, maps: Tensor, target: Tensor, projections: Tensor | None) -> None:
        images, height, width, _ = maps.shape
        weights, bias = self._align
        grid = (1, 1) if projections is None else projections.shape[-2:]
        if projections is not None:
            projections = projections.permute(0, 2, 3, 1).contiguous()
        _align_kernel[(triton.cdiv(width, COLUMNS), triton.cdiv(height, ROWS), images)](
            maps,
            weights,
            self._gradient,
            bias,
            bias if projections is None else projections,
            target,
            height,
            width,
            *grid,
            images // 2,
            SLOPE=self.slope,
            INJECT=projections is not None,
            IN=self.stem_channels,
            IN_PADDED=self._gradient.shape[2],
            DENSE_PADDED=weights.shape[2],
            OUT=self.features,
            OUT_PADDED=weights.shape[3],
            CHUNK=CHUNK,
            ROWS=ROWS,
            COLUMNS=COLUMNS,
        )


def supports(funet: FuNet, image_channels: int) -> bool:
    """Return whether the kernels compute this FuNet: in half precision, and without options that they do not know."""
    encoders = (funet.visible_encoder, funet.infrared_encoder)
    names = {name for encoder in encoders for name, _ in encoder.named_modules() if name}
    block = {"dense1", "dense2", "dense_align", "gradient_align", "activation"}
    known = {"stem", "activation", "block", *(f"block.{name}" for name in block)}
    inputs = (encoders[0].stem.in_channels, encoders[1].stem.in_channels) == (image_channels, 1)
    types = all(type(encoder) is ModalityEncoder for encoder in encoders)
    parts = {name for name, _ in funet.named_children()} == {"visible_encoder", "infrared_encoder", "decoder"}
    half = encoders[0].stem.weight.dtype in (torch.float16, torch.bfloat16)
    return types and parts and names == known and inputs and half


def _pad(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _pack(parts: list[tuple[Tensor, Tensor | None]], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Stack convolutions of one shape -> weights (S, taps, inputs, outputs) and biases (S, outputs), padded by zeros."""
    weights = torch.stack([weight.float().flatten(2).permute(2, 1, 0) for weight, _ in parts])
    sets, taps, inputs, outputs = weights.shape
    padded = weights.new_zeros((sets, taps, _pad(inputs, CHUNK), max(16, triton.next_power_of_2(outputs))))
    padded[:, :, :inputs, :outputs] = weights
    biases = weights.new_zeros((sets, padded.shape[3]))
    for row, (_, bias) in zip(biases, parts, strict=True):
        if bias is not None:
            row[:outputs] = bias.float()
    return padded.to(dtype).contiguous(), biases


def _pack_stem(stem: nn.Conv2d, is_luma: bool) -> tuple[Tensor, Tensor]:
    """Return weights (9, inputs, outputs) and bias (outputs), float32, of a stem that reads RGB images for their luma."""
    weight = stem.weight.float()
    if is_luma:
        weight = weight * weight.new_tensor(LUMA_WEIGHTS).view(1, 3, 1, 1)
    outputs = max(16, triton.next_power_of_2(len(weight)))
    padded = weight.new_zeros((9, weight.shape[1], outputs))
    padded[..., : len(weight)] = weight.flatten(2).permute(2, 1, 0)
    bias = weight.new_zeros(outputs)
    bias[: len(weight)] = stem.bias.float()  # type: ignore[union-attr]
    return padded, bias


def _fold_decoder(decoder: nn.Sequential) -> list[tuple[Tensor, Tensor]]:
    """Return weights and biases of the decoder's convolutions with their batch normalization, float32."""
    folded: list[tuple[Tensor, Tensor]] = []
    for layer in decoder:
        if isinstance(layer, nn.Conv2d):
            folded.append((layer.weight.float(), layer.bias.float()))  # type: ignore[union-attr]
        elif isinstance(layer, nn.BatchNorm2d):
            weight, bias = folded.pop()
            factor = layer.weight.float() / torch.sqrt(layer.running_var.float() + layer.eps)  # type: ignore[union-attr]
            shift: Any = layer.bias.float() - layer.running_mean.float() * factor  # type: ignore[union-attr]
            folded.append((weight * factor.view(-1, 1, 1, 1), bias * factor + shift))
    return folded
