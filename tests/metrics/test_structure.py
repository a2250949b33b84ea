import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.metrics import structural_similarity as skimage_ssim
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as torchmetrics_ms_ssim

from gffusion.metrics.functional import ms_ssim, ssim

Grey = NDArray[np.float64]
Arrays = tuple[Grey, Grey, Grey]
Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

GAUSSIAN = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


class TestSSIM:
    def test_equals_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        fused, *sources = arrays
        expected = sum(skimage_ssim(fused, source, **GAUSSIAN) for source in sources)
        assert ssim(*pair).item() == pytest.approx(expected, rel=1e-12)

    def test_uniform_window_is_the_default_of_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        fused, *sources = arrays
        for data_range in (255, 2):
            expected = sum(skimage_ssim(fused, source, data_range=data_range) for source in sources)
            ours = ssim(*pair, window="uniform", data_range=data_range)
            assert ours.item() == pytest.approx(expected, rel=1e-9)

    def test_copies(self, pair: Images) -> None:
        _fused, visible, _ = pair
        assert ssim(visible, visible, visible).item() == pytest.approx(2)
        flat = torch.full((20, 20), 7)
        assert ssim(flat, flat, flat).item() == pytest.approx(2)

    def test_unknown_window(self) -> None:
        image = torch.zeros(20, 20)
        with pytest.raises(ValueError, match="'gaussian' and 'uniform'"):
            ssim(image, image, image, window="hann")  # type: ignore[arg-type]


def ms_ssim_by_scikit_image(first: Grey, second: Grey) -> float:
    """Wang, Simoncelli and Bovik 2003; a huge K1 leaves the contrast-structure factor of the SSIM alone."""
    score = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        k1 = 0.01 if scale == 4 else 1e6
        score *= max(float(skimage_ssim(first, second, K1=k1, **GAUSSIAN)), 0) ** weight
        height, width = (side // 2 for side in first.shape)
        first, second = (
            image[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean((1, 3)) for image in (first, second)
        )
    return score


class TestMSSSIM:
    def test_equals_the_definition(self, pair: Images, arrays: Arrays) -> None:
        fused, *sources = arrays
        expected = sum(ms_ssim_by_scikit_image(fused, source) for source in sources)
        assert ms_ssim(*pair).item() == pytest.approx(expected, rel=1e-9)

    def test_is_close_to_torchmetrics_which_pads_the_coarsest_scale(self, pair: Images) -> None:
        fused, visible, _ = (image.tile(1, 1, 3, 3) for image in pair)
        theirs = torchmetrics_ms_ssim(fused, visible, data_range=255.0).item()
        assert ms_ssim(fused, visible, visible).item() == pytest.approx(2 * theirs, rel=0.05)

    def test_opposite_structure_counts_as_0(self, pair: Images) -> None:
        image = torch.from_numpy(np.kron(np.indices((48, 48)).sum(0) % 2, np.ones((4, 4))) * 255)
        assert ms_ssim(255 - image, image, image).item() == 0
        assert ms_ssim(image, image, image).item() == pytest.approx(2)
