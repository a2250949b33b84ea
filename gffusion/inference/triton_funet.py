"""FuNet in half precision on a GPU: eight Triton kernels instead of some 80 of torch.

Maps are stored channels-last. A gradient residual dense block has one buffer for the features and both dense maps, which
replaces concatenations; borders are reflected by index arithmetic, which replaces padding. Products are summed in float32.
"""

import copy

import torch
import triton
from torch import Tensor, nn

from gffusion.models.gffusion.funet import FuNet
from gffusion.models.gffusion.image_ops import LUMA_WEIGHTS

from .folding import can_fold, fold_batch_norms
from .triton_kernels import align_kernel, convolution_kernel, stem_kernel

CHUNK = 16  # channels per matrix product, the smallest number that Triton supports
ROWS, COLUMNS = 8, 16  # of pixels in a block
MAXIMUM_ELEMENTS = 2**31  # of a map, whose indices have 32 bits


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
        biases = [(block.dense_align.bias + block.gradient_align.bias).detach() for block in blocks]  # type: ignore[operator]
        self._align = _pack(
            [(block.dense_align.weight, bias) for block, bias in zip(blocks, biases, strict=True)], self.dtype
        )
        self._gradient = _pack([(block.gradient_align.weight, None) for block in blocks], self.dtype)[0]
        layers = fold_batch_norms(copy.deepcopy(funet.decoder).float())
        convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
        self._decoder = [
            (_pack([(layer.weight, layer.bias)], self.dtype), layer.out_channels, layer.in_channels)
            for layer in convolutions
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
            stem_kernel[tiles](image, weights, bias, target, height, width, self.slope, **sizes, **blocks)
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
        convolution_kernel[(triton.cdiv(width, COLUMNS), triton.cdiv(height, ROWS), images)](
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
        align_kernel[(triton.cdiv(width, COLUMNS), triton.cdiv(height, ROWS), images)](
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


def supports(funet: FuNet) -> bool:
    """Return whether the kernels compute this FuNet: in half precision, and without options that they do not know."""
    dtype = funet.visible_encoder.stem.weight.dtype
    is_plain = can_fold(funet) and funet.factor == 1 and not funet.blend_sources
    return is_plain and dtype in (torch.float16, torch.bfloat16)


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
