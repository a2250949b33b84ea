"""Evaluation during training: losses, fusion metrics, mIoU and images, on whole validation pairs."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from gffusion.inference.predict import predict_labels, run_model
from gffusion.metrics import compute_metrics, get_metric, to_luma8
from gffusion.models.gffusion.image_ops import restore_color, to_uint8
from gffusion.models.gffusion.losses import label_mass
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput
from gffusion.utils.notes import format_count
from gffusion.utils.progress import is_progress_hidden, show_progress
from gffusion.visualization.drawing import arrange_tiles, stack
from gffusion.visualization.overlay import overlay

from .checked_dataset import read_item
from .progress import is_higher_better
from .sampling import collate, keep_random_state, move_inputs

if TYPE_CHECKING:
    from torchmetrics import Metric

logger = logging.getLogger(__name__)

_TILE_HEIGHT = 240


@keep_random_state()
@torch.no_grad()
def evaluate(
    model: GFFusionModel,
    dataset: Dataset[dict[str, Any]],
    metrics: Sequence[str],
    accelerator: Accelerator,
    hides_progress: bool = False,
) -> dict[str, float]:
    """Compute mean losses and metrics over a dataset. All processes must call this; results do not depend on their number.

    The model must be neither wrapped nor compiled, and is left in evaluation mode. Items have any size. Fusion metrics have
    the protocol "standard", on the luma of the fused image in 8 bits and the visible image's color, as `gffusion fuse` writes it. Labels and a segmenter add L_ss and the mIoU, over all labeled
    pixels. Infrared targets replace the infrared images in losses and metrics.

    Raises:
        ValueError: If there are labels, but the model has one class.
    """
    model.eval()
    config, device, length = model.config, accelerator.device, len(dataset)  # type: ignore[arg-type]
    if hides_progress or is_progress_hidden():
        accelerator.print(f"evaluating {format_count(length, 'pair')}")
    iou: Metric | None = None  # created for labels only: models with one class have none
    rows: dict[int, dict[str, float]] = {}
    own_indices = range(accelerator.process_index, length, accelerator.num_processes)
    hidden = hides_progress or not accelerator.is_main_process
    for index in show_progress(own_indices, description="evaluation", unit="pair", hidden=hidden):
        batch = move_inputs(collate([read_item(dataset, index, config)], config), device)
        visible, infrared, labels = batch["visible_values"], batch["infrared_values"], batch.get("labels")
        with accelerator.autocast():  # also after training, when the model is no longer wrapped
            outputs = model(**batch, return_dict=True, return_loss=True)
        losses = {
            name: value.item() for name, value in outputs.items() if name.startswith("loss") and value is not None
        }
        rows[index] = losses | _compute_scores(outputs, batch, metrics)
        if labels is not None:
            # Added below, for all pixels together.
            rows[index]["loss"] -= config.segmentation_weight * losses["loss_segmentation"]
            rows[index]["mass"] = label_mass(labels, config.ignore_index, config.class_weights).item()
            iou = _create_iou(model, device) if iou is None else iou
            iou.update(predict_labels(model, outputs, visible, infrared), labels)
    ordered = dict(sorted(pair for part in gather_object([rows]) for pair in part.items()))
    masses = {index: row.pop("mass") for index, row in ordered.items() if "mass" in row}
    names = dict.fromkeys(name for row in ordered.values() for name in row)  # only labeled pairs have all of them
    means = {name: float(np.mean([row[name] for row in ordered.values() if name in row])) for name in names}
    if masses:
        total = sum(mass * ordered[index]["loss_segmentation"] for index, mass in masses.items())
        means["loss_segmentation"] = total / (sum(masses.values()) or 1)
        means["loss"] += config.segmentation_weight * means["loss_segmentation"]
        if iou is None:
            iou = _create_iou(model, device)
            ignored = torch.full((1, 1, 1), config.ignore_index, device=device)
            iou.update(ignored.new_zeros(1, 1, 1), ignored)  # torchmetrics warns about metrics without any pixel
        means["mIoU"] = float(iou.compute())  # gathers the counts of all processes
    return means


def _create_iou(model: GFFusionModel, device: torch.device) -> "Metric":
    return get_metric("mIoU", num_classes=model.config.num_labels, ignore_index=model.config.ignore_index).to(device)


@torch.no_grad()
def draw_pairs(model: GFFusionModel, items: Sequence[dict[str, Any]], device: torch.device) -> NDArray[np.uint8]:
    """Draw each pair in a row: visible, infrared, fused and, for labeled pairs, predicted and true classes.

    The model is left in evaluation mode. Returns an array of shape (height, width, 3).
    """
    model.eval()
    return np.asarray(stack([_draw_pair(model, item, device) for item in items]))


def warn_if_worse(log: Sequence[Mapping[str, Any]], metric: str, best: float | None) -> None:
    """Warn if the initial weights were evaluated, and had a better score than the best ones after them."""
    before = next((record.get(f"eval_{metric}") for record in log if record["step"] == 0), None)
    sign = 1 if is_higher_better(metric) else -1
    if before is not None and best is not None and sign * before > sign * best:
        logger.warning(
            "%s of the best weights is %.4g, but was better before training, %.4g: "
            "lower `learning_rate`, or train longer on more pairs.",
            metric,
            best,
            before,
        )


def _draw_pair(model: GFFusionModel, item: dict[str, Any], device: torch.device) -> Image.Image:
    batch = move_inputs(collate([item], model.config), device)
    visible, infrared, labels = batch["visible_values"], batch["infrared_values"], batch.get("labels")
    outputs = run_model(model, visible, infrared, segment=labels is not None)
    fused = restore_color(outputs["fused_values"].float(), visible)
    colors = (
        values[0].nan_to_num().clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0) for values in (visible, infrared, fused)
    )
    images = [to_uint8(values.cpu().numpy()) for values in colors]  # (H, W, 3)
    heading = "visible, infrared, fused"
    if labels is not None:
        heading += ", predicted and true classes"
        predicted = predict_labels(model, outputs, visible, infrared)
        known = labels.where(labels != model.config.ignore_index, 0)
        images += [overlay(images[2], classes[0].cpu().numpy().astype(np.uint8)) for classes in (predicted, known)]
    height, width = images[0].shape[:2]
    size = max(1, round(width * _TILE_HEIGHT / height)), _TILE_HEIGHT
    tiles = [Image.fromarray(image).resize(size, Image.Resampling.LANCZOS) for image in images]
    return arrange_tiles(heading, tiles, columns=len(tiles))


def _compute_scores(outputs: GFFusionOutput, batch: dict[str, Tensor], metrics: Sequence[str]) -> dict[str, float]:
    if not metrics:
        return {}
    infrared_values = batch.get("infrared_targets", batch["infrared_values"])
    visible_values = batch["visible_values"]
    images = (restore_color(outputs["fused_values"].float(), visible_values), visible_values, infrared_values)
    fused, visible, infrared = (to_luma8(image.cpu()) for image in images)  # metrics need float64, which MPS lacks
    return {name: value.item() for name, value in compute_metrics(fused, visible, infrared, metrics).items()}
