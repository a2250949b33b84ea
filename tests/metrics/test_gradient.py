import math

import numpy as np
import pytest
import torch
from metric_tester import FusionMetricTester, Gray

from benchmarks import plain_metrics

FLAT = torch.full((6, 6), 90)
RAMP = torch.arange(36).view(6, 6)


class TestSF(FusionMetricTester):
    name = "SF"
    variants = [{}, {"data_range": 1}]

    def reference(self, fused: Gray, visible: Gray, infrared: Gray, data_range: float = 255) -> float:
        rows, columns = (np.diff(fused, axis=axis) for axis in (0, 1))
        return math.sqrt((rows**2).mean() + (columns**2).mean()) * data_range / 255

    def test_extremes(self) -> None:
        checks = (torch.arange(6).view(6, 1) + torch.arange(6)) % 2 * 255
        assert self.function(FLAT).item() == 0
        assert self.function(checks).item() == pytest.approx(255 * math.sqrt(2))


class TestAG(FusionMetricTester):
    name = "AG"
    variants = [{}, {"divisor": "intervals"}]

    def reference(self, fused: Gray, visible: Gray, infrared: Gray, divisor: str = "pixels") -> float:
        down, across = np.gradient(fused)
        strength = np.sqrt((down**2 + across**2) / 2)
        return strength.mean() if divisor == "pixels" else strength.sum() / (240 * 251)

    def test_a_ramp_has_one_slope_to_its_border(self) -> None:
        assert self.function(RAMP).item() == pytest.approx(math.sqrt((6**2 + 1) / 2))
        assert self.function(FLAT).item() == 0


class TestQabf(FusionMetricTester):
    name = "Qabf"
    reference = staticmethod(plain_metrics.qabf)

    def test_a_copy_of_both_sources_has_the_maximum(self) -> None:
        maximum = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
        assert self.function(RAMP, RAMP, RAMP).item() == pytest.approx(maximum)

    def test_black_sources_have_no_edge_to_keep(self) -> None:
        assert self.function(RAMP, FLAT * 0, FLAT * 0).item() == 0

    @pytest.mark.parametrize("tie_range", [1, 255])
    def test_ties_follow_the_strength(self, tie_range: float) -> None:
        image = torch.tensor([[0, 0, 0, 0], [0, 0, 51, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        # strengths of 0.2 * (2, 2, 2, 2, sqrt 2 x 4) on 0 to 1; all orientations agree
        strengths = np.array([0.4] * 4 + [0.2 * math.sqrt(2)] * 4) * tie_range
        quality = 0.9994 / (1 + np.exp(-15 * (strengths - 0.5))) * 0.9879 / (1 + math.exp(-4.4))
        expected = (quality * strengths).sum() / strengths.sum()
        assert self.function(image, image, image, tie_range=tie_range).item() == pytest.approx(expected)


class TestNabf(FusionMetricTester):
    name = "Nabf"
    tolerance = 1e-9
    reference = staticmethod(plain_metrics.nabf)

    def test_a_weaker_edge_is_no_artifact(self) -> None:
        assert self.function(RAMP // 2, RAMP, RAMP).item() == 0
        assert self.function(FLAT, FLAT, FLAT).item() == 0

    def test_edges_that_no_source_has_are_artifacts(self) -> None:
        # all but the corners of the ramp, whose gradient is 0 in a mirror; the logistic function never quite reaches 0
        kept_at_most = math.sqrt(0.9999 / (1 + math.exp(9.5)) * 0.9995)
        assert 32 / 36 * (1 - kept_at_most) < self.function(RAMP, FLAT, FLAT).item() < 32 / 36
