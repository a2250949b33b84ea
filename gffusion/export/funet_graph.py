"""FuNet arranged for inference engines: the same function as `FuNet`, with fewer and larger convolutions."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gffusion.inference.folding import SOBEL, find_context_scale, fold_batch_norms
from gffusion.models.gffusion.funet import FuNet, ModalityEncoder

# Engines compute convolutions in blocks of this many channels, and fill smaller ones with zeros.
BLOCK_CHANNELS = 16


class FunetGraph(FuNet):
    """FuNet's encoders as one network if their channels are few, Sobel filters as convolutions, batch norms folded."""

    def __init__(self, funet: FuNet) -> None:
        nn.Module.__init__(self)
        self.factor, self.blend_sources = funet.factor, funet.blend_sources
        self.context = funet.context
        self.blocks: Tensor
        self.register_buffer("blocks", torch.eye(self.factor**2).view(-1, 1, self.factor, self.factor))
        encoders = [funet.visible_encoder, funet.infrared_encoder]
        merged = encoders[0].stem.out_channels < BLOCK_CHANNELS
        self.encoders = nn.ModuleList(map(_EncoderGraph, [encoders] if merged else [[part] for part in encoders]))
        self.decoder = nn.Sequential(*fold_batch_norms(funet.decoder))
        self.context_scale: Tensor
        self.register_buffer("context_scale", find_context_scale(funet.decoder).view(1, -1, 1, 1))

    def encode(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return z_f as [`FuNet.encode`] does."""
        visible, infrared = self.unshuffle(visible), self.unshuffle(infrared)
        if len(self.encoders) == 1:
            return self.encoders[0](torch.cat([visible, infrared], dim=1))
        return torch.cat([self.encoders[0](visible), self.encoders[1](infrared)], dim=1)

    def unshuffle(self, image: Tensor) -> Tensor:
        """Turn the pixels of blocks into channels as [`FuNet.unshuffle`] does, by a convolution, which takes any size."""
        if self.factor == 1:
            return image
        kernels = self.blocks.to(image).repeat(image.shape[1], 1, 1, 1)
        return F.conv2d(_extend(image, self.factor), kernels, stride=self.factor, groups=image.shape[1])

    def compute_context(self, visible: Tensor, infrared: Tensor) -> Tensor | None:
        """Return the context as [`FuNet.compute_context`] does."""
        if self.context is None:
            return None
        images = _extend(torch.cat([visible, infrared], dim=1), self.context.stride)
        return self.context.layers(F.avg_pool2d(images, self.context.stride))

    def decode(
        self, features: Tensor, visible: Tensor, infrared: Tensor, context: Tensor | None, rows: slice = slice(None)
    ) -> Tensor:
        """Return I_fus of whole images as [`FuNet.decode`] does."""
        hidden = self.decoder[0](features)
        if context is not None and self.context is not None:
            wide = F.interpolate(context, scale_factor=float(self.context.factor), mode="bilinear", align_corners=False)
            hidden = hidden + self.context_scale * _crop(wide, hidden)  # the norm after it is folded
        maps = hidden
        for layer in list(self.decoder)[1:]:  # torch 2.8 cannot export a slice of modules
            maps = layer(maps)
        return self.finish(
            maps if self.factor == 1 else _crop(F.pixel_shuffle(maps, self.factor), visible), visible, infrared
        )


class _EncoderGraph(nn.Module):
    """One or two modality encoders: stem and gradient residual dense block, on concatenated channels."""

    def __init__(self, encoders: Sequence[ModalityEncoder]) -> None:
        super().__init__()
        blocks = [encoder.block for encoder in encoders]
        self.stem = _join([encoder.stem for encoder in encoders])
        self.dense1 = _join([block.dense1 for block in blocks])
        self.dense2 = _join([block.dense2 for block in blocks], inputs=2)
        dense = _join([block.dense_align for block in blocks], inputs=3)
        gradient = _join([block.gradient_align for block in blocks])
        self.align = nn.Conv2d(dense.in_channels + gradient.in_channels, dense.out_channels, kernel_size=1)
        self.align.weight.data = torch.cat([dense.weight.data, gradient.weight.data], dim=1)
        self.align.bias.data = dense.bias.data + gradient.bias.data  # type: ignore[union-attr]
        self.slope = encoders[0].activation.negative_slope
        channels = self.stem.out_channels
        self.sobel_x: Tensor
        self.sobel_y: Tensor
        self.register_buffer("sobel_x", SOBEL.to(self.stem.weight).repeat(channels, 1, 1, 1))
        self.register_buffer("sobel_y", SOBEL.T.to(self.stem.weight).repeat(channels, 1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, channels of the images, H, W) -> (B, feature channels, H, W)."""
        features = self._activate(self.stem(images))
        padded = F.pad(features, (1, 1, 1, 1), mode="reflect")
        first = self._activate(F.conv2d(padded, self.dense1.weight, self.dense1.bias))
        horizontal = F.conv2d(padded, self.sobel_x, groups=len(self.sobel_x)).abs()
        vertical = F.conv2d(padded, self.sobel_y, groups=len(self.sobel_y)).abs()
        second = self._activate(self.dense2(torch.cat([features, first], dim=1)))
        return self._activate(self.align(torch.cat([features, first, second, horizontal + vertical], dim=1)))

    def _activate(self, features: Tensor) -> Tensor:
        return F.leaky_relu(features, self.slope)


def _extend(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of a number."""
    height, width = ((side + multiple - 1) // multiple * multiple for side in image.shape[-2:])
    return _resize_canvas(image, height, width)


def _crop(maps: Tensor, like: Tensor) -> Tensor:
    """Return the first rows and columns of maps, as many as another tensor has."""
    return _resize_canvas(maps, *like.shape[-2:])


def _resize_canvas(maps: Tensor, height: int, width: int) -> Tensor:
    """Repeat or leave out the last rows and columns.

    Of slices, exporters would have to know whether they change anything; engines gather columns one by one.
    """
    return F.pad(maps, (0, width - maps.shape[-1], 0, height - maps.shape[-2]), mode="replicate")


def _join(convolutions: Sequence[nn.Conv2d], inputs: int = 1) -> nn.Conv2d:
    """Return one convolution that computes several side by side, each on its own channels of `inputs` tensors."""
    first = convolutions[0]
    parts = [
        _join_weights([c.weight.data.chunk(inputs, dim=1)[index] for c in convolutions]) for index in range(inputs)
    ]
    weight = torch.cat(parts, dim=1)
    joined = nn.Conv2d(
        weight.shape[1],
        weight.shape[0],
        first.kernel_size,  # type: ignore[arg-type]
        padding=first.padding,  # type: ignore[arg-type]
        padding_mode=first.padding_mode,
    )
    joined.weight.data = weight
    joined.bias.data = torch.cat([c.bias.data for c in convolutions])  # type: ignore[union-attr]
    return joined


def _join_weights(weights: Sequence[Tensor]) -> Tensor:
    """Arrange weights (O, I, k, k) as a block-diagonal one, whose other weights are 0."""
    outputs, inputs = (sum(weight.shape[axis] for weight in weights) for axis in (0, 1))
    joined = weights[0].new_zeros(outputs, inputs, *weights[0].shape[2:])
    row = column = 0
    for weight in weights:
        joined[row : row + weight.shape[0], column : column + weight.shape[1]] = weight
        row, column = row + weight.shape[0], column + weight.shape[1]
    return joined
