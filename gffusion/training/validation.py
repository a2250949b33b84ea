"""What a model is worth on evaluation pairs: losses, fusion metrics, mIoU and pictures, on whole images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from gffusion.metrics import compute_metrics, get_metric, to_luma8
from gffusion.models.gffusion.image_ops import replace_luma
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput
from gffusion.visualization.overlay import overlay

INPUTS = ("visible_values", "infrared_values", "labels")

_PICTURE_HEIGHT = 240
_GAP = 4


@torch.no_grad()
def evaluate(
    model: GFFusionModel, dataset: Dataset[dict[str, Any]], metrics: Sequence[str], accelerator: Accelerator
) -> dict[str, float]:
    """Compute the means over a data set, the same on any number of processes. All processes must call this.

    Args:
        model: The model, neither wrapped nor compiled; it is left in evaluation mode.
        dataset: Items `visible_values`, `infrared_values` and, optionally, `labels`, of any size.
        metrics: Fusion metrics by name; protocol "standard", on the luma of the fused image.
        accelerator: Whose processes share the pairs.

    Returns:
        The mean of each loss and metric over the pairs, and the mIoU where there are labels and a segmenter.
    """
    model.eval()
    device, length = accelerator.device, len(dataset)  # type: ignore[arg-type]
    iou = get_metric("mIoU", num_classes=model.config.num_labels, ignore_index=model.config.ignore_index).to(device)
    rows: dict[int, dict[str, float]] = {}
    mine = range(accelerator.process_index, length, accelerator.num_processes)
    for index in tqdm(mine, desc="evaluation", leave=False, disable=not accelerator.is_main_process):
        batch = to_batch(model, dataset[index], device)
        output = model(**batch, return_loss=True)
        rows[index] = _losses(output) | _scores(output, batch, metrics)
        if output.logits is not None:
            iou.update(output.logits, batch["labels"])
    ordered = dict(sorted(pair for part in gather_object([rows]) for pair in part.items()))
    means = {name: float(np.mean([row[name] for row in ordered.values()])) for name in ordered[0]}
    if "loss_segmentation" in means:
        means["mIoU"] = float(iou.compute())  # the counts of all processes
    return means


@torch.no_grad()
def draw(model: GFFusionModel, items: Sequence[dict[str, Any]], device: torch.device) -> NDArray[np.uint8]:
    """Draw pairs below each other: visible, infrared, fused and, where they are labelled, predicted and true classes.

    Args:
        model: The model, which is left in evaluation mode.
        items: Items of a data set.
        device: Where the model is.

    Returns:
        Picture of shape (height, width, 3).
    """
    model.eval()
    strips = []
    for item in items:
        batch = to_batch(model, item, device)
        output = model(**batch)
        visible = item["visible_values"]
        fused = output.fused_values[0].float().cpu()
        if fused.shape[0] == 1:
            fused = replace_luma(visible[None], fused[None])[0]
        panels = [_to_rgb(visible), _to_rgb(item["infrared_values"]), _to_rgb(fused)]
        if output.logits is not None:
            predicted = output.logits[0].argmax(0).cpu()
            labels = torch.where(item["labels"] == model.config.ignore_index, 0, item["labels"])
            panels += [overlay(panels[2], classes.numpy().astype(np.uint8)) for classes in (predicted, labels)]
        strips.append(_side_by_side(panels))
    width = max(strip.shape[1] for strip in strips)
    return np.concatenate([np.pad(strip, ((0, _GAP), (0, width - strip.shape[1]), (0, 0))) for strip in strips])


def to_batch(model: GFFusionModel, item: dict[str, Any], device: torch.device) -> dict[str, Tensor]:
    """Return the inputs of one item as a batch of one; labels only for models that can use them."""
    names = INPUTS if model.config.use_segmenter else INPUTS[:2]
    return {name: item[name][None].to(device) for name in names if name in item}


def _losses(output: GFFusionOutput) -> dict[str, float]:
    return {name: value.item() for name, value in output.items() if name.startswith("loss") and value is not None}


def _scores(output: GFFusionOutput, batch: dict[str, Tensor], metrics: Sequence[str]) -> dict[str, float]:
    if not metrics:
        return {}
    images = (output["fused_values"], batch["visible_values"], batch["infrared_values"])
    fused, visible, infrared = (to_luma8(image.cpu()) for image in images)  # not every device has the metrics' float64
    return {name: value.item() for name, value in compute_metrics(fused, visible, infrared, metrics).items()}


def _to_rgb(values: Tensor) -> NDArray[np.uint8]:
    """(1 or 3, H, W) in [0, 1] -> (H, W, 3) uint8."""
    image = (values.clamp(0, 1) * 255).round().byte().expand(3, -1, -1)
    return image.permute(1, 2, 0).numpy()


def _side_by_side(panels: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height, width = panels[0].shape[:2]
    size = max(1, round(width * _PICTURE_HEIGHT / height)), _PICTURE_HEIGHT
    resized = [np.asarray(Image.fromarray(panel).resize(size, Image.Resampling.LANCZOS)) for panel in panels]
    gap = np.zeros((_PICTURE_HEIGHT, _GAP, 3), dtype=np.uint8)
    return np.concatenate([part for panel in resized for part in (panel, gap)][:-1], axis=1)
