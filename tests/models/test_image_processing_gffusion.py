"""GFFusionImageProcessor: forms of images, errors, infrared ranges and padding."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from processor_images import COLOR, GRAY, WIDE, Array, luma_of, output, with_orientation
from transformers.utils.logging import warning_once

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.models.gffusion.infrared_options import InfraredOptions


def process(visible: Any, infrared: Any, **options: Any) -> tuple[Array, Array]:
    """Values of one pair: (3, H, W) and (1, H, W)."""
    inputs = GFFusionImageProcessor()((visible, infrared), return_tensors="np", **options)
    return inputs["visible_values"][0], inputs["infrared_values"][0]


def with_alpha(image: Array, channel_axis: int = -1) -> Array:
    alpha = np.expand_dims(GRAY, channel_axis)
    return np.concatenate([image, alpha], axis=channel_axis)


def with_palette(image: Array) -> PIL.Image.Image:
    return PIL.Image.fromarray(image).convert("P", palette=PIL.Image.Palette.ADAPTIVE)


CHW = np.moveaxis(COLOR, -1, 0)
COLOR_FORMS: dict[str, Any] = {
    "channels_first": CHW,
    "alpha": with_alpha(COLOR),
    "alpha_first": with_alpha(CHW, 0),
    "uint16": COLOR * WIDE,
    "float16": (COLOR / 255).astype(np.float16),
    "float32": (COLOR / 255).astype(np.float32),
    "float64": COLOR / 255,
    "strided": np.repeat(COLOR, 2, axis=1)[:, ::2],
    "tensor": torch.from_numpy(CHW.copy()),
    "tensor_channels_last": torch.from_numpy(COLOR),
    "tensor_uint16": torch.from_numpy(CHW * WIDE),
    "tensor_bfloat16": torch.from_numpy(CHW / 255).bfloat16(),
    "tensor_with_gradient": torch.from_numpy(CHW / 255).requires_grad_(),
    "tensor_negated_lazily": torch.complex(torch.zeros(CHW.shape), torch.from_numpy(-(CHW / 255)).float()).conj().imag,
    "tensor_sparse": torch.from_numpy(CHW.copy()).to_sparse(),
    "pil": PIL.Image.fromarray(COLOR),
    "pil_rgba": PIL.Image.fromarray(with_alpha(COLOR)),
    "pil_turned_left": with_orientation(np.rot90(COLOR, 1), 6),  # to show: turn right
    "pil_upside_down": with_orientation(np.rot90(COLOR, 2), 3),
    "pil_mirrored": with_orientation(np.fliplr(COLOR), 2),
}
GRAY_FORMS: dict[str, Any] = {
    "channel_last": GRAY[..., None],
    "channel_first": GRAY[None],
    "uint16": GRAY * WIDE,
    "float16": (GRAY / 255).astype(np.float16),
    "float32": (GRAY / 255).astype(np.float32),
    "float64": GRAY / 255,
    "tensor": torch.from_numpy(GRAY),
    "tensor_channel_first": torch.from_numpy(GRAY[None]),
    "tensor_uint16": torch.from_numpy(GRAY * WIDE),
    "pil": PIL.Image.fromarray(GRAY),
    "pil_la": PIL.Image.fromarray(with_alpha(GRAY[..., None])),
    "pil_premultiplied": PIL.Image.fromarray(GRAY).convert("LA").convert("La"),
    "pil_i16": PIL.Image.fromarray(GRAY * WIDE),
    "pil_i": PIL.Image.fromarray(GRAY.astype(np.int32) * WIDE),
    "pil_f": PIL.Image.fromarray((GRAY / 255).astype(np.float32)),
    "pil_p": with_palette(GRAY),
    "three_equal_channels": np.repeat(GRAY[..., None], 3, axis=-1),
    "pil_i16_turned_left": with_orientation(np.rot90(GRAY * WIDE, 1), 6),
}


COARSE = COLOR // 128 * 255  # few enough colors for a palette to hold them exactly
FORMS: dict[str, tuple[Any, Array]] = {
    **{f"color-{name}": (image, CHW / 255) for name, image in COLOR_FORMS.items()},
    **{f"gray-{name}": (image, np.stack([GRAY / 255] * 3)) for name, image in GRAY_FORMS.items()},
    "color-pil_p": (with_palette(COARSE), np.moveaxis(COARSE, -1, 0) / 255),
    "gray-pil_1": (PIL.Image.fromarray(GRAY > 127), np.stack([GRAY > 127] * 3)),
}


class TestForms:
    @pytest.mark.parametrize(("image", "expected"), FORMS.values(), ids=FORMS)
    def test_give_the_same_values(self, image: Any, expected: Array) -> None:
        kind = str(getattr(image, "dtype", ""))  # half a step of the number format between 0.5 and 1
        tolerance = 2**-8 if kind.endswith("bfloat16") else 2**-11 if kind.endswith("float16") else 1e-6
        visible, infrared = process(image, image)
        assert (visible.dtype, infrared.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(visible, expected, atol=tolerance)
        np.testing.assert_allclose(infrared, luma_of(expected), atol=tolerance)

    def test_where_both_ends_could_be_channels(self) -> None:
        """Arrays are read as (H, W, C) and tensors as (C, H, W)."""
        strip = COLOR[:3]  # (3, 48, 3)
        for image, expected in [(strip, np.moveaxis(strip, -1, 0)), (torch.from_numpy(strip), strip)]:
            height, width = expected.shape[1:]
            values, _ = process(image, np.zeros((height, width), np.uint8))
            np.testing.assert_allclose(values[:, :height, :width], expected / 255, atol=1e-6)

    def test_integers_of_pillow_are_those_of_arrays(self) -> None:
        counts = GRAY.astype(np.int32) * 400 - 4000  # negative, and beyond 16 bits
        arrays, images = (
            process(COLOR, image, infrared_range=[-4000, 98000]) for image in (counts, PIL.Image.fromarray(counts))
        )
        np.testing.assert_array_equal(images[1], arrays[1])

    def test_16_bits_are_kept(self) -> None:
        ramp = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) * 34
        np.testing.assert_allclose(process(ramp, ramp)[1][0] * 65535, ramp, atol=0.01)

    def test_the_image_is_not_changed(self) -> None:
        pair = COLOR.copy(), (GRAY / 255).astype(np.float32)
        before = pair[0].copy(), pair[1].copy()
        values = process(*pair)
        for array in values:
            array[:] = 2  # memory is not shared
        for image, original in zip(pair, before, strict=True):
            np.testing.assert_array_equal(image, original)


class TestBatches:
    def test_one_pair_and_lists_of_pairs(self) -> None:
        processor = GFFusionImageProcessor()
        pairs = [(COLOR, GRAY), (GRAY, COLOR), [PIL.Image.fromarray(COLOR), torch.from_numpy(GRAY)]]
        batch = processor(pairs, return_tensors="pt")
        assert [tuple(values.shape) for values in batch.values()] == [(3, 3, 40, 48), (3, 1, 40, 48)]
        for index, pair in enumerate(pairs):
            single = processor(pair, return_tensors="pt")
            for name, values in single.items():
                assert torch.equal(values[0], batch[name][index])

    def test_mixed_sizes(self) -> None:
        pairs = [(COLOR, GRAY), (COLOR[:36], GRAY[:36])]
        with pytest.raises(ValueError, match=r"one size, got \(height, width\) \[\(36, 48\), \(40, 48\)\]"):
            GFFusionImageProcessor()(pairs, return_tensors="pt")
        lists = GFFusionImageProcessor()(pairs)
        assert [values.shape for values in lists["visible_values"]] == [(3, 40, 48), (3, 36, 48)]
        assert [values.shape for values in lists["infrared_values"]] == [(1, 40, 48), (1, 36, 48)]


NAN = np.where(np.eye(40, 48) > 0, np.nan, 0.5)
REFUSED = {
    "no_pair": (COLOR, "pair .* got a ndarray"),
    "dict": ({"visible": COLOR, "infrared": GRAY}, "pair .* got a dict"),
    "three_images": ([COLOR, GRAY, GRAY], "pair .* got a list of 3"),
    "no_images": ([], "pair .* got a list of 0"),
    "path": ([("visible.png", "infrared.png")], "visible image must be a PIL image, .* got str.*read_image"),
    "8 bits as int32": ((COLOR.astype(np.int32), GRAY), "visible image has int32 values .*convert it to uint8"),
    "negative_visible": (
        (COLOR.astype(np.int16) - 200, GRAY),
        "visible image has int16 values from -200 to .*0 to 65535",
    ),
    "signed_infrared": ((COLOR, GRAY.astype(np.int16) * 100), r"values in \[0, 1\].*infrared_range="),
    "negative_infrared": ((COLOR, GRAY.astype(np.int16) - 200), r"values in \[0, 1\].*, got -200 to .*infrared_range="),
    "more than 16 bits": ((COLOR, GRAY.astype(np.int64) + 65535), r"\[0, 1\].*, got 65535 to .*infrared_range="),
    "meta_tensor": (
        (torch.empty(3, 40, 48, device="meta"), GRAY),
        "visible image is a tensor of .* on the device 'meta'",
    ),
    "float8_tensor": ((COLOR, torch.ones(40, 48).to(torch.float8_e4m3fn)), "infrared image is a tensor of .*float8"),
    "int64_tensor": ((COLOR, torch.from_numpy(GRAY).long()), "infrared image has int64 values .*convert it to uint8"),
    "bool": ((COLOR, GRAY > 127), "infrared image must be uint8, .* got bool"),
    "too_many_axes": ((COLOR[None], GRAY), r"visible image must have shape .* got \(1, 40, 48, 3\)"),
    "one_axis": ((COLOR, GRAY[0]), r"infrared image must have shape .* got \(48,\)"),
    "two_channels": ((COLOR[..., :2], GRAY), r"1, 3 or 4 channels, got \(40, 48, 2\)"),
    "empty": ((COLOR[:0], GRAY), r"visible image is empty: shape \(0, 48, 3\)"),
    "empty_pil": ((COLOR, PIL.Image.new("L", (0, 0))), r"infrared image is empty: shape \(0, 0\)"),
    "empty_pil_16_bits": ((COLOR, PIL.Image.new("I;16", (0, 0))), r"infrared image is empty: shape \(0, 0\)"),
    "negative": ((COLOR / 255 - 0.1, GRAY), r"visible image must have values in \[0, 1\].*, got -0.1 to "),
    "not_scaled": ((COLOR.astype(np.float32), GRAY), r"visible image must have values in \[0, 1\].*, got 0 to 255"),
    "kelvin": ((COLOR, GRAY / 10 + 280), r"infrared image must have values in \[0, 1\].*infrared_range="),
    "nan_visible": ((NAN, GRAY), "visible image .* got nan to nan.*Replace NaN"),
    "nan_infrared": ((COLOR, NAN), "infrared image .* got nan to nan.*Replace NaN"),
    "other_size": ((COLOR, GRAY[:, :-2]), "visible image measures 48 x 40 pixels, but the infrared image 46 x 40"),
    "turned": ((COLOR, with_orientation(GRAY, 6)), "48 x 40 pixels, but the infrared image 40 x 48"),
    "beyond_16_bits": (
        (COLOR, PIL.Image.fromarray(GRAY.astype(np.int32) * 1000)),
        r"values in \[0, 1\].*, got 0 to .*infrared_range=",
    ),
}


class TestErrors:
    @pytest.mark.parametrize(("images", "message"), REFUSED.values(), ids=REFUSED)
    def test_images(self, images: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            GFFusionImageProcessor()(images)

    @pytest.mark.parametrize("infrared_range", ["percentile", [0.0, 1.0]])
    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, infrared_range: Any, bad: float) -> None:
        with pytest.raises(ValueError, match="infrared image has values that are NaN or infinite"):
            process(COLOR, np.where(np.isnan(NAN), bad, NAN), infrared_range=infrared_range)

    @pytest.mark.parametrize("infrared_range", ["minmax", [1.0], [1.0, 1.0], [0.0, float("nan")]])
    def test_infrared_range(self, infrared_range: Any) -> None:
        with pytest.raises(
            ValueError, match=r'`infrared_range` must be "auto", .*"percentile", "folder", \[low, high\]'
        ):
            GFFusionImageProcessor(infrared_range=infrared_range)
        with pytest.raises(ValueError, match="`infrared_range` must be"):
            process(COLOR, GRAY, infrared_range=infrared_range)

    @pytest.mark.parametrize("size_divisor", [0, -8, 2.5, "8", True])
    def test_size_divisor(self, size_divisor: Any) -> None:
        with pytest.raises(ValueError, match=f"`size_divisor` must be an integer from 1 to 4096, got {size_divisor!r}"):
            GFFusionImageProcessor(size_divisor=size_divisor)


KELVIN = 290 + 12 * GRAY.astype(np.float64) / 255
THERMAL = {
    "uint8": GRAY // 2 + np.uint8(40),
    "uint16": 29000 + 12 * GRAY.astype(np.uint16),
    "float16": KELVIN.astype(np.float16),
    "float32": KELVIN.astype(np.float32),
    "float64": KELVIN,
}


class TestInfraredRange:
    @pytest.mark.parametrize("dtype", THERMAL)
    def test_values(self, dtype: str) -> None:
        thermal = THERMAL[dtype]
        percentiles = np.percentile(thermal.astype(np.float64), [0.1, 99.9])
        clipped = [float(thermal.min()) + 2, float(thermal.max()) - 3]
        for infrared_range, limits in (("percentile", percentiles), (clipped, clipped)):
            _, infrared = process(COLOR, thermal, infrared_range=infrared_range)
            np.testing.assert_allclose(infrared[0], np.interp(thermal, limits, [0, 1]), atol=1e-5)
            assert (infrared.min(), infrared.max()) == (0, 1)

    def test_percentiles_are_each_images_own_and_without_padding(self) -> None:
        images = [GRAY[:20], (GRAY // 4)[:20]]
        processor = GFFusionImageProcessor(infrared_range="percentile")
        batch = processor([(COLOR[:20], image) for image in images], return_tensors="np")["infrared_values"]
        assert batch.shape == (2, 1, 32, 48)
        for image, values in zip(images, batch, strict=True):
            expected = np.interp(image, np.percentile(image, [0.1, 99.9]), [0, 1])
            np.testing.assert_allclose(values[0, :20], expected, atol=1e-5)

    def test_flat_images_stay_flat(self) -> None:
        for infrared_range in ("type", "percentile"):
            _, infrared = process(COLOR, np.full_like(GRAY, 77), infrared_range=infrared_range)
            assert np.isfinite(infrared).all() and np.ptp(infrared) == 0

    def test_concerns_the_luma_of_infrared_alone(self) -> None:
        visible, infrared = process(COLOR, COLOR, infrared_range=[0, 204])
        np.testing.assert_array_equal(visible, process(COLOR, GRAY)[0])
        np.testing.assert_allclose(infrared, (1.25 * luma_of(CHW / 255)).clip(0, 1), atol=1e-6)

    @pytest.mark.parametrize(
        ("image", "infrared_range", "warns"),
        [
            (THERMAL["uint16"], "auto", True),
            (THERMAL["uint16"], "type", False),  # chosen
            (THERMAL["uint16"], "percentile", False),
            (THERMAL["uint16"], [29000, 33000], False),
            (GRAY * WIDE, "auto", False),
            (GRAY // 100, "auto", False),
        ],
    )
    def test_narrow_range_warning(self, caplog: Any, image: Array, infrared_range: Any, warns: bool) -> None:
        warning_once.cache_clear()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                process(COLOR, image, infrared_range=infrared_range)
        assert len(caplog.messages) == warns  # once per process
        if warns:
            assert "will look flat" in caplog.text and "percentile" in caplog.text

    @pytest.mark.parametrize(
        ("infrared", "is_meant", "warns"),
        [
            (COLOR, False, True),
            (COLOR / 255, False, True),
            (COLOR, True, False),
            (np.stack([GRAY] * 3, axis=-1), False, False),
            (np.stack([GRAY // 2 + 60, GRAY // 2 + 64, GRAY // 2 + 56], axis=-1), False, False),  # noise of JPEG
            (np.stack([GRAY // 20, GRAY // 20 + 2, GRAY // 20], axis=-1), False, False),  # in a dark image
        ],
    )
    def test_color_warning(self, caplog: Any, infrared: Array, is_meant: bool, warns: bool) -> None:
        warning_once.cache_clear()
        with caplog.at_level(logging.WARNING):
            process(COLOR, infrared, infrared_luma=is_meant)
        assert [("infrared_luma=True" in message) for message in caplog.messages] == [True] * warns

    def test_unknown_option(self) -> None:
        with pytest.raises(ValueError, match="size_divisr"):
            GFFusionImageProcessor(size_divisr=4)


SIZES = [(1, 1, 1), (5, 3, 1), (30, 45, 1), (32, 33, 1), (50, 70, 16), (20, 100, 24), (64, 64, 32)]


class TestPadding:
    @pytest.mark.parametrize(("height", "width", "divisor"), SIZES)
    def test_least_size_and_mirrored_border(self, height: int, width: int, divisor: int) -> None:
        color, gray = np.resize(COLOR, (height, width, 3)), np.resize(GRAY, (height, width))
        visible, infrared = process(color, gray, size_divisor=divisor)
        expected = [min(side for side in range(divisor, 500, divisor) if side >= max(n, 32)) for n in (height, width)]
        # At the far end, n mirrors to n - 1, n + 1 to n - 2, ... and back again where the image is smaller than that.
        rows, columns = (
            np.concatenate([np.arange(n), np.arange(n)[::-1]] * 40)[:side]
            for n, side in zip((height, width), expected, strict=True)
        )
        mirrored = np.ix_(rows, columns)
        np.testing.assert_allclose(visible, np.moveaxis(color[mirrored], -1, 0) / 255, atol=1e-6)
        np.testing.assert_allclose(infrared[0], gray[mirrored] / 255, atol=1e-6)

    @pytest.mark.parametrize(("height", "width", "divisor"), SIZES)
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_undone_exactly(self, height: int, width: int, divisor: int, dtype: Any) -> None:
        """Fused luma equal to the visible luma restores the visible image exactly."""
        most = np.iinfo(dtype).max
        shape = (height, width, 3) if dtype == np.uint8 else (height, width)
        visible = np.random.default_rng(height).integers(0, most, shape, dtype, endpoint=True)
        pair = visible, np.zeros((height, width), np.uint8)
        processor = GFFusionImageProcessor(size_divisor=divisor)
        values = processor(pair, return_tensors="np")["visible_values"]
        (restored,) = processor.post_process_fusion(output(luma_of(values)), pair, "np")
        assert restored.dtype == dtype
        np.testing.assert_array_equal(restored, visible)

    @pytest.mark.parametrize(("height", "width", "divisor"), [(30, 45, 1), (50, 70, 16)])
    def test_leaves_no_trace_in_the_fused_image(
        self, tiny_model: Callable[..., GFFusionModel], height: int, width: int, divisor: int
    ) -> None:
        """Against an image that continues beyond the border: only pixels close to the padding may differ."""
        model = tiny_model(paradigm="cascading", use_segmenter=False).eval()
        processor = GFFusionImageProcessor(size_divisor=divisor)
        rows, columns = np.mgrid[:96, :96]
        scene = 0.5 + 0.3 * np.sin(rows / 9) * np.cos(columns / 7)
        pair = scene[:height, :width], 1 - scene[:height, :width]

        def fuse_and_cut(visible: Array, infrared: Array) -> Array:
            with torch.no_grad():
                outputs = model(**processor((visible, infrared), return_tensors="pt"))
            (fused,) = processor.post_process_fusion(outputs, pair, "np")
            return fused

        whole, padded = fuse_and_cut(scene, 1 - scene), fuse_and_cut(*pair)
        black_border = fuse_and_cut(*(np.pad(image, (0, 16)) for image in pair))
        reach = 6  # 3x3 convolutions that follow one another: three in an encoder, three in the decoder
        differences = np.abs(padded - whole)
        assert differences.shape == (height, width)
        assert differences[:-reach, :-reach].max() < 1e-6
        border = np.s_[-reach:, :-reach]
        assert differences[border].mean() < 0.4 * np.abs(black_border - whole)[border].mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"infrared_options": [InfraredOptions()], "invert": True},
            "invert cannot be combined with `infrared_options`",
        ),
        ({"invrt": True}, r"Unknown options \['invrt'\]. Allowed: agc, .*, size_divisor, smooth"),
        ({"infrared_options": InfraredOptions()}, "must be a list of one InfraredOptions per pair"),
        ({"infrared_options": [{"invert": True}]}, "must be a list of one InfraredOptions per pair"),
        ({"infrared_options": [InfraredOptions()] * 2}, "one entry per pair, got 2 for 1 pairs"),
        ({"missing": []}, "one mask or None per pair, got 0 for 1 pairs"),
    ],
)
def test_options_that_do_not_fit_together(options: dict[str, Any], message: str) -> None:
    pair = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    with pytest.raises(ValueError, match=message):
        GFFusionImageProcessor()([pair], **options)


def test_images_are_one_argument() -> None:
    visible, infrared = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.uint8)
    with pytest.raises(ValueError, match=r"got 2: pass the images .* together, `processor\(\(visible, infrared\)\)`"):
        GFFusionImageProcessor()(visible, infrared)


def test_lists_of_one_modality() -> None:
    """They would be read as pairs, which nothing reveals if all images are gray."""
    images = [np.full((48, 64), level, np.uint8) for level in range(4)]
    processor = GFFusionImageProcessor()
    for count in (1, 2):
        with pytest.raises(ValueError, match=r"pass `list\(zip\(visible_images, infrared_images\)\)`"):
            processor((images[:count], images[2 : 2 + count]))
    pairs = list(zip(images[:2], images[2:], strict=True))
    assert len(processor(3 * ([images[0], images[2]],))["visible_values"]) == 3  # no two lists
    for same in (tuple(pairs), [list(pair) for pair in pairs]):
        assert [len(values) for values in processor(same).values()] == [2, 2]
        for values, level in zip(processor(same)["infrared_values"], (2, 3), strict=True):
            np.testing.assert_allclose(values, level / 255)
