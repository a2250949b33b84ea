"""FuNet, the convolutional fusion network: two encoders of gradient residual dense blocks (Eq. 5) and a decoder."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration_gffusion import GFFusionConfig
from .image_ops import sobel_magnitude


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
    """Features of a wider area: three convolutions on both images at a lower resolution (ours, not in the paper)."""

    factor = 4  # by which its resolution is lower than that of z_f
    radius = 3 + 1  # of its convolutions and of the interpolation, in its own pixels

    def __init__(self, config: GFFusionConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for in_channels in (config.image_channels + 1, config.context_channels, config.context_channels):
            layers += [convolution(in_channels, config.context_channels)]
            layers += [nn.LeakyReLU(config.leaky_relu_slope, inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, images: Tensor, stride: int, size: torch.Size) -> Tensor:
        """Map images (B, C, H, W) -> (B, context_channels, *size), with `size` that of z_f; `stride` divides H and W."""
        features = self.layers(F.avg_pool2d(images, stride))
        wide = F.interpolate(features, scale_factor=float(self.factor), mode="bilinear", align_corners=False)
        return wide[..., : size[0], : size[1]]


class FuNet(nn.Module):
    """Convolutional fusion network: spatial features of both modalities (Eq. 5), and I_fus from z (after Eq. 8).

    Bands of rows that start at a multiple of `stride` pixels, and have `reach` more pixels on each side, give the same
    result as the whole image.
    """

    def __init__(self, config: GFFusionConfig) -> None:
        super().__init__()
        self.factor: int = config.pixel_unshuffle  # by which the resolution of z_f is lower than that of the images
        self.visible_encoder = ModalityEncoder(config, config.image_channels * self.factor**2)
        self.infrared_encoder = ModalityEncoder(config, self.factor**2)
        self.context = Context(config) if config.context_channels else None
        self.blend_sources = config.blend_sources
        widths = [config.spatial_channels + config.context_channels, *(config.decoder_channels or ())]
        layers: list[nn.Module] = []
        for in_channels, out_channels in itertools.pairwise(widths):
            layers += [convolution(in_channels, out_channels), nn.BatchNorm2d(out_channels)]
            layers += [nn.LeakyReLU(config.leaky_relu_slope, inplace=True)]
        maps = 2 if config.blend_sources else 1
        self.decoder = nn.Sequential(*layers, convolution(widths[-1], maps * config.image_channels * self.factor**2))
        # Radius of the receptive field in pixels: stem, two dense convolutions, and the decoder's convolutions.
        self.reach = self.factor * (3 + len(widths)) + self.factor - 1
        self.stride: int = self.factor
        if self.context is not None:
            self.stride = self.factor * self.context.factor
            self.reach = max(self.reach, self.stride * (self.context.radius + 1) + self.factor * len(widths))

    def encode(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return z_f, Eq. (5): (B, 1 or 3, H, W) and (B, 1, H, W) -> (B, 2 * feature_channels, h, w).

        (h, w) is (H, W) divided by `pixel_unshuffle` and rounded up.
        """
        features = [self.visible_encoder(self.unshuffle(visible)), self.infrared_encoder(self.unshuffle(infrared))]
        return torch.cat(features, dim=1)

    def unshuffle(self, image: Tensor) -> Tensor:
        """Turn the pixels of blocks into channels: (B, C, H, W) -> (B, C * pixel_unshuffle^2, h, w)."""
        return image if self.factor == 1 else F.pixel_unshuffle(_pad(image, self.factor), self.factor)

    def decode(self, features: Tensor, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return I_fus in [0, 1]: z (B, 2 * feature_channels, h, w) and the images -> (B, 1 or 3, H, W), float32.

        With `blend_sources`, the decoder predicts the share of the visible image in every pixel, and an offset.
        """
        if self.context is not None:
            images = _pad(torch.cat([visible, infrared], dim=1), self.stride)
            context = self.context(images, self.stride, features.shape[-2:])
            features = torch.cat([features, context.to(features.dtype)], dim=1)
        maps = self.decoder(features).float()  # half precision causes visible banding in smooth areas
        if self.factor > 1:
            maps = F.pixel_shuffle(maps, self.factor)[..., : visible.shape[-2], : visible.shape[-1]]
        if not self.blend_sources:
            return torch.sigmoid(maps)
        share, offset = maps.chunk(2, dim=1)
        return (torch.lerp(infrared.float().expand_as(share), visible.float(), torch.sigmoid(share)) + offset).clamp(
            0, 1
        )


def _pad(image: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until height and width are multiples of a number."""
    rows, columns = (-side % multiple for side in image.shape[-2:])
    return F.pad(image, (0, columns, 0, rows), mode="replicate") if rows or columns else image
