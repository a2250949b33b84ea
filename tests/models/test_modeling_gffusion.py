"""GFFusionModel against the encoders alone, its losses, errors of its inputs, and initial weights."""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, zeros
from transformers import CLIPVisionModel, Dinov2Backbone, Dinov2Model
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.models.gffusion.configuration_gffusion import OUR_TERMS
from gffusion.models.gffusion.image_ops import replace_luma, rgb_to_luma
from gffusion.models.gffusion.input_checks import check_inputs
from gffusion.models.gffusion.losses import (
    gradient_loss,
    intensity_loss,
    segmentation_loss,
    ssim_loss,
    two_scale_target,
)
from gffusion.models.gffusion.metric_losses import qabf_loss, vif_loss

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]


def encoder_pixels(images: Tensor, size: tuple[int, int], mean: list[float], std: list[float]) -> Tensor:
    """What an encoder should see, by Pillow: (B, 1 or 3, H, W) in [0, 1] -> (B, 3, *size)."""
    planes = [
        np.asarray(Image.fromarray(plane).resize(size[::-1], Image.Resampling.BICUBIC))
        for plane in images.detach().expand(-1, 3, -1, -1).flatten(0, 1).float().numpy()
    ]
    pixels = np.stack(planes).reshape(-1, 3, *size).clip(0, 1)
    return torch.from_numpy((pixels - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))).float()


