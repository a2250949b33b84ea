"""Color conversion and Sobel, against scikit-image and scipy."""

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from pretended_devices import OnCuda, OnMps
from random_images import random_image, sobel
from skimage.color import rgb2ycbcr, ycbcr2rgb
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gffusion.models.gffusion.image_ops import (
    prepare_images,
    replace_luma,
    resize_bicubic,
    resize_bilinear,
    rgb_to_luma,
    sobel_magnitude,
    to_uint8,
)


def channels_last(image: torch.Tensor) -> np.ndarray:
    return image.movedim(-3, -1).numpy()


class TestRgbToLuma:
    @pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 5, 7), (2, 4, 3, 5, 7)])
    def test_is_y_of_ycbcr(self, shape: tuple[int, ...]) -> None:
        image = random_image(*shape)
        expected = (rgb2ycbcr(channels_last(image))[..., :1] - 16) / 219  # scikit-image uses the studio range
        np.testing.assert_allclose(channels_last(rgb_to_luma(image)), expected, atol=1e-6)

    def test_gray_is_luma_already(self) -> None:
        gray = random_image(2, 1, 5, 7)
        assert torch.equal(rgb_to_luma(gray), gray)
        torch.testing.assert_close(rgb_to_luma(gray.expand(2, 3, 5, 7)), gray)

    def test_keeps_range_and_dtype(self) -> None:
        white = torch.full((3, 2, 2), 255, dtype=torch.float16)
        luma = rgb_to_luma(white)
        assert luma.dtype == torch.float16
        torch.testing.assert_close(luma, white[:1])

    @pytest.mark.parametrize("channels", [2, 4])
    def test_channels(self, channels: int) -> None:
        with pytest.raises(ValueError, match=rf"1 \(gray\) or 3 \(RGB\) channels, got {channels}"):
            rgb_to_luma(torch.zeros(1, channels, 4, 4))


class TestReplaceLuma:
    def test_inside_the_gamut_it_exchanges_y(self) -> None:
        image = 0.35 + 0.3 * random_image(2, 3, 16, 16)  # differences from luma below 0.3
        luma = 0.35 + 0.3 * random_image(2, 1, 16, 16, seed=1)
        ycbcr = rgb2ycbcr(channels_last(image))
        ycbcr[..., 0] = 16 + 219 * channels_last(luma)[..., 0]
        np.testing.assert_allclose(channels_last(replace_luma(image, luma)), ycbcr2rgb(ycbcr), atol=1e-6)

    def test_outside_the_gamut_it_scales_chroma_as_little_as_possible(self) -> None:
        image, luma = random_image(1, 3, 64, 64), random_image(1, 1, 64, 64, seed=1)
        result = replace_luma(image, luma)
        assert result.min() >= 0
        assert result.max() <= 1
        torch.testing.assert_close(rgb_to_luma(result), luma)
        before, after = image - rgb_to_luma(image), result - luma
        scale = (after * before).sum(dim=1) / before.square().sum(dim=1)
        torch.testing.assert_close(after, scale[:, None] * before)  # the same hue
        assert scale.min() >= 0
        assert scale.max() <= 1 + 1e-9
        scaled = scale < 1 - 1e-6
        edge = torch.minimum(result, 1 - result).amin(dim=1)
        assert 0.2 < scaled.double().mean() < 0.8
        torch.testing.assert_close(edge[scaled], torch.zeros_like(edge[scaled]))

    @pytest.mark.parametrize("level", [0.0, 1.0])
    def test_black_and_white_have_no_color(self, level: float) -> None:
        luma = torch.full((1, 1, 8, 8), level, dtype=torch.float64)
        torch.testing.assert_close(replace_luma(random_image(1, 3, 8, 8), luma), luma.expand(1, 3, 8, 8))

    def test_own_luma_changes_nothing(self) -> None:
        image = random_image(3, 9, 9)
        torch.testing.assert_close(replace_luma(image, rgb_to_luma(image)), image)

    def test_gradient_reaches_luma(self) -> None:
        """The segmentation loss is taken of the colored image: finite differences, in and out of the gamut."""
        luma = random_image(1, 1, 6, 6, seed=1).requires_grad_()
        assert torch.autograd.gradcheck(lambda values: replace_luma(random_image(1, 3, 6, 6), values), luma)

    def test_gradient_of_gray_is_finite(self) -> None:
        luma = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 1, 3).requires_grad_()
        replace_luma(torch.full((1, 3, 1, 3), 0.5), luma).sum().backward()
        assert luma.grad is not None
        assert luma.grad.isfinite().all()


