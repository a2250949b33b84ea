"""Paired transforms: the images of a sample stay aligned, values stay in range."""

import numpy as np
import pytest
import torch

from gffusion.data.transforms import (
    Compose,
    RandomCrop,
    RandomFlip,
    Sample,
    ThermalGain,
    Transform,
    VisiblePhotometric,
)


def coordinates(height: int, width: int) -> Sample:
    """A sample whose every pixel tells where it came from, in each of its images."""
    index = np.arange(height * width, dtype=np.int64).reshape(height, width)
    infrared = (index / (height * width)).astype(np.float32)[..., None]
    return {"visible": np.repeat(infrared, 3, axis=-1), "infrared": infrared, "labels": index}


def noise(height: int, width: int) -> Sample:
    rng = np.random.default_rng(5)
    return {
        "visible": rng.random((height, width, 3), dtype=np.float32),
        "infrared": rng.random((height, width, 1), dtype=np.float32),
    }


def assert_aligned(sample: Sample, pixels: int) -> None:
    for channel in (*np.moveaxis(sample["visible"], -1, 0), sample["infrared"][..., 0]):
        np.testing.assert_array_equal(np.rint(channel * pixels), sample["labels"])


EVERY_TRANSFORM = [
    RandomCrop((4, 5)),
    RandomCrop((4, 5), scale=(0.5, 2.0)),
    RandomFlip(0.5, 0.5),
    VisiblePhotometric(0.5, 0.5, 0.5),
    ThermalGain(0.5, 0.5),
    Compose(RandomCrop(4, scale=(0.8, 1.5)), RandomFlip()),
]


@pytest.mark.parametrize("transform", EVERY_TRANSFORM, ids=lambda transform: type(transform).__name__)
def test_contract_of_every_transform(transform: Transform) -> None:
    """Same generator, same sample; layouts, dtypes and ranges hold; the input is left as it was."""
    for seed in range(10):
        sample, original = noise(8, 9), noise(8, 9)
        first = transform(sample, np.random.default_rng(seed))
        second = transform(sample, np.random.default_rng(seed))
        assert first.keys() == sample.keys()
        for name, array in first.items():
            np.testing.assert_array_equal(array, second[name])
            np.testing.assert_array_equal(sample[name], original[name])
            assert array.dtype == np.float32
            assert array.shape[:2] == first["visible"].shape[:2]
            assert array.shape[2:] == sample[name].shape[2:]
            assert array.min() >= 0
            assert array.max() <= 1


