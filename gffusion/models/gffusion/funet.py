"""FuNet, the convolutional fusion network: two encoders of gradient residual dense blocks (Eq. 5) and a decoder."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration_gffusion import GFFusionConfig
from .finet import upsample
from .image_ops import sobel_magnitude

# Keeps the image of untrained weights within [0, 1], where the loss has a gradient.
OFFSET_SCALE = 0.1


def convolution(in_channels: int, out_channels: int) -> nn.Conv2d:
    """Create a 3x3 convolution that keeps the size, with reflected borders to avoid dark edges."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, padding_mode="reflect")


class GradientResidualDenseBlock(nn.Module):
    """GRDB: a dense branch of two convolutions and a Sobel branch, aligned by 1x1 convolutions and added."""

    def __init__(self, in_channels: int, out_channels: int, slope: float) -> None:
        super().__init__()
        self.dense1 = convolution(in_channels, in_channels)
        self.dense2 = convolution(2 * in_channels, in_channels)
        self.dense_align = nn.Conv2d(3 * in_channels, out_channels, kernel_size=1)
        self.gradient_align = nn.Conv2d(in_channels, out_channels, kernel_size=1)
        self.activation = nn.LeakyReLU(slope, inplace=True)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) -> (B, out_channels, H, W)."""
        first = self.activation(self.dense1(features))
        second = self.activation(self.dense2(torch.cat([features, first], dim=1)))
        dense = self.dense_align(torch.cat([features, first, second], dim=1))
        return self.activation(dense.add_(self.gradient_align(sobel_magnitude(features))))


class ModalityEncoder(nn.Module):
    """Encoder of one modality: stem and gradient residual dense block."""

    def __init__(self, config: GFFusionConfig, in_channels: int) -> None:
        super().__init__()
        self.stem = convolution(in_channels, config.stem_channels)
        self.activation = nn.LeakyReLU(config.leaky_relu_slope, inplace=True)
        self.block = GradientResidualDenseBlock(config.stem_channels, config.feature_channels, config.leaky_relu_slope)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) -> (B, feature_channels, H, W)."""
        features = self.activation(self.stem(image))
        # With few channels at full resolution, channels-last halves the time of the following layers on CPUs.
        return self.block(features.contiguous(memory_format=torch.channels_last))


