from functools import partial

import numpy as np
import pytest
import torch
from metric_tester import FusionMetricTester, Gray, Images
from torchmetrics.functional.image import visual_information_fidelity

from benchmarks import plain_metrics
from gffusion.metrics.functional import vif

FLAT = torch.full((50, 50), 255)


class TestVIF(FusionMetricTester):
    name = "VIF"
    part = np.s_[:100, 60:150]
    tolerance = 1e-6  # two-dimensional windows leave more rounding in the overexposed sky

    def reference(self, fused: Gray, visible: Gray, infrared: Gray) -> float:
        fused, *sources = (torch.from_numpy(image)[None, None] for image in (fused, visible, infrared))
        return sum(visual_information_fidelity(fused, source).item() for source in sources)

    def test_copies_and_raised_contrast(self, pair: Images) -> None:
        _, visible, _ = pair
        source = (visible / 2).floor()
        assert self.function(source, source, source).item() == pytest.approx(2)
        assert self.function(source * 2, source, source).item() > 2.05

    def test_an_inverted_image_keeps_nothing(self, pair: Images) -> None:
        # every window is inverted, too
        _, visible, _ = pair
        assert self.function(255 - visible, visible, visible).item() == 0

    def test_a_source_without_contrast_counts_as_1(self, pair: Images) -> None:
        image = pair[0][:50, :50]
        assert self.function(image, FLAT, FLAT).item() == 2
        assert self.function(FLAT, image, FLAT).item() == 1

    def test_saturating_leaves_little_of_the_finest_scale(self, pair: Images) -> None:
        _, visible, _ = pair
        dark = (visible / 20).floor()  # no product above 255: nothing saturates
        assert self.function(dark, dark, dark, saturating=True).item() == pytest.approx(2)
        assert self.function(*pair, saturating=True).item() != pytest.approx(self.function(*pair).item(), rel=0.05)


class TestVIFF(FusionMetricTester):
    name = "VIFF"
    tolerance = 1e-6
    reference = staticmethod(partial(plain_metrics.viff, mean=plain_metrics.whole_windows))

    def test_is_not_vif(self, pair: Images) -> None:
        assert abs(self.function(*pair).item() - vif(*pair).item()) > 0.1

    def test_copies_and_constant_images(self, pair: Images) -> None:
        _, visible, _ = pair
        assert self.function(visible, visible, visible).item() == pytest.approx(1)
        assert self.function(FLAT, FLAT, FLAT).item() == pytest.approx(1)
