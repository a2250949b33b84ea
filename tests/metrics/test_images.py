from typing import Any

import numpy as np
import pytest
import torch

from gffusion.metrics import to_luma8
from gffusion.metrics.functional import entropy, mean_squared_error, ssim


class TestToLuma8:
    def test_is_the_rounded_bt601_luma(self) -> None:
        colour = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        # thousandths in whole numbers, where a half is exactly a half
        expected = (colour.astype(np.int64) @ np.array([299, 587, 114]) + 500) // 1000
        assert np.array_equal(to_luma8(colour).numpy(), expected)

    def test_halves_round_up(self) -> None:
        colour = np.array([[[0, 0, 250], [250, 0, 250]]], dtype=np.uint8)  # 28.5 and 103.25
        assert to_luma8(colour).tolist() == [[29, 103]]

    def test_differs_from_matlab_in_halves_only(self) -> None:
        colour = np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8)
        to_yiq = np.array([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])
        matlab = np.floor(colour @ np.linalg.inv(to_yiq)[0] + 0.5)
        thousandths = colour.astype(np.int64) @ np.array([299, 587, 114])
        differs = to_luma8(colour).numpy() != matlab
        assert np.abs(thousandths[differs] % 1000 - 500).max() <= 16
        assert differs.mean() < 0.02

    def test_grey_stored_as_rgb_keeps_its_levels(self) -> None:
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
        assert np.array_equal(to_luma8(np.stack([grey] * 3, -1)).numpy(), grey)

    def test_a_picture_in_memory_equals_its_file(self) -> None:
        colour = np.random.default_rng(0).random((40, 50, 3))
        file = np.floor(colour * 255 + 0.5).astype(np.uint8)
        assert torch.equal(to_luma8(colour), to_luma8(file))

    @pytest.mark.parametrize(
        ("image", "level"),
        [
            (np.full((2, 3), 77, np.uint8), 77),
            (np.full((2, 3), 77 * 257, np.uint16), 77),
            (np.full((2, 3), 77 * 257, ">u2"), 77),
            (np.full((2, 3, 1), 77 / 255, np.float32), 77),
            (torch.full((2, 3), 77 / 255, dtype=torch.float16), 77),
            (torch.full((1, 2, 3), 77, dtype=torch.uint8), 77),
            (torch.full((3, 2, 3), 77, dtype=torch.uint8), 77),
        ],
    )
    def test_data_type_tells_the_range(self, image: Any, level: int) -> None:
        luma = to_luma8(image)
        assert luma.dtype == torch.float64
        assert luma.tolist() == [[level] * 3] * 2

    @pytest.mark.parametrize("channels", [1, 3])
    def test_batches_keep_their_channel_axis(self, channels: int) -> None:
        batch = torch.randint(0, 256, (2, channels, 4, 5), dtype=torch.uint8)
        luma = to_luma8(batch)
        assert luma.shape == (2, 1, 4, 5)
        assert torch.equal(luma[1, 0], to_luma8(batch[1]))

    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (np.zeros((4, 4, 4), np.uint8), "alpha"),
            (torch.zeros(2, 2, 2, 2, 2), "shape"),
            (np.full((2, 2), 1.5), "0 to 1"),
            (np.full((2, 2), np.nan), "NaN"),
            (np.zeros((2, 2), np.int32), "range is unknown"),
            (np.array(["a", "b"]), "Allowed are numbers"),
            (np.zeros((0, 4)), "empty"),
        ],
    )
    def test_says_what_is_wrong(self, image: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            to_luma8(image)


class TestWhatMetricsTake:
    def test_fractions_are_rounded_halves_up(self) -> None:
        assert entropy(torch.tensor([[0.4, 2.5], [2.6, 3.4]])) == entropy(torch.tensor([[0, 3], [3, 3]]))

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.uint16, torch.float16, torch.float32])
    def test_every_number_type_gives_the_same_float64(self, dtype: torch.dtype) -> None:
        levels = torch.arange(0, 200, 2).reshape(10, 10)
        score = entropy(levels.to(dtype))
        assert score.dtype == torch.float64
        assert score == entropy(levels)

    @pytest.mark.parametrize(
        ("fused", "message"),
        [
            (torch.zeros(16, 15), "fused has 1x16x15 and visible 1x16x16"),
            (torch.zeros(2, 1, 16, 16), "fused has 2x16x16 and visible 1x16x16"),
            (torch.zeros(1, 3, 16, 16), "convert colour with `to_luma8`"),
            (torch.zeros(3, 16, 16), "convert colour with `to_luma8`"),
            (torch.full((16, 16), torch.nan), "fused holds NaN"),
            (torch.full((16, 16), torch.inf), "fused has values from inf to inf"),
            (torch.full((16, 16), -1.0), "from -1 to -1"),
            (torch.full((16, 16), 256), "from 256 to 256"),
            (torch.rand(16, 16), "fused has fractions between 0 and 1 only"),
            (torch.zeros(0, 1, 16, 16), "fused is empty"),
            (np.zeros((16, 16)), "fused must be a tensor, got ndarray"),
            (None, "fused must be a tensor, got NoneType"),
        ],
    )
    def test_says_what_is_wrong(self, fused: Any, message: str) -> None:
        source = torch.zeros(16, 16)
        with pytest.raises(ValueError, match=message):
            mean_squared_error(fused, source, source)

    def test_names_the_least_size(self) -> None:
        image = torch.zeros(10, 40)
        with pytest.raises(ValueError, match=r"10x40 pixels. This metric needs 11x11"):
            ssim(image, image, image)
