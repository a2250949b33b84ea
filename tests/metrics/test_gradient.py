import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage, signal

from gffusion.metrics.functional import average_gradient, nabf, qabf, spatial_frequency

Grey = NDArray[np.float64]
Arrays = tuple[Grey, Grey, Grey]
Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

FLAT = torch.full((6, 6), 90)
RAMP = torch.arange(36).view(6, 6)


class TestSpatialFrequency:
    def test_equals_numpy(self, pair: Images, arrays: Arrays) -> None:
        rows, columns = (np.diff(arrays[0], axis=axis) for axis in (0, 1))
        expected = math.sqrt((rows**2).mean() + (columns**2).mean())
        assert spatial_frequency(pair[0]).item() == pytest.approx(expected, rel=1e-12)
        assert spatial_frequency(pair[0], data_range=1).item() == pytest.approx(expected / 255, rel=1e-12)

    def test_extremes(self) -> None:
        checks = (torch.arange(6).view(6, 1) + torch.arange(6)) % 2 * 255
        assert spatial_frequency(FLAT).item() == 0
        assert spatial_frequency(checks).item() == pytest.approx(255 * math.sqrt(2))


class TestAverageGradient:
    def test_equals_numpy(self, pair: Images, arrays: Arrays) -> None:
        down, across = np.gradient(arrays[0])
        strength = np.sqrt((down**2 + across**2) / 2)
        assert average_gradient(pair[0]).item() == pytest.approx(strength.mean(), rel=1e-12)
        per_interval = strength.sum() / (240 * 251)
        assert average_gradient(pair[0], divisor="intervals").item() == pytest.approx(per_interval, rel=1e-12)

    def test_a_ramp_has_one_slope_to_its_border(self) -> None:
        assert average_gradient(RAMP).item() == pytest.approx(math.sqrt((6**2 + 1) / 2))
        assert average_gradient(FLAT).item() == 0

    def test_unknown_divisor(self) -> None:
        with pytest.raises(ValueError, match="'pixels' and 'intervals'"):
            average_gradient(RAMP, divisor="rows")  # type: ignore[arg-type]


def plain_qabf(fused: Grey, visible: Grey, infrared: Grey, tie: Callable[[float], float]) -> float:
    """Xydeas and Petrovic, pixel by pixel."""

    def edges(image: Grey) -> tuple[Grey, Grey]:
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
            ratio = tie(g) if g == g_f else min(g, g_f) / max(g, g_f)
            agreement = 1 - abs(a - a_f) / (math.pi / 2)
            quality = 0.9994 / (1 + math.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + math.exp(-22 * (agreement - 0.8)))
            kept += quality * g
            weights += g
    return kept / weights


class TestQabf:
    def test_equals_the_definition(self, arrays: Arrays) -> None:
        # rows of the overexposed sky too, where there is no gradient
        arrays = [image[30:80] for image in arrays]
        tensors = [torch.from_numpy(image) for image in arrays]
        assert qabf(*tensors).item() == pytest.approx(plain_qabf(*arrays, tie=lambda strength: 1), rel=1e-12)
        expected = plain_qabf(*arrays, tie=lambda strength: strength)
        assert qabf(*tensors, tie_range=255).item() == pytest.approx(expected, rel=1e-12)

    def test_a_copy_of_both_sources_has_the_greatest_value(self) -> None:
        greatest = 0.9994 / (1 + math.exp(-7.5)) * 0.9879 / (1 + math.exp(-4.4))
        assert qabf(RAMP, RAMP, RAMP).item() == pytest.approx(greatest)

    def test_black_sources_have_no_edge_to_keep(self) -> None:
        assert qabf(RAMP, FLAT * 0, FLAT * 0).item() == 0

    def test_ties_on_0_to_1_follow_the_strength(self) -> None:
        image = torch.tensor([[0, 0, 0, 0], [0, 0, 51, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
        # strengths of 0.2 * (2, 2, 2, 2, sqrt 2 x 4); all orientations agree
        strengths = np.array([0.4] * 4 + [0.2 * math.sqrt(2)] * 4)
        quality = 0.9994 / (1 + np.exp(-15 * (strengths - 0.5))) * 0.9879 / (1 + math.exp(-4.4))
        expected = (quality * strengths).sum() / strengths.sum()
        assert qabf(image, image, image, tie_range=1).item() == pytest.approx(expected)


def plain_nabf(fused: Grey, visible: Grey, infrared: Grey) -> float:
    """Shreyamsha Kumar, in NumPy and SciPy."""

    def edges(image: Grey) -> tuple[Grey, Grey]:
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


class TestNabf:
    def test_equals_the_definition(self, pair: Images, arrays: Arrays) -> None:
        assert nabf(*pair).item() == pytest.approx(plain_nabf(*arrays), rel=1e-9)

    def test_a_weaker_edge_is_no_artefact(self) -> None:
        assert nabf(RAMP // 2, RAMP, RAMP).item() == 0
        assert nabf(FLAT, FLAT, FLAT).item() == 0

    def test_edges_from_nowhere_are_all_artefact(self) -> None:
        # all but the corners of the ramp, whose gradient is 0 in a mirror; the logistic function never quite reaches 0
        kept_at_most = math.sqrt(0.9999 / (1 + math.exp(9.5)) * 0.9995)
        assert 32 / 36 * (1 - kept_at_most) < nabf(RAMP, FLAT, FLAT).item() < 32 / 36
