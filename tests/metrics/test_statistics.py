import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error as skimage_mse
from skimage.metrics import peak_signal_noise_ratio as skimage_psnr

from gffusion.metrics.functional import (
    correlation_coefficient,
    mean_squared_error,
    peak_signal_to_noise_ratio,
    standard_deviation,
    sum_of_correlations_of_differences,
)

Grey = NDArray[np.float64]
Arrays = tuple[Grey, Grey, Grey]
Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


FLAT = torch.full((4, 4), 90)
RAMP = torch.arange(16).view(4, 4)


class TestStandardDeviation:
    def test_equals_numpy(self, pair: Images, arrays: Arrays) -> None:
        assert standard_deviation(pair[0]).item() == pytest.approx(arrays[0].std(), rel=1e-12)

    def test_extremes(self) -> None:
        assert standard_deviation(FLAT).item() == 0
        assert standard_deviation(torch.tensor([[0, 255]])).item() == 127.5

    def test_saturating_counts_bright_pixels_only(self) -> None:
        # mean 26.75: differences -27, -17, -7, 51 (rounded) saturate to 0, 0, 0, 51, squares to 255
        assert standard_deviation(torch.tensor([[0, 10], [20, 77]]), saturating=True).item() == math.sqrt(255 / 4)


class TestCorrelationCoefficient:
    def test_equals_numpy(self, pair: Images, arrays: Arrays) -> None:
        expected = (correlation(arrays[0], arrays[1]) + correlation(arrays[0], arrays[2])) / 2
        assert correlation_coefficient(*pair).item() == pytest.approx(expected, rel=1e-12)

    def test_a_constant_image_correlates_with_nothing(self) -> None:
        assert correlation_coefficient(FLAT, RAMP, RAMP).item() == 0
        assert correlation_coefficient(RAMP, RAMP, FLAT).item() == 0.5


class TestSumOfCorrelationsOfDifferences:
    def test_equals_numpy(self, pair: Images, arrays: Arrays) -> None:
        fused, visible, infrared = arrays
        expected = correlation(fused - infrared, visible) + correlation(fused - visible, infrared)
        assert sum_of_correlations_of_differences(*pair).item() == pytest.approx(expected, rel=1e-12)

    def test_the_plain_sum_has_two(self) -> None:
        visible, infrared = RAMP, (RAMP * 7) % 16
        assert sum_of_correlations_of_differences(visible + infrared, visible, infrared).item() == pytest.approx(2)

    def test_a_copy_of_one_source_gets_nothing_for_the_other(self) -> None:
        other = (RAMP * 7) % 16
        # F - V is constant; F - R = V - R still correlates with V
        expected = correlation((RAMP - other).numpy(), RAMP.numpy())
        assert sum_of_correlations_of_differences(RAMP, RAMP, other).item() == pytest.approx(expected)


class TestErrors:
    def test_mse_equals_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        fused, visible, infrared = arrays
        expected = (skimage_mse(fused, visible) + skimage_mse(fused, infrared)) / 2
        assert mean_squared_error(*pair).item() == pytest.approx(expected, rel=1e-12)
        assert mean_squared_error(*pair, data_range=1).item() == pytest.approx(expected / 255**2, rel=1e-12)

    def test_psnr_against_one_source_equals_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        fused, visible, _ = pair
        expected = skimage_psnr(arrays[1], arrays[0], data_range=255)
        assert peak_signal_to_noise_ratio(fused, visible, visible).item() == pytest.approx(expected, rel=1e-12)

    def test_psnr_of_a_copy_is_infinite(self) -> None:
        assert peak_signal_to_noise_ratio(RAMP, RAMP, RAMP).item() == math.inf

    def test_psnr_options(self) -> None:
        fused = torch.tensor([[0, 50]])
        options = {"visible": fused + 5, "infrared": fused}  # MSE 12.5
        assert peak_signal_to_noise_ratio(fused, **options, peak="fused").item() == pytest.approx(
            10 * math.log10(50**2 / 12.5)
        )
        assert peak_signal_to_noise_ratio(fused, **options, data_range=1, peak=255).item() == pytest.approx(
            10 * math.log10(255**2 / (12.5 / 255**2))
        )
