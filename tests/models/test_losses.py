"""The terms of Eq. (10) to (12), against scikit-image, scipy and sums written out with numpy."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from random_images import random_image, sobel
from scipy import ndimage
from skimage import data
from skimage.metrics import structural_similarity

from gffusion.metrics.fidelity import vif
from gffusion.metrics.gradient import qabf
from gffusion.models.gffusion.losses import (
    gradient_loss,
    intensity_loss,
    segmentation_loss,
    ssim,
    ssim_loss,
    two_scale_target,
)
from gffusion.models.gffusion.metric_losses import qabf_loss, vif_loss

LUMA = np.array([0.299, 0.587, 0.114])


def reference_ssim(image: np.ndarray, reference: np.ndarray) -> float:
    return structural_similarity(
        image, reference, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0
    )


class TestSsim:
    @pytest.mark.parametrize("size", [(11, 11), (12, 40), (63, 64)])
    def test_random_images(self, size: tuple[int, int]) -> None:
        images, references = random_image(3, 1, *size), random_image(3, 1, *size, seed=1)
        references = 0.7 * images + 0.3 * references
        expected = [reference_ssim(a[0].numpy(), b[0].numpy()) for a, b in zip(images, references, strict=True)]
        np.testing.assert_allclose(ssim(images, references), expected, atol=1e-10)
        np.testing.assert_allclose(ssim(images.float(), references.float()), expected, atol=1e-5)

    def test_flat_areas_and_edges(self) -> None:
        """Where variances are small, float32 cancellation would show."""
        image = data.camera()[100:260, 150:350] / 255
        blurred = ndimage.gaussian_filter(image, 2)
        value = ssim(*(torch.from_numpy(part).float()[None, None] for part in (image, blurred)))
        np.testing.assert_allclose(value, [reference_ssim(image, blurred)], atol=1e-5)

    def test_gradient(self) -> None:
        image, reference = random_image(2, 1, 12, 13).requires_grad_(), random_image(2, 1, 12, 13, seed=1)
        assert torch.autograd.gradcheck(ssim, (image, reference.requires_grad_()))

    def test_half_precision_is_computed_in_float32(self) -> None:
        image, reference = random_image(1, 1, 32, 32).half(), random_image(1, 1, 32, 32, seed=1).half()
        assert ssim(image, reference).dtype == torch.float32
        torch.testing.assert_close(ssim(image, reference), ssim(image.float(), reference.float()))

    def test_too_small(self) -> None:
        with pytest.raises(ValueError, match="at least 11 pixels per side, got 10"):
            ssim(torch.zeros(1, 1, 32, 10), torch.zeros(1, 1, 32, 10))


class TestStructure:
    def test_ssim_terms(self) -> None:
        fused, visible, infrared = (random_image(2, channels, 16, 20, seed=channels) for channels in (3, 3, 1))
        luma = [np.tensordot(LUMA, image.numpy(), axes=(0, 1)) for image in (fused, visible)]
        expected = np.mean(
            [
                (1 - reference_ssim(luma[0][index], luma[1][index])) / 2
                + (1 - reference_ssim(luma[0][index], infrared[index, 0].numpy())) / 2
                for index in range(2)
            ]
        )
        np.testing.assert_allclose(ssim_loss(fused, visible, infrared), expected, atol=1e-8)

    def test_ssim_terms_of_equal_images_vanish(self) -> None:
        image = random_image(1, 1, 16, 16)
        assert ssim_loss(image, image, image).item() == pytest.approx(0, abs=1e-12)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_gradient_target_is_the_larger_one(self, channels: int) -> None:
        fused, visible = (random_image(2, channels, 5, 6, seed=seed) for seed in (0, 1))
        infrared = random_image(2, 1, 5, 6, seed=2)
        target = np.maximum(np.broadcast_to(sobel(infrared.numpy()), visible.shape), sobel(visible.numpy()))
        expected = np.abs(sobel(fused.numpy()) - target).mean()
        np.testing.assert_allclose(gradient_loss(fused, visible, infrared), expected)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_intensity(self, channels: int) -> None:
        fused, visible = (random_image(2, channels, 5, 6, seed=seed) for seed in (0, 1))
        infrared = random_image(2, 1, 5, 6, seed=2)
        expected = np.abs(fused.numpy() - np.maximum(visible.numpy(), infrared.numpy())).mean()
        np.testing.assert_allclose(intensity_loss(fused, visible, infrared), expected)

    def test_unknown_targets_are_refused(self) -> None:
        with pytest.raises(ValueError, match='`target` must be "maximum" or "two_scale", got \'two-scale\''):
            intensity_loss(*torch.rand(3, 1, 1, 5, 6), target="two-scale")

    @pytest.mark.parametrize(
        ("contrast", "floor", "undershoot"), [(0.5, 0.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.02, 1.0), (1.0, 0.0, 0.05)]
    )
    def test_two_scale_target_against_scipy(self, contrast: float, floor: float, undershoot: float) -> None:
        """Far from the border, where both blur alike."""
        visible, infrared = (random_image(1, 1, 80, 90, seed=seed)[0, 0] for seed in (0, 1))
        found = two_scale_target(visible[None, None], infrared[None, None], contrast, floor, undershoot)[0, 0].numpy()

        images = np.stack([visible.numpy(), infrared.numpy()])
        bases = ndimage.gaussian_filter(images, (0, 4, 4), truncate=8)
        details = images - bases
        energies = ndimage.gaussian_filter(details**2, (0, 2, 2), truncate=8) ** 2
        share = energies[0] / (energies[0] + energies[1])
        smooth, sharp = (
            (part.max(axis=0) + (part.mean(axis=0) if contrast == 0.5 else part.sum(axis=0) - np.mean(bases))) / 2
            for part in (bases, images)
        )
        expected = np.maximum(smooth, floor * bases.mean(axis=0)) + share * details[0] + (1 - share) * details[1]
        expected = np.maximum(expected, sharp.clip(0, 1) - undershoot)
        inner = slice(30, -30)
        np.testing.assert_allclose(found[inner, inner], expected.clip(0, 1)[inner, inner], atol=2e-3)

    @pytest.mark.parametrize("channels", [1, 3])
    def test_two_scale_target_of_equal_images_is_the_image(self, channels: int) -> None:
        """At contrast 1/2; the infrared image has one channel, which all channels share."""
        infrared = random_image(2, 1, 20, 30)
        visible = infrared.expand(-1, channels, -1, -1)
        torch.testing.assert_close(two_scale_target(visible, infrared, contrast=0.5), visible)
        black = torch.zeros_like(visible)  # without any details
        assert torch.equal(two_scale_target(black, black[:, :1]), black)
        assert intensity_loss(visible, visible, infrared, "two_scale", 0.5).item() == pytest.approx(0, abs=1e-6)


class TestSegmentation:
    @pytest.mark.parametrize("ignore_index", [255, 0])
    def test_is_the_mean_over_counted_pixels(self, ignore_index: int) -> None:
        logits = random_image(2, 3, 4, 5)
        labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
        labels[0, :2] = ignore_index
        terms = []
        for index in np.ndindex(*labels.shape):
            if labels[index] != ignore_index:
                scores = logits[index[0], :, index[1], index[2]].numpy()
                terms.append(np.log(np.exp(scores).sum()) - scores[labels[index]])
        assert len(terms) < labels.numel()
        np.testing.assert_allclose(segmentation_loss(logits, labels, ignore_index), np.mean(terms), rtol=1e-6)

    def test_nothing_counted(self) -> None:
        logits = torch.randn(1, 3, 4, 4, requires_grad=True)
        loss = segmentation_loss(logits, torch.full((1, 4, 4), 255))
        assert loss.item() == 0
        loss.backward()
        assert torch.equal(logits.grad, torch.zeros_like(logits))

    @pytest.mark.parametrize("ignore_index", [255, 0, -100])
    def test_class_weights_mean_what_they_do_in_torch(self, ignore_index: int) -> None:
        logits, weights = random_image(2, 3, 4, 5).float(), [0.5, 3, 0]
        labels = torch.randint(0, 3, (2, 4, 5), generator=torch.Generator().manual_seed(0))
        labels[0, :2] = ignore_index
        expected = F.cross_entropy(logits, labels, torch.tensor(weights), ignore_index=ignore_index)
        torch.testing.assert_close(segmentation_loss(logits, labels, ignore_index, weights), expected)
        assert segmentation_loss(logits, torch.full((2, 4, 5), 2), ignore_index, weights) == 0  # torch: NaN

    def test_half_precision_is_computed_in_float32(self) -> None:
        logits, labels = torch.randn(1, 3, 64, 64).half(), torch.zeros(1, 64, 64, dtype=torch.long)
        assert segmentation_loss(logits, labels).dtype == torch.float32


class TestMetricLosses:
    def images(self) -> list[torch.Tensor]:
        camera = torch.from_numpy(data.camera()[100:230, 150:300] / 255).float()
        coins = torch.from_numpy(data.coins()[40:170, 50:200] / 255).float()
        levels = [(255 * image).round() for image in ((camera + coins) / 2, camera, coins)]
        return [image[None, None] / 255 for image in levels]

    def test_vif_is_that_of_the_metric(self) -> None:
        images = self.images()
        expected = vif(*(255 * image for image in images)).item()
        assert vif_loss(*images).item() == pytest.approx(2 - expected, abs=5e-3)

    def test_qabf_is_that_of_the_metric(self) -> None:
        """With a black frame, because the metric adds one."""
        images = [F.pad(image, (3, 3, 3, 3)) for image in self.images()]
        expected = qabf(*(255 * image for image in images)).item()
        assert qabf_loss(*images).item() == pytest.approx(1 - expected, abs=1e-3)

    def test_qabf_of_ramps_without_horizontal_gradient(self) -> None:
        """Edges have no sign: a ramp that falls is as parallel to one that rises as another that rises."""
        rising = torch.linspace(0.2, 0.8, 48)[:, None].expand(1, 1, 48, 48).contiguous()
        falling = rising.flip(2)
        assert qabf_loss(rising, rising, falling) == pytest.approx(qabf_loss(rising, rising, rising).item(), abs=1e-3)

    @pytest.mark.parametrize("term", [vif_loss, qabf_loss])
    def test_a_batch_is_the_mean_of_its_images_in_float32(self, term: Callable[..., torch.Tensor]) -> None:
        fused, visible, infrared = (image.half() for image in self.images())
        pairs = [(fused, visible, infrared), (visible, infrared, fused)]
        expected = torch.stack([term(*(image.float() for image in pair)) for pair in pairs])
        assert abs(expected[0] - expected[1]) > 0.05
        torch.testing.assert_close(term(*map(torch.cat, zip(*pairs, strict=True))), expected.mean())

    @pytest.mark.parametrize("term", [vif_loss, qabf_loss])
    def test_gradient(self, term: Callable[..., torch.Tensor]) -> None:
        """Finite in flat images, and downhill."""
        fused, visible, infrared = self.images()
        flat = torch.zeros_like(fused).requires_grad_()
        term(flat, visible, infrared).backward()
        assert flat.grad is not None and flat.grad.isfinite().all()
        fused.requires_grad_()
        before = term(fused, visible, infrared)
        before.backward()
        assert fused.grad is not None
        step = 1e-3 * fused.grad / fused.grad.norm()
        assert term(fused - step, visible, infrared) < before

    def test_vif_refuses_small_images(self) -> None:
        with pytest.raises(ValueError, match="41 x 41 pixels, got 40 x 48"):
            vif_loss(*torch.rand(3, 1, 1, 40, 48))
