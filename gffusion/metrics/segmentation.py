"""Metrics of label maps, thin over torchmetrics: mIoU, IoU of each class and pixel accuracy."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from .base import Described

_REFERENCE = (
    "M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman, The PASCAL visual object classes (VOC) "
    "challenge, International Journal of Computer Vision 88, 2010, doi:10.1007/s11263-009-0275-4"
)


def _predicted(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    """Check a batch and return the label map that the logits mean, of shape (B, H, W)."""
    if labels.dim() != 3 or labels.is_floating_point():
        raise ValueError(
            f"labels must be whole numbers of shape (B, H, W), got {labels.dtype} of {tuple(labels.shape)}."
        )
    if logits.is_floating_point():
        if logits.dim() != 4 or logits.shape[1] != num_classes:
            raise ValueError(f"logits must have the shape (B, {num_classes}, H, W), got {tuple(logits.shape)}.")
        if logits.isnan().any():
            raise ValueError("logits hold NaN.")
        logits = logits.argmax(1)
    if logits.shape != labels.shape:
        raise ValueError(
            f"The prediction is of {tuple(logits.shape)} and the labels of {tuple(labels.shape)} (B, H, W): "
            "bring the logits to the size of the labels first."
        )
    for what, values in (("Predicted labels", logits), ("labels", labels[labels != ignore_index])):
        if values.numel() and not 0 <= values.min() <= values.max() < num_classes:
            raise ValueError(
                f"{what} go from {values.min()} to {values.max()}. Allowed are 0 to {num_classes - 1}, and in the "
                f"labels {ignore_index} for pixels that do not count."
            )
    return logits


def mean_iou(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Mean intersection over union (mIoU) of the classes that occur, over all pixels of the batch: from 0 to 1.

    A class counts if it is in the labels or in the prediction. NaN if no pixel counts.

    Args:
        logits: Tensor of shape (B, C, H, W), or predicted labels of shape (B, H, W) in whole numbers.
        labels: Tensor of shape (B, H, W) in whole numbers.
        num_classes: Number of classes C, the background included.
        ignore_index: Label of pixels that do not count.

    Returns:
        Tensor without dimensions.

    Raises:
        ValueError: If the shapes do not match, a label is out of range, or logits hold NaN.

    Source:
        Everingham et al. 2010; computed by torchmetrics.

    Example:
        >>> mean_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]), num_classes=3)
        tensor(1.)
    """
    predicted = _predicted(logits, labels, num_classes, ignore_index)
    return multiclass_jaccard_index(predicted, labels, num_classes, ignore_index=ignore_index)


def class_iou(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Intersection over union (IoU) of each class, over all pixels of the batch: from 0 to 1.

    Args:
        logits: Tensor of shape (B, C, H, W), or predicted labels of shape (B, H, W) in whole numbers.
        labels: Tensor of shape (B, H, W) in whole numbers.
        num_classes: Number of classes C, the background included.
        ignore_index: Label of pixels that do not count.

    Returns:
        Tensor of shape (C,), NaN for classes that neither the labels nor the prediction have.

    Raises:
        ValueError: If the shapes do not match, a label is out of range, or logits hold NaN.

    Source:
        Everingham et al. 2010; computed by torchmetrics.

    Example:
        >>> class_iou(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 255]]]), num_classes=3)
        tensor([0.5000, 0.5000,    nan])
    """
    predicted = _predicted(logits, labels, num_classes, ignore_index)
    return multiclass_jaccard_index(
        predicted, labels, num_classes, average="none", ignore_index=ignore_index, zero_division=torch.nan
    )


def pixel_accuracy(logits: Tensor, labels: Tensor, num_classes: int, ignore_index: int = 255) -> Tensor:
    """Share of the pixels of the batch that have the right class: from 0 to 1.

    Args:
        logits: Tensor of shape (B, C, H, W), or predicted labels of shape (B, H, W) in whole numbers.
        labels: Tensor of shape (B, H, W) in whole numbers.
        num_classes: Number of classes C, the background included.
        ignore_index: Label of pixels that do not count.

    Returns:
        Tensor without dimensions.

    Raises:
        ValueError: If the shapes do not match, a label is out of range, or logits hold NaN.

    Source:
        Computed by torchmetrics.

    Example:
        >>> pixel_accuracy(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]), num_classes=3)
        tensor(0.7500)
    """
    predicted = _predicted(logits, labels, num_classes, ignore_index)
    return multiclass_accuracy(predicted, labels, num_classes, average="micro", ignore_index=ignore_index)


class SegmentationMetric(Described, Metric):
    """What the classes of this file add to torchmetrics' own: a check of what they are given, and a registry entry."""

    task = "segmentation"
    value_range = (0.0, 1.0)
    num_classes: Any
    ignore_index: Any

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add the label maps of one batch.

        Args:
            logits: Tensor of shape (B, C, H, W), or predicted labels of shape (B, H, W) in whole numbers.
            labels: Tensor of shape (B, H, W) in whole numbers.

        Raises:
            ValueError: If the shapes do not match, a label is out of range, or logits hold NaN.
        """
        super().update(_predicted(logits, labels, self.num_classes, self.ignore_index), labels)  # type: ignore[safe-super]


class MeanIoU(SegmentationMetric, MulticlassJaccardIndex):
    """Mean intersection over union, over all pixels so far. See `functional.mean_iou`.

    Args:
        num_classes: Number of classes, the background included.
        ignore_index: Label of pixels that do not count.
        kwargs: Options of `torchmetrics.Metric`.

    Example:
        >>> metric = MeanIoU(num_classes=3)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]))
        >>> metric.compute()
        tensor(1.)
    """

    name = "mIoU"
    title = "Mean intersection over union of the classes that occur"
    reference = _REFERENCE

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(num_classes, ignore_index=ignore_index, **kwargs)


class ClassIoU(SegmentationMetric, MulticlassJaccardIndex):
    """Intersection over union of each class, over all pixels so far. See `functional.class_iou`.

    Args:
        num_classes: Number of classes, the background included.
        ignore_index: Label of pixels that do not count.
        kwargs: Options of `torchmetrics.Metric`.

    Example:
        >>> metric = ClassIoU(num_classes=3)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 255]]]))
        >>> metric.compute()
        tensor([0.5000, 0.5000,    nan])
    """

    name = "IoU"
    title = "Intersection over union of each class"
    reference = _REFERENCE

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(num_classes, average="none", ignore_index=ignore_index, zero_division=torch.nan, **kwargs)


class PixelAccuracy(SegmentationMetric, MulticlassAccuracy):
    """Share of the pixels so far that have the right class. See `functional.pixel_accuracy`.

    Args:
        num_classes: Number of classes, the background included.
        ignore_index: Label of pixels that do not count.
        kwargs: Options of `torchmetrics.Metric`.

    Example:
        >>> metric = PixelAccuracy(num_classes=3)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 1]]]))
        >>> metric.compute()
        tensor(0.7500)
    """

    name = "Acc"
    title = "Share of pixels that have the right class"
    reference = _REFERENCE

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(num_classes, average="micro", ignore_index=ignore_index, **kwargs)
