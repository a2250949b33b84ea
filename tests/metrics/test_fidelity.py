from math import log10

import numpy as np
import pytest
import torch
from metric_tester import FusionMetricTester, Gray, Images
from scipy import signal
from torchmetrics.functional.image import visual_information_fidelity

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


def plain_viff(fused: Gray, visible: Gray, infrared: Gray) -> float:
    """Han et al., window by window."""
    noise, score = 0.005 * 255**2, 0.0
    for size, weight in ((17, 1), (9, 0), (5, 0.15), (3, 1)):
        profile = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * (size / 5) ** 2))
        window = np.outer(profile, profile) / profile.sum() ** 2

        def mean(image: Gray, window: Gray = window) -> Gray:
            return signal.convolve2d(image, window, "valid")

        if size < 17:
            fused, visible, infrared = (mean(image)[::2, ::2] for image in (fused, visible, infrared))
        fused_mean, fused_variance = mean(fused), mean(fused**2) - mean(fused) ** 2
        channels = []
        for source in (visible, infrared):
            variance = mean(source**2) - mean(source) ** 2
            covariance = mean(source * fused) - mean(source) * fused_mean
            channels.append(zip(variance.flat, covariance.flat, fused_variance.flat, strict=True))
        kept = available = 0.0
        for windows in zip(*channels, strict=True):
            best = None
            for variance, covariance, total in windows:
                flat = variance < 1e-10 or total < 1e-10
                gain = 0 if flat else max(covariance / (variance + 1e-10), 0)
                signal_to_noise = gain**2 * variance / (max(total - gain * covariance, 1e-10) + noise)
                candidate = gain, log10(1 + signal_to_noise), log10(1 + max(variance, 0) / noise)
                if best is None or candidate[0] < best[0]:
                    best = candidate
            assert best is not None
            kept += best[1] + 1e-7 / np.log(10)
            available += best[2] + 1e-7 / np.log(10)
        score += weight / 2.15 * kept / available
    return score


class TestVIFF(FusionMetricTester):
    name = "VIFF"
    part = np.s_[30:90, 40:110]
    tolerance = 1e-6
    reference = staticmethod(plain_viff)

    def test_is_not_vif(self, pair: Images) -> None:
        assert abs(self.function(*pair).item() - vif(*pair).item()) > 0.1

    def test_copies_and_constant_images(self, pair: Images) -> None:
        _, visible, _ = pair
        assert self.function(visible, visible, visible).item() == pytest.approx(1)
        assert self.function(FLAT, FLAT, FLAT).item() == pytest.approx(1)
