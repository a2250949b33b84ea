"""Common tests of models. A subclass names its architecture and what the paper says about its networks."""

import copy
import itertools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel

from gffusion import GFFusionConfig, GFFusionImageProcessor, GFFusionModel, GFFusionOutput
from gffusion.export.exporting import check_model
from gffusion.inference.predict import predict
from gffusion.zoo.digest import digest_weights

CHANGES: dict[str, Callable[[GFFusionModel], GFFusionModel]] = {
    "nothing": lambda model: model,
    "train": lambda model: model.train(),
    "eval and train": lambda model: model.eval().train(),
    "to float64": lambda model: model.to(torch.float64).train(),
    "to cpu": lambda model: model.to("cpu"),
    "half": lambda model: model.half(),
    "deepcopy": copy.deepcopy,
}


def is_backbone(name: str) -> bool:
    """Return whether a parameter belongs to a frozen encoder."""
    return name.startswith(("clip.", "dinov2."))


def parts_in(folder: Path) -> set[str]:
    """Return the networks whose weights a checkpoint's files hold."""
    return {key.split(".")[0] for path in folder.glob("*.safetensors") for key in load_file(path)}


def copy_tensors(model: GFFusionModel) -> dict[str, Tensor]:
    """Return copies of all parameters and buffers, including those that a checkpoint leaves out."""
    return {name: value.detach().clone() for name, value in [*model.named_parameters(), *model.named_buffers()]}


def assert_frozen(model: GFFusionModel) -> None:
    """Check that exactly the encoders have no gradients, and that they stay in evaluation mode."""
    for name, module in model.named_modules():
        assert module.training == (model.training and not is_backbone(f"{name}.")), name
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad != is_backbone(name), name


def assert_same(loaded: GFFusionModel, saved: GFFusionModel) -> None:
    """Check that a loaded model has the weights and statistics of the saved one, frozen and ready for inference."""
    torch.testing.assert_close(loaded.state_dict(), saved.state_dict(), rtol=0, atol=0)
    assert not loaded.training
    assert_frozen(loaded)
    assert_frozen(loaded.train())


def add_layer(encoder: nn.Module) -> None:
    """Add a trained layer to the first block of a frozen encoder."""
    name = "layer_norm1" if hasattr(encoder.encoder, "layers") else "norm1"
    block = getattr(encoder.encoder, "layers", None) or encoder.encoder.layer
    setattr(block[0], name, nn.Sequential(getattr(block[0], name), nn.Linear(32, 32)))