class TestSobelMagnitude:
    @pytest.mark.parametrize("size", [(2, 2), (7, 5), (31, 64)])
    def test_is_scipys(self, size: tuple[int, int]) -> None:
        image = random_image(2, 3, *size)
        np.testing.assert_allclose(sobel_magnitude(image).numpy(), sobel(image.numpy()), atol=1e-12)

    def test_keeps_dtype(self) -> None:
        assert sobel_magnitude(torch.zeros(1, 1, 4, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16])
def test_integers_which_would_overflow_or_be_clipped_are_refused(dtype: torch.dtype) -> None:
    levels, values = torch.full((1, 3, 4, 4), 120, dtype=dtype), torch.full((1, 1, 4, 4), 0.5)
    for call in (lambda: sobel_magnitude(levels), lambda: replace_luma(levels, values)):
        with pytest.raises(ValueError, match=rf"floating point in \[0, 1\], got {dtype}: divide 8-bit levels by 255"):
            call()
    with pytest.raises(ValueError, match="must be floating point"):
        replace_luma(levels / 255, levels[:, :1])


class TestToUint8:
    LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)

    @pytest.mark.parametrize("dtype", ["uint8", "<f4", ">f4", "float16", "float64"])
    def test_every_level_of_any_type_and_byte_order(self, dtype: str) -> None:
        scale = 1 if dtype == "uint8" else 1 / 255
        assert (to_uint8((self.LEVELS * scale).astype(dtype)) == self.LEVELS).all()

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_16_bits_are_rounded(self, order: str) -> None:
        values = np.arange(2**16)
        assert (to_uint8(values.astype(f"{order}u2")) == (values + 128) // 257).all()

    def test_rounding_errors_are_no_overflow(self) -> None:
        assert to_uint8(np.array([-1e-6, 1 + 1e-6])).tolist() == [0, 255]

    @pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.int64])
    def test_integers_of_unknown_range_are_refused(self, dtype: type) -> None:
        with pytest.raises(ValueError, match=f"must be uint8, uint16 or floating point, got {np.dtype(dtype)}"):
            to_uint8(self.LEVELS.astype(dtype))

    @pytest.mark.parametrize("value", [-0.1, 1.1, 200, np.nan, np.inf])
    def test_values_outside_0_to_1_are_refused(self, value: float) -> None:
        with pytest.raises(ValueError, match=r"The fused image has values from .* floating point must be in \[0, 1\]"):
            to_uint8(np.array([[0.5, value]]), "fused")


class KernelsOfMps(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "upsample_bicubic2d_aa_backward" in str(func):
            raise NotImplementedError(f"The operator '{func}' is not currently implemented for the MPS device.")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("size", [(480, 640), (30, 17), (7, 1000), (24, 24)])
@pytest.mark.parametrize("resize", [resize_bicubic, resize_bilinear])
def test_exported_resizing_is_that_of_torch(
    resize: Any, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = random_image(2, 3, *size)
    expected = resize(image, (24, 32))
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.delattr(torch.nn.functional, "interpolate")
    torch.testing.assert_close(resize(image, (24, 32)), expected, atol=2e-6, rtol=0)


class TestPrepareImages:
    @pytest.mark.parametrize(("height", "width"), [(64, 96), (20, 33), (28, 42)])
    def test_gradient_on_mps(self, height: int, width: int) -> None:
        """The segmentation loss needs it."""
        image, weights = random_image(2, 1, height, width), random_image(2, 3, 28, 42)
        options: Any = ([28, 42], (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), torch.float32)
        results = []
        for kind, mode in ((Tensor, nullcontext()), (OnMps, KernelsOfMps())):
            given = image.clone().as_subclass(kind).requires_grad_()
            with mode:
                resized = prepare_images(given, *options)
                (resized * weights).sum().backward()
            assert given.grad is not None
            results.append([part.detach().as_subclass(Tensor) for part in (resized, given.grad)])
        torch.testing.assert_close(results[1], results[0], atol=2e-5, rtol=1e-5)

    @pytest.mark.parametrize("scales", [(45, 45), (46, 46), (20, 80), (80, 15)])
    def test_wide_panoramas_on_cuda(self, scales: tuple[int, int]) -> None:
        image = random_image(1, 3, 3 * scales[0], 5 * scales[1])
        options: Any = ([3, 5], (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), torch.float32)
        resized = prepare_images(image.as_subclass(OnCuda), *options)
        torch.testing.assert_close(resized.as_subclass(Tensor), prepare_images(image, *options))
