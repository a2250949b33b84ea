"""Post-processing of GFFusionImageProcessor: fused images and label maps of the original size, color and depth."""

import colorsys
import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from processor_images import COLOR, FLAT, GRAY, LUMA, RNG, WIDE, Array, luma_of, output, with_orientation
from transformers.utils.logging import warning_once

from gffusion import GFFusionImageProcessor

FUSED = RNG.uniform(0.05, 0.95, (1, 1, 40, 48)).astype(np.float32)


def fuse(visible: Any, output_type: str = "pil", fused: Array = FUSED) -> Any:
    (image,) = GFFusionImageProcessor().post_process_fusion(output(fused), (visible, FLAT), output_type)
    return image


class TestPostProcessFusion:
    def test_luma_is_fused_and_hue_is_visible(self) -> None:
        image = fuse(COLOR / 255, "np")
        np.testing.assert_allclose(image @ LUMA, FUSED[0, 0], atol=1e-5)
        before, after = (
            np.array([colorsys.rgb_to_hsv(*pixel) for pixel in pixels.reshape(-1, 3)])
            for pixels in (COLOR / 255, image)
        )
        assert after[:, 1].min() > 0  # nothing turned gray
        turned = np.abs(after[:, 0] - before[:, 0])[after[:, 1] > 0.01]
        np.testing.assert_allclose(np.minimum(turned, 1 - turned), 0, atol=1e-4)

    def test_gray_pixels_stay_gray(self) -> None:
        image = fuse(np.repeat(GRAY[..., None], 3, axis=-1), "np")
        np.testing.assert_array_equal(np.ptp(image, axis=-1), 0)
        np.testing.assert_allclose(image[..., 0] / 255, FUSED[0, 0], atol=0.51 / 255)

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("color", [False, True])
    def test_arrays_have_the_visible_type(self, dtype: Any, color: bool) -> None:
        most = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
        visible = ((COLOR if color else GRAY) / 255 * most).astype(dtype)
        image = fuse(visible, "np")
        assert (image.dtype, image.shape) == (dtype, visible.shape)
        luma = image.astype(np.float64) @ LUMA if color else image.astype(np.float64)
        step = 2**-11 if dtype == np.float16 else 0.51 / most if most > 1 else 1e-6
        np.testing.assert_allclose(luma / most, FUSED[0, 0], atol=step)

    @pytest.mark.parametrize(
        ("visible", "mode"),
        [
            (COLOR, "RGB"),
            (COLOR * WIDE, "RGB"),  # Pillow knows no 16-bit color
            (COLOR / 255, "RGB"),
            (GRAY, "L"),
            (GRAY / 255, "L"),
            (GRAY * WIDE, "I;16"),
            (PIL.Image.fromarray(COLOR), "RGB"),
            (PIL.Image.fromarray(GRAY), "L"),
            (PIL.Image.fromarray(GRAY > 127), "L"),
        ],
    )
    def test_pil(self, visible: Any, mode: str) -> None:
        image = fuse(visible)
        assert (image.mode, image.size) == (mode, (48, 40))
        luma = np.asarray(image).astype(np.float64)
        luma = (luma @ LUMA if mode == "RGB" else luma) / (65535 if mode == "I;16" else 255)
        np.testing.assert_allclose(luma, FUSED[0, 0], atol=0.51 / (65535 if mode == "I;16" else 255))

    @pytest.mark.parametrize(("visible", "channels"), [(COLOR, 3), (GRAY, 1), (GRAY * WIDE, 1)])
    def test_tensors(self, visible: Array, channels: int) -> None:
        image = fuse(visible, "pt")
        assert (image.dtype, tuple(image.shape)) == (torch.float32, (channels, 40, 48))
        array = np.atleast_3d(fuse(visible, "np"))
        np.testing.assert_allclose(image.movedim(0, -1), array / np.iinfo(visible.dtype).max, atol=0.51 / 255)

    def test_color_models_keep_their_colors(self) -> None:
        fused = np.stack([FUSED, 1 - FUSED, FUSED**2], axis=1)[..., 0, :, :]
        np.testing.assert_allclose(fuse(COLOR / 255, "np", fused), np.moveaxis(fused[0], 0, -1), atol=1e-6)
        np.testing.assert_allclose(fuse(GRAY / 255, "np", fused), luma_of(fused)[0, 0], atol=1e-6)

    def test_images_are_upright(self) -> None:
        assert fuse(with_orientation(np.rot90(COLOR), 6)).size == (48, 40)

    def test_pairs_are_told_apart(self) -> None:
        fused = np.concatenate([FUSED, 1 - FUSED])
        pairs = [(COLOR, FLAT), (GRAY[:36, :40], FLAT[:36, :40])]
        first, second = GFFusionImageProcessor().post_process_fusion(output(fused), pairs, "np")
        np.testing.assert_array_equal(first, fuse(COLOR, "np"))
        np.testing.assert_allclose(second / 255, 1 - FUSED[0, 0, :36, :40], atol=0.51 / 255)

    @pytest.mark.parametrize(
        ("size", "divisor", "shape"),
        [
            ((40, 48), 1, (40, 48)),
            ((33, 41), 8, (40, 48)),
            ((9, 48), 40, (40, 48)),
            ((32, 40), 8, (40, 48)),
            ((20, 24), 8, (40, 48)),
            ((40, 33), 1, (40, 48)),
            ((40, 40), 1, (96, 96)),
            ((70, 65), 32, (96, 96)),
        ],
    )
    def test_sizes_that_padding_does_not_give(
        self, caplog: Any, size: tuple[int, int], divisor: int, shape: tuple[int, int]
    ) -> None:
        """Outputs of a shape are those of images that a divisor pads to this shape; others are cropped with a warning."""
        warning_once.cache_clear()
        pair = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
        values = GFFusionImageProcessor(size_divisor=divisor)(pair, return_tensors="np")["visible_values"]
        with caplog.at_level(logging.WARNING):
            GFFusionImageProcessor().post_process_fusion(output(np.zeros((1, 1, *shape))), pair)
        is_padded = values.shape[2:] == shape
        assert ["its top left part is taken" in message for message in caplog.messages] == [True] * (not is_padded)

    def test_own_divisors_of_any_size_do_not_warn(self, caplog: Any) -> None:
        warning_once.cache_clear()
        pair, processor = np.zeros((2, 40, 40), np.uint8), GFFusionImageProcessor(size_divisor=96)
        with caplog.at_level(logging.WARNING):
            processor.post_process_fusion(output(np.zeros((1, 1, 96, 96))), tuple(pair))
        assert not caplog.messages

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r'`output_type` must be "pil", "np" or "pt", got .jpeg'):
            fuse(COLOR, "jpeg")
        with pytest.raises(ValueError, match="`outputs` holds 1 pairs, but `images` holds 2"):
            GFFusionImageProcessor().post_process_fusion(output(FUSED), [(COLOR, FLAT)] * 2)
        with pytest.raises(ValueError, match=r"Cannot crop 41 x 48 from a model output of \(40, 48\)"):
            fuse(np.zeros((41, 48), np.uint8))

    @pytest.mark.parametrize("kind", [torch.Tensor, tuple, dict])
    def test_other_outputs(self, kind: type) -> None:
        values = torch.from_numpy(FUSED)
        outputs = {torch.Tensor: values, tuple: (values,), dict: {"fused_values": values}}[kind]
        processor = GFFusionImageProcessor()
        for call in (
            lambda: processor.post_process_fusion(outputs, (COLOR, FLAT)),
            lambda: processor.post_process_semantic_segmentation(outputs),
        ):
            with pytest.raises(ValueError, match=f"`outputs` must be a GFFusionOutput, .*, got a {kind.__name__}"):
                call()

    def test_values_that_are_not_finite_are_no_image(self) -> None:
        damaged = FUSED.copy()
        damaged[..., 0, 0] = np.nan
        with pytest.raises(ValueError, match="not finite: the weights are damaged"):
            GFFusionImageProcessor().post_process_fusion(output(damaged), [(COLOR, FLAT)])


