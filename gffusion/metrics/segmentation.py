"""Metrics of label maps, computed by torchmetrics: mIoU, IoU of each class and pixel accuracy."""

from numbers import Integral
from typing import Any

import torch
from torch import Tensor


def check_settings(num_classes: Any, ignore_index: Any) -> tuple[int, int]:
    """Return settings as int; raise ValueError if one is no whole number, or for one class, about which no mean says anything."""
    if not _is_whole(num_classes) or num_classes < 2:
        raise ValueError(f"`num_classes` must be an int of at least 2, the background included, got {num_classes!r}.")
    if not _is_whole(ignore_index):
        raise ValueError(
            f"`ignore_index` must be an int, the label of ignored pixels, such as 255, or -1 to count all, got {ignore_index!r}."
        )
    return int(num_classes), int(ignore_index)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_labels(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Check a batch and return the predicted labels, the argmax of logits, and the labels: (B, H, W), `torch.int64`.

    Raises:
        ValueError: If an argument is no tensor or complex, the shapes do not match, a label is out of range, or logits hold NaN.
    """
    for what, values in (("logits", logits), ("labels", labels)):
        if not isinstance(values, Tensor) or values.is_complex():
            raise ValueError(
                f"{what} must be a tensor of real numbers, got {getattr(values, 'dtype', type(values).__name__)}."
            )
    if labels.dim() != 3 or labels.is_floating_point():
        raise ValueError(f"labels must be integers of shape (B, H, W), got {labels.dtype} of {tuple(labels.shape)}.")
    if logits.is_floating_point():
        if logits.dim() != 4 or logits.shape[1] != num_classes:
            raise ValueError(f"logits must have the shape (B, {num_classes}, H, W), got {tuple(logits.shape)}.")
        if logits.isnan().any():
            raise ValueError("logits hold NaN.")
        logits = logits.argmax(1)
    if logits.shape != labels.shape:
        raise ValueError(
            f"The prediction has the shape {tuple(logits.shape)} and the labels {tuple(labels.shape)} (B, H, W): "
            "resize the logits to the labels first."
        )
    logits, labels = logits.long(), labels.long()  # PyTorch compares few types of integers
    for what, values in (("Predicted labels", logits), ("labels", labels[labels != ignore_index])):
        if values.numel() and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"{what} go from {values.min()} to {values.max()}. Allowed are 0 to {num_classes - 1}, and in the "
                f"labels {ignore_index} for pixels that do not count."
            )
    return logits, labels


def mean_iou(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return the mean intersection over union (mIoU) over all pixels of the batch: 0 to 1, higher is better.

    The mean, without dimensions, is over the classes in the labels or the prediction except `ignore_index`, or NaN if all
    pixels are ignored.

    Args:
        logits: Tensor of shape (B, C, H, W), or integer predicted labels of shape (B, H, W).
        labels: Integer tensor of shape (B, H, W).
        num_classes: Number of classes C, the background included.
        ignore_index: Label of ignored pixels.

    Raises:
        ValueError: If the shapes do not match, a label is out of range, logits hold NaN, there is only one class, or
            `ignore_index` is no int.

    Source: Everingham et al. 2010, doi:10.1007/s11263-009-0275-4.

    Examples:
        >>> mean_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]), num_classes=3)
        tensor(1.)
    """
    # torchmetrics is imported in each function, because importing it takes seconds.
    from torchmetrics.functional.classification import multiclass_jaccard_index

    num_classes, ignore_index = check_settings(num_classes, ignore_index)
    predicted, labels = check_labels(logits, labels, num_classes, ignore_index)
    return multiclass_jaccard_index(predicted, labels, num_classes, ignore_index=ignore_index)


def class_iou(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return the intersection over union (IoU) of each class, over all pixels of the batch: 0 to 1, higher is better.

    Shape (C,), with NaN for classes that are absent from both labels and prediction, and for `ignore_index`. Arguments, errors and source are those
    of [`mean_iou`].

    Examples:
        >>> class_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 255]]]), num_classes=3)
        tensor([0.5000, 0.5000,    nan])
    """
    from torchmetrics.functional.classification import multiclass_jaccard_index

    num_classes, ignore_index = check_settings(num_classes, ignore_index)
    predicted, labels = check_labels(logits, labels, num_classes, ignore_index)
    scores = multiclass_jaccard_index(
        predicted, labels, num_classes, average="none", ignore_index=ignore_index, zero_division=torch.nan
    )
    return drop_ignored(scores, ignore_index)


def drop_ignored(scores: Tensor, ignore_index: int) -> Tensor:
    """Return scores of classes with NaN for the class whose labels are ignored, if it is one."""
    return scores.where(torch.arange(len(scores), device=scores.device) != ignore_index, torch.nan)


def pixel_accuracy(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Return the share of pixels of the batch with the right class, without dimensions: 0 to 1, higher is better.

    The share is NaN if all pixels are ignored. Arguments, errors and source are those of [`mean_iou`].

    Examples:
        >>> pixel_accuracy(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), num_classes=3)
        tensor(0.7500)
    """
    from torchmetrics.functional.classification import multiclass_accuracy

    num_classes, ignore_index = check_settings(num_classes, ignore_index)
    predicted, labels = check_labels(logits, labels, num_classes, ignore_index)
    accuracy = multiclass_accuracy(predicted, labels, num_classes, average="micro", ignore_index=ignore_index)
    return accuracy.where((labels != ignore_index).any(), torch.nan)
