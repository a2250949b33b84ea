"""GFFusionModel: what it computes from the encoders, its losses and outputs, precisions and refusals."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import CLIPVisionModel, Dinov2Backbone, Dinov2Model
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.losses import (
    gradient_loss,
    intensity_loss,
    segmentation_loss,
    ssim_loss,
    two_scale_target,
)

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]


@pytest.fixture
def no_grad() -> Iterator[None]:
    with torch.no_grad():
        yield


def encoder_pixels(images: Tensor, size: tuple[int, int], mean: list[float], std: list[float]) -> Tensor:
    """What an encoder should see, by Pillow: (B, 1 or 3, H, W) in [0, 1] -> (B, 3, *size)."""
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC))
        for plane in images.detach().expand(-1, 3, -1, -1).flatten(0, 1).float().numpy()
    ]
    pixels = np.stack(planes).reshape(-1, 3, *size).clip(0, 1)
    return torch.from_numpy((pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))).float()


@pytest.mark.usefixtures("no_grad")
class TestAgainstTheEncodersAlone:
    @pytest.mark.parametrize("size", [None, [48, 24]])
    def test_injected_clip_features(
        self,
        tiny_model: TinyModel,
        make_inputs: MakeInputs,
        backbone_folders: dict[str, str],
        upsample: Callable[..., NDArray[Any]],
        size: list[int] | None,
    ) -> None:
        """Patch tokens of the named layers, counted from 1, of both modalities as CLIP's own processor prepares them."""
        model = tiny_model(merging="mean", semantic_layers=[1, 3], clip_image_size=size).eval()
        inputs, (height, width) = make_inputs(), size or (32, 32)
        clip = CLIPVisionModel.from_pretrained(backbone_folders["clip"])
        layers = [
            clip(
                encoder_pixels(inputs[name], (height, width), OPENAI_CLIP_MEAN, OPENAI_CLIP_STD),
                interpolate_pos_encoding=size is not None,
                output_hidden_states=True,
            ).hidden_states
            for name in ("visible_values", "infrared_values")
        ]
        merged = sum(torch.maximum(layers[0][index], layers[1][index])[:, 1:] for index in (1, 3)) / 2
        output = model(**inputs, output_features=True)
        torch.testing.assert_close(output.semantic_features, merged, atol=1e-3, rtol=1e-3)
        token_map = merged.reshape(2, height // 8, width // 8, 32).permute(0, 3, 1, 2)
        gate = torch.sigmoid(torch.from_numpy(upsample(model.finet.gate_projection(token_map).numpy(), (40, 48))))
        torch.testing.assert_close(output.gate, gate, atol=1e-3, rtol=1e-3)

    @pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
    @pytest.mark.parametrize("paradigm", ["cascading", "hybrid"])
    def test_logits_of_the_fused_image(
        self,
        tiny_model: TinyModel,
        make_inputs: MakeInputs,
        backbone_folders: dict[str, str],
        upsample: Callable[..., NDArray[Any]],
        paradigm: str,
        color_space: str,
    ) -> None:
        """Eq. (9), at another shape than the image's: DINOv2 reads I_fus in colour, the head its last patch tokens."""
        model = tiny_model(paradigm=paradigm, color_space=color_space, segmenter_image_size=[24, 48]).eval()
        inputs = make_inputs()
        output = model(**inputs, segment=True)
        fused = output.fused_values
        if color_space == "ycbcr":
            fused = replace_luma(inputs["visible_values"], fused)
        pixels = encoder_pixels(fused, (24, 48), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        tokens = Dinov2Model.from_pretrained(backbone_folders["dinov2"])(pixels).last_hidden_state[:, 1:]
        expected = self._upsampled_scores(model, tokens, upsample)
        np.testing.assert_allclose(output.logits, expected, atol=2e-3)

    @pytest.mark.parametrize("layers", [2, 3])
    def test_head_on_several_layers(
        self,
        tiny_model: TinyModel,
        make_inputs: MakeInputs,
        backbone_folders: dict[str, str],
        upsample: Callable[..., NDArray[Any]],
        paradigm: str,
        layers: int,
    ) -> None:
        """The last layers' normalised patch tokens, first to last, as transformers' own backbone class gives them."""
        sizes = {"segmenter_image_size": [24, 48], "segmenter_layers": layers}
        model, inputs = tiny_model(paradigm=paradigm, color_space="rgb", **sizes).eval(), make_inputs()
        output = model(**inputs, segment=True)
        images = [output.fused_values] if paradigm != "parallel" else list(inputs.values())
        dinov2 = Dinov2Backbone.from_pretrained(
            backbone_folders["dinov2"], out_indices=list(range(4 - layers, 4)), reshape_hidden_states=False
        )
        tokens = [
            torch.cat(dinov2(pixels).feature_maps, dim=-1)[:, 1:]
            for pixels in (encoder_pixels(i, (24, 48), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD) for i in images)
        ]
        expected = self._upsampled_scores(model, torch.stack(tokens).amax(dim=0), upsample)
        np.testing.assert_allclose(output.logits, expected, atol=2e-3)

    @pytest.mark.parametrize("paradigm", ["hybrid", "parallel"])
    def test_tokens_see_no_more_than_the_windows_that_they_are_in(self, tiny_model: TinyModel, paradigm: str) -> None:
        sizes = {"segmenter_image_size": [16, 32], "segmenter_windows": [1, 2], "segmenter_layers": 2}
        model = tiny_model(paradigm=paradigm, **sizes).eval()
        image = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
        changed = torch.cat([image[..., :16], 1 - image[..., 16:]], dim=-1)
        with torch.no_grad():
            (tokens, read), (_, others) = (model._encode_dinov2(part, [2]) for part in (image, changed))
        assert tokens[0].shape[:2] == read.shape[:2] == (len(image), 8)
        kept, new = (read - others).abs().amax(dim=(0, 2)).reshape(2, 4).split([1, 3], dim=1)  # windows of two columns
        assert kept.max() == 0 and new.min() > 0

    def test_logits_of_the_sources_in_the_parallel_paradigm(
        self,
        tiny_model: TinyModel,
        make_inputs: MakeInputs,
        backbone_folders: dict[str, str],
        upsample: Callable[..., NDArray[Any]],
    ) -> None:
        model, inputs = (
            tiny_model(paradigm="parallel", segmenter_image_size=[24, 48], merging="mean").eval(),
            make_inputs(),
        )
        dinov2 = Dinov2Model.from_pretrained(backbone_folders["dinov2"])
        visible, infrared = (
            dinov2(
                encoder_pixels(inputs[name], (24, 48), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD),
                output_hidden_states=True,
            )
            for name in ("visible_values", "infrared_values")
        )
        output = model(**inputs, segment=True, output_features=True)
        tokens = torch.maximum(visible.last_hidden_state, infrared.last_hidden_state)[:, 1:]
        np.testing.assert_allclose(output.logits, self._upsampled_scores(model, tokens, upsample), atol=2e-3)
        merged = sum(torch.maximum(visible.hidden_states[i], infrared.hidden_states[i])[:, 1:] for i in (1, 2)) / 2
        torch.testing.assert_close(output.semantic_features, merged, atol=1e-3, rtol=1e-3)

    @staticmethod
    def _upsampled_scores(model: GFFusionModel, tokens: Tensor, upsample: Callable[..., NDArray[Any]]) -> NDArray[Any]:
        scores = model.ssnet.classifier(tokens).numpy().reshape(2, 3, 6, 4).transpose(0, 3, 1, 2)
        return upsample(scores, (40, 48))


class TestLosses:
    @pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
    def test_are_weighted_as_configured(self, tiny_model: TinyModel, make_inputs: MakeInputs, color_space: str) -> None:
        """Eq. (10) and (12) with the configuration's beta, intensity weight and lambda."""
        weights = {"gradient_weight": 3.0, "intensity_weight": 5.0, "segmentation_weight": 0.7}
        model, inputs = tiny_model(color_space=color_space, ignore_index=3, **weights), make_inputs(labels=True)
        output = model(**inputs)
        visible = inputs["visible_values"]
        sources = rgb_to_luma(visible) if color_space == "ycbcr" else visible, inputs["infrared_values"]
        terms = [loss(output.fused_values, *sources) for loss in (ssim_loss, gradient_loss, intensity_loss)]
        segmentation = segmentation_loss(output.logits, inputs["labels"], ignore_index=3)
        reported = [output.loss_ssim, output.loss_gradient, output.loss_intensity, output.loss_segmentation]
        torch.testing.assert_close(reported, [*terms, segmentation])
        structural = terms[0] + 3 * terms[1] + 5 * terms[2]
        torch.testing.assert_close(output.loss_structural, structural)
        torch.testing.assert_close(output.loss, structural + 0.7 * segmentation)

    def test_classes_count_as_configured(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        inputs = make_inputs(labels=True)
        output = tiny_model(class_weights=[1, 0, 5, 2])(**inputs)
        expected = F.cross_entropy(output.logits, inputs["labels"], torch.tensor([1.0, 0, 5, 2]))
        torch.testing.assert_close(output.loss_segmentation, expected)

    def test_intensity_follows_its_target(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        inputs = make_inputs()
        sources = rgb_to_luma(inputs["visible_values"]), inputs["infrared_values"]
        losses = []
        for contrast in (0.5, 1.0):
            output = tiny_model(intensity_target="two_scale", intensity_contrast=contrast)(**inputs, return_loss=True)
            target = two_scale_target(*sources, contrast)
            losses.append(output.loss_intensity.item())
            assert losses[-1] == pytest.approx((output.fused_values - target).abs().mean().item(), rel=1e-4)
        assert losses[0] != losses[1]

    def test_ignored_labels_leave_the_structural_loss(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        inputs = make_inputs()
        output = tiny_model()(**inputs, labels=torch.full((2, 40, 48), 255))
        torch.testing.assert_close(output.loss, output.loss_structural)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32], ids=str)
    def test_integer_labels_are_alike(self, tiny_model: TinyModel, make_inputs: MakeInputs, dtype: torch.dtype) -> None:
        model, inputs = tiny_model(), make_inputs(labels=True)
        inputs["labels"][0, :9] = 255
        changed = inputs | {"labels": inputs["labels"].to(dtype)}
        assert torch.equal(model(**changed).loss_segmentation, model(**inputs).loss_segmentation)

    def test_when_they_are_computed(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        model, inputs, labels = tiny_model(), make_inputs(), make_inputs(labels=True)["labels"]
        assert model(**inputs).loss is not None
        assert model(**inputs, return_loss=False).loss is None
        model.eval()
        assert set(model(**inputs)) == {"fused_values"}
        assert model(**inputs, return_loss=True).loss is not None
        assert model(**inputs, labels=labels).loss_segmentation is not None
        assert set(model(**inputs, labels=labels, return_loss=False)) == {"fused_values", "logits"}


@pytest.mark.usefixtures("no_grad")
class TestOutputs:
    def test_shapes_and_ranges(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, architecture: dict[str, Any]
    ) -> None:
        model = tiny_model(**architecture).eval()
        output = model(**make_inputs(), segment=architecture["use_segmenter"], output_features=True)
        expected = {
            "fused_values": (2, 1 if architecture["color_space"] == "ycbcr" else 3, 40, 48),
            "spatial_features": (2, 16, 40, 48),
        }
        if architecture["use_segmenter"]:
            expected["logits"] = (2, 4, 40, 48)
        if architecture["paradigm"] != "cascading":
            expected |= {"semantic_features": (2, 16, 32), "gate": (2, 16, 40, 48)}
            assert output.gate.min() > 0
            assert output.gate.max() < 1
        assert {name: tuple(value.shape) for name, value in output.items()} == expected
        assert output.fused_values.min() >= 0
        assert output.fused_values.max() <= 1
        assert output.fused_values.std() > 1e-3

    @pytest.mark.parametrize(("height", "width"), [(33, 47), (32, 32), (61, 200), (1024, 768)])
    def test_sizes(self, tiny_model: TinyModel, make_inputs: MakeInputs, height: int, width: int) -> None:
        output = tiny_model().eval()(**make_inputs(1, height, width), segment=True)
        assert output.fused_values.shape == (1, 1, height, width)
        assert output.logits.shape == (1, 4, height, width)
        assert all(value.isfinite().all() for value in output.values())

    def test_batch_equals_single(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, architecture: dict[str, Any]
    ) -> None:
        model, inputs = tiny_model(**architecture).eval(), make_inputs(batch=3)
        segment = architecture["use_segmenter"]
        batch = model(**inputs, segment=segment, output_features=True)
        for index in range(3):
            single = model(
                **{name: value[index, None] for name, value in inputs.items()}, segment=segment, output_features=True
            )
            for name, value in single.items():
                torch.testing.assert_close(value[0], batch[name][index], atol=1e-5, rtol=1e-4, msg=name)

    def test_tuple(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        model, inputs = tiny_model(), make_inputs(labels=True)
        expected = model(**inputs).to_tuple()
        torch.testing.assert_close(model(**inputs, return_dict=False), expected)
        model.config.return_dict = False
        torch.testing.assert_close(model(**inputs), expected)
        assert len(expected) == 8

    @pytest.mark.parametrize("paradigm", ["parallel", "hybrid"])
    def test_attention_implementations_agree(
        self, tiny_config: Callable[..., GFFusionConfig], make_inputs: MakeInputs, paradigm: str
    ) -> None:
        outputs = {}
        for name in ("eager", "sdpa"):
            torch.manual_seed(0)
            model = GFFusionModel(tiny_config(paradigm=paradigm, attn_implementation=name)).eval()
            assert {encoder.config._attn_implementation for encoder in model.backbones.values()} == {name}
            outputs[name] = model(**make_inputs(), segment=True, output_features=True)
        torch.testing.assert_close(dict(outputs["eager"]), dict(outputs["sdpa"]), atol=1e-5, rtol=1e-4)


class TestPrecision:
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    @pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
    @pytest.mark.parametrize("autocast", [True, False], ids=["autocast", "weights"])
    def test_half(
        self,
        tiny_model: TinyModel,
        make_inputs: MakeInputs,
        dtype: torch.dtype,
        paradigm: str,
        color_space: str,
        autocast: bool,
    ) -> None:
        """Training in half precision: I_fus and losses stay float32 and near what float32 gives."""
        model = tiny_model(paradigm=paradigm, color_space=color_space, merging="group_conv")
        inputs = make_inputs(labels=True)
        with torch.no_grad():
            expected = model(**inputs)
        if not autocast:
            model.to(dtype)
        with torch.autocast("cpu", dtype=dtype, enabled=autocast):
            output = model(**inputs)
        output.loss.backward()
        assert all(value.dtype == torch.float32 for value in output.values())
        torch.testing.assert_close(output.fused_values, expected.fused_values, atol=0.1, rtol=0)
        torch.testing.assert_close(output.loss, expected.loss, atol=0, rtol=0.05)
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name

    def test_half_inputs(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        model, inputs = tiny_model().eval(), make_inputs()
        with torch.no_grad():
            halves = model(**{name: value.half() for name, value in inputs.items()})
            torch.testing.assert_close(halves.fused_values, model(**inputs).fused_values, atol=1e-2, rtol=0)

    @pytest.mark.parametrize("merging", ["mean", "group_conv", "weighted_sum"])
    def test_half_encoders(self, tiny_model: TinyModel, make_inputs: MakeInputs, paradigm: str, merging: str) -> None:
        """Frozen encoders in half precision, what is trained in float32: less memory for nearly the same pictures."""
        model, inputs = tiny_model(paradigm=paradigm, merging=merging), make_inputs(labels=True)
        with torch.no_grad():
            expected = model(**inputs)
        for encoder in model.backbones.values():
            encoder.bfloat16()
        output = model(**inputs)
        output.loss.backward()
        torch.testing.assert_close(output.fused_values, expected.fused_values, atol=0.1, rtol=0)
        torch.testing.assert_close(output.loss, expected.loss, atol=0, rtol=0.05)


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                {"infrared_values": torch.zeros(2, 3, 40, 48)},
                r"`infrared_values` \(B, 1, H, W\), got .*\(2, 3, 40, 48\)",
            ),
            (
                {"visible_values": torch.zeros(2, 1, 40, 48)},
                r"`visible_values` must have shape \(B, 3, H, W\).*got \(2, 1, 40, 48\)",
            ),
            ({"infrared_values": torch.zeros(2, 1, 40, 40)}, r"\(2, 3, 40, 48\) and \(2, 1, 40, 40\)"),
            ({"infrared_values": torch.zeros(1, 1, 40, 48)}, r"\(2, 3, 40, 48\) and \(1, 1, 40, 48\)"),
            ({"visible_values": torch.zeros(3, 40, 48)}, r"got \(3, 40, 48\)"),
            ({"visible_values": torch.zeros(())}, r"got \(\)"),
            ({"visible_values": torch.zeros(2, 3, 40, 48, dtype=torch.uint8)}, "torch.uint8.*GFFusionImageProcessor"),
            ({"infrared_values": torch.zeros(2, 1, 40, 48, dtype=torch.int32)}, "torch.int32.*GFFusionImageProcessor"),
            ({"labels": torch.zeros(2, 1, 40, 48, dtype=torch.long)}, r"shape \(2, 40, 48\), got \(2, 1, 40, 48\)"),
            ({"labels": torch.zeros(2, 40, 40, dtype=torch.long)}, r"shape \(2, 40, 48\), got \(2, 40, 40\)"),
            ({"labels": torch.zeros(2, 40, 48)}, "`labels` .*torch.float32"),
            ({"labels": torch.zeros(2, 40, 48, dtype=torch.long), "segment": False}, "leave `segment` out"),
        ],
    )
    def test_inputs(self, tiny_model: TinyModel, make_inputs: MakeInputs, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            tiny_model()(**make_inputs() | change)

    @pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31)])
    def test_small_images(self, tiny_model: TinyModel, make_inputs: MakeInputs, height: int, width: int) -> None:
        with pytest.raises(ValueError, match=rf"at least 32 x 32 pixels, got \({height}, {width}\)"):
            tiny_model()(**make_inputs(1, height, width))

    @pytest.mark.parametrize("asked", ["labels", "segment"])
    def test_no_segmenter(self, tiny_model: TinyModel, make_inputs: MakeInputs, asked: str) -> None:
        inputs = make_inputs(labels=asked == "labels")
        with pytest.raises(ValueError, match=r"no segmenter.*use_segmenter=False"):
            tiny_model(use_segmenter=False)(**inputs, segment=asked == "segment" or None)


class TestSemanticTokens:
    @pytest.mark.parametrize("merging", ["mean", "group_conv", "weighted_sum"])
    def test_precomputed_tokens_change_nothing(self, tiny_model: Callable, make_inputs: Callable, merging: str) -> None:
        model, inputs = tiny_model(merging=merging).eval(), make_inputs(labels=True)
        tokens = model.encode_semantics(inputs["visible_values"], inputs["infrared_values"])
        assert tuple(tokens.shape) == (2, 2, 16, 32)  # pairs, layers but the last, patches of 8 in 32 x 32, width
        with torch.no_grad():
            expected = model(**inputs)
            model.clip = None  # it is not asked
            outputs = model(**inputs, semantic_tokens=tokens)
        torch.testing.assert_close(outputs.loss, expected.loss)
        torch.testing.assert_close(outputs.fused_values, expected.fused_values)

    def test_refused(self, tiny_model: Callable, make_inputs: Callable) -> None:
        inputs = make_inputs()
        with pytest.raises(ValueError, match=r"\(2, 2, 16, 32\), got \(2, 1, 16, 32\)"):
            tiny_model()(**inputs, semantic_tokens=torch.zeros(2, 1, 16, 32))
        for paradigm in ("cascading", "parallel"):
            model = tiny_model(paradigm=paradigm)
            with pytest.raises(ValueError, match=paradigm):
                model(**inputs, semantic_tokens=torch.zeros(2, 2, 16, 32))
            with pytest.raises(ValueError, match=paradigm):
                model.encode_semantics(**inputs)