class TestPostProcessSegmentation:
    labels = torch.from_numpy(RNG.integers(0, 5, (2, 40, 48)))
    outputs = output(FUSED, logits=torch.nn.functional.one_hot(labels, 5).movedim(-1, 1).float())

    def test_label_maps(self) -> None:
        maps = GFFusionImageProcessor().post_process_semantic_segmentation(self.outputs)
        assert [label_map.dtype for label_map in maps] == [torch.int64] * 2
        assert torch.equal(torch.stack(maps), self.labels)

    def test_padding_is_cut_off(self) -> None:
        sizes = [(33, 48), (40, 20)]
        pairs = [(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)) for size in sizes]
        maps = GFFusionImageProcessor().post_process_semantic_segmentation(self.outputs, images=pairs)
        for label_map, labels, (height, width) in zip(maps, self.labels, sizes, strict=True):
            assert torch.equal(label_map, labels[:height, :width])

    def test_target_sizes(self, upsample: Callable) -> None:
        """Logits are interpolated, as in transformers, and not cropped, except for padding."""
        pair = np.zeros((20, 24), np.uint8), np.zeros((20, 24), np.uint8)
        logits = RNG.normal(size=(1, 5, 32, 32))
        options = {"outputs": output(FUSED, logits=torch.from_numpy(logits)), "target_sizes": [(64, 50)]}
        for images, unpadded in ((None, logits), (pair, logits[..., :20, :24])):
            (label_map,) = GFFusionImageProcessor().post_process_semantic_segmentation(**options, images=images)
            np.testing.assert_array_equal(label_map, upsample(unpadded, (64, 50))[0].argmax(0))

    @pytest.mark.parametrize(
        ("outputs", "options", "message"),
        [
            (output(FUSED), {}, "no logits: call the model with `segment=True`"),
            (outputs, {"target_sizes": [(40, 48)]}, "1 target sizes for a batch of 2"),
            (outputs, {"images": (GRAY, FLAT)}, "`outputs` holds 2 pairs, but `images` holds 1"),
            (outputs, {"images": [(np.zeros((40, 49), np.uint8), FLAT)] * 2}, "Cannot crop 40 x 49"),
        ],
    )
    def test_errors(self, outputs: Any, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            GFFusionImageProcessor().post_process_semantic_segmentation(outputs, **options)