class Context(nn.Module):
    """View of a wider area: convolutions on both images at a quarter of z_f's resolution (ours, not in the paper)."""

    factor = 4

    def __init__(self, config: GFFusionConfig, out_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for in_channels in (config.image_channels + 1, config.context_channels, config.context_channels):
            layers += [convolution(in_channels, config.context_channels)]
            layers += [nn.LeakyReLU(config.leaky_relu_slope, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(config.context_channels, out_channels, kernel_size=1))
        self.stride = config.pixel_unshuffle * self.factor

    def forward(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Map images (B, 1 or 3, H, W) and (B, 1, H, W) -> (B, out_channels, H / stride, W / stride), rounded up."""
        return self.layers(self.shrink(visible, infrared))

    def shrink(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Average blocks of both images, which can also be done in bands: (B, 1 or 3 + 1, H / stride, W / stride), rounded up."""
        return F.avg_pool2d(_pad(torch.cat([visible, infrared], dim=1), self.stride), self.stride)


class Decoder(nn.Sequential):
    """Decoder of FuNet, which adds the context after its first convolution.

    All of it is in `forward`, so that the decoder can be wrapped, as by PEFT or `torch.compile`.
    """

    def forward(self, features: Tensor, context: Tensor | None = None, rows: slice = slice(None)) -> Tensor:
        """Map z and the context of [`Context`] to maps (B, O, h, w); `rows` are the rows of z in the whole image."""
        first, *others = self
        hidden = first(features)
        if context is not None:
            height, width = (side * Context.factor for side in context.shape[-2:])
            wide = upsample(context, (height, width), rows)
            hidden = hidden + wide[..., : hidden.shape[-2], : hidden.shape[-1]]
        for layer in others:
            hidden = layer(hidden)
        return hidden


class FuNet(nn.Module):
    """Convolutional fusion network: spatial features of both modalities (Eq. 5), and I_fus from z (after Eq. 8).

    Bands of rows that start at a multiple of `factor` pixels and have `reach` more pixels on each side give the same result
    as the whole image, if the context is that of the whole image.
    """

    def __init__(self, config: GFFusionConfig) -> None:
        super().__init__()
        self.factor: int = config.pixel_unshuffle  # by which the resolution of z_f is lower than that of the images
        self.visible_encoder = ModalityEncoder(config, config.image_channels * self.factor**2)
        self.infrared_encoder = ModalityEncoder(config, self.factor**2)
        self.blend_sources = config.blend_sources
        maps = (2 if config.blend_sources else 1) * config.image_channels * self.factor**2
        widths = [config.spatial_channels, *(config.decoder_channels or ())]
        self.context = Context(config, [*widths, maps][1]) if config.context_channels else None
        layers: list[nn.Module] = []
        for in_channels, out_channels in itertools.pairwise(widths):
            layers += [convolution(in_channels, out_channels), nn.BatchNorm2d(out_channels)]
            layers += [nn.LeakyReLU(config.leaky_relu_slope, inplace=True)]
        self.decoder: nn.Sequential = Decoder(*layers, convolution(widths[-1], maps))
        # Radius of the receptive field in pixels: stem, two dense convolutions, and the decoder's convolutions.
        self.reach = self.factor * (3 + len(widths)) + self.factor - 1

    def encode(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return z_f, Eq. (5): (B, 1 or 3, H, W) and (B, 1, H, W) -> (B, 2 * feature_channels, h, w).

        (h, w) is (H, W) divided by `pixel_unshuffle` and rounded up.
        """
        features = [self.visible_encoder(self.unshuffle(visible)), self.infrared_encoder(self.unshuffle(infrared))]
        return torch.cat(features, dim=1)

    def unshuffle(self, image: Tensor) -> Tensor:
        """Turn the pixels of blocks into channels: (B, C, H, W) -> (B, C * pixel_unshuffle^2, h, w)."""
        return image if self.factor == 1 else F.pixel_unshuffle(_pad(image, self.factor), self.factor)

    def compute_context(self, visible: Tensor, infrared: Tensor) -> Tensor | None:
        """Return the context of whole images (B, 1 or 3, H, W) and (B, 1, H, W), see [`Context`]; `None` without one."""
        return None if self.context is None else self.context(visible, infrared)

    def decode(
        self, features: Tensor, visible: Tensor, infrared: Tensor, context: Tensor | None, rows: slice = slice(None)
    ) -> Tensor:
        """Return I_fus in [0, 1]: z (B, 2 * feature_channels, h, w) and the images -> (B, 1 or 3, H, W), float32.

        `context` is that of [`Context`] for the whole image, `None` without one, and `rows` are the rows of z in it. With
        `blend_sources`, the decoder predicts the share of the visible image in every pixel, and an offset.
        """
        if context is None:
            maps = self.decoder(features)
        elif type(self.decoder) is nn.Sequential:  # of your own
            maps = Decoder.forward(self.decoder, features, context, rows)  # type: ignore[arg-type]
        else:
            maps = self.decoder(features, context, rows)
        return self.finish(maps, visible, infrared)

    def finish(self, maps: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return I_fus from the decoder's maps (B, O, h, w) and the images -> (B, 1 or 3, H, W) in [0, 1], float32."""
        maps = maps.float()  # half precision causes visible banding in smooth areas
        if self.factor > 1 and maps.shape[-2:] != visible.shape[-2:]:
            maps = F.pixel_shuffle(maps, self.factor)[..., : visible.shape[-2], : visible.shape[-1]]
        if not self.blend_sources:
            return torch.sigmoid(maps)
        share, offset = maps.chunk(2, dim=1)
        blended = torch.lerp(infrared.float().expand_as(share), visible.float(), torch.sigmoid(share))
        return (blended + OFFSET_SCALE * offset).clamp(0, 1)


def _pad(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of a number."""
    # torch.compile cannot take the remainder of a negative number.
    rows, columns = ((multiple - side % multiple) % multiple for side in image.shape[-2:])
    return F.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image
