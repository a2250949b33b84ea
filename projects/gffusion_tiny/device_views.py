"""Random views of pairs for `fusion.py`, cropped and degraded on one device, in whose memory all images lie as bytes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from gffusion.data import FusionDataset
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.training.recipe import Recipe
from gffusion.training.sampling import mix_pairs

NATIVE_SHARE = 0.35  # of the views at scale 1, with the noise and sharpness of the camera
OVEREXPOSED_SHARE, OVEREXPOSURE = 0.15, 2.5
GRAIN = 0.008  # noise of both cameras, which lossy copies of the images lack, and which is not removed
NOISE, STRIPES, QUALITY, SHIFT = 0.03, 0.015, (15, 60), 1.5
WHITE, WHITE_WIDTH, COLD_WIDTH = 0.9, 0.08, 0.2
JPEG_BLOCK = 8
# Quantization of luma in Annex K of the JPEG standard.
JPEG_TABLE = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)


def load_pairs(roots: Sequence[str], device: torch.device) -> list[Tensor]:
    """Read all pairs of some folders into the memory of a device: red, green, blue and infrared (4, H, W) uint8."""
    dataset = FusionDataset(roots, with_boxes=False)
    with ThreadPoolExecutor(8) as executor:
        pairs = list(executor.map(lambda index: _to_bytes(dataset[index]), range(len(dataset))))
    return [pair.to(device) for pair in pairs]


class DeviceViews:
    """Batches of views, with the options of a recipe.

    Args:
        pairs: See `load_pairs`.
        recipe: Gives batch size, crops, photometry, and the shares of mixed pairs and degraded infrared images.
        white: Share by which the infrared target equals the visible image where that is overexposed and the infrared image
            is darker, so that white sky stays white.
    """

    def __init__(self, pairs: Sequence[Tensor], recipe: Recipe, white: float) -> None:
        self.pairs, self.white, self.device = pairs, white, pairs[0].device
        self.data, self.training = recipe.data, recipe.training

    def draw(self, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Return visible (B, 3, h, w), infrared and infrared target images (B, 1, h, w), all in [0, 1]."""
        views = torch.stack([self._crop(rng) for _ in range(self.training.per_device_train_batch_size)])
        flips = self._chosen(self.data.flip)
        views = torch.where(flips, views.flip(-1), views)
        views = (views + self._between(GRAIN) * torch.randn_like(views)).clamp(0, 1)
        visible = expose(self._vary(views[:, :3]), self._chosen(OVEREXPOSED_SHARE))
        gain, offset = self._between(self.data.thermal_gain), self._between(self.data.thermal_gain / 2)
        clean = ((1 + gain) * views[:, 3:] + offset).clamp(0, 1)
        clean = mix_pairs({"infrared_values": clean}, self.training.mixed_pairs, 255)["infrared_values"]
        degraded = degrade(clean) if self.data.thermal_artifacts else clean
        infrared = torch.where(self._chosen(self.data.thermal_artifacts), degraded, clean)
        return visible, infrared, keep_white(visible, clean, self.white)

    def _crop(self, rng: Generator) -> Tensor:
        """Return a random window of a random pair, resized: (4, h, w) in [0, 1]."""
        pair = self.pairs[rng.integers(len(self.pairs))]
        height, width = self.data.image_size or (self.data.crop_size, self.data.crop_size)
        needed = max(height / pair.shape[1], width / pair.shape[2])
        low, high = self.data.scale
        factor = max(needed, 1.0 if rng.random() < NATIVE_SHARE else rng.uniform(low, high))
        rows, columns = round(height / factor), round(width / factor)
        top, left = rng.integers(pair.shape[1] - rows + 1), rng.integers(pair.shape[2] - columns + 1)
        window = pair[None, :, top : top + rows, left : left + columns].float() / 255
        if (rows, columns) == (height, width):
            return window[0]
        return F.interpolate(window, size=(height, width), mode="bilinear", antialias=True)[0]

    def _vary(self, visible: Tensor) -> Tensor:
        """Vary gamma, contrast and brightness, as `gffusion.data.transforms.VisiblePhotometric`."""
        strength = self.data.visible_photometric
        visible = visible ** (1 + self._between(strength))
        mean = visible.mean(dim=(1, 2, 3), keepdim=True)
        return (mean + (1 + self._between(strength)) * (visible - mean) + self._between(strength)).clamp(0, 1)

    def _between(self, strength: float) -> Tensor:
        """Return a number in [-strength, strength] for every view: (B, 1, 1, 1)."""
        count = self.training.per_device_train_batch_size
        return strength * (2 * torch.rand(count, 1, 1, 1, device=self.device) - 1)

    def _chosen(self, share: float) -> Tensor:
        return torch.rand(self.training.per_device_train_batch_size, 1, 1, 1, device=self.device) < share


