"""Classical baselines, against values computed by hand or by other means."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from gffusion.evaluation.baseline_names import BASELINE_NAMES
from gffusion.evaluation.baselines import BASELINES, add_chroma, fuse_luma
from gffusion.metrics import compute_metrics, to_luma8
from gffusion.models.gffusion.image_ops import rgb_to_luma

VISIBLE = np.array([[10.0, 200.0], [31.0, 255.0]])
INFRARED = np.array([[20.0, 100.0], [30.0, 250.0]])  # mean 100


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("average", [[15, 150], [31, 253]]),  # halves round up
        ("maximum", [[20, 200], [31, 255]]),
        ("centered_sum", [[0, 200], [0, 255]]),  # -70, 200, -39 and 405, clipped
    ],
)
def test_formula(name: str, expected: list[list[int]]) -> None:
    fused = fuse_luma(name, VISIBLE, INFRARED)
    assert fused.dtype == np.uint8
    assert fused.tolist() == expected


@pytest.mark.parametrize("name", BASELINES)
@pytest.mark.parametrize("dtype", ["uint8", "int16", ">u2", ">f4"])
def test_types_of_gray_levels_do_not_matter(name: str, dtype: str) -> None:
    visible, infrared = np.random.default_rng(0).integers(0, 256, (2, 33, 47))
    expected = fuse_luma(name, visible.astype(float), infrared.astype(float))
    assert np.array_equal(fuse_luma(name, visible.astype(dtype), infrared.astype(dtype)), expected)


@pytest.mark.parametrize(
    ("visible", "infrared", "message"),
    [
        (
            VISIBLE / 255,
            INFRARED / 255,
            "visible image must have gray levels from 0 to 255, got .* to 1: `gff.*to_luma8`",
        ),
        (VISIBLE, INFRARED * 257, "infrared image must have gray levels"),
        (VISIBLE, INFRARED * np.nan, "infrared image must have gray levels"),
        (np.dstack([VISIBLE] * 3), INFRARED, r"shape \(H, W\), got float64 of shape \(2, 2, 3\)"),
        (VISIBLE, INFRARED[:1], r"one size, got visible \(2, 2\) and infrared \(1, 2\)"),
    ],
)
def test_other_images_are_refused(visible: np.ndarray, infrared: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fuse_luma("average", visible, infrared)


def test_average_stretched_spans_all_but_the_ends() -> None:
    visible = np.arange(10, 111, dtype=float)[None]  # 101 levels with the 1st percentile 11 and the 99th 109
    fused = fuse_luma("average_stretched", visible, visible)[0]
    assert (fused[0], fused[1], fused[50], fused[-2], fused[-1]) == (0, 0, 128, 255, 255)
    assert fused[2] == round(255 / 98)


def test_names_are_complete() -> None:
    forgotten = {*BASELINES}.symmetric_difference(BASELINE_NAMES)
    assert not forgotten, f"{forgotten} must be in BASELINES of baselines.py and in BASELINE_NAMES of baseline_names.py"
    assert (*BASELINES,) == BASELINE_NAMES


@pytest.mark.parametrize("name", BASELINES)
def test_constant_images_stay_constant(name: str) -> None:
    fused = fuse_luma(name, np.full((9, 7), 40.0), np.full((9, 7), 80.0))
    assert np.unique(fused).tolist() == [{"maximum": 80, "centered_sum": 40}.get(name, 60)]


class TestLaplacianPyramid:
    @pytest.mark.parametrize("shape", [(64, 48), (61, 47), (5, 3), (1, 1)])
    def test_returns_an_image_fused_with_itself(self, shape: tuple[int, int]) -> None:
        image = np.random.default_rng(0).integers(0, 256, shape).astype(float)
        assert np.array_equal(fuse_luma("laplacian_pyramid", image, image), image)

    def test_keeps_the_texture_of_both_where_the_average_halves_it(self) -> None:
        noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, 64, 128)), (0, 1, 1)) * 60
        visible, infrared = np.full((64, 128), 120.0), np.full((64, 128), 60.0)
        visible[:, :64] += noise[0, :, :64]
        infrared[:, 64:] += noise[1, :, 64:].clip(-60)
        fused = fuse_luma("laplacian_pyramid", visible, infrared).astype(float)
        for source, part in ((visible, np.s_[8:-8, 8:56]), (infrared, np.s_[8:-8, 72:120])):
            assert np.corrcoef(fused[part].ravel(), source[part].ravel())[0, 1] > 0.99
            assert fused[part].std() == pytest.approx(source[part].std(), rel=0.1)
        assert fused.mean() == pytest.approx(90, abs=1)  # the remainder is averaged

    def test_a_single_bright_pixel_stays(self) -> None:
        visible, infrared = np.zeros((33, 33)), np.zeros((33, 33))
        infrared[16, 16] = 200
        assert fuse_luma("laplacian_pyramid", visible, infrared)[16, 16] > 190


def test_centered_sum_nearly_has_the_highest_possible_scd() -> None:
    noise = np.random.default_rng(1).normal(size=(2, 60, 80))
    visible, infrared = 128 + 30 * ndimage.gaussian_filter(noise, (0, 1, 1))
    fused = fuse_luma("centered_sum", visible.round(), infrared.round())
    images = (torch.from_numpy(image.astype(float)) for image in (fused, visible.round(), infrared.round()))
    assert compute_metrics(*images, metrics=["SCD"])["SCD"].item() == pytest.approx(2, abs=0.001)


class TestColor:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
    def test_fused_luma_and_hue_of_the_visible_image(self, dtype: type) -> None:
        rng = np.random.default_rng(0)
        unit = rng.uniform(0.3, 0.6, (16, 24, 3))
        visible = unit.astype(dtype) if dtype is np.float32 else np.rint(unit * np.iinfo(dtype).max).astype(dtype)
        infrared = np.rint(255 * rng.uniform(0.3, 0.6, (16, 24))).astype(np.uint8)
        expected = np.maximum(to_luma8(visible).numpy(), infrared)
        fused = add_chroma(visible, expected.astype(np.uint8))
        assert (fused.shape, fused.dtype) == (visible.shape, np.uint8)
        assert abs(to_luma8(fused).numpy() - expected).max() <= 1
        # A change of luma adds the same to red, green and blue: their differences stay.
        differences = [np.diff(image, axis=-1) for image in (fused.astype(float), 255 * unit)]
        assert abs(differences[0] - differences[1]).max() <= 2

    def test_types_of_the_color_image_do_not_matter(self) -> None:
        visible = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
        fused = np.full((16, 24), 90, np.uint8)
        expected = add_chroma(visible, fused)
        deep = visible.astype(np.int64) * 257
        for same in (deep, deep.astype(">u2"), Image.fromarray(visible)):
            assert np.array_equal(add_chroma(same, fused), expected)

    def test_values_outside_0_to_1_and_a_luma_of_another_kind_are_refused(self) -> None:
        fused = np.zeros((2, 2), np.uint8)
        with pytest.raises(ValueError, match=r"visible image must have values in \[0, 1\]"):
            add_chroma(np.full((2, 2, 3), 200.0), fused)
        for wrong in (fused / 255, fused[:1]):
            with pytest.raises(ValueError, match=r"`fused` must be uint8 of shape \(2, 2\), got"):
                add_chroma(np.zeros((2, 2, 3), np.uint8), wrong)

    def test_gray_images_stay_gray(self) -> None:
        fused = np.array([[7, 200]], np.uint8)
        assert add_chroma(np.zeros((1, 2), np.uint8), fused).tolist() == fused.tolist()

    def test_luma_that_no_color_can_have_is_white(self) -> None:
        visible = np.zeros((1, 1, 3), np.uint8)
        visible[..., 0] = 255
        assert add_chroma(visible, np.full((1, 1), 255, np.uint8)).tolist() == [[[255, 255, 255]]]
        assert rgb_to_luma(torch.ones(3, 1, 1)).item() == pytest.approx(1)


def test_unknown_baseline() -> None:
    with pytest.raises(ValueError, match=r"no baseline 'median'. Allowed are average, maximum"):
        fuse_luma("median", VISIBLE, INFRARED)
