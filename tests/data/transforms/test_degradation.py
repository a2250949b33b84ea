"""Misalignment, Night and Glare against SciPy and scikit-image."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.color import rgb2xyz

from gffusion.data import FusionDataset
from gffusion.data.transforms import (
    Compose,
    Glare,
    Misalignment,
    Night,
    Sample,
    ThermalArtifacts,
    ThermalGain,
    Transform,
)

MakeSample = Callable[[int, int], Sample]


def luminance(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Y of CIE XYZ: linear light."""
    return rgb2xyz(image)[..., 1]


def gray(value: float, size: int) -> Sample:
    return {"visible": np.full((size, size, 3), value, np.float32)}


class TestMisalignment:
    @staticmethod
    def two_blobs() -> Sample:
        """Blobs 40 pixels apart, side by side, whose middle is that of the image: (30, 40)."""
        rows, columns = np.mgrid[:61, :81]
        blobs = [np.exp(-((rows - 30) ** 2 + (columns - column) ** 2) / 18) for column in (20, 60)]
        infrared = np.maximum(*blobs).astype(np.float32)[..., None]
        return {"visible": np.repeat(infrared, 3, axis=-1), "infrared": infrared}

    def moved(self, misalignment: Misalignment, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the middle between the blobs (row, column), and the vector from the left to the right one."""
        infrared = misalignment(self.two_blobs(), np.random.default_rng(seed))["infrared"][..., 0]
        left, right = (
            np.array(ndimage.center_of_mass(half))
            for half in (infrared * (np.arange(81) < 40), infrared * (np.arange(81) >= 40))
        )
        return (left + right) / 2, right - left

    def test_shift(self) -> None:
        middles = np.array([self.moved(Misalignment(shift=5), seed)[0] for seed in range(60)]) - (30, 40)
        assert (np.abs(middles).max(axis=0) <= 5.05).all()
        assert (middles.min(axis=0) < -4).all()
        assert (middles.max(axis=0) > 4).all()

    def test_rotation_about_the_center(self) -> None:
        angles = []
        for seed in range(60):
            middle, way = self.moved(Misalignment(rotation=10), seed)
            np.testing.assert_allclose(middle, (30, 40), atol=0.05)
            assert np.linalg.norm(way) == pytest.approx(40, abs=0.1)
            angles.append(np.rad2deg(np.arctan2(*way)))
        assert -10.1 <= min(angles) < -8
        assert 8 < max(angles) <= 10.1

    def test_scale_about_the_center(self) -> None:
        factors = []
        for seed in range(60):
            middle, way = self.moved(Misalignment(scale=0.1), seed)
            np.testing.assert_allclose(middle, (30, 40), atol=0.05)
            assert way[0] == pytest.approx(0, abs=0.05)
            factors.append(way[1] / 40)
        assert 0.895 <= min(factors) < 0.92
        assert 1.08 < max(factors) <= 1.105

    def test_the_border_is_repeated(self, coordinates: MakeSample) -> None:
        sample = coordinates(20, 20)
        sample["infrared"] = np.broadcast_to(sample["infrared"][:1], (20, 20, 1))  # columns of one value each
        moved = Misalignment(shift=6)(sample, np.random.default_rng(1))["infrared"]
        assert moved.min() >= sample["infrared"].min()
        np.testing.assert_allclose(moved, np.broadcast_to(moved[:1], moved.shape), atol=1e-6)


class TestNight:
    def test_light_and_noise_of_photons(self) -> None:
        sample = gray(0.5, 300)
        night = Night(1, exposure=(0.1, 0.1), color_loss=0, full_well=5000, read_noise=6)
        dark = night(sample, np.random.default_rng(0))["visible"]
        electrons = 5000 * 0.1 * luminance(sample["visible"])[0, 0]
        assert electrons == pytest.approx(107, abs=0.5)
        light = 5000 * np.stack([luminance(dark[..., [channel] * 3]) for channel in range(3)])
        assert light.mean() == pytest.approx(electrons, rel=0.005)
        assert light.var() == pytest.approx(electrons + 6**2, rel=0.02)
        noise = light.reshape(3, -1)
        assert np.abs(np.corrcoef(noise) - np.eye(3)).max() < 0.02  # channels are independent

    def test_exposures_are_uniform_in_their_logarithm(self) -> None:
        sample, rng = gray(0.8, 4), np.random.default_rng(0)
        night = Night(1, exposure=(0.01, 0.16), color_loss=0, full_well=1e10, read_noise=0)
        clean = luminance(sample["visible"])[0, 0]
        factors = [luminance(night(sample, rng)["visible"]).mean() for _ in range(400)] / clean
        stops = np.log2(factors / 0.01)
        assert 0 <= stops.min() < 0.2
        assert 3.8 < stops.max() <= 4.001
        assert stops.mean() == pytest.approx(2, abs=0.2)

    def test_colors_fade_at_the_same_luminance(self, noise: MakeSample) -> None:
        sample, rng = noise(16, 16), np.random.default_rng(0)
        clean = {"exposure": (0.2, 0.2), "full_well": 1e10, "read_noise": 0}
        colorful = rgb2xyz(Night(1, color_loss=0, **clean)(sample, rng)["visible"])
        white = rgb2xyz(np.ones(3))
        chroma = colorful - colorful[..., 1:2] * white
        losses = []
        for _ in range(100):
            faded = rgb2xyz(Night(1, color_loss=0.8, **clean)(sample, rng)["visible"])
            np.testing.assert_allclose(faded[..., 1], colorful[..., 1], atol=1e-4)
            kept = ((faded - faded[..., 1:2] * white) * chroma).sum() / (chroma**2).sum()
            losses.append(1 - kept)
        assert -1e-3 <= min(losses) < 0.1
        assert 0.7 < max(losses) <= 0.801


class TestGlare:
    def test_light_falls_with_the_square_of_the_distance(self) -> None:
        rows, columns = np.mgrid[:200, :240]
        tried = 0
        for seed in range(12):
            black = {"visible": np.zeros((200, 240, 3), np.float32)}
            lit = Glare(1, lamps=1, radius=(0.05, 0.05))(black, np.random.default_rng(seed))["visible"]
            saturated = lit.max(axis=-1) == 1
            row, column = ndimage.center_of_mass(saturated)
            if not (15 < row < 185 and 15 < column < 225):  # cut off at the border
                continue
            tried += 1
            # The radius is 0.05 of the shorter side; tinted lamps saturate fewer pixels.
            assert 0.8 < saturated.sum() / (np.pi * 10**2) < 1.05
            distance = np.hypot(rows - row, columns - column)
            far = (distance > 25) & (luminance(lit) > 1e-3)
            assert far.any()
            products = luminance(lit)[far] * distance[far] ** 2
            assert np.ptp(products) < 0.1 * products.mean()
        assert tried >= 5

    def test_number_of_lamps(self) -> None:
        black, numbers = gray(0, 200), []
        for seed in range(60):
            lit = Glare(1, lamps=3, radius=(0.01, 0.03))(black, np.random.default_rng(seed))["visible"]
            numbers.append(ndimage.label(lit.max(axis=-1) == 1)[1])
        assert (min(numbers), max(numbers)) == (1, 3)

    def test_only_adds_light(self, noise: MakeSample) -> None:
        sample = noise(20, 30)
        lit = Glare(1)(sample, np.random.default_rng(0))
        assert (lit["visible"] >= sample["visible"] - 1e-6).all()
        assert (lit["visible"] == 1).any()


class TestThermalArtifacts:
    def test_items_have_the_clean_image_as_target(self, scenes: Path) -> None:
        item, clean = FusionDataset(scenes, ThermalArtifacts(1))[0], FusionDataset(scenes)[0]
        assert torch.equal(item["infrared_targets"], clean["infrared_values"])
        assert not torch.equal(item["infrared_values"], clean["infrared_values"])
        assert "infrared_targets" not in clean

    def test_target_is_the_clean_image(self, noise: MakeSample) -> None:
        sample, rng = noise(16, 24), np.random.default_rng(0)
        kept = [ThermalArtifacts(probability=0.5)(sample, rng) for _ in range(40)]
        assert all(item["infrared_target"] is sample["infrared"] for item in kept)
        changed = [not np.array_equal(item["infrared"], sample["infrared"]) for item in kept]
        assert 8 < sum(changed) < 32
        for item in kept:
            assert item["infrared"].dtype == np.float32 and item["infrared"].shape == (16, 24, 1)
            assert 0 <= item["infrared"].min() <= item["infrared"].max() <= 1

    @pytest.mark.parametrize("after", [ThermalGain(0.5, 0.5), Misalignment(3), ThermalArtifacts(1)])
    def test_target_follows_later_changes(self, noise: MakeSample, after: Transform) -> None:
        """As the clean image would have changed; further artifacts have the same clean image."""
        sample = noise(24, 32)
        both = Compose([ThermalArtifacts(probability=0), after])(sample, np.random.default_rng(1))
        expected = sample if isinstance(after, ThermalArtifacts) else both
        assert np.array_equal(both["infrared_target"], expected["infrared"])
        assert not np.array_equal(both["infrared"], sample["infrared"])

    @pytest.mark.parametrize("axis", [0, 1])
    def test_shift_alone(self, axis: int) -> None:
        ramp = np.linspace(0.2, 0.8, 61, dtype=np.float32)
        image = np.broadcast_to(ramp[:, None, None] if axis == 0 else ramp[:, None], (61, 61, 1))
        transform = ThermalArtifacts(1, noise=0, quality=(100, 100), shift=1.5)
        offsets = []
        for seed in range(30):
            moved = transform({"infrared": image}, np.random.default_rng(seed))["infrared"]
            changes = (moved - image)[5:-5, 5:-5] / 0.01  # 0.01 per pixel
            assert np.ptp(changes) < 1  # of JPEG
            offsets.append(changes.mean())
        assert -1.55 < min(offsets) < -0.8 and 0.8 < max(offsets) < 1.55

    def test_every_second_image_is_compressed(self, noise: MakeSample) -> None:
        sample, file = noise(16, 24), io.BytesIO()
        levels = np.rint(255 * sample["infrared"][..., 0]).astype(np.uint8)
        Image.fromarray(levels).save(file, "JPEG", quality=20)
        compressed = np.asarray(Image.open(file), np.float32) / 255
        transform, rng = ThermalArtifacts(1, noise=0, quality=(20, 20), shift=0), np.random.default_rng(0)
        found = [transform(sample, rng)["infrared"][..., 0] for _ in range(100)]
        is_compressed = [np.allclose(image, compressed) for image in found]
        assert all(
            is_it or np.allclose(image, sample["infrared"][..., 0])
            for is_it, image in zip(is_compressed, found, strict=True)
        )
        assert np.mean(is_compressed) == pytest.approx(0.5, abs=0.15)

    def test_noise_and_blocks(self) -> None:
        flat = np.full((64, 64, 1), 0.5, np.float32)
        transform = ThermalArtifacts(1, noise=0.04, shift=0)
        deviations = [
            transform({"infrared": flat}, np.random.default_rng(seed))["infrared"].std() for seed in range(40)
        ]
        assert max(deviations) < 0.06 and np.mean(deviations) == pytest.approx(0.02, abs=0.008)