def expose(visible: Tensor, chosen: Tensor) -> Tensor:
    """Overexpose the chosen images by up to 2.5 times, so that bright areas are white."""
    gain = 1 + (OVEREXPOSURE - 1) * torch.rand(len(visible), 1, 1, 1, device=visible.device)
    return torch.where(chosen, (gain * visible).clamp(0, 1), visible)


def keep_white(visible: Tensor, infrared: Tensor, share: float) -> Tensor:
    """Return the infrared image, moved to the luma where the visible image is overexposed and brighter.

    Losses then ask for white there instead of the darker mean of both and clouds of the infrared image. Small lights and edges are
    left alone.
    """
    if not share:
        return infrared
    luma = rgb_to_luma(visible)
    white = ((luma - WHITE) / WHITE_WIDTH).clamp(0, 1)
    area = -F.max_pool2d(-white, 5, 1, 2)
    area = F.avg_pool2d(area, 5, 1, 2, count_include_pad=False)
    colder = ((luma - infrared) / COLD_WIDTH).clamp(0, 1)
    return infrared.lerp(luma, share * area * colder)


def degrade(infrared: Tensor) -> Tensor:
    """Shift images by up to 1.5 pixels, and add noise, stripes and, to half of them, blocks of JPEG: (B, 1, h, w)."""
    count, _, height, width = infrared.shape

    def uniform() -> Tensor:
        return torch.rand(count, 1, 1, 1, device=infrared.device)

    theta = torch.eye(2, 3, device=infrared.device).repeat(count, 1, 1)
    sides = torch.tensor([width, height], device=infrared.device)
    theta[:, :, 2] = SHIFT * (2 * torch.rand(count, 2, device=infrared.device) - 1) * 2 / sides
    grid = F.affine_grid(theta, [count, 1, height, width], align_corners=False)
    moved = F.grid_sample(infrared, grid, mode="bicubic", padding_mode="border", align_corners=False)
    stripes = torch.randn(count, 1, 1, width, device=infrared.device)
    noisy = moved + NOISE * uniform() * torch.randn_like(moved) + STRIPES * uniform() * stripes
    noisy = noisy.clamp(0, 1)
    low, high = QUALITY
    return torch.where(uniform() < 0.5, compress(noisy, low + (high - low) * uniform()), noisy)


def compress(images: Tensor, quality: Tensor) -> Tensor:
    """Quantize blocks of 8 x 8 pixels as JPEG: images (B, 1, h, w) in [0, 1], qualities (B, 1, 1, 1) up to 100."""
    count, _, height, width = images.shape
    padded = F.pad(255 * images - 128, (0, -width % JPEG_BLOCK, 0, -height % JPEG_BLOCK), mode="replicate")
    rows, columns = (side // JPEG_BLOCK for side in padded.shape[-2:])
    blocks = padded.reshape(count, rows, JPEG_BLOCK, columns, JPEG_BLOCK).transpose(2, 3)
    position = torch.arange(JPEG_BLOCK, device=images.device, dtype=images.dtype)
    cosines = torch.cos(torch.pi * (2 * position + 1) * position[:, None] / (2 * JPEG_BLOCK)) / 2
    cosines[0] /= 2**0.5
    factor = torch.where(quality < 50, 50 / quality, 2 - quality / 50)[..., None]
    table = torch.tensor(JPEG_TABLE, device=images.device).view(JPEG_BLOCK, JPEG_BLOCK)
    steps = (table * factor).round().clamp(min=1)
    frequencies = ((cosines @ blocks @ cosines.mT) / steps).round() * steps
    restored = (cosines.mT @ frequencies @ cosines).transpose(2, 3).reshape(padded.shape)
    return ((restored[..., :height, :width] + 128) / 255).clamp(0, 1)


def _to_bytes(item: dict[str, Tensor]) -> Tensor:
    images = torch.cat([item["visible_values"], item["infrared_values"]])
    return (255 * images).round().to(torch.uint8)
