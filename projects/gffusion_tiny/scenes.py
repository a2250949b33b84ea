"""Batches of random views of whole scenes, made on one device, for training `labeler.py` and `segmenter.py`.

All scenes lie in the memory of the device as bytes. A batch is cropped, pasted, degraded and fused there, so that a GPU does not
wait for processes that load images.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator, default_rng
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex
from tqdm import tqdm

from gffusion.data import FusionDataset
from gffusion.data.reading import ReadOptions
from gffusion.data.transforms import Resize
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import two_scale_target
from gffusion.training.recipe import read_recipe

from .augmentation import degrade, fuse_varied, paste

MODEL_CONFIG = read_recipe(Path(__file__).with_name("segmentation.yaml"))["model_config"]
NUM_CLASSES = len(MODEL_CONFIG["id2label"])
SIZE, WINDOW_SIZE = (480, 640), (240, 320)
IGNORED = 255
FOCUS_SHARE = 0.65  # of the views that show an object of a class drawn with these shares
CLASS_SHARES = (0.4, 0.25, 0.35)  # person, bicycle, car
MINIMUM_PIXELS, KEPT_PIXELS = 30, 200


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
        self.locate()

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.images)

    def locate(self) -> None:
        """List pixels of every class and scene, on which views are centered."""
        rng = default_rng(0)
        self.spots: list[list[tuple[int, np.ndarray]]] = [[] for _ in range(NUM_CLASSES)]
        for scene, target in enumerate(self.targets):
            for label in range(1, NUM_CLASSES):
                pixels = (target[label] > 127).nonzero().cpu().numpy()
                if len(pixels) >= MINIMUM_PIXELS:
                    self.spots[label].append((scene, pixels[rng.integers(len(pixels), size=KEPT_PIXELS)]))

    def sources(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return visible (B, 3, H, W) and infrared images (B, 1, H, W) of whole scenes, in [0, 1]."""
        images = self.images[index].float() / 255
        return images[:, :3], images[:, 3:]

    def choose(self, rng: Generator, count: int, size: tuple[int, int], zoom: tuple[float, float]) -> Windows:
        """Choose random windows that show a scene enlarged by a factor in `zoom`, mostly with objects."""
        factor = np.exp(rng.uniform(*np.log(zoom), count))
        half = np.array(size) / np.array(SIZE) / factor[:, None]  # of the window, relative to the scene
        half = half * np.exp(rng.normal(0, 0.06, (count, 2)))
        index = rng.integers(len(self), size=count)
        center = rng.uniform(-1, 1, (count, 2))
        for view in np.flatnonzero(rng.random(count) < FOCUS_SHARE):
            spots = self.spots[rng.choice(NUM_CLASSES - 1, p=CLASS_SHARES) + 1]
            if spots:
                index[view], pixels = spots[rng.integers(len(spots))]
                pixel = pixels[rng.integers(len(pixels))]
                center[view] = (2 * pixel + 1) / np.array(SIZE) - 1 + rng.uniform(-0.7, 0.7, 2) * half[view]
        center = center.clip(-abs(1 - half), abs(1 - half))
        flip, angle = rng.choice([-1, 1], count), rng.normal(0, 0.03, count)
        theta = np.zeros((count, 2, 3), dtype=np.float32)
        aspect = SIZE[1] / SIZE[0]
        theta[:, 0, 0], theta[:, 1, 1] = flip * half[:, 1] * np.cos(angle), half[:, 0] * np.cos(angle)
        theta[:, 0, 1], theta[:, 1, 0] = (
            -half[:, 0] * np.sin(angle) / aspect,
            flip * half[:, 1] * np.sin(angle) * aspect,
        )
        theta[:, :, 2] = center[:, ::-1]
        places = np.stack([center * np.stack([np.ones(count), flip], axis=1), half], axis=1).astype(np.float32)
        return Windows(*(torch.from_numpy(part).to(self.device, non_blocking=True) for part in (index, theta, places)))

    def show(self, windows: Windows, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Return images (B, 4, h, w) in [0, 1] and targets (B, classes + 1, h, w) of windows."""
        fine = [2 * side for side in size]  # against aliasing
        grid = F.affine_grid(windows.theta, [len(windows.theta), 1, *fine], align_corners=False)
        scenes = torch.cat([self.images[windows.index], self.targets[windows.index]], dim=1).float() / 255
        views = F.avg_pool2d(F.grid_sample(scenes, grid, padding_mode="reflection", align_corners=False), 2)
        return views[:, :4], views[:, 4:]

    def draw(
        self, rng: Generator, count: int, size: tuple[int, int], zoom: tuple[float, float]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return fused views (B, 3, h, w) in [0, 1], their targets (B, classes + 1, h, w), and their places."""
        windows = self.choose(rng, count, size, zoom)
        images, targets = paste(*self.show(windows, size), rng)
        return fuse_varied(*degrade(images[:, :3], images[:, 3:], rng), rng), targets, windows.places


def _to_bytes(pair: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    images = torch.cat([pair["visible_values"], pair["infrared_values"]])
    return (255 * images).round().to(torch.uint8), pair["labels"].to(torch.uint8)


def fuse(batch: dict[str, Tensor]) -> Tensor:
    """Fuse a batch of views to the target of GFFusion, each with its own contrast: (B, 3, H, W) in [0, 1]."""
    luma = two_scale_target(rgb_to_luma(batch["visible"]), batch["infrared"], batch["contrast"])
    return replace_luma(batch["visible"], luma)


def soft_loss(logits: Tensor, targets: Tensor, weights: Sequence[float]) -> dict[str, Tensor]:
    """Return the cross-entropy with soft targets (B, classes + 1, H, W), "classes", and 1 minus their overlap, "overlap".

    `weights` are those of the classes. The overlap is the mean Dice coefficient of the objects' classes over the batch (Milletari
    et al., 2016), which counts rare and frequent classes alike.
    """
    logits, taught, known = logits.float(), targets[:, :-1], targets[:, -1:]
    weighted = taught * taught.new_tensor(weights).view(-1, 1, 1)
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
