"""Random changes of batches of views, for training `labeler.py` and `segmenter.py`: pasted objects, photometry, fusion.

All random numbers come from torch's default generator of the device, so that a GPU can replay a training step.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target

BICYCLE = 2
PASTE_SHARE, ROW_SHARE, ROW_LENGTH = 0.4, 0.25, 3
CUT_SHARE, BLEND_SHARE = 0.3, 0.4
READY_SHARE = 0.3  # of the views that show images fused by models, where there are some


def paste(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Paste the objects of each view into the next one with some probability, bicycles also as rows.

    Brightness and temperature of a pasted object lie between its own and those of its new surroundings, which transfers objects
    between day and night. Channels of `images` are visible (3), infrared and, optionally, the luma of a fused image.
    """
    donors, donor_targets = images.roll(1, dims=0), targets.roll(1, dims=0)
    used = _chance(images, PASTE_SHARE)
    has_bicycle = (donor_targets[:, BICYCLE].mean(dim=(1, 2)) > 0.01).view(-1, 1, 1, 1)
    in_row = used * has_bicycle * _chance(images, ROW_SHARE)
    own, new = (rgb_to_luma(part[:, :3]).mean(dim=(2, 3), keepdim=True).clamp(min=0.02) for part in (donors, images))
    gain = ((new / own) ** _uniform(images)).clamp(0.25, 3)
    warmth = (images[:, 3:] - donors[:, 3:]).mean(dim=(2, 3), keepdim=True) * _uniform(images)
    donors = torch.cat([donors[:, :3] * gain, donors[:, 3:] + warmth], dim=1).clamp(0, 1)
    objects = 1 - donor_targets[:, :1]  # unknown pixels, too
    objects = _blur(F.max_pool2d(((objects - 0.3) / 0.3).clamp(0, 1), 3, 1, 1), 0.8)
    width = images.shape[-1]
    columns = torch.arange(width, device=images.device)
    step = torch.randint(width // 16, width // 4, (), device=images.device)
    for turn in range(ROW_LENGTH + 1):
        moved = (columns - turn * step) % width
        alpha = (in_row if turn else used) * objects[..., moved]
        images = images.lerp(donors[..., moved], alpha)
        targets = targets.lerp(donor_targets[..., moved], (alpha > 0.5).float())
    return images, targets


def degrade(visible: Tensor, infrared: Tensor) -> tuple[Tensor, Tensor]:
    """Vary exposure, color, gain, sharpness and noise of both images, each view by its own amounts."""
    strength = _uniform(visible) ** 1.5

    def amount(low: float, high: float, share: float = 1.0) -> Tensor:
        return _uniform(visible, low, high) * strength * _chance(visible, share)

    visible = visible.clamp(min=1e-4) ** (1 + amount(-0.4, 0.5))
    mean = visible.mean(dim=(1, 2, 3), keepdim=True)
    visible = (mean + (1 + amount(-0.4, 0.4)) * (visible - mean) + amount(-0.1, 0.1)).clamp(0, 1)
    grayness = torch.maximum(amount(-0.3, 1), _chance(visible, 0.1))
    visible = visible.lerp(rgb_to_luma(visible).expand_as(visible), grayness)
    light = visible.clamp(0, 1) ** 2.2
    exposure = (-amount(0, 3, share=0.4)).exp()  # night
    light = exposure * light + _chance(visible, 0.15) * _glare(visible)
    shot = (light / 4000).sqrt() * (exposure < 1)
    visible = (light + shot * torch.randn_like(light)).clamp(1e-6, 1) ** (1 / 2.2)
    infrared = ((1 + amount(-0.4, 0.4)) * infrared + amount(-0.06, 0.06)).clamp(0, 1)
    sources = []
    for image in (visible, infrared):
        blurred = image.lerp(_blur(image, 1.5), amount(0, 1, share=0.4))
        sources.append((blurred + amount(0, 0.05, share=0.6) * torch.randn_like(image)).clamp(0, 1))
    return sources[0], sources[1]


def cut(fused: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Replace a rectangle of some views by that of another view (CutMix, Yun et al., 2019)."""
    inside = _chance(fused, CUT_SHARE)
    for dim in (2, 3):
        shape = [1, 1, 1, 1]
        shape[dim] = fused.shape[dim]
        place = torch.linspace(0, 1, fused.shape[dim], device=fused.device).view(shape)
        inside = inside * ((place - _uniform(fused)).abs() < _uniform(fused, 0.1, 0.35)).float()
    return fused.lerp(fused.roll(2, dims=0), inside), targets.lerp(targets.roll(2, dims=0), inside)


def blend(fused: Tensor) -> tuple[Tensor, Tensor]:
    """Blend some views with another view (mixup, Zhang et al., 2018), and return 1 for those and 0 for others (B, 1, 1, 1).

    Targets do not describe blended views: only a network that sees the same view can teach there (Beyer et al., 2022).
    """
    is_blended = _chance(fused, BLEND_SHARE)
    return fused.lerp(fused.roll(3, dims=0), is_blended * _uniform(fused, 0, 0.5)), is_blended


def _glare(visible: Tensor) -> Tensor:
    """Return the light of one lamp per view, see `gffusion.data.transforms.Glare`: (B, 3, h, w)."""
    height, width = visible.shape[-2:]
    y, x = (torch.arange(side, device=visible.device).float() for side in (height, width))
    row, column, radius = _uniform(visible), _uniform(visible), _uniform(visible, 0.01, 0.05) * height
    square = (y[:, None] - row * height) ** 2 + (x - column * width) ** 2
    light = radius**2 / square.clamp(min=1e-6)
    return torch.cat([light * part for part in (1.0, 0.85, 0.7)], dim=1)


def fuse_varied(visible: Tensor, infrared: Tensor, ready: Tensor | None = None) -> Tensor:
    """Fuse views to the target of GFFusion, each with its own contrast, some mixed with the maximum or the mean.

    `ready` is the luma (B, 1, h, w) of images fused by a model, which is shown instead in some views, slightly varied.
    """
    luma = rgb_to_luma(visible)
    fused = two_scale_target(luma, infrared, _uniform(luma, 0.5, 1.25))
    other = torch.where(_chance(luma, 0.6) > 0, torch.maximum(luma, infrared), (luma + infrared) / 2)
    fused = fused.lerp(other, _uniform(luma, 0, 0.6) * _chance(luma, 0.5))
    if ready is not None:
        varied = ready.clamp(min=1e-4) ** _uniform(luma, 0.85, 1.2) * _uniform(luma, 0.9, 1.1)
        varied = varied + _uniform(luma, -0.04, 0.04) + _uniform(luma, 0, 0.02) * torch.randn_like(luma)
        fused = torch.where(_chance(luma, READY_SHARE) > 0, varied.clamp(0, 1), fused)
    return replace_luma(visible, fused)


def _uniform(like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return a random number for each view: (B, 1, 1, 1)."""
    return torch.empty(len(like), 1, 1, 1, device=like.device).uniform_(low, high)


def _chance(like: Tensor, share: float) -> Tensor:
    """Return 1 for a random share of the views and 0 for the others: (B, 1, 1, 1)."""
    return (_uniform(like) < share).float()


def _blur(image: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian, renormalized at the border, with products of matrices, which GPUs do fastest: (B, C, H, W)."""
    height, width = image.shape[-2:]
    rows, columns = (_gaussian_matrix(size, sigma, image) for size in (height, width))
    return rows @ image @ columns.mT


def _gaussian_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    weights = torch.exp(-((place - place[:, None]) ** 2) / (2 * sigma**2))
    return weights / weights.sum(dim=1, keepdim=True)
