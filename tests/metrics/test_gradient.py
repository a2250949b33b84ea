import math

import numpy as np
import pytest
import torch
from metric_tester import FusionMetricTester, Gray
from scipy import ndimage, signal

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

    def test_unknown_divisor(self) -> None:
        with pytest.raises(ValueError, match="'pixels' and 'intervals'"):
            self.function(RAMP, divisor="rows")


def plain_qabf(fused: Gray, visible: Gray, infrared: Gray, tie_range: float | None = None) -> float:
    """Xydeas and Petrovic, pixel by pixel."""

    def edges(image: Gray) -> tuple[Gray, Gray]:
        x = signal.convolve2d(image, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], "same")
        y = signal.convolve2d(image, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]], "same")
        orientation = [math.atan(b / a) if a else math.pi / 2 for a, b in zip(x.flat, y.flat, strict=True)]
        return np.sqrt(x * x + y * y), np.reshape(orientation, image.shape)

    fused_strength, fused_orientation = edges(fused)
    kept = weights = 0.0
    for source in (visible, infrared):
        strength, orientation = edges(source)
        for g, a, g_f, a_f in zip(
            strength.flat, orientation.flat, fused_strength.flat, fused_orientation.flat, strict=True
        ):
            ratio = (g if tie_range else 1) if g == g_f else min(g, g_f) / max(g, g_f)
            agreement = 1 - abs(a - a_f) / (math.pi / 2)
            quality = 0.9994 / (1 + math.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + math.exp(-22 * (agreement - 0.8)))
            kept += quality * g
            weights += g
    return kept / weights


class TestQabf(FusionMetricTester):
    name = "Qabf"
    variants = [{}, {"tie_range": 255}]
    part = np.s_[30:80]  # rows of the overexposed sky too, where there is no gradient
    reference = staticmethod(plain_qabf)

    def test_a_copy_of_both_sources_has_the_maximum(self) -> None:
        maximum = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
        assert self.function(RAMP, RAMP, RAMP).item() == pytest.approx(maximum)

    def test_black_sources_have_no_edge_to_keep(self) -> None:
        assert self.function(RAMP, FLAT * 0, FLAT * 0).item() == 0

    def test_ties_on_0_to_1_follow_the_strength(self) -> None:
        image = torch.tensor([[0, 0, 0, 0], [0, 0, 51, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        # strengths of 0.2 * (2, 2, 2, 2, sqrt 2 x 4); all orientations agree
        strengths = np.array([0.4] * 4 + [0.2 * math.sqrt(2)] * 4)
        quality = 0.9994 / (1 + np.exp(-15 * (strengths - 0.5))) * 0.9879 / (1 + math.exp(-4.4))
        expected = (quality * strengths).sum() / strengths.sum()
        assert self.function(image, image, image, tie_range=1).item() == pytest.approx(expected)


def plain_nabf(fused: Gray, visible: Gray, infrared: Gray) -> float:
    """Shreyamsha Kumar, in NumPy and SciPy."""

    def edges(image: Gray) -> tuple[Gray, Gray]:
        x, y = (ndimage.sobel(image, axis=axis, mode="mirror") / 8 for axis in (1, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.hypot(x, y), np.where((x == 0) & (y == 0), 0, np.arctan(x / y))

    fused_strength, fused_orientation = edges(fused)
    lost, weights, added = 0, 0, np.ones(fused.shape, bool)
    for source in (visible, infrared):
        strength, orientation = edges(source)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.minimum(strength, fused_strength) / np.maximum(strength, fused_strength)
        ratio[(strength == 0) | (fused_strength == 0)] = 0
        agreement = np.abs(np.abs(orientation - fused_orientation) - np.pi / 2) * 2 / np.pi
        quality = np.sqrt(0.9999 / (1 + np.exp(-19 * (ratio - 0.5))) * 0.9995 / (1 + np.exp(-22 * (agreement - 0.5))))
        weight = np.where(strength >= 2, strength**1.5, 0.001)
        lost = lost + (1 - quality) * weight
        weights += weight.sum()
        added &= fused_strength > strength
    return float((lost * added).sum() / weights)


class TestNabf(FusionMetricTester):
    name = "Nabf"
    tolerance = 1e-9
    reference = staticmethod(plain_nabf)

    def test_a_weaker_edge_is_no_artifact(self) -> None:
        assert self.function(RAMP // 2, RAMP, RAMP).item() == 0
        assert self.function(FLAT, FLAT, FLAT).item() == 0

    def test_edges_that_no_source_has_are_artifacts(self) -> None:
        # all but the corners of the ramp, whose gradient is 0 in a mirror; the logistic function never quite reaches 0
        kept_at_most = math.sqrt(0.9999 / (1 + math.exp(9.5)) * 0.9995)
        assert 32 / 36 * (1 - kept_at_most) < self.function(RAMP, FLAT, FLAT).item() < 32 / 36
