"""FuNet in half precision on a GPU: eight Triton kernels instead of some 80 of torch.

Maps are stored channels-last. A gradient residual dense block has one buffer for the features and both dense maps, which
replaces concatenations; borders are reflected by index arithmetic, which replaces padding. Products are summed in float32.
"""

import copy
import math

import torch
import triton
from torch import Tensor, nn

from gffusion.models.gffusion.funet import Context, FuNet
from gffusion.models.gffusion.image_ops import LUMA_WEIGHTS, rgb_to_luma
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .folding import can_fold, find_context_scale, fold_batch_norms
from .triton_kernels import align_kernel, convolution_kernel, stem_kernel

CHUNK = 16  # channels per matrix product, the smallest number that Triton supports
MAX_ELEMENTS = 2**31  # of a map, whose indices have 32 bits
# Rows and columns of pixels, and warps, of a program; measured on an H100.
STEM_BLOCK = CONVOLUTION_BLOCK = ALIGN_BLOCK = (4, 32, 4)


class TritonFuNet:
    """The trained FuNet in the dtype of its weights, half precision, with batch normalization folded into convolutions.

    Args:
        funet: FuNet in evaluation mode that the kernels support. Its weights are copied, except those of its context.
        is_luma: Whether FuNet reads the luma of the visible image.
    """

    def __init__(self, funet: FuNet, is_luma: bool) -> None:
        visible, infrared = funet.visible_encoder, funet.infrared_encoder
        blocks = (visible.block, infrared.block)
        self.dtype = visible.stem.weight.dtype
        self.stem_channels = visible.stem.out_channels
        self.features = blocks[0].dense_align.out_channels
        outputs = [layer.out_channels for layer in funet.decoder if isinstance(layer, nn.Conv2d)]
        self._widest = max(3 * self.stem_channels, 2 * self.features, visible.stem.in_channels, *outputs)
        self.slope = float(visible.activation.negative_slope)
        self._funet, self._is_luma = funet, is_luma
        # The weights of luma become a part of the first convolution, if nothing else needs the luma.
        self._is_whole = funet.factor == 1 and funet.context is None and not funet.blend_sources
        self._stems = [_pack_stem(visible.stem, is_luma and self._is_whole), _pack_stem(infrared.stem, False)]
        self._dense = [
            _pack([(layer.weight, layer.bias) for layer in layers], self.dtype)
            for layers in ([block.dense1 for block in blocks], [block.dense2 for block in blocks])
        ]
        biases = [(block.dense_align.bias + block.gradient_align.bias).detach() for block in blocks]  # type: ignore[operator]
        aligns = [(block.dense_align.weight, bias) for block, bias in zip(blocks, biases, strict=True)]
        self._align = _pack(aligns, self.dtype)
        self._gradient = _pack([(block.gradient_align.weight, None) for block in blocks], self.dtype)[0]
        layers = fold_batch_norms(copy.deepcopy(funet.decoder).float())
        self._decoder = [
            (_pack([(layer.weight, layer.bias)], self.dtype), layer.in_channels, layer.out_channels)
            for layer in layers
            if isinstance(layer, nn.Conv2d)
        ]
        self._context_scale = find_context_scale(funet.decoder)

    def fits(self, height: int, width: int) -> bool:
        """Return whether the indices of all maps of an image, and of the image, have 32 bits."""
        factor = self._funet.factor
        pixels = math.ceil(height / factor) * math.ceil(width / factor)
        return pixels * self._widest <= MAX_ELEMENTS and 3 * height * width <= MAX_ELEMENTS

    def __call__(self, visible: Tensor, infrared: Tensor, projections: Tensor | None = None) -> Tensor:
        """Return I_fus, float32 in [0, 1]: (B, 3, H, W), (B, 1, H, W), (B, 2 C, h, w) -> (B, 1 or 3, H, W).

        `projections` are those of [`GFFusionModel.project_semantics`], `None` in the cascading paradigm.
        """
        visible, infrared = visible.float(), infrared.float()
        if self._is_whole:
            return self._fuse(visible, infrared, projections, None, "sigmoid")
        source = rgb_to_luma(visible) if self._is_luma else visible
        context = self._funet.compute_context(source.to(self.dtype), infrared.to(self.dtype))
        unshuffled = self._funet.unshuffle(source), self._funet.unshuffle(infrared)
        maps = self._fuse(*unshuffled, projections, context, "none")
        return self._funet.finish(maps, source, infrared)

    def _fuse(
        self, visible: Tensor, infrared: Tensor, projections: Tensor | None, context: Tensor | None, activation: str
    ) -> Tensor:
        """Return the decoder's maps (B, C, h, w), float32, after an activation."""
        batch, _, height, width = infrared.shape
        stem, features = self.stem_channels, self.features
        maps = infrared.new_empty((2, batch, height, width, 3 * stem), dtype=self.dtype)
        for image, (weights, bias), target in zip((visible, infrared), self._stems, maps, strict=True):
            sizes = {"IN": image.shape[1], "OUT": stem, "OUT_PADDED": len(bias), "STRIDE": 3 * stem}
            grid, block = _divide(batch, height, width, STEM_BLOCK)
            values = (image.contiguous(), weights, bias, target, height, width, self.slope)
            stem_kernel[grid](*values, **sizes, **block)
        maps = maps.flatten(0, 1)
        for number, packed in enumerate(self._dense, start=1):
            target = maps[..., number * stem :]
            self._convolve(maps, packed, target, (number * stem, stem), 3 * stem)
        mixed = infrared.new_empty((batch, height, width, 2 * features), dtype=self.dtype)
        self._align_both(maps, mixed, projections)
        for number, (packed, inputs, outputs) in enumerate(self._decoder):
            is_last = number == len(self._decoder) - 1
            shape = (batch, outputs, height, width) if is_last else (batch, height, width, outputs)
            target = infrared.new_empty(shape, dtype=torch.float32 if is_last else self.dtype)
            strides = (1, height * width) if is_last else (outputs, 1)
            around = context if number == 0 else None
            self._convolve(
                mixed, packed, target, (inputs, outputs), *strides, activation if is_last else "leaky", around
            )
            mixed = target
        return mixed

    def _convolve(
        self,
        source: Tensor,
        packed: tuple[Tensor, Tensor],
        target: Tensor,
        channels: tuple[int, int],
        target_stride: int,
        channel_stride: int = 1,
        activation: str = "leaky",
        context: Tensor | None = None,
    ) -> None:
        images, height, width, source_stride = source.shape
        weights, bias = packed
        around, context_size = bias, (1, 1)
        if context is not None:
            scaled = context.permute(0, 2, 3, 1).float() * self._context_scale
            around, context_size = scaled.to(self.dtype).contiguous(), context.shape[-2:]  # type: ignore[assignment]
        grid, block = _divide(images, height, width, CONVOLUTION_BLOCK)
        convolution_kernel[grid](
            source,
            weights,
            bias,
            target,
            height,
            width,
            images // len(weights),
            target.stride(0),
            channel_stride,
            around,
            *context_size,
            CONTEXT=0 if context is None else Context.factor,
            SLOPE=self.slope,
            ACTIVATION=activation,
            IN=channels[0],
            IN_PADDED=weights.shape[2],
            OUT=channels[1],
            OUT_PADDED=weights.shape[3],
            SOURCE_STRIDE=source_stride,
            TARGET_STRIDE=target_stride,
            CHUNK=CHUNK,
            **block,
        )

    def _align_both(self, maps: Tensor, target: Tensor, projections: Tensor | None) -> None:
        images, height, width, _ = maps.shape
        weights, bias = self._align
        size = (1, 1) if projections is None else projections.shape[-2:]
        if projections is not None:
            projections = projections.permute(0, 2, 3, 1).contiguous()
        grid, block = _divide(images, height, width, ALIGN_BLOCK)
        align_kernel[grid](
            maps,
            weights,
            self._gradient,
            bias,
            bias if projections is None else projections,
            target,
            height,
            width,
            *size,
            images // 2,
            SLOPE=self.slope,
            INJECT=projections is not None,
            IN=self.stem_channels,
            IN_PADDED=self._gradient.shape[2],
            DENSE_PADDED=weights.shape[2],
            OUT=self.features,
            OUT_PADDED=weights.shape[3],
            CHUNK=CHUNK,
            **block,
        )


def _divide(
    images: int, height: int, width: int, block: tuple[int, int, int]
) -> tuple[tuple[int, int, int], dict[str, int]]:
    """Return the programs along columns, rows and images, and the constants of a block."""
    rows, columns, warps = block
    grid = (triton.cdiv(width, columns), triton.cdiv(height, rows), images)
    return grid, {"ROWS": rows, "COLUMNS": columns, "num_warps": warps}


def supports(model: GFFusionModel) -> bool:
    """Return whether the kernels compute a model's FuNet: in half precision, of parts that they know, and with one slope."""
    if not can_fold(model) or model.fusion_dtype not in (torch.float16, torch.bfloat16):
        return False
    return len({layer.negative_slope for layer in model.funet.modules() if isinstance(layer, nn.LeakyReLU)}) == 1


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
