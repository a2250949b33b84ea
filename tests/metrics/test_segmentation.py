from typing import Any

import numpy as np
import pytest
import torch

from gffusion.metrics import ClassIoU, MeanIoU, PixelAccuracy
from gffusion.metrics.functional import class_iou, mean_iou, pixel_accuracy

CLASSES = 5


@pytest.fixture(scope="module")
def logits() -> torch.Tensor:
    return torch.randn(4, CLASSES, 12, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def labels(logits: torch.Tensor) -> torch.Tensor:
    """Half of them right, some to be ignored; class 4 is neither predicted nor present."""
    logits[:, 4] = -100
    random = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 4, (4, 12, 10), generator=random)
    labels = torch.where(torch.rand(4, 12, 10, generator=random) < 0.5, logits.argmax(1), labels)
    labels[torch.rand(4, 12, 10, generator=random) < 0.1] = 255
    return labels


def overlap(logits: torch.Tensor, labels: torch.Tensor) -> list[float]:
    predicted, truth = logits.argmax(1).numpy(), labels.numpy()
    counts = truth != 255
    return [
        float(((predicted == c) & (truth == c))[counts].sum() / ((predicted == c) | (truth == c))[counts].sum())
        for c in range(4)
    ]


def test_iou_of_classes(logits: torch.Tensor, labels: torch.Tensor) -> None:
    scores = class_iou(logits, labels, CLASSES)
    assert scores[:4].tolist() == pytest.approx(overlap(logits, labels))
    assert scores[4].isnan()


def test_mean_iou_is_over_the_classes_that_occur(logits: torch.Tensor, labels: torch.Tensor) -> None:
    expected = np.mean(overlap(logits, labels))
    assert mean_iou(logits, labels, CLASSES).item() == pytest.approx(expected)
    assert mean_iou(logits.argmax(1), labels, CLASSES).item() == pytest.approx(expected)


def test_pixel_accuracy(logits: torch.Tensor, labels: torch.Tensor) -> None:
    counts = labels != 255
    expected = (logits.argmax(1) == labels)[counts].double().mean().item()
    assert pixel_accuracy(logits, labels, CLASSES).item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("metric_class", "function"), [(MeanIoU, mean_iou), (ClassIoU, class_iou), (PixelAccuracy, pixel_accuracy)]
)
def test_classes_count_all_pixels_of_all_processes(
    metric_class: Any, function: Any, logits: torch.Tensor, labels: torch.Tensor
) -> None:
    expected = function(logits, labels, CLASSES)
    first, second = metric_class(CLASSES), metric_class(CLASSES)
    first.update(logits[:1], labels[:1])
    second.update(logits[1:2], labels[1:2])
    second.update(logits[2:], labels[2:])
    first.merge_state(second)
    torch.testing.assert_close(first.compute(), expected, equal_nan=True)


def test_another_label_can_be_ignored() -> None:
    predicted, labels = torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 1, 2, 2]]])
    assert pixel_accuracy(predicted, labels, 3, ignore_index=2).item() == 1
    assert mean_iou(predicted, labels, 3, ignore_index=0).item() == pytest.approx((1 / 3 + 0) / 2)


@pytest.mark.parametrize(
    ("prediction", "labels", "message"),
    [
        (torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4), "labels must be whole numbers"),
        (torch.zeros(1, 3, 4, 4), torch.zeros(4, 4, dtype=torch.long), "labels must be whole numbers of shape"),
        (torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), r"\(B, 3, H, W\), got \(1, 4, 4, 4\)"),
        (torch.zeros(1, 3, 2, 2), torch.zeros(1, 4, 4, dtype=torch.long), "size of the labels"),
        (torch.full((1, 3, 4, 4), torch.nan), torch.zeros(1, 4, 4, dtype=torch.long), "NaN"),
        (torch.zeros(1, 3, 4, 4), torch.full((1, 4, 4), 3), "labels go from 3 to 3. Allowed are 0 to 2"),
        (torch.full((1, 4, 4), 3), torch.zeros(1, 4, 4, dtype=torch.long), "Predicted labels go from 3 to 3"),
    ],
)
def test_says_what_is_wrong(prediction: torch.Tensor, labels: torch.Tensor, message: str) -> None:
    for function in (mean_iou, class_iou, pixel_accuracy):
        with pytest.raises(ValueError, match=message):
            function(prediction, labels, num_classes=3)
    with pytest.raises(ValueError, match=message):
        MeanIoU(num_classes=3).update(prediction, labels)
