import math

import numpy as np
import pytest
import torch
from metric_tester import FusionMetricTester, Gray
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio

FLAT = torch.full((4, 4), 90)
RAMP = torch.arange(16).view(4, 4)


def correlation(first: Gray, second: Gray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


class TestSD(FusionMetricTester):
    name = "SD"

    def reference(self, fused: Gray, visible: Gray, infrared: Gray) -> float:
        return fused.std()

    def test_extremes(self) -> None:
        assert self.function(FLAT).item() == 0
        assert self.function(torch.tensor([[0, 255]])).item() == 127.5

    def test_saturating_counts_bright_pixels_only(self) -> None:
        # mean 26.75: differences -27, -17, -7, 51 (rounded) saturate to 0, 0, 0, 51, squares to 255
        assert self.function(torch.tensor([[0, 10], [20, 77]]), saturating=True).item() == math.sqrt(255 / 4)


class TestCC(FusionMetricTester):
    name = "CC"

    def reference(self, fused: Gray, visible: Gray, infrared: Gray) -> float:
        return (correlation(fused, visible) + correlation(fused, infrared)) / 2

    def test_constant_images(self) -> None:
        assert self.function(FLAT, RAMP, RAMP).item() == 0
        assert self.function(RAMP, RAMP, FLAT).item() == 0.5


class TestSCD(FusionMetricTester):
    name = "SCD"

    def reference(self, fused: Gray, visible: Gray, infrared: Gray) -> float:
        return correlation(fused - infrared, visible) + correlation(fused - visible, infrared)

    @pytest.mark.parametrize("added", [1, 10, 60])
    def test_a_brighter_source_has_a_constant_difference(self, added: int) -> None:
        infrared = torch.zeros(3, 7)
        infrared[0, 0], infrared[1, 2] = 180, 100
        assert self.function(infrared + added, infrared, infrared).item() == 0


class TestMSE(FusionMetricTester):
    name = "MSE"
    variants = [{}, {"data_range": 1}]

    def reference(self, fused: Gray, visible: Gray, infrared: Gray, data_range: float = 255) -> float:
        errors = mean_squared_error(fused, visible) + mean_squared_error(fused, infrared)
        return errors / 2 * (data_range / 255) ** 2


class TestPSNR(FusionMetricTester):
    name = "PSNR"
    variants = [{}, {"data_range": 1}, {"peak": "fused"}, {"data_range": 1, "peak": 255}]

    def reference(
        self, fused: Gray, visible: Gray, infrared: Gray, data_range: float = 255, peak: float | str = 255
    ) -> float:
        # one image of both errors
        both = peak_signal_noise_ratio(np.stack([visible, infrared]), np.stack([fused] * 2), data_range=255)
        peak = fused.max() if peak == "fused" else peak
        return both + 20 * math.log10(peak / 255) + 20 * math.log10(255 / data_range)

    def test_of_a_copy_is_infinite(self) -> None:
        assert self.function(RAMP, RAMP, RAMP).item() == math.inf