class TestRandomCrop:
    def test_windows_are_aligned_and_reach_everywhere(self) -> None:
        rng, sample = np.random.default_rng(0), coordinates(5, 7)
        corners = set()
        for _ in range(300):
            cropped = RandomCrop((3, 4))(sample, rng)
            assert cropped["labels"].shape == (3, 4)
            assert_aligned(cropped, 35)
            corners.add(divmod(int(cropped["labels"][0, 0]), 7))
        assert corners == {(top, left) for top in range(3) for left in range(4)}

    def test_whole_image(self) -> None:
        sample = coordinates(5, 5)
        np.testing.assert_array_equal(RandomCrop(5)(sample, np.random.default_rng(0))["labels"], sample["labels"])

    def test_too_small(self) -> None:
        with pytest.raises(ValueError, match=r"crop 6 x 4 .* image of 5 x 7"):
            RandomCrop((6, 4))(coordinates(5, 7), np.random.default_rng(0))

    @pytest.mark.parametrize("size", [0, -1, (4, 0)])
    def test_size(self, size: int | tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="crop size"):
            RandomCrop(size)

    def test_enlarging_is_what_torch_does(self) -> None:
        sample = noise(6, 8) | {"labels": np.arange(48).reshape(6, 8)}
        scaled = RandomCrop((12, 16), scale=(2, 2))(sample, np.random.default_rng(0))
        for name in ("visible", "infrared"):
            image = torch.from_numpy(sample[name]).permute(2, 0, 1)[None]
            expected = torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear", align_corners=False)
            np.testing.assert_allclose(scaled[name], expected[0].permute(1, 2, 0), atol=1e-6)
        np.testing.assert_array_equal(scaled["labels"], sample["labels"].repeat(2, 0).repeat(2, 1))
        assert scaled["labels"].dtype == np.int64

    def test_shrinking_does_not_alias(self) -> None:
        stripes = np.zeros((16, 16, 1), np.float32)
        stripes[:, ::4] = 1
        sample = {"visible": np.repeat(stripes, 3, axis=-1), "infrared": stripes}
        scaled = RandomCrop(4, scale=(0.25, 0.25))(sample, np.random.default_rng(0))
        np.testing.assert_allclose(scaled["infrared"][:, 1:-1], 0.25, atol=1e-6)

    def test_factors_are_uniform_and_images_stay_aligned(self) -> None:
        rng, columns = np.random.default_rng(0), np.broadcast_to(np.arange(40), (40, 40))
        infrared = (columns / 40).astype(np.float32)[..., None]
        sample = {"visible": np.repeat(infrared, 3, axis=-1), "infrared": infrared, "labels": columns}
        windows = []
        for _ in range(300):
            scaled = RandomCrop(12, scale=(0.5, 1.5))(sample, rng)
            ramp = 40 * scaled["infrared"][..., 0]
            np.testing.assert_allclose(40 * scaled["visible"], np.repeat(ramp[..., None], 3, axis=-1))
            assert np.abs(scaled["labels"] - ramp)[:, 2:-2].max() <= 1 + 1e-4
            windows.append(12 * (ramp[0, 9] - ramp[0, 2]) / 7)
        assert 8 - 1e-3 <= min(windows) < 9
        assert 22 < max(windows) <= 24 + 1e-3
        assert np.mean(windows) == pytest.approx(12 * np.log(3), abs=0.6)  # mean of 12 / f, f uniform in [0.5, 1.5]

    def test_labels_stay_classes(self) -> None:
        labels = np.zeros((40, 40), np.int64)
        labels[10:30] = 1000
        for seed in range(20):
            scaled = RandomCrop(30, scale=(0.8, 1.4))(noise(40, 40) | {"labels": labels}, np.random.default_rng(seed))
            assert set(np.unique(scaled["labels"])) == {0, 1000}

    def test_small_images_are_enlarged_as_far_as_they_need(self) -> None:
        for seed in range(20):
            scaled = RandomCrop(12, scale=(0.5, 2.0))(noise(8, 9), np.random.default_rng(seed))
            assert scaled["visible"].shape == (12, 12, 3)
        with pytest.raises(ValueError, match="enlarged by 1.4 at most"):
            RandomCrop(12, scale=(0.5, 1.4))(noise(8, 9), np.random.default_rng(0))

    @pytest.mark.parametrize("scale", [(0, 1), (-1, 1), (2, 1), (1, float("inf")), (float("nan"), 1)])
    def test_scale(self, scale: tuple[float, float]) -> None:
        with pytest.raises(ValueError, match="scale must be"):
            RandomCrop(4, scale=scale)


