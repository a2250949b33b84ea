"""Batches of random views of whole scenes, made on one device, for training `labeler.py` and `segmenter.py`.

All scenes lie in the memory of the device as bytes. A batch is cropped, pasted, degraded and fused there, without any number from
the host, so that a GPU does not wait for processes that load images and `training.fit` can replay whole steps.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import default_rng
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from tqdm import tqdm

from gffusion import GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.reading import ReadOptions
from gffusion.data.transforms import Resize
from gffusion.inference.predict import run_model
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target
from gffusion.training.recipe import read_recipe

from .augmentation import degrade, fuse_varied, paste

MODEL_CONFIG = read_recipe(Path(__file__).with_name("segmentation.yaml"))["model_config"]
NUM_CLASSES = len(MODEL_CONFIG["id2label"])
SIZE, WINDOW_SIZE = (480, 640), (240, 320)
IGNORED = 255
FOCUS_SHARE = 0.6  # of the views that show an object of a class drawn with these shares
CLASS_SHARES = (0.37, 0.3, 0.33)  # person, bicycle, car
MIN_PIXELS, KEPT_PIXELS = 30, 200
NATIVE_SHARE = 0.4  # of the views of the segmenter that have one of the sizes of its windows


@dataclass
class Windows:
    """Where views lie in their scenes.

    `theta` (B, 2, 3) maps a view to its scene for `F.affine_grid`. `places` (B, 2, 2) are the centers (y, x) and half sizes
    (y, x) of the views in their scenes, flipped like them; scenes range from -1 to 1.
    """

    index: Tensor
    theta: Tensor
    places: Tensor


class Scenes:
    """All pairs of some folders at one size, with a soft target for every pixel.

    `targets` (N, 1 + classes, H, W) uint8 holds 255 times the probability of each class, and last whether a pixel is known.
    """

    def __init__(self, roots: Sequence[str], device: str) -> None:
        datasets = [FusionDataset(root, Resize(SIZE), read_options=ReadOptions(keep_borders=True)) for root in roots]
        items = [(dataset, index) for dataset in datasets for index in range(len(dataset))]
        with ThreadPoolExecutor(8) as executor:
            scenes = list(executor.map(lambda item: _to_bytes(item[0][item[1]]), items))
        self.images, labels = (torch.stack(parts).to(device) for parts in zip(*scenes, strict=True))  # (N, 4, H, W)
        known = labels != IGNORED
        classes = F.one_hot(torch.where(known, labels, 0).long(), NUM_CLASSES).permute(0, 3, 1, 2)
        self.targets = (255 * torch.cat([classes * known[:, None], known[:, None]], dim=1)).to(torch.uint8)
        self.device = device
        self.ready: Tensor | None = None  # (models, N, 1, H, W), see `fuse_by`
        self.locate()

    def __len__(self) -> int:
        return len(self.images)

    def locate(self) -> None:
        """List pixels of every class and scene, on which views are centered."""
        rng = default_rng(0)
        pixel_counts = (self.targets[:, 1:NUM_CLASSES] > 127).sum(dim=(2, 3)).cpu()
        table = np.zeros((NUM_CLASSES - 1, len(self), KEPT_PIXELS, 3), dtype=np.int64)  # scene, row, column
        counts = np.zeros(NUM_CLASSES - 1, dtype=np.int64)
        for scene, label in (pixel_counts >= MIN_PIXELS).nonzero().tolist():
            pixels = (self.targets[scene, label + 1] > 127).nonzero().cpu().numpy()
            table[label, counts[label]] = np.insert(
                pixels[rng.integers(len(pixels), size=KEPT_PIXELS)], 0, scene, axis=1
            )
            counts[label] += 1
        self.spots, self.spot_counts = (torch.from_numpy(part).to(self.device) for part in (table, counts))

    @torch.no_grad()
    def fuse_by(self, models: Sequence[GFFusionModel]) -> None:
        """Fuse all scenes by models, whose results some views show instead of the target of GFFusion."""
        ready = []
        for model in models:
            model.to(self.device)
            for index in torch.arange(len(self), device=self.device).split(8):
                fused = run_model(model, *self.sources(index), segment=False).fused_values
                ready.append((255 * fused[:, :1]).round().to(torch.uint8))
        if ready:
            self.ready = torch.cat(ready).unflatten(0, (len(models), len(self)))

    def sources(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return visible (B, 3, H, W) and infrared images (B, 1, H, W) of whole scenes, in [0, 1]."""
        images = self.images[index].float() / 255
        return images[:, :3], images[:, 3:]

    def choose(
        self, count: int, size: tuple[int, int], zoom: tuple[float, float], native: tuple[float, ...] = ()
    ) -> Windows:
        """Choose random windows, mostly with objects.

        They show a scene enlarged by a random factor in `zoom`, or, for a share of them, by one of the factors `native`.
        """
        device, sides = self.device, constant(SIZE, self.device)
        factor = torch.empty(count, 1, device=device).uniform_(*np.log(zoom).tolist()).exp()
        if native:
            choice = constant(native, device)[torch.randint(len(native), (count, 1), device=device)]
            factor = torch.where(torch.rand(count, 1, device=device) < NATIVE_SHARE, choice, factor)
        half = constant(size, device) / sides / factor  # of the window, relative to the scene
        half = half * (0.08 * torch.randn(count, 2, device=device)).exp()
        label = torch.bucketize(torch.rand(count, device=device), constant(CLASS_SHARES, device).cumsum(0)[:-1])
        rows = (torch.rand(count, device=device) * self.spot_counts[label]).long()
        spots = self.spots[label, rows, torch.randint(KEPT_PIXELS, (count,), device=device)]
        is_focused = (torch.rand(count, device=device) < FOCUS_SHARE) & (self.spot_counts[label] > 0)
        index = torch.where(is_focused, spots[:, 0], torch.randint(len(self), (count,), device=device))
        center, moved = torch.empty(2, count, 2, device=device).uniform_(-1, 1).unbind()
        center = torch.where(is_focused[:, None], (2 * spots[:, 1:] + 1) / sides - 1 + 0.7 * moved * half, center)
        center = torch.minimum(torch.maximum(center, -(1 - half).abs()), (1 - half).abs())
        flip = 2.0 * torch.randint(2, (count,), device=device) - 1
        angle, aspect = 0.05 * torch.randn(count, device=device), SIZE[1] / SIZE[0]
        (down, across), (y, x) = half.unbind(dim=1), center.unbind(dim=1)
        theta = [
            torch.stack([flip * across * angle.cos(), -down * angle.sin() / aspect, x], dim=1),
            torch.stack([flip * across * angle.sin() * aspect, down * angle.cos(), y], dim=1),
        ]
        places = torch.stack([torch.stack([y, flip * x], dim=1), half], dim=1)
        return Windows(index, torch.stack(theta, dim=1), places)

    def show(self, windows: Windows, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return images (B, 4 or 5, h, w) in [0, 1] and targets (B, classes + 1, h, w) of windows.

        The channels are visible (3), infrared and, after `fuse_by`, the luma of the image fused by one of the models.
        """
        fine = [2 * side for side in size]  # against aliasing
        grid = F.affine_grid(windows.theta, [len(windows.theta), 1, *fine], align_corners=False)
        parts = [self.images[windows.index]]
        if self.ready is not None:
            model = torch.randint(len(self.ready), windows.index.shape, device=self.device)
            parts.append(self.ready[model, windows.index])
        scenes = torch.cat([*parts, self.targets[windows.index]], dim=1).float()
        views = F.avg_pool2d(F.grid_sample(scenes, grid, padding_mode="reflection", align_corners=False), 2) / 255
        return views[:, : -NUM_CLASSES - 1], views[:, -NUM_CLASSES - 1 :]

    def draw(
        self, count: int, size: tuple[int, int], zoom: tuple[float, float], native: tuple[float, ...] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return fused views (B, 3, h, w) in [0, 1], their targets (B, classes + 1, h, w), and their places."""
        windows = self.choose(count, size, zoom, native)
        images, targets = paste(*self.show(windows, size))
        ready = images[:, 4:] if images.shape[1] > 4 else None
        return fuse_varied(*degrade(images[:, :3], images[:, 3:4]), ready), targets, windows.places


def _to_bytes(pair: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    images = torch.cat([pair["visible_values"], pair["infrared_values"]])
    return (255 * images).round().to(torch.uint8), pair["labels"].to(torch.uint8)


@lru_cache
def constant(values: tuple[float, ...], device: str) -> Tensor:
    """Return numbers on a device, to which they are copied only once."""
    return torch.tensor(values, dtype=torch.float32, device=device)


def fuse(batch: dict[str, Tensor]) -> Tensor:
    """Fuse a batch of views to the target of GFFusion, each with its own contrast: (B, 3, H, W) in [0, 1]."""
    luma = two_scale_target(rgb_to_luma(batch["visible"]), batch["infrared"], batch["contrast"])
    return replace_luma(batch["visible"], luma)


def soft_loss(logits: Tensor, targets: Tensor, weights: tuple[float, ...]) -> dict[str, Tensor]:
    """Return the cross-entropy with soft targets (B, classes + 1, H, W), "classes", and 1 minus their overlap, "overlap".

    `weights` are those of the classes. The overlap is the mean Dice coefficient of the objects' classes over the batch (Milletari
    et al., 2016), which counts rare and frequent classes alike.
    """
    logits, taught, known = logits.float(), targets[:, :-1], targets[:, -1:]
    weighted = taught * constant(weights, str(taught.device)).view(-1, 1, 1)
    cross_entropy = -(weighted * logits.log_softmax(dim=1)).sum() / weighted.sum().clamp(min=1)
    predicted = logits.softmax(dim=1) * known
    both, total = ((part[:, 1:]).sum(dim=(0, 2, 3)) for part in (predicted * taught, predicted**2 + taught**2))
    return {"classes": cross_entropy, "overlap": (1 - 2 * both / total.clamp(min=1)).mean()}


@torch.no_grad()
def measure(segment: Callable[[Tensor], Tensor], roots: Sequence[str], device: str = "cpu") -> dict[str, float]:
    """Return the IoU of each class on whole pairs, fused at contrast 1.

    Args:
        segment: Maps images (1, 3, H, W) in [0, 1] to logits (1, classes, H, W).
        roots: Folders of pairs with label maps.
        device: Where `segment` runs.
    """
    metric = MulticlassJaccardIndex(NUM_CLASSES, average="none", ignore_index=255)
    for pair in tqdm(FusionDataset(roots), unit="pair", disable=None, desc="IoU"):
        sources = {name: pair[f"{name}_values"][None].to(device) for name in ("visible", "infrared")}
        logits = segment(fuse(sources | {"contrast": torch.ones(1, 1, 1, 1, device=device)})).cpu()
        metric.update(logits.argmax(dim=1), pair["labels"][None])
    return {MODEL_CONFIG["id2label"][index]: round(value.item(), 3) for index, value in enumerate(metric.compute())}
