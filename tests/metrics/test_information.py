import math

import torch
from metric_tester import FusionMetricTester, Gray
from skimage.measure import shannon_entropy
from skimage.metrics import normalized_mutual_information


def information(first: Gray, second: Gray) -> float:
    """Mutual information in bits, from scikit-image's (H(X) + H(Y)) / H(X, Y)."""
    total = shannon_entropy(first) + shannon_entropy(second)
    return total - total / normalized_mutual_information(first, second, bins=256)


class TestEN(FusionMetricTester):
    name = "EN"

    def reference(self, fused: Gray, visible: Gray, infrared: Gray) -> float:
        return shannon_entropy(fused)

    def test_extremes(self) -> None:
        assert self.function(torch.full((4, 4), 9)).item() == 0
        assert self.function(torch.arange(256).view(16, 16)).item() == 8

    def test_images_of_a_batch_do_not_mix(self) -> None:
        batch = torch.tensor([[[[255, 255], [255, 255]]], [[[0, 0], [1, 1]]]])
        assert self.function(batch).tolist() == [0, 1]

    def test_fractions_round_halves_up(self) -> None:
        assert self.function(torch.tensor([[0.4, 2.5], [2.6, 3.4]])) == self.function(torch.tensor([[0, 3], [3, 3]]))


class TestMI(FusionMetricTester):
    name = "MI"
    variants = [{}, {"unit": "nats"}]
    tolerance = 1e-9

    def reference(self, fused: Gray, visible: Gray, infrared: Gray, unit: str = "bits") -> float:
        bits = information(fused, visible) + information(fused, infrared)
        return bits * math.log(2) if unit == "nats" else bits

    def test_saturating_merges_the_two_brightest_levels_in_the_joint_histogram_only(self) -> None:
        image = torch.tensor([[254, 255], [0, 1]])
        # single entropies of 2 bits; the joint histogram has the bins 0, 1 and 254 with 1, 1 and 2 of 4 pixels
        assert self.function(image, image, image, saturating=True).item() == 2 * (2 + 2 - 1.5)


class TestNMI(FusionMetricTester):
    name = "NMI"
    tolerance = 1e-9

    def reference(self, fused: Gray, visible: Gray, infrared: Gray) -> float:
        return sum(
            2 * information(fused, source) / (shannon_entropy(fused) + shannon_entropy(source))
            for source in (visible, infrared)
        )

    def test_constant_images_share_nothing(self) -> None:
        assert self.function(*torch.full((3, 3, 3), 7)).item() == 0
