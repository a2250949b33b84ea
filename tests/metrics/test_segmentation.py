from typing import Any

import numpy as np
from metric_tester import NUM_CLASSES, SegmentationMetricTester
from numpy.typing import NDArray

Labels = NDArray[np.int64]


class TestClassIoU(SegmentationMetricTester):
    name = "IoU"

    def reference(self, predicted: Labels, labels: Labels, ignore_index: int = 255) -> Any:
        counts = labels != ignore_index
        pairs = [((predicted == c)[counts], (labels == c)[counts]) for c in range(NUM_CLASSES)]
        return [(p & t).sum() / (p | t).sum() if (p | t).any() else np.nan for p, t in pairs]


class TestMeanIoU(SegmentationMetricTester):
    name = "mIoU"

    def reference(self, predicted: Labels, labels: Labels, ignore_index: int = 255) -> Any:
        ious = TestClassIoU().reference(predicted, labels, ignore_index)
        return np.nanmean([iou for label, iou in enumerate(ious) if label != ignore_index])


class TestPixelAccuracy(SegmentationMetricTester):
    name = "Acc"

    def reference(self, predicted: Labels, labels: Labels, ignore_index: int = 255) -> Any:
        return (predicted == labels)[labels != ignore_index].mean()
