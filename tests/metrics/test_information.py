import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.measure import shannon_entropy
from skimage.metrics import normalized_mutual_information as skimage_nmi

from gffusion.metrics.functional import entropy, mutual_information, normalized_mutual_information

Grey = NDArray[np.float64]
Arrays = tuple[Grey, Grey, Grey]
Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def information(first: Grey, second: Grey) -> float:
    """Mutual information in bits, from scikit-image's (H(X) + H(Y)) / H(X, Y)."""
    total = shannon_entropy(first) + shannon_entropy(second)
    return total - total / skimage_nmi(first, second, bins=256)


class TestEntropy:
    def test_equals_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        assert entropy(pair[0]).item() == pytest.approx(shannon_entropy(arrays[0]), rel=1e-12)

    def test_extremes(self) -> None:
        assert entropy(torch.full((4, 4), 9)).item() == 0
        assert entropy(torch.arange(256).view(16, 16)).item() == 8

    def test_images_of_a_batch_do_not_mix(self) -> None:
        batch = torch.tensor([[[[255, 255], [255, 255]]], [[[0, 0], [1, 1]]]])
        assert entropy(batch).tolist() == [0, 1]


class TestMutualInformation:
    def test_equals_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        expected = information(arrays[0], arrays[1]) + information(arrays[0], arrays[2])
        assert mutual_information(*pair).item() == pytest.approx(expected, rel=1e-9)
        assert mutual_information(*pair, unit="nats").item() == pytest.approx(expected * np.log(2), rel=1e-9)

    def test_of_an_image_with_itself_is_its_entropy(self, pair: Images) -> None:
        fused, *_ = pair
        assert mutual_information(fused, fused, fused).item() == pytest.approx(2 * entropy(fused).item())

    def test_saturating_merges_the_two_brightest_levels_in_the_joint_histogram_only(self) -> None:
        image = torch.tensor([[254, 255], [0, 1]])
        # single entropies of 2 bits; the joint histogram has the bins 0, 1 and 254 with 1, 1 and 2 of 4 pixels
        assert mutual_information(image, image, image, saturating=True).item() == 2 * (2 + 2 - 1.5)

    def test_unknown_unit(self) -> None:
        image = torch.zeros(2, 2)
        with pytest.raises(ValueError, match="'bits' and 'nats'"):
            mutual_information(image, image, image, unit="bans")  # type: ignore[arg-type]


class TestNormalizedMutualInformation:
    def test_equals_scikit_image(self, pair: Images, arrays: Arrays) -> None:
        expected = sum(
            2 * information(arrays[0], source) / (shannon_entropy(arrays[0]) + shannon_entropy(source))
            for source in (arrays[1], arrays[2])
        )
        assert normalized_mutual_information(*pair).item() == pytest.approx(expected, rel=1e-9)

    def test_constant_images_share_nothing(self) -> None:
        flat = torch.full((3, 3), 7)
        assert normalized_mutual_information(flat, flat, flat).item() == 0
