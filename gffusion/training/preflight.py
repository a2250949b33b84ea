"""What can be known to go wrong before the first step."""

from typing import Any

import numpy as np
import torch
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
from torch.utils.data import Dataset

from ..metrics import METRICS, list_metrics
from ..modeling_gffusion import MINIMUM_SIZE, GFFusionModel
from .arguments import FusionTrainingArguments

_LOSSES = ("loss", "loss_structural", "loss_ssim", "loss_gradient", "loss_intensity", "loss_segmentation")


def check_names(arguments: FusionTrainingArguments, labelled: bool) -> None:
    """Check the names of metrics and trackers.

    Raises:
        ValueError: If one is unknown, not installed, or needs labels that the evaluation data do not have.
    """
    unknown = set(arguments.eval_metrics) - set(list_metrics())
    if unknown:
        raise ValueError(f"`eval_metrics` has {sorted(unknown)}. Allowed are {', '.join(list_metrics())}.")
    allowed = {*arguments.eval_metrics, *_LOSSES[:-1], *(("mIoU", "loss_segmentation") if labelled else ())}
    if arguments.best_metric not in allowed:
        raise ValueError(
            f"`best_metric` must be something that the evaluation computes ({', '.join(sorted(allowed))}), "
            f"got {arguments.best_metric!r}."
        )
    available = [str(name) for name in get_available_trackers()]
    for name in arguments.trackers:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise ValueError(f"There is no tracker {name!r}. Allowed are {', '.join(map(str, LOGGER_TYPE_TO_CLASS))}.")
        if name not in available:
            raise ValueError(f"The tracker {name!r} is not installed: `pip install {name}`.")


def is_better_higher(metric: str) -> bool:
    """Tell whether larger values of a `best_metric` are better."""
    return metric in METRICS and bool(METRICS[metric].higher_is_better)


def check_training_data(dataset: Dataset[dict[str, Any]], model: GFFusionModel, labelled: bool) -> None:
    """Check that every item can be made and that items fit the model and each other, reading no picture but the first.

    A data set that is no [`FusionDataset`] is judged by its first item.

    Raises:
        OSError: If a file is missing or no image.
        ValueError: If a picture is smaller than the crop, pictures that differ in size would have to share a batch, or a
            label is no class.
    """
    shape = tuple(dataset[0]["visible_values"].shape)
    if min(shape[1:]) < MINIMUM_SIZE:
        raise ValueError(f"Training pictures must measure {MINIMUM_SIZE} x {MINIMUM_SIZE} at least, got {shape[1:]}.")
    if hasattr(dataset, "sizes"):
        _check_sizes(dataset, shape[1:])
    if labelled:
        check_labels(dataset, model)


def check_labels(dataset: Dataset[dict[str, Any]], model: GFFusionModel) -> None:
    """Check that all labels are classes of the model.

    Raises:
        ValueError: If one is not.
    """
    label_values = getattr(dataset, "label_values", None)
    values = label_values() if label_values else set(dataset[0]["labels"].unique().tolist())
    classes, ignored = model.config.num_labels, model.config.ignore_index
    wrong = sorted(value for value in values if not (0 <= value < classes or value == ignored))
    if wrong:
        raise ValueError(
            f"The labels hold {wrong}, but the model has the classes 0 to {classes - 1} "
            f"({', '.join(model.config.id2label.values())}) and ignores {ignored}. Give the model these classes "
            "(`id2label`), or correct the labels."
        )


def _check_sizes(dataset: Any, expected: tuple[int, ...]) -> None:
    """Try the transform on blank pictures of every size that occurs."""
    for height, width in sorted(set(dataset.sizes())):
        size = (height, width)
        if dataset.transform is not None:
            blank = {"visible": np.zeros((*size, 3), np.float32), "infrared": np.zeros((*size, 1), np.float32)}
            size = dataset.transform(blank, np.random.default_rng(0))["visible"].shape[:2]
        if size != expected:
            raise ValueError(
                f"Training pictures must be of one size to share a batch, got {expected[0]} x {expected[1]} and "
                f"{size[0]} x {size[1]} (height x width). Crop or resize them with a transform."
            )


def check_batch_normalization(arguments: FusionTrainingArguments, device: torch.device) -> None:
    """Check that the device can do what `batch_normalization` asks for.

    Raises:
        ValueError: If it cannot.
    """
    if arguments.batch_normalization == "synchronized" and device.type != "cuda":
        raise ValueError(
            f'`batch_normalization="synchronized"` works on CUDA devices only, this is {device.type}. Use "running" or "local".'
        )
