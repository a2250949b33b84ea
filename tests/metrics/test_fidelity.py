from math import log10

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal
from torchmetrics.functional.image import visual_information_fidelity

from gffusion.metrics.functional import vif, viff

Grey = NDArray[np.float64]
Arrays = tuple[Grey, Grey, Grey]
Images = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

FLAT = torch.full((50, 50), 255)


class TestVIF:
    def test_equals_torchmetrics(self, pair: Images) -> None:
        fused, *sources = (image[None, None, :100, 60:150] for image in pair)
        expected = sum(visual_information_fidelity(fused, source).item() for source in sources)
        # their two-dimensional windows leave more rounding in the overexposed sky
        assert vif(fused, *sources).item() == pytest.approx(expected, rel=1e-6)

    def test_copies_and_raised_contrast(self, pair: Images) -> None:
        _, visible, _ = pair
        source = (visible / 2).floor()
        assert vif(source, source, source).item() == pytest.approx(2)
        assert vif(source * 2, source, source).item() > 2.05

    def test_an_inverted_image_keeps_nothing(self, pair: Images) -> None:
        # locally as much as globally: every window is inverted
        _, visible, _ = pair
        assert vif(255 - visible, visible, visible).item() == 0

    def test_a_source_without_contrast_has_nothing_to_lose(self, pair: Images) -> None:
        image = pair[0][:50, :50]
        assert vif(image, FLAT, FLAT).item() == 2
        assert vif(FLAT, image, FLAT).item() == 1

    def test_saturating_leaves_little_of_the_finest_scale(self, pair: Images) -> None:
        _, visible, _ = pair
        dark = (visible / 20).floor()  # no product above 255: nothing saturates
        assert vif(dark, dark, dark, saturating=True).item() == pytest.approx(2)
        assert vif(*pair, saturating=True).item() != pytest.approx(vif(*pair).item(), rel=0.05)


def plain_viff(fused: Grey, visible: Grey, infrared: Grey) -> float:
    """Han et al., window by window."""
    noise, score = 0.005 * 255**2, 0.0
    for size, weight in ((17, 1), (9, 0), (5, 0.15), (3, 1)):
        profile = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * (size / 5) ** 2))
        window = np.outer(profile, profile) / profile.sum() ** 2

        def mean(image: Grey, window: Grey = window) -> Grey:
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


class TestVIFF:
    def test_equals_the_definition(self, arrays: Arrays) -> None:
        arrays = [image[30:90, 40:110] for image in arrays]
        expected = plain_viff(*arrays)
        assert viff(*map(torch.from_numpy, arrays)).item() == pytest.approx(expected, rel=1e-6)

    def test_is_not_vif(self, pair: Images) -> None:
        assert abs(viff(*pair).item() - vif(*pair).item()) > 0.1

    def test_copies_and_constant_images(self, pair: Images) -> None:
        _, visible, _ = pair
        assert viff(visible, visible, visible).item() == pytest.approx(1)
        assert viff(FLAT, FLAT, FLAT).item() == pytest.approx(1)
