"""FuNet, the convolutional fusion network: two encoders of gradient residual dense blocks (Eq. 5) and a decoder."""

import itertools

import torch
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


class FuNet(nn.Module):
    """Convolutional fusion network: spatial features of both modalities (Eq. 5), and I_fus from z (after Eq. 8)."""

    def __init__(self, config: GFFusionConfig) -> None:
        super().__init__()
        self.visible_encoder = ModalityEncoder(config, config.image_channels)
        self.infrared_encoder = ModalityEncoder(config, 1)
        widths = [config.spatial_channels, *(config.decoder_channels or ())]
        layers: list[nn.Module] = []
        for in_channels, out_channels in itertools.pairwise(widths):
            layers += [convolution(in_channels, out_channels), nn.BatchNorm2d(out_channels)]
            layers += [nn.LeakyReLU(config.leaky_relu_slope, inplace=True)]
        self.decoder = nn.Sequential(*layers, convolution(widths[-1], config.image_channels))
        # Radius of the receptive field in pixels: stem, two dense convolutions, and the decoder's convolutions.
        self.reach = 3 + len(widths)

    def encode(self, visible: Tensor, infrared: Tensor) -> Tensor:
        """Return z_f, Eq. (5): (B, 1 or 3, H, W) and (B, 1, H, W) -> (B, 2 * feature_channels, H, W)."""
        return torch.cat([self.visible_encoder(visible), self.infrared_encoder(infrared)], dim=1)

    def decode(self, features: Tensor) -> Tensor:
        """Return I_fus in [0, 1]: (B, 2 * feature_channels, H, W) -> (B, 1 or 3, H, W)."""
        # Half precision causes visible banding in smooth areas.
        return torch.sigmoid(self.decoder(features).float())
