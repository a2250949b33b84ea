from typing import Any

import numpy as np
import pytest
import torch
from metric_tester import NUM_CLASSES, SegmentationMetricTester
from numpy.typing import NDArray

from gffusion.metrics import METRICS, get_metric

Labels = NDArray[np.int64]


class TestClassIoU(SegmentationMetricTester):
    name = "IoU"

    def reference(self, predicted: Labels, labels: Labels, ignore_index: int = 255) -> Any:
        counts = labels != ignore_index
        pairs = [((predicted == c)[counts], (labels == c)[counts]) for c in range(NUM_CLASSES)]
        ious = [(p & t).sum() / (p | t).sum() if (p | t).any() else np.nan for p, t in pairs]
        return [np.nan if label == ignore_index else iou for label, iou in enumerate(ious)]


class TestMeanIoU(SegmentationMetricTester):
    name = "mIoU"

    def reference(self, predicted: Labels, labels: Labels, ignore_index: int = 255) -> Any:
        ious = TestClassIoU().reference(predicted, labels, ignore_index)
        return np.nanmean(ious)


class TestPixelAccuracy(SegmentationMetricTester):
    name = "Acc"

    def reference(self, predicted: Labels, labels: Labels, ignore_index: int = 255) -> Any:
        return (predicted == labels)[labels != ignore_index].mean()


@pytest.mark.parametrize("name", ["mIoU", "IoU", "Acc"])
def test_types_of_integers_and_ignored_pixels(name: str) -> None:
    predicted, labels = torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 0, 1, 255]]])
    function = METRICS[name].functional
    for dtype in (torch.uint8, torch.uint16, torch.int32, torch.uint32):
        metric, maps = get_metric(name, num_classes=3), (predicted.to(dtype), labels.to(dtype))
        metric.update(*maps)
        expected = function(predicted, labels, num_classes=3)
        torch.testing.assert_close((metric.compute(), function(*maps, num_classes=3)), (expected,) * 2, equal_nan=True)
    assert type(get_metric(name, num_classes=np.uint8(3)).num_classes) is int
    metric, maps = get_metric(name, num_classes=2, ignore_index=0), torch.tensor([[[[0, 0, 1, 1]]], [[[1, 0, 1, 0]]]])
    metric.update(*maps)  # the ignored class is predicted, too
    expected = torch.tensor({"mIoU": 0.5, "IoU": [torch.nan, 0.5], "Acc": 0.5}[name])
    found = metric.compute(), function(*maps, num_classes=2, ignore_index=0)
    torch.testing.assert_close(found, (expected,) * 2, equal_nan=True)
    metric, ignored = get_metric(name, num_classes=3), torch.full_like(labels, 255)
    metric.update(predicted, ignored)
    assert metric.compute().isnan().all() and function(predicted, ignored, num_classes=3).isnan().all()


@pytest.mark.parametrize("name", ["mIoU", "IoU", "Acc"])
class TestSettings:
    LABELS = torch.tensor([[[0, 0, 1, 255]]])

    def test_integers_of_numpy(self, name: str) -> None:
        predicted, settings = (
            torch.tensor([[[0, 1, 1, 1]]]),
            {"num_classes": np.int64(3), "ignore_index": np.uint8(255)},
        )
        metric = get_metric(name, **settings)
        metric.update(predicted, self.LABELS)
        expected = METRICS[name].functional(predicted, self.LABELS, num_classes=3, ignore_index=255)
        found = metric.compute(), METRICS[name].functional(predicted, self.LABELS, **settings)
        torch.testing.assert_close(found, (expected,) * 2, equal_nan=True)

    @pytest.mark.parametrize("ignore_index", [None, 255.0, "255", True])
    def test_ignored_label_must_be_an_integer(self, name: str, ignore_index: Any) -> None:
        for create in (
            get_metric,
            lambda name, **settings: METRICS[name].functional(self.LABELS, self.LABELS, **settings),
        ):
            with pytest.raises(ValueError, match=f"`ignore_index` must be an int, .*, got {ignore_index!r}"):
                create(name, num_classes=3, ignore_index=ignore_index)

    def test_metrics_of_other_settings_are_not_merged(self, name: str) -> None:
        """Counts of the pixel accuracy have one shape for any number of classes."""
        metric = get_metric(name, num_classes=3)
        for settings in ({"num_classes": 4}, {"num_classes": 3, "ignore_index": 0}):
            other = get_metric(name, **settings)
            other.update(self.LABELS % 255, self.LABELS % 255)
            with pytest.raises(ValueError, match="metric with other settings cannot be merged"):
                metric.merge_state(other)
