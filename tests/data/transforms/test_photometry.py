"""Values changed by VisiblePhotometric and ThermalGain."""

from collections.abc import Callable

import numpy as np
import pytest

from gffusion.data.transforms import Sample, ThermalGain, VisiblePhotometric

MakeSample = Callable[[int, int], Sample]


class TestVisiblePhotometric:
    def test_brightness_shifts_all_pixels_equally(self, noise: MakeSample) -> None:
        sample = {"visible": noise(8, 8)["visible"] * 0.4 + 0.3}
        rng = np.random.default_rng(0)
        shifts = []
        for _ in range(200):
            shift = VisiblePhotometric(brightness=0.2)(sample, rng)["visible"] - sample["visible"]
            assert np.ptp(shift) < 1e-6
            shifts.append(shift.mean())
        assert -0.2 <= min(shifts) < -0.15
        assert 0.15 < max(shifts) <= 0.2

    def test_contrast_keeps_the_mean(self, noise: MakeSample) -> None:
        sample = {"visible": noise(8, 8)["visible"] * 0.4 + 0.3}
        rng = np.random.default_rng(0)
        ratios = []
        for _ in range(200):
            visible = VisiblePhotometric(contrast=0.5)(sample, rng)["visible"]
            assert visible.mean() == pytest.approx(sample["visible"].mean(), abs=1e-5)
            ratios.append(visible.std() / sample["visible"].std())
        assert 0.5 <= min(ratios) < 0.6
        assert 1.4 < max(ratios) <= 1.5 + 1e-5

    def test_gamma_is_a_power(self, noise: MakeSample) -> None:
        sample, rng = noise(8, 8), np.random.default_rng(0)
        exponents = []
        for _ in range(200):
            visible = VisiblePhotometric(gamma=0.5)(sample, rng)["visible"]
            exponent = np.log(visible) / np.log(sample["visible"])
            assert np.ptp(exponent) < 1e-2
            exponents.append(np.median(exponent))
        assert 0.5 <= min(exponents) + 1e-4 < 0.6
        assert 1.4 < max(exponents) <= 1.5 + 1e-4


class TestThermalGain:
    def test_gain_and_offset(self, noise: MakeSample) -> None:
        sample = noise(8, 8)
        sample["infrared"] = sample["infrared"] * 0.3 + 0.3
        rng = np.random.default_rng(0)
        gains = []
        for _ in range(200):
            changed = ThermalGain(gain=0.2, offset=0.1)(sample, rng)
            gain, offset = np.polyfit(sample["infrared"].ravel(), changed["infrared"].ravel(), 1)
            np.testing.assert_allclose(changed["infrared"], gain * sample["infrared"] + offset, atol=1e-5)
            assert abs(offset) <= 0.1 + 1e-5
            gains.append(gain)
        assert 0.8 - 1e-5 <= min(gains) < 0.85
        assert 1.15 < max(gains) <= 1.2 + 1e-5
