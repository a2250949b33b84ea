"""Training of GFFusionModel: what it starts with, what learns, what never moves, and the way of the gradients."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gffusion import GFFusionConfig, GFFusionModel

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]


def is_backbone(name: str) -> bool:
    return name.startswith(("clip.", "dinov2."))


def tensors_of(model: GFFusionModel) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, those that a checkpoint leaves out included."""
    return {name: value.detach().clone() for name, value in [*model.named_parameters(), *model.named_buffers()]}


class TestTraining:
    def test_one_step_moves_what_may_move(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, architecture: dict[str, Any]
    ) -> None:
        model = tiny_model(**architecture)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
        before = tensors_of(model)
        output = model(**make_inputs(labels=architecture["use_segmenter"]))
        output.loss.backward()
        optimizer.step()
        for name, value in tensors_of(model).items():
            assert torch.equal(value, before[name]) == is_backbone(name), name

    def test_without_labels_the_head_rests(self, tiny_model: TinyModel, make_inputs: MakeInputs, paradigm: str) -> None:
        model = tiny_model(paradigm=paradigm)
        output = model(**make_inputs())
        assert output.loss_segmentation is None
        assert output.logits is None
        output.loss.backward()
        resting = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        assert {name for name in resting if not is_backbone(name)} == {
            "ssnet.classifier.weight",
            "ssnet.classifier.bias",
        }

    @pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
    def test_way_of_the_segmentation_gradient(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, paradigm: str, color_space: str
    ) -> None:
        """Through the frozen DINOv2 into the networks that made the image; in the parallel paradigm to the head alone."""
        model = tiny_model(paradigm=paradigm, color_space=color_space)
        model(**make_inputs(labels=True)).loss_segmentation.backward()
        reached = {
            name.split(".")[0]
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.abs().max() > 1e-8
        }
        expected = {"cascading": {"funet", "ssnet"}, "parallel": {"ssnet"}, "hybrid": {"funet", "finet", "ssnet"}}
        assert reached == expected[paradigm]

    def test_segmentation_gradient_is_the_derivative(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        """Against a finite difference along the gradient of FuNet's last convolution."""
        model = tiny_model().double().eval()
        inputs = {
            name: value.double() if value.is_floating_point() else value
            for name, value in make_inputs(labels=True).items()
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

    @pytest.mark.parametrize("options", [None, {"use_reentrant": True}], ids=["default", "reentrant"])
    @pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")  # its heir is younger than 5.18
    def test_checkpointing_recomputes_and_changes_nothing(
        self, tiny_model: TinyModel, make_inputs: MakeInputs, options: dict[str, bool] | None
    ) -> None:
        def run(checkpointing: bool) -> tuple[dict[str, Tensor], dict[str, int], int]:
            model = tiny_model(merging="group_conv")
            if checkpointing:
                model.gradient_checkpointing_enable(options)
            calls = dict.fromkeys(("clip", "dinov2.encoder", "funet.visible_encoder", "funet.decoder"), 0)

            def count(name: str) -> Callable[..., None]:
                return lambda *_: calls.update({name: calls[name] + 1})

            for name in calls:
                model.get_submodule(name).register_forward_pre_hook(count(name))
            kept: dict[int, int] = {}
            remember = torch.autograd.graph.saved_tensors_hooks(
                lambda tensor: (kept.update({tensor.data_ptr(): tensor.untyped_storage().nbytes()}), tensor)[1],
                lambda tensor: tensor,
            )
            with remember:
                loss = model(**make_inputs(labels=True)).loss
            loss.backward()
            gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
            return gradients, calls, sum(kept.values())

        plain, calls, memory = run(checkpointing=False)
        assert calls == {"clip": 1, "dinov2.encoder": 1, "funet.visible_encoder": 1, "funet.decoder": 1}
        recomputed, calls, less_memory = run(checkpointing=True)
        assert calls == {"clip": 1, "dinov2.encoder": 2, "funet.visible_encoder": 2, "funet.decoder": 1}
        assert less_memory < 0.7 * memory
        assert plain.keys() == recomputed.keys()
        for name, gradient in plain.items():
            torch.testing.assert_close(recomputed[name], gradient, msg=name)


class TestFrozenEncoders:
    @pytest.mark.parametrize(
        "change",
        [
            lambda model: model.train(),
            lambda model: model.eval().train(),
            lambda model: model.requires_grad_(True).train(),
            lambda model: model.to(torch.float64).train(),
            lambda model: model.to("cpu"),
            lambda model: model.half(),
            lambda model: copy.deepcopy(model),
        ],
        ids=["train", "eval-train", "requires_grad", "float64", "cpu", "half", "copy"],
    )
    def test_stay_frozen(self, tiny_model: TinyModel, change: Callable[[GFFusionModel], GFFusionModel]) -> None:
        model = change(tiny_model())
        assert model.training
        for name, module in model.named_modules():
            assert module.training != is_backbone(f"{name}."), name
        for name, parameter in model.named_parameters():
            assert parameter.requires_grad != is_backbone(name), name

    def test_start_frozen(self, tiny_config: Callable[..., GFFusionConfig]) -> None:
        model = GFFusionModel(tiny_config())
        assert all(parameter.requires_grad != is_backbone(name) for name, parameter in model.named_parameters())
        assert not model.clip.training
        assert not model.dinov2.training

    def test_no_dropout_in_training(self, tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
        model, inputs = tiny_model(), make_inputs(labels=True)
        assert model.dinov2.config.hidden_dropout_prob == model.clip.config.attention_dropout == 0.5
        assert torch.equal(model(**inputs).loss, model(**inputs).loss)

    @pytest.mark.parametrize(
        ("paradigm", "use_segmenter", "carried"),
        [
            ("cascading", True, {"dinov2"}),
            ("cascading", False, set()),
            ("parallel", True, {"dinov2"}),
            ("parallel", False, {"dinov2"}),
            ("hybrid", True, {"clip", "dinov2"}),
            ("hybrid", False, {"clip"}),
        ],
    )
    def test_are_there_only_where_needed(
        self, tiny_config: Callable[..., GFFusionConfig], paradigm: str, use_segmenter: bool, carried: set[str]
    ) -> None:
        model = GFFusionModel(tiny_config(paradigm=paradigm, use_segmenter=use_segmenter))
        assert set(model.backbones) == carried
        assert {name.split(".")[0] for name in model.state_dict()} & {"clip", "dinov2"} == carried


class TestFreshWeights:
    """What training starts with, built directly and around loaded encoders (on transformers' meta device)."""

    @pytest.fixture(params=["constructor", "from_backbones"])
    def make_fresh(
        self,
        request: pytest.FixtureRequest,
        tiny_config: Callable[..., GFFusionConfig],
        backbone_folders: dict[str, str],
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