class TestRandomFlip:
    @pytest.mark.parametrize(("horizontal", "vertical"), [(0, 0), (1, 0), (0, 1), (1, 1)])
    def test_directions(self, horizontal: float, vertical: float) -> None:
        sample = coordinates(3, 4)
        flipped = RandomFlip(horizontal, vertical)(sample, np.random.default_rng(0))
        expected = sample["labels"]
        expected = np.fliplr(expected) if horizontal else expected
        expected = np.flipud(expected) if vertical else expected
        np.testing.assert_array_equal(flipped["labels"], expected)
        assert_aligned(flipped, 12)

    def test_probability(self) -> None:
        rng, sample = np.random.default_rng(0), coordinates(2, 2)
        flips = [RandomFlip(horizontal=0.25)(sample, rng)["labels"][0, 0] == 1 for _ in range(2000)]
        assert np.mean(flips) == pytest.approx(0.25, abs=0.04)

    @pytest.mark.parametrize("arguments", [{"horizontal": 1.5}, {"vertical": -0.1}])
    def test_no_probability(self, arguments: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            RandomFlip(**arguments)


class TestVisiblePhotometric:
    def test_only_the_visible_image(self) -> None:
        sample = noise(8, 8)
        changed = VisiblePhotometric(0.2, 0.2, 0.2)(sample, np.random.default_rng(0))
        assert changed["infrared"] is sample["infrared"]
        assert np.abs(changed["visible"] - sample["visible"]).mean() > 0.01

    def test_nothing_asked_nothing_changed(self) -> None:
        sample = noise(8, 8)
        changed = VisiblePhotometric()(sample, np.random.default_rng(0))
        np.testing.assert_allclose(changed["visible"], sample["visible"], atol=1e-6)

    def test_brightness_shifts_all_pixels_alike(self) -> None:
        sample = {"visible": noise(8, 8)["visible"] * 0.4 + 0.3}
        rng = np.random.default_rng(0)
        shifts = []
        for _ in range(200):
            shift = VisiblePhotometric(brightness=0.2)(sample, rng)["visible"] - sample["visible"]
            assert np.ptp(shift) < 1e-6
            shifts.append(shift.mean())
        assert -0.2 <= min(shifts) < -0.15
        assert 0.15 < max(shifts) <= 0.2

    def test_contrast_keeps_the_mean(self) -> None:
        sample = {"visible": noise(8, 8)["visible"] * 0.4 + 0.3}
        rng = np.random.default_rng(0)
        ratios = []
        for _ in range(200):
            visible = VisiblePhotometric(contrast=0.5)(sample, rng)["visible"]
            assert visible.mean() == pytest.approx(sample["visible"].mean(), abs=1e-5)
            ratios.append(visible.std() / sample["visible"].std())
        assert 0.5 <= min(ratios) < 0.6
        assert 1.4 < max(ratios) <= 1.5 + 1e-5

    def test_gamma_is_a_power(self) -> None:
        sample, rng = noise(8, 8), np.random.default_rng(0)
        exponents = []
        for _ in range(200):
            visible = VisiblePhotometric(gamma=0.5)(sample, rng)["visible"]
            exponent = np.log(visible) / np.log(sample["visible"])
            assert np.ptp(exponent) < 1e-2
            exponents.append(np.median(exponent))
        assert 0.5 <= min(exponents) + 1e-4 < 0.6
        assert 1.4 < max(exponents) <= 1.5 + 1e-4

    @pytest.mark.parametrize("arguments", [{"brightness": -0.1}, {"contrast": 1.1}, {"gamma": 1.0}])
    def test_strengths(self, arguments: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            VisiblePhotometric(**arguments)


class TestThermalGain:
    def test_only_the_infrared_image_by_one_line(self) -> None:
        sample = noise(8, 8)
        sample["infrared"] = sample["infrared"] * 0.3 + 0.3
        rng = np.random.default_rng(0)
        gains = []
        for _ in range(200):
            changed = ThermalGain(gain=0.2, offset=0.1)(sample, rng)
            assert changed["visible"] is sample["visible"]
            gain, offset = np.polyfit(sample["infrared"].ravel(), changed["infrared"].ravel(), 1)
            np.testing.assert_allclose(changed["infrared"], gain * sample["infrared"] + offset, atol=1e-5)
            assert abs(offset) <= 0.1 + 1e-5
            gains.append(gain)
        assert 0.8 - 1e-5 <= min(gains) < 0.85
        assert 1.15 < max(gains) <= 1.2 + 1e-5

    @pytest.mark.parametrize("arguments", [{"gain": -0.1}, {"gain": 1.1}, {"offset": 2}])
    def test_strengths(self, arguments: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=next(iter(arguments))):
            ThermalGain(**arguments)


def test_compose_applies_in_order() -> None:
    sample = coordinates(8, 8)
    enlarge, crop = RandomCrop(16, scale=(2, 2)), RandomCrop(10)
    assert Compose(enlarge, crop)(sample, np.random.default_rng(0))["labels"].shape == (10, 10)
    with pytest.raises(ValueError, match="crop"):
        Compose(crop, enlarge)(sample, np.random.default_rng(0))
