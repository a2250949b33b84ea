"""Random changes of batches of views, for training `labeler.py` and `segmenter.py`: pasted objects, photometry, fusion."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target

BICYCLE = 2
PASTE_SHARE, ROW_SHARE, ROW_LENGTH = 0.4, 0.25, 3


def paste(images: Tensor, targets: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Paste the objects of some views into others, bicycles also as rows.

    Brightness and temperature of a pasted object lie between its own and those of its new surroundings, which transfers objects
    between day and night.
    """
    count = len(images)
    order = torch.from_numpy(rng.permutation(count)).to(images.device, non_blocking=True)
    donors, donor_targets = images[order], targets[order]
    used = _column(rng.random(count) < PASTE_SHARE, images)
    is_row = (donor_targets[:, BICYCLE].mean(dim=(1, 2)) > 0.01) & _column(
        rng.random(count) < ROW_SHARE, images
    ).bool().flatten()
    own, new = (rgb_to_luma(part[:, :3]).mean(dim=(2, 3), keepdim=True).clamp(min=0.02) for part in (donors, images))
    gain = ((new / own) ** _column(rng.random(count), images)).clamp(0.25, 3)
    warmth = (images[:, 3:] - donors[:, 3:]).mean(dim=(2, 3), keepdim=True) * _column(rng.random(count), images)
    donors = torch.cat([donors[:, :3] * gain, donors[:, 3:] + warmth], dim=1).clamp(0, 1)
    objects = 1 - donor_targets[:, :1]  # unknown pixels, too
    objects = _blur(F.max_pool2d(((objects - 0.3) / 0.3).clamp(0, 1), 3, 1, 1), 0.8)
    step = int(rng.integers(images.shape[-1] // 16, images.shape[-1] // 4))
    for turn in range(ROW_LENGTH + 1):
        moved = used if turn == 0 else used * is_row.view(-1, 1, 1, 1)
        alpha = moved * torch.roll(objects, turn * step, dims=-1)
        images = images.lerp(torch.roll(donors, turn * step, dims=-1), alpha)
        targets = targets.lerp(torch.roll(donor_targets, turn * step, dims=-1), (alpha > 0.5).float())
    return images, targets


def degrade(visible: Tensor, infrared: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Vary exposure, color, gain, sharpness and noise of both images, each view by its own amounts."""
    count = len(visible)
    strength = rng.random(count) ** 1.5

    def amount(low: float, high: float, share: float = 1.0) -> Tensor:
        return _column(rng.uniform(low, high, count) * strength * (rng.random(count) < share), visible)

    visible = visible.clamp(min=1e-4) ** (1 + amount(-0.4, 0.5))
    mean = visible.mean(dim=(1, 2, 3), keepdim=True)
    visible = (mean + (1 + amount(-0.4, 0.4)) * (visible - mean) + amount(-0.1, 0.1)).clamp(0, 1)
    visible = visible.lerp(rgb_to_luma(visible).expand_as(visible), amount(-0.3, 1).clamp(-0.3, 1))
    visible = visible.lerp(rgb_to_luma(visible).expand_as(visible), _column(rng.random(count) < 0.1, visible))
    light = visible.clamp(0, 1) ** 2.2
    exposure = (-amount(0, 3, share=0.4)).exp()  # night
    light = exposure * light
    lamp = _column(rng.random(count) < 0.15, visible)
    light = light + lamp * _glare(rng, visible)
    shot = (light / 4000).sqrt() * (exposure < 1)
    visible = (light + shot * torch.randn_like(light)).clamp(1e-6, 1) ** (1 / 2.2)
    infrared = ((1 + amount(-0.4, 0.4)) * infrared + amount(-0.06, 0.06)).clamp(0, 1)
    sources = []
    for image in (visible, infrared):
        blurred = image.lerp(_blur(image, 1.5), amount(0, 1, share=0.4))
        sources.append((blurred + amount(0, 0.05, share=0.6) * torch.randn_like(image)).clamp(0, 1))
    return sources[0], sources[1]


def _glare(rng: Generator, visible: Tensor) -> Tensor:
    """Return the light of one lamp per view, see `gffusion.data.transforms.Glare`: (B, 3, h, w)."""
    count, _, height, width = visible.shape
    y, x = (torch.arange(side, device=visible.device).float() for side in (height, width))
    row, column, radius = (_column(rng.random(count), visible) for _ in range(3))
    square = (y[:, None] - row * height) ** 2 + (x - column * width) ** 2
    radius = (0.01 + 0.04 * radius) * height
    return torch.stack([radius**2 / square.clamp(min=1e-6) * part for part in (1.0, 0.85, 0.7)], dim=1).squeeze(2)


def fuse_varied(visible: Tensor, infrared: Tensor, rng: Generator) -> Tensor:
    """Fuse views to the target of GFFusion, each with its own contrast, some mixed with the maximum or the mean."""
    count = len(visible)
    luma = rgb_to_luma(visible)
    fused = two_scale_target(luma, infrared, _column(rng.uniform(0.5, 1.25, count), luma))
    other = torch.where(
        _column(rng.random(count) < 0.6, luma).bool(), torch.maximum(luma, infrared), (luma + infrared) / 2
    )
    share = _column(rng.uniform(0, 0.6, count) * (rng.random(count) < 0.5), luma)
    return replace_luma(visible, fused.lerp(other, share))


def _column(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(like.device, non_blocking=True).view(-1, 1, 1, 1)


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian, with reflected borders: (B, C, H, W) -> (B, C, H, W)."""
    reach, channels = round(3 * sigma), image.shape[1]
    kernel = torch.exp(-(torch.arange(-reach, reach + 1, device=image.device) ** 2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).expand(channels, 1, 1, -1)
    padded = F.pad(image, [reach] * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel, groups=channels), kernel.mT, groups=channels)
