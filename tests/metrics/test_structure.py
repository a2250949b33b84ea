import numpy as np
import pytest
import torch
from metric_tester import FusionMetricTester, Gray, Images
from skimage.metrics import structural_similarity

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}


class TestSSIM(FusionMetricTester):
    name = "SSIM"
    variants = [{}, {"data_range": 2}, {"window": "uniform"}, {"window": "uniform", "data_range": 2}]
    tolerance = 1e-9

    def reference(
        self, fused: Gray, visible: Gray, infrared: Gray, data_range: float = 255, window: str = "gaussian"
    ) -> float:
        options = {"data_range": data_range} | (GAUSSIAN if window == "gaussian" else {})
        return sum(structural_similarity(fused, source, **options) for source in (visible, infrared))

    def test_copies(self, pair: Images) -> None:
        _fused, visible, _ = pair
        assert self.function(visible, visible, visible).item() == pytest.approx(2)
        flat = torch.full((20, 20), 7)
        assert self.function(flat, flat, flat).item() == pytest.approx(2)


def ms_ssim_by_scikit_image(first: Gray, second: Gray, data_range: float) -> float:
    """Wang, Simoncelli and Bovik 2003; a huge K1 leaves the contrast-structure factor of the SSIM alone."""
    score = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        k1 = 0.01 if scale == 4 else 1e6
        score *= max(float(structural_similarity(first, second, K1=k1, data_range=data_range, **GAUSSIAN)), 0) ** weight
        height, width = (side // 2 for side in first.shape)
        first, second = (
            image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3)) for image in (first, second)
        )
    return score


class TestMSSSIM(FusionMetricTester):
    name = "MS-SSIM"
    variants = [{}, {"data_range": 2}]
    tolerance = 1e-9

    def reference(self, fused: Gray, visible: Gray, infrared: Gray, data_range: float = 255) -> float:
        return sum(ms_ssim_by_scikit_image(fused, source, data_range) for source in (visible, infrared))

    def test_opposite_structure_counts_as_0(self, pair: Images) -> None:
        image = torch.from_numpy(np.kron(np.indices((48, 48)).sum(0) % 2, np.ones((4, 4))) * 255)
        assert self.function(255 - image, image, image).item() == 0
        assert self.function(image, image, image).item() == pytest.approx(2)
