"""Crop, flip and resizing keep images, labels and boxes aligned."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gffusion.data.transforms import MIN_BOX_SHARE, RandomCrop, RandomFlip, Resize, Sample, Transform
from gffusion.data.transforms.base import describe_transform

MakeSample = Callable[[int, int], Sample]


def assert_aligned(sample: Sample, pixels: int) -> None:
    for channel in (*np.moveaxis(sample["visible"], -1, 0), sample["infrared"][..., 0]):
        np.testing.assert_array_equal(np.rint(channel * pixels), sample["labels"])


class TestRandomCrop:
    def test_windows_are_aligned_and_everywhere(self, coordinates: MakeSample) -> None:
        rng, sample = np.random.default_rng(0), coordinates(5, 7)
        corners = set()
        for _ in range(300):
            cropped = RandomCrop((3, 4))(sample, rng)
            assert cropped["labels"].shape == (3, 4)
            assert_aligned(cropped, 35)
            corners.add(divmod(int(cropped["labels"][0, 0]), 7))
        assert corners == {(top, left) for top in range(3) for left in range(4)}

    def test_size_of_the_image(self, coordinates: MakeSample) -> None:
        sample = coordinates(5, 5)
        np.testing.assert_array_equal(RandomCrop(5)(sample, np.random.default_rng(0))["labels"], sample["labels"])

    def test_too_small(self, coordinates: MakeSample) -> None:
        with pytest.raises(ValueError, match=r"crop 6 x 4 .* image of 5 x 7"):
            RandomCrop((6, 4))(coordinates(5, 7), np.random.default_rng(0))

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

    def test_labels_stay_classes(self, noise: MakeSample) -> None:
        labels = np.zeros((40, 40), np.int64)
        labels[10:30] = 1000
        for seed in range(20):
            scaled = RandomCrop(30, scale=(0.8, 1.4))(noise(40, 40) | {"labels": labels}, np.random.default_rng(seed))
            assert set(np.unique(scaled["labels"])) == {0, 1000}

    def test_small_images_are_enlarged_as_needed(self, noise: MakeSample) -> None:
        for seed in range(20):
            scaled = RandomCrop(12, scale=(0.5, 2.0))(noise(8, 9), np.random.default_rng(seed))
            assert scaled["visible"].shape == (12, 12, 3)
        with pytest.raises(ValueError, match=r"largest `scale`, 1.4"):
            RandomCrop(12, scale=(0.5, 1.4))(noise(8, 9), np.random.default_rng(0))


class TestRandomFlip:
    @pytest.mark.parametrize(("horizontal", "vertical"), [(0, 0), (1, 0), (0, 1), (1, 1)])
    def test_directions(self, coordinates: MakeSample, horizontal: float, vertical: float) -> None:
        sample = coordinates(3, 4)
        flipped = RandomFlip(horizontal, vertical)(sample, np.random.default_rng(0))
        expected = sample["labels"]
        expected = np.fliplr(expected) if horizontal else expected
        expected = np.flipud(expected) if vertical else expected
        np.testing.assert_array_equal(flipped["labels"], expected)
        assert_aligned(flipped, 12)

    def test_probability(self, coordinates: MakeSample) -> None:
        rng, sample = np.random.default_rng(0), coordinates(2, 2)
        flips = [RandomFlip(horizontal=0.25)(sample, rng)["labels"][0, 0] == 1 for _ in range(2000)]
        assert np.mean(flips) == pytest.approx(0.25, abs=0.04)


class TestResize:
    @pytest.mark.parametrize("transform", [RandomCrop((12, 16), scale=(2, 2)), Resize((12, 32)), Resize(24)])
    def test_enlarging_is_what_torch_does(self, noise: MakeSample, transform: Transform) -> None:
        sample = noise(6, 8) | {"labels": np.arange(48).reshape(6, 8)}
        resized = transform(sample, np.random.default_rng(0))
        size = transform.height, transform.width
        for name in ("visible", "infrared"):
            image = torch.from_numpy(sample[name]).permute(2, 0, 1)[None]
            expected = torch.nn.functional.interpolate(image, size=size, mode="bilinear", align_corners=False)
            np.testing.assert_allclose(resized[name], expected[0].permute(1, 2, 0), atol=1e-6)
        np.testing.assert_array_equal(
            resized["labels"], sample["labels"].repeat(size[0] // 6, 0).repeat(size[1] // 8, 1)
        )
        assert resized["labels"].dtype == np.int64


@pytest.mark.parametrize("transform", [Resize, RandomCrop])
class TestSizes:
    @pytest.mark.parametrize("size", [np.int64(32), (np.int32(32), 32), np.array([32, 32])])
    def test_numbers_of_numpy(self, transform: type[Resize | RandomCrop], size: Any) -> None:
        made = transform(size)
        assert (made.height, made.width) == (32, 32)
        assert describe_transform(made) == describe_transform(transform(32))

    @pytest.mark.parametrize("size", [0, True, 2.5, "32", (32, 32, 32), (0, 32)])
    def test_others_are_refused(self, transform: type[Resize | RandomCrop], size: Any) -> None:
        with pytest.raises(ValueError, match="size must be a positive integer, or a height and a width, got "):
            transform(size)


class TestBoxes:
    """Boxes against the labels of what they enclose."""

    @pytest.fixture
    def sample(self, noise: MakeSample) -> Sample:
        boxes = np.array([[3, 5, 23, 15], [30, 2, 38, 30], [10, 20, 26, 28], [36, 34, 47, 39]], np.float32)
        labels = np.zeros((40, 48), np.int64)
        for number, (left, top, right, bottom) in enumerate(boxes.astype(int)):
            labels[top:bottom, left:right] = number + 1
        return noise(40, 48) | {"labels": labels, "boxes": boxes, "box_classes": np.arange(4)}

    @staticmethod
    def assert_enclosing(result: Sample, atol: float) -> None:
        for box, number in zip(result["boxes"], result["box_classes"], strict=True):
            rows, columns = np.nonzero(result["labels"] == number + 1)
            enclosing = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, enclosing, atol=atol)

    @pytest.mark.parametrize(("horizontal", "vertical"), [(1, 0), (0, 1), (1, 1)])
    def test_flip(self, sample: Sample, horizontal: float, vertical: float) -> None:
        flipped = RandomFlip(horizontal, vertical)(sample, np.random.default_rng(0))
        assert len(flipped["boxes"]) == 4
        self.assert_enclosing(flipped, atol=0)

    @pytest.mark.parametrize("size", [(80, 144), (30, 24)])
    def test_resize(self, sample: Sample, size: tuple[int, int]) -> None:
        resized = Resize(size)(sample, np.random.default_rng(0))
        assert len(resized["boxes"]) == 4
        self.assert_enclosing(resized, atol=1)

    def test_crop_clips_boxes_and_drops_small_remainders(self, sample: Sample) -> None:
        areas = np.bincount(sample["labels"].ravel())[1:]
        numbers = set()
        for seed in range(100):
            cropped = RandomCrop((20, 24))(sample, np.random.default_rng(seed))
            remaining = np.bincount(cropped["labels"].ravel(), minlength=5)[1:] / areas
            assert list(cropped["box_classes"]) == list(np.nonzero(remaining >= MIN_BOX_SHARE)[0])
            self.assert_enclosing(cropped, atol=0)
            numbers.add(len(cropped["boxes"]))
        assert numbers >= {1, 2, 3}

    def test_crop_scales(self, sample: Sample) -> None:
        for seed in range(50):
            self.assert_enclosing(RandomCrop(24, scale=(0.8, 1.6))(sample, np.random.default_rng(seed)), atol=1)

    def test_no_boxes(self, sample: Sample) -> None:
        sample |= {"boxes": np.zeros((0, 4), np.float32), "box_classes": np.zeros(0, np.int64)}
        for transform in (RandomCrop(24, scale=(0.8, 1.6)), RandomFlip(1, 1), Resize(20)):
            result = transform(sample, np.random.default_rng(0))
            assert (result["boxes"].shape, result["box_classes"].shape) == ((0, 4), (0,))