class ModelTester:
    """Common tests of models.

    Attributes:
        choices: Configuration arguments.
        networks: Networks that are trained.
        encoders: Frozen encoders.
        taught: Networks that the gradient of the segmentation loss reaches.
        sizes: Heights and widths of images to fuse.
    """

    choices: ClassVar[dict[str, Any]]
    networks: ClassVar[set[str]]
    encoders: ClassVar[set[str]]
    taught: ClassVar[set[str]] = set()
    sizes: ClassVar[list[tuple[int, int]]] = [(32, 32), (35, 39), (61, 200)]

    @pytest.fixture(autouse=True)
    def keep_makers(self, tiny_model: Any, tiny_config: Any, make_inputs: Any) -> None:
        self.has_segmenter = "ssnet" in self.networks
        self.make_model = lambda: tiny_model(**self.choices)
        self.make_config = lambda **overrides: tiny_config(**self.choices | overrides)
        self.make_inputs = make_inputs
        self.training_inputs = make_inputs(labels=self.has_segmenter)

    @torch.no_grad()
    def infer(self, model: GFFusionModel, inputs: dict[str, Tensor] | None = None, **options: Any) -> GFFusionOutput:
        """Return everything that a model computes in evaluation mode."""
        options = {"segment": self.has_segmenter, "output_features": True} | options
        return model.eval()(**inputs or self.make_inputs(), **options)

    def expected_shapes(self, batch: int, height: int, width: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all outputs of a tiny model: 8 channels per modality, 4 classes, 4 x 4 tokens of 32."""
        spatial = (batch, 16, height, width)
        shapes = {"fused_values": (batch, 3 if self.choices.get("color_space") == "rgb" else 1, height, width)}
        shapes |= {"logits": (batch, 4, height, width)} if self.has_segmenter else {}
        shapes |= {"spatial_features": spatial}
        return shapes | ({"semantic_features": (batch, 16, 32), "gate": spatial} if "finet" in self.networks else {})

    def test_networks(self) -> None:
        config, model = GFFusionConfig(**self.choices), GFFusionModel(self.make_config())
        for name in ("clip", "dinov2"):
            assert getattr(config, f"needs_{name}") == (name in self.encoders)
            assert (getattr(config, f"{name}_config") is not None) == (name in self.encoders)
        assert set(model.backbones) == self.encoders
        assert {name.split(".")[0] for name in model.state_dict()} == self.networks | self.encoders
        assert model.get_input_embeddings() is model.get_submodule("funet.visible_encoder.stem")
        assert_frozen(model)

    @pytest.mark.parametrize("include_backbones", [False, True], ids=["slim", "full"])
    def test_save_load(self, tmp_path: Path, include_backbones: bool) -> None:
        model = self.make_model()
        model.save_pretrained(tmp_path, include_backbones=include_backbones)
        assert parts_in(tmp_path) == self.networks | (self.encoders if include_backbones else set())
        loaded = AutoModel.from_pretrained(tmp_path, dtype="auto")
        assert type(loaded) is GFFusionModel
        torch.testing.assert_close(dict(self.infer(loaded)), dict(self.infer(model)))
        assert_same(loaded, model)

    @pytest.mark.parametrize("place", ["cpu", "disk", "file"])
    def test_offloaded(self, tmp_path: Path, place: str) -> None:
        """Weights that are brought for the call of the module that has them."""
        model = self.make_model().eval()
        expected, processor, digest = self.infer(model), GFFusionImageProcessor(), digest_weights(model)
        pair = tuple(np.random.default_rng(0).integers(0, 256, (2, 40, 48), dtype=np.uint8))
        expected_prediction = predict(model, processor, [pair], segment=self.has_segmenter)[0]
        if place == "file":
            model.save_pretrained(tmp_path / "model")
            weights = {"device_map": "auto", "max_memory": {"cpu": 2000}, "offload_folder": tmp_path}
            model = GFFusionModel.from_pretrained(tmp_path / "model", **weights)
        elif place == "cpu":
            cpu_offload(model, execution_device="cpu", offload_buffers=True)
        else:
            disk_offload(model, tmp_path, execution_device="cpu")
        assert any(value.is_meta for value in model.parameters()) and model.device.type == "cpu"
        torch.testing.assert_close(dict(self.infer(model)), dict(expected), rtol=0, atol=0)
        prediction = predict(model, processor, [pair], segment=self.has_segmenter)[0]
        np.testing.assert_allclose(
            prediction.fused.astype(int), expected_prediction.fused, atol=1
        )  # without the form of FuNet for CPUs
        np.testing.assert_array_equal(prediction.labels, expected_prediction.labels)
        assert digest_weights(model) == digest
        with pytest.raises(ValueError, match="the weights of the model m are offloaded: load it without `device_map`"):
            check_model(model, "m", False, "fp32")
        if place == "file":
            model.save_pretrained(tmp_path / "again")
        else:
            with pytest.raises(ValueError, match="offloaded, so that they cannot be saved"):
                model.save_pretrained(tmp_path / "again")

    def test_meta_device(self) -> None:
        with torch.device("meta"):
            model = GFFusionModel(self.make_config())
            outputs = self.infer(model, {name: value.to("meta") for name, value in self.make_inputs().items()})
        assert all(value.is_meta for value in [*model.parameters(), *outputs.values()])
        assert {name: tuple(value.shape) for name, value in outputs.items()} == self.expected_shapes(2, 40, 48)
        assert_frozen(model.train())

    def test_any_resolution(self) -> None:
        for height, width in self.sizes:
            outputs = self.infer(self.make_model(), self.make_inputs(1, height, width))
            shapes = {name: tuple(value.shape) for name, value in outputs.items()}
            assert shapes == self.expected_shapes(1, height, width)
            assert all(value.isfinite().all() for value in outputs.values())

    def test_ranges_and_tuple(self) -> None:
        model = self.make_model()
        outputs = self.infer(model, self.training_inputs)
        assert all(value.dtype == torch.float32 for value in outputs.values())
        assert outputs.fused_values.min() >= 0 and outputs.fused_values.max() <= 1
        assert outputs.fused_values.std() > 1e-3
        if "finet" in self.networks:
            assert outputs.gate.min() > 0 and outputs.gate.max() < 1
        expected = outputs.to_tuple()
        torch.testing.assert_close(self.infer(model, self.training_inputs, return_dict=False), expected)
        model.config.return_dict = False
        torch.testing.assert_close(self.infer(model, self.training_inputs), expected)

    def test_batch_equals_single(self) -> None:
        model, inputs = self.make_model(), self.make_inputs(batch=3)
        batch = self.infer(model, inputs)
        for index in range(3):
            single = self.infer(model, {name: value[index, None] for name, value in inputs.items()})
            for name, value in single.items():
                torch.testing.assert_close(value[0], batch[name][index], atol=1e-5, rtol=1e-4, msg=name)

    @pytest.mark.parametrize(
        ("part", "dtype"),
        [(part, dtype) for part in ("autocast", "weights") for dtype in (torch.bfloat16, torch.float16)]
        + [("encoders", torch.bfloat16)],
        ids=str,
    )
    def test_half_precision(self, part: str, dtype: torch.dtype) -> None:
        """Training: I_fus and the losses stay float32 and close to those of float32."""
        if part == "encoders" and not self.encoders:
            pytest.skip("no encoder")
        model = self.make_model()
        with torch.no_grad():
            expected = model(**self.training_inputs)
        for module in {"autocast": [], "weights": [model], "encoders": model.backbones.values()}[part]:
            module.to(dtype)
        with torch.autocast("cpu", dtype=dtype, enabled=part == "autocast"):
            outputs = model(**self.training_inputs)
        outputs.loss.backward()
        assert all(value.dtype == torch.float32 for value in outputs.values())
        torch.testing.assert_close(outputs.fused_values, expected.fused_values, atol=0.1, rtol=0)
        torch.testing.assert_close(outputs.loss, expected.loss, atol=0, rtol=0.05)
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name

    def test_attention_implementations_agree(self) -> None:
        if not self.encoders:
            pytest.skip("no encoder")
        outputs = {}
        for name in ("eager", "sdpa"):
            torch.manual_seed(0)
            model = GFFusionModel(self.make_config(attn_implementation=name))
            assert {encoder.config._attn_implementation for encoder in model.backbones.values()} == {name}
            outputs[name] = dict(self.infer(model))
        torch.testing.assert_close(outputs["eager"], outputs["sdpa"], atol=1e-5, rtol=1e-4)

    def test_one_step_moves_all_but_the_encoders(self) -> None:
        model = self.make_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
        before = copy_tensors(model)
        model(**self.training_inputs).loss.backward()
        optimizer.step()
        for name, value in copy_tensors(model).items():
            assert torch.equal(value, before[name]) == is_backbone(name), name

    def test_loss_without_labels_reaches_all_but_the_head(self) -> None:
        model = self.make_model()
        outputs = model(**self.make_inputs())
        assert outputs.loss_segmentation is None and outputs.logits is None
        outputs.loss.backward()
        resting = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        head = {"ssnet.classifier.weight", "ssnet.classifier.bias"} if self.has_segmenter else set()
        assert {name for name in resting if not is_backbone(name)} == head

    def test_segmentation_loss_reaches_the_networks_that_it_teaches(self) -> None:
        if not self.has_segmenter:
            pytest.skip("no segmenter")
        model = self.make_model()
        model(**self.training_inputs).loss_segmentation.backward()
        gradients = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
        assert {name.split(".")[0] for name, value in gradients.items() if value.abs().max() > 1e-8} == self.taught

    def test_encoders_stay_frozen_and_without_dropout(self) -> None:
        model = self.make_model()
        losses = [model(**self.training_inputs).loss for _ in range(2)]
        assert torch.equal(*losses)
        for name, change in CHANGES.items():
            model = change(model)
            assert model.training, name
            assert_frozen(model)

    def test_trained_weights_of_encoders_learn(self) -> None:
        """An added layer, also after the changes of mode of a training loop, and a whole encoder; the other one stays frozen."""
        for name, change in itertools.product(self.encoders, (add_layer, nn.Module.requires_grad_)):
            model = self.make_model()
            encoder = model.backbones[name]
            change(encoder)
            model.eval().train()
            model(**self.training_inputs).loss.backward()
            # Of CLIP, neither the class token nor the last layer is injected.
            layers = ("encoder.layers.0.", "encoder.layer.0.")
            first = {
                part for part, value in encoder.named_parameters() if value.requires_grad and part.startswith(layers)
            }
            gradients = {part: value.grad for part, value in encoder.named_parameters() if value.grad is not None}
            assert first and first <= gradients.keys() and any(gradients[part].any() for part in first), name
            others = [other for key, other in model.backbones.items() if key != name]
            assert all(value.grad is None for other in others for value in other.parameters())

    def test_a_model_that_was_used_can_be_copied_and_pickled(self) -> None:
        model = self.make_model()
        expected = dict(self.infer(model))
        for duplicate in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            torch.testing.assert_close(dict(self.infer(duplicate)), expected, rtol=0, atol=0)
            assert_same(pickle.loads(pickle.dumps(duplicate)), model)  # of a copy that was used
        torch.testing.assert_close(dict(self.infer(model)), expected, rtol=0, atol=0)

    @pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")  # its successor needs 5.18
    def test_gradient_checkpointing_saves_memory_and_changes_nothing(self) -> None:
        plain, calls, memory = self.count_backward(self.make_model())
        assert set(calls.values()) == {1}
        for options in (None, {"use_reentrant": True}):
            model = self.make_model()
            model.gradient_checkpointing_enable(options)
            gradients, calls, less_memory = self.count_backward(model)
            repeated = {"funet.visible_encoder"} | ({"dinov2.encoder"} if "funet" in self.taught else set())
            assert {name for name, count in calls.items() if count > 1} == repeated
            assert max(calls.values()) == 2
            assert less_memory < 0.7 * memory
            torch.testing.assert_close(gradients, plain)

    def count_backward(self, model: GFFusionModel) -> tuple[dict[str, Tensor], dict[str, int], int]:
        """Run one training step; return gradients, calls of networks, and bytes kept for the backward pass."""
        names = {"clip", "dinov2.encoder", "funet.visible_encoder", "funet.decoder.0"}
        calls = dict.fromkeys(names & {name for name, _ in model.named_modules()}, 0)
        for name in calls:
            model.get_submodule(name).register_forward_pre_hook(
                lambda *_, name=name: calls.update({name: calls[name] + 1})
            )
        kept: dict[int, int] = {}

        def remember(tensor: Tensor) -> Tensor:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
            loss = model(**self.training_inputs).loss
        loss.backward()
        gradients = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        return gradients, calls, sum(kept.values())