class TestAgainstTheEncodersAlone:
    @pytest.fixture(autouse=True)
    def keep_fixtures(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, backbone_folders: dict[str, str], upsample: Any
    ) -> Iterator[None]:
        self.tiny_model, self.inputs, self.upsample = tiny_model, make_inputs(), upsample
        self.backbone_folders = backbone_folders
        with torch.no_grad():
            yield

    @pytest.mark.parametrize(
        ("paradigm", "image_size", "grid"),
        [
            ("hybrid", {"clip_image_size": None}, (4, 4)),
            ("hybrid", {"clip_image_size": [48, 24]}, (6, 3)),
            ("parallel", {"segmenter_image_size": [24, 48]}, (3, 6)),
        ],
    )
    def test_injected_features(self, paradigm: str, image_size: dict[str, Any], grid: tuple[int, int]) -> None:
        """Patch tokens of the named layers, counted from 1, of both modalities as the encoder's processor prepares them."""
        model = self.tiny_model(paradigm=paradigm, merging="mean", semantic_layers=[1, 3], **image_size).eval()
        options, statistics = {}, (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
        if paradigm == "hybrid":
            encoder = CLIPVisionModel.from_pretrained(self.backbone_folders["clip"])
            options, statistics = {"interpolate_pos_encoding": grid != (4, 4)}, (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD)
        else:
            encoder = Dinov2Model.from_pretrained(self.backbone_folders["dinov2"])
        pixels = (encoder_pixels(images, (8 * grid[0], 8 * grid[1]), *statistics) for images in self.inputs.values())
        visible, infrared = (encoder(part, output_hidden_states=True, **options).hidden_states for part in pixels)
        merged = sum(torch.maximum(visible[index], infrared[index])[:, 1:] for index in (1, 3)) / 2
        output = model(**self.inputs, output_features=True)
        torch.testing.assert_close(output.semantic_features, merged, atol=1e-3, rtol=1e-3)
        token_map = merged.reshape(2, *grid, 32).permute(0, 3, 1, 2)
        gate = torch.sigmoid(torch.from_numpy(self.upsample(model.finet.gate_projection(token_map).numpy(), (40, 48))))
        torch.testing.assert_close(output.gate, gate, atol=1e-3, rtol=1e-3)

    @pytest.mark.parametrize(("layers", "color_space"), [(1, "ycbcr"), (1, "rgb"), (2, "rgb"), (3, "rgb")])
    def test_logits(self, paradigm: str, layers: int, color_space: str) -> None:
        """Eq. (9): the head reads the normalized patch tokens of the last layers, of I_fus in color or of the sources."""
        choices = {"paradigm": paradigm, "color_space": color_space, "segmenter_layers": layers}
        model = self.tiny_model(**choices, segmenter_image_size=[24, 48]).eval()
        output = model(**self.inputs, segment=True)
        fused = output.fused_values
        if color_space == "ycbcr":
            fused = replace_luma(self.inputs["visible_values"], fused)
        dinov2 = Dinov2Backbone.from_pretrained(
            self.backbone_folders["dinov2"], out_indices=list(range(4 - layers, 4)), reshape_hidden_states=False
        )
        tokens = [
            torch.cat(dinov2(pixels).feature_maps, dim=-1)[:, 1:]
            for pixels in (
                encoder_pixels(images, (24, 48), IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
                for images in (self.inputs.values() if paradigm == "parallel" else [fused])
            )
        ]
        scores = model.ssnet.classifier(torch.stack(tokens).amax(dim=0)).numpy()
        expected = self.upsample(scores.reshape(2, 3, 6, 4).transpose(0, 3, 1, 2), (40, 48))
        np.testing.assert_allclose(output.logits, expected, atol=2e-3)

    @pytest.mark.parametrize("paradigm", ["hybrid", "parallel"])
    def test_tokens_depend_on_their_windows_only(self, paradigm: str) -> None:
        sizes = {"segmenter_image_size": [16, 32], "segmenter_windows": [1, 2], "segmenter_layers": 2}
        model = self.tiny_model(paradigm=paradigm, **sizes).eval()
        image = torch.rand(2, 3, 16, 32, generator=torch.Generator().manual_seed(0))
        changed = torch.cat([image[..., :16], 1 - image[..., 16:]], dim=-1)
        (tokens, read), (_, others) = (model.encode_dinov2(part, [2]) for part in (image, changed))
        assert tokens[0].shape[:2] == read.shape[:2] == (len(image), 8)
        kept, new = (read - others).abs().amax(dim=(0, 2)).reshape(2, 4).split([1, 3], dim=1)  # windows of two columns
        assert kept.max() == 0 and new.min() > 0


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

    def test_infrared_targets(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        """The losses compare with them, and the image is that of the input."""
        model, inputs = tiny_model().eval(), make_inputs()
        target = 1 - inputs["infrared_values"]
        output = model(**inputs, infrared_targets=target, return_loss=True)
        torch.testing.assert_close(output.fused_values, model(**inputs).fused_values)
        expected = gradient_loss(output.fused_values, rgb_to_luma(inputs["visible_values"]), target)
        torch.testing.assert_close(output.loss_gradient, expected)

    def test_every_weight_has_a_term(self, tiny_model: TinyModel) -> None:
        """Which is computed for images of its minimum size, and is no prediction for the Trainer of transformers."""
        fields = [name.removesuffix("_weight") for name in vars(GFFusionConfig()) if name.endswith("_weight")]
        ours = [name for name in fields if name not in ("gradient", "segmentation")]
        assert ours == [*OUR_TERMS], "add the terms of new weights to OUR_TERMS in configuration_gffusion.py"
        for name in ours:
            side = max(32, OUR_TERMS[name].minimum_size)
            images = torch.rand(1, 3, side, side), torch.rand(1, 1, side, side)
            model = tiny_model(**dict.fromkeys((f"{name}_weight" for name in ours), 0))
            setattr(model.config, f"{name}_weight", 0.5)
            output = model(*images, return_loss=True)
            terms = {f"loss_{part}" for part in ("structural", "ssim", "gradient", "intensity", name)}
            assert {key for key, value in output.items() if key.startswith("loss_") and value is not None} == terms
            assert terms <= set(GFFusionConfig.keys_to_ignore_at_inference)
            expected = output.loss_ssim + model.config.gradient_weight * output.loss_gradient
            torch.testing.assert_close(output.loss_structural, expected + 0.5 * output[f"loss_{name}"])

    def test_metric_terms(self, tiny_model: TinyModel) -> None:
        visible, infrared = torch.rand(2, 3, 48, 48), torch.rand(2, 1, 48, 48)
        output = tiny_model(vif_weight=0.5, qabf_weight=2.0)(visible, infrared, return_loss=True)
        images = output.fused_values, rgb_to_luma(visible), infrared
        torch.testing.assert_close([output.loss_vif, output.loss_qabf], [vif_loss(*images), qabf_loss(*images)])

    def test_classes_count_as_configured(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        inputs = make_inputs(labels=True)
        output = tiny_model(class_weights=[1, 0, 5, 2])(**inputs)
        expected = F.cross_entropy(output.logits, inputs["labels"], torch.tensor([1.0, 0, 5, 2]))
        torch.testing.assert_close(output.loss_segmentation, expected)

    def test_intensity_follows_its_target(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        inputs = make_inputs()
        sources = rgb_to_luma(inputs["visible_values"]), inputs["infrared_values"]
        losses = []
        for values in ((0.5, 0.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.2, 1.0), (1.0, 0.0, 0.05)):
            options = dict(zip(("intensity_contrast", "intensity_floor", "intensity_undershoot"), values, strict=True))
            output = tiny_model(intensity_target="two_scale", **options)(**inputs, return_loss=True)
            target = two_scale_target(*sources, *values)
            losses.append(output.loss_intensity.item())
            assert losses[-1] == pytest.approx((output.fused_values - target).abs().mean().item(), rel=1e-4)
        assert len(set(losses)) == 4

    @pytest.mark.parametrize("wrong", [4, -1])
    def test_labels_that_are_no_classes(self, tiny_model: TinyModel, make_inputs: MakeInputs, wrong: int) -> None:
        inputs = make_inputs(labels=True)
        inputs["labels"][0, 0, 0] = wrong
        with pytest.raises(ValueError, match=rf"must be 0 to 3, .* `ignore_index` \(255\), got {wrong}"):
            tiny_model()(**inputs)

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


@torch.no_grad()
def test_half_precision_inputs(tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
    model, inputs = tiny_model().eval(), make_inputs()
    halves = model(**{name: value.half() for name, value in inputs.items()})
    torch.testing.assert_close(halves.fused_values, model(**inputs).fused_values, atol=1e-2, rtol=0)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"infrared_values": zeros(2, 3, 40, 48)}, r"`infrared_values` \(B, 1, H, W\), got .*\(2, 3, 40, 48\)"),
    ({"visible_values": zeros(2, 1, 40, 48)}, r"`visible_values` must have shape \(B, 3, H, W\).*got \(2, 1, 40, 48\)"),
    ({"visible_values": zeros(0, 3, 40, 48), "infrared_values": zeros(0, 1, 40, 48)}, "With B of at least 1, "),
    ({"infrared_values": zeros(2, 1, 40, 40)}, r"\(2, 3, 40, 48\) and \(2, 1, 40, 40\)"),
    ({"infrared_values": zeros(1, 1, 40, 48)}, r"\(2, 3, 40, 48\) and \(1, 1, 40, 48\)"),
    ({"visible_values": zeros(3, 40, 48)}, r"got \(3, 40, 48\)"),
    ({"visible_values": zeros(())}, r"got \(\)"),
    ({"visible_values": zeros(2, 3, 40, 48, dtype=torch.uint8)}, "torch.uint8.*GFFusionImageProcessor"),
    ({"infrared_values": zeros(2, 1, 40, 48, dtype=torch.int32)}, "torch.int32.*GFFusionImageProcessor"),
    (
        {"visible_values": zeros(2, 3, 40, 48) + 255},
        r"in \[0, 1\], got values from 0.* to 255.*divide 8-bit images by 2",
    ),
    ({"infrared_values": zeros(2, 1, 40, 48) - 0.6}, r"in \[0, 1\], got values from -0.6 to"),
    ({"labels": zeros(2, 1, 40, 48, dtype=torch.long)}, r"shape \(2, 40, 48\), got \(2, 1, 40, 48\)"),
    ({"labels": zeros(2, 40, 40, dtype=torch.long)}, r"shape \(2, 40, 48\), got \(2, 40, 40\)"),
    ({"labels": zeros(2, 40, 48)}, "`labels` .*torch.float32"),
    ({"labels": zeros(2, 40, 48, dtype=torch.long), "segment": False}, "leave `segment` out"),
    ({"semantic_tokens": zeros(2, 1, 16, 32)}, r"\(2, 2, 16, 32\), got \(2, 1, 16, 32\)"),
]


class TestErrors:
    def test_values_are_read_once(self, make_inputs: MakeInputs, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each read waits for a GPU."""
        reads: list[tuple[int, ...]] = []
        for name in ("__float__", "__bool__", "item", "tolist"):
            read = getattr(torch.Tensor, name)
            monkeypatch.setattr(
                torch.Tensor, name, lambda value, read=read: reads.append(tuple(value.shape)) or read(value)
            )
        check_inputs(GFFusionConfig(), **make_inputs())
        assert reads == [(4,)]

    @pytest.mark.parametrize(("change", "message"), REFUSED, ids=[message for _, message in REFUSED])
    def test_inputs(self, tiny_model: TinyModel, make_inputs: MakeInputs, change: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            tiny_model()(**make_inputs() | change)

    @pytest.mark.parametrize(("height", "width"), [(31, 64), (64, 31)])
    def test_small_images(self, tiny_model: TinyModel, make_inputs: MakeInputs, height: int, width: int) -> None:
        with pytest.raises(ValueError, match=rf"at least 32 x 32 pixels, got \({height}, {width}\)"):
            tiny_model()(**make_inputs(1, height, width))

    @pytest.mark.parametrize("requested", ["labels", "segment"])
    def test_no_segmenter(self, tiny_model: TinyModel, make_inputs: MakeInputs, requested: str) -> None:
        inputs = make_inputs(labels=requested == "labels")
        with pytest.raises(ValueError, match=r"no segmenter.*use_segmenter=False"):
            tiny_model(use_segmenter=False)(**inputs, segment=requested == "segment" or None)

    @pytest.mark.parametrize("paradigm", ["cascading", "parallel"])
    def test_no_semantic_tokens(self, tiny_model: TinyModel, make_inputs: MakeInputs, paradigm: str) -> None:
        model, inputs = tiny_model(paradigm=paradigm), make_inputs()
        with pytest.raises(ValueError, match=paradigm):
            model(**inputs, semantic_tokens=torch.zeros(2, 2, 16, 32))
        with pytest.raises(ValueError, match=paradigm):
            model.encode_semantics(**inputs)


@torch.no_grad()
@pytest.mark.parametrize("merging", ["mean", "group_conv", "weighted_sum"])
def test_precomputed_tokens_change_nothing(tiny_model: TinyModel, make_inputs: MakeInputs, merging: str) -> None:
    model, inputs = tiny_model(merging=merging).eval(), make_inputs(labels=True)
    tokens = model.encode_semantics(inputs["visible_values"], inputs["infrared_values"])
    assert tuple(tokens.shape) == (2, 2, 16, 32)  # pairs, layers but the last, patches of 8 in 32 x 32, width
    expected = model(**inputs)
    model.clip = None  # must not be called
    outputs = model(**inputs, semantic_tokens=tokens)
    torch.testing.assert_close(outputs.loss, expected.loss)
    torch.testing.assert_close(outputs.fused_values, expected.fused_values)


def test_parametrized_layers_of_used_models_are_copied(tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
    """They refuse to be pickled, but not to be copied, as for a moving average of the weights."""
    model = tiny_model()
    torch.nn.utils.parametrizations.spectral_norm(model.ssnet.classifier)
    model.eval()(**make_inputs())
    copied = copy.deepcopy(model).eval()
    torch.testing.assert_close(copied.state_dict(), model.state_dict(), rtol=0, atol=0)


LOAD = """
import multiprocessing, sys, torch, transformers.modeling_utils
torch.set_num_threads(1)
def run(file):
    model, inputs = torch.load(file, weights_only=False)
    torch.save(dict(model(**inputs, segment=True)), file)
for file in sys.argv[1:]:
    process = multiprocessing.get_context("fork").Process(target=run, args=(file,))
    process.start(), process.join()
    assert process.exitcode == 0, file
"""


@torch.no_grad()
def test_pickled_models_run_in_new_processes(
    tiny_model: TinyModel, make_inputs: MakeInputs, fork_script: Callable, tmp_path: Path
) -> None:
    """As in a spawned worker, in which no encoder has been made: transformers returns hidden states of classes that were."""
    torch.set_num_threads(1)
    inputs, expected = make_inputs(), {}
    for paradigm in ("cascading", "parallel", "hybrid"):
        model = tiny_model(paradigm=paradigm).eval()
        for state in ("new", "used"):
            torch.save((model, inputs), file := tmp_path / f"{paradigm} {state}")
            expected[file] = dict(model(**inputs, segment=True))
    done = fork_script(LOAD, *expected)
    assert done.returncode == 0, done.stderr
    for file, outputs in expected.items():
        torch.testing.assert_close(torch.load(file), outputs, rtol=0, atol=0)


def test_segmentation_gradient_is_the_derivative(tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
    """Against a finite difference along the gradient of FuNet's last convolution."""
    model = tiny_model().double().eval()
    inputs = {
        name: value.double() if value.is_floating_point() else value for name, value in make_inputs(labels=True).items()
    }
    weight = model.funet.decoder[-1].weight
    model(**inputs).loss_segmentation.backward()
    direction, step, losses = weight.grad / weight.grad.norm(), 1e-3, []
    for sign in (1, -1):
        with torch.no_grad():
            weight += sign * step * direction
            losses.append(model(**inputs).loss_segmentation.item())
            weight -= sign * step * direction
    assert (losses[0] - losses[1]) / (2 * step) == pytest.approx(weight.grad.norm().item(), rel=0.01)


class TestFreshWeights:
    """Initial weights, built directly and around loaded encoders (on transformers' meta device)."""

    @pytest.fixture(params=["constructor", "from_backbones"])
    def make_fresh(
        self, request: pytest.FixtureRequest, tiny_config: Callable, backbone_folders: dict[str, str]
    ) -> TinyModel:
        torch.manual_seed(0)
        if request.param == "constructor":
            return lambda **overrides: GFFusionModel(tiny_config(**overrides))
        sizes = {"segmenter_image_size": [32, 32]}
        return lambda **overrides: GFFusionModel.from_backbones(**backbone_folders, **sizes | overrides)

    @pytest.mark.parametrize(("merging", "name"), [("weighted_sum", "layer_weights"), ("group_conv", "group_weights")])
    def test_equal_shares(self, make_fresh: TinyModel, merging: str, name: str) -> None:
        shares = getattr(make_fresh(merging=merging).finet, name).softmax(dim=0)
        torch.testing.assert_close(shares, torch.full_like(shares, 1 / len(shares)))

    def test_convolutions_keep_the_variance(self, make_fresh: TinyModel) -> None:
        """He et al., 2015, for the configured LeakyReLU."""
        model = make_fresh(stem_channels=16, feature_channels=48, leaky_relu_slope=0.5)
        for name, layer in model.funet.named_modules():
            if isinstance(layer, torch.nn.Conv2d) and layer.weight.numel() > 500:
                fan_in = layer.weight[0].numel()
                assert layer.weight.std().item() == pytest.approx((2 / 1.25 / fan_in) ** 0.5, rel=0.15), name

    def test_linear_layers_start_small(self, make_fresh: TinyModel) -> None:
        model = make_fresh(initializer_range=0.005, num_labels=64)
        for layer in (model.finet.feature_projection, model.ssnet.classifier):
            assert layer.weight.std().item() == pytest.approx(0.005, rel=0.15)
            assert not layer.bias.any()
