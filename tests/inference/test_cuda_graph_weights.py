"""Changes that the kernels and graphs of a GPU must follow are seen, here on a CPU."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils import parameters_to_vector, parametrizations, prune, vector_to_parameters

from gffusion import GFFusionModel
from gffusion.inference.cuda_graphs import _Prepared, _Weights

LAYER = "decoder.0.weight"


def get_deep_layer(model: GFFusionModel) -> torch.nn.Module:
    """Return a layer of the encoder that is not its first."""
    return next(module for name, module in reversed([*model.clip.named_modules()]) if name.endswith("mlp.fc1"))


def replace_by_vector(model: GFFusionModel) -> None:
    parameters = [*get_deep_layer(model).parameters()]
    vector_to_parameters(parameters_to_vector(parameters) * 2, parameters)


def replace_state(model: GFFusionModel) -> None:
    layer = get_deep_layer(model)
    layer.load_state_dict({name: value.clone() for name, value in layer.state_dict().items()}, assign=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.funet.get_parameter(LAYER).mul_(1.01),
        lambda model: model.funet.get_parameter(LAYER).data.mul_(-1),
        lambda model: model.funet.get_parameter(LAYER).data.copy_(model.funet.get_parameter(LAYER).flip(0)),
        lambda model: torch._foreach_mul_([value.data for value in model.funet.parameters()], 1.01),
        lambda model: setattr(
            model.funet.decoder[0], "weight", torch.nn.Parameter(model.funet.decoder[0].weight.clone())
        ),
        lambda model: model.funet.decoder[1].running_mean.data.add_(0.01),
        lambda model: setattr(model.funet.decoder[1], "eps", 0.5),
        lambda model: setattr(model.funet.decoder[2], "negative_slope", 0.5),
        lambda model: setattr(model.funet.decoder[0], "padding_mode", "zeros"),
        lambda model: setattr(model.funet.decoder[0], "bias", None),
        lambda model: setattr(model, "funet", copy.deepcopy(model.funet)),
        lambda model: model.funet.decoder.__setitem__(0, copy.deepcopy(model.funet.decoder[0])),
        lambda model: setattr(model.clip, "post_layernorm", torch.nn.Identity()),
        lambda model: model.funet.decoder[0].register_forward_hook(print),
        lambda model: model.clip.post_layernorm.register_forward_pre_hook([].__contains__),
        lambda model: setattr(model.finet.gate_projection, "forward", print),
        lambda model: setattr(model.clip.embeddings, "forward", print),
        lambda model: prune.l1_unstructured(model.funet.decoder[0], "weight", 0.3),
        lambda model: parametrizations.weight_norm(model.funet.decoder[0]),
        lambda model: setattr(model.config, "clip_image_size", [48, 64]),
        lambda model: model.config.semantic_layers.reverse(),
        lambda model: setattr(model.finet, "inject", print),
        lambda model: model.funet.decoder[1].train(),
        lambda model: setattr(model.funet.decoder[0], "__class__", type("LoRA", (torch.nn.Conv2d,), {})),
        lambda model: setattr(model.clip.post_layernorm, "__class__", type("Mine", (torch.nn.LayerNorm,), {})),
        lambda model: setattr(get_deep_layer(model).weight, "data", get_deep_layer(model).weight.data * 2),
        lambda model: setattr(get_deep_layer(model), "weight", torch.nn.Parameter(get_deep_layer(model).weight * 2)),
        lambda model: setattr(get_deep_layer(model), "bias", None),
        lambda model: model.clip.embeddings.register_buffer("position_ids", model.clip.embeddings.position_ids.flip(1)),
        replace_by_vector,
        replace_state,
    ],
    ids=[
        "version",
        "data",
        "order",
        "foreach",
        "parameter",
        "buffer",
        "eps",
        "slope",
        "padding",
        "bias",
        "funet",
        "layer",
        "encoder",
        "hook",
        "encoder-hook",
        "forward",
        "encoder-forward",
        "prune",
        "norm",
        "size",
        "layers",
        "inject",
        "training",
        "subclass",
        "encoder-subclass",
        "encoder-data",
        "encoder-parameter",
        "encoder-bias",
        "encoder-buffer",
        "encoder-vector",
        "encoder-state",
    ],
)
@pytest.mark.parametrize("is_inference", [False, True])
def test_changes_are_seen(
    tiny_model: Callable[..., GFFusionModel], change: Callable[[GFFusionModel], Any], is_inference: bool
) -> None:
    model = tiny_model().eval()
    with torch.inference_mode(is_inference), torch.no_grad():
        if is_inference:
            model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
        weights = _Weights(model)
        assert weights.are_unchanged(model) and weights.are_plain
        change(model)
        assert not weights.are_unchanged(model)
        assert _Weights(model).are_unchanged(model)


def test_changes_in_the_memory_of_the_encoder_need_no_new_graph(tiny_model: Callable[..., GFFusionModel]) -> None:
    """A graph reads them; sparse weights, which have no address, do not change either."""
    model = tiny_model().eval().requires_grad_(False)
    get_deep_layer(model).weight = torch.nn.Parameter(get_deep_layer(model).weight.to_sparse(), requires_grad=False)
    weights = _Weights(model)
    next(model.clip.parameters()).mul_(2)
    assert weights.are_unchanged(model)


def test_values_in_channels_last_order_are_seen(tiny_model: Callable[..., GFFusionModel]) -> None:
    model = tiny_model().eval().to(memory_format=torch.channels_last)
    weights = _Weights(model)
    model.funet.get_parameter(LAYER).data.mul_(-1)
    assert not weights.are_unchanged(model)


@torch.no_grad()
def test_hooks_of_transformers_are_allowed(tiny_model: Callable[..., GFFusionModel]) -> None:
    """The first call of an encoder adds them, and they would prevent every graph."""
    model = tiny_model().eval()
    weights = _Weights(model)
    model.encode_semantics(torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32))
    assert any(module._forward_hooks for module in model.clip.modules())
    assert weights.are_unchanged(model) and _Weights(model).are_plain


@pytest.mark.parametrize("part", ["funet.decoder.0", "clip.post_layernorm"])
def test_hooks_are_not_captured(
    tiny_model: Callable[..., GFFusionModel], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    """A graph would not call them."""
    monkeypatch.setattr(_Prepared, "_capture", None)
    model, calls = tiny_model().eval(), []
    model.get_submodule(part).register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        prepared = _Prepared(model)
        for _ in range(3):
            prepared([torch.zeros(1, 3, 32, 32), torch.zeros(1, 1, 32, 32)])
    assert len(calls) == 3


def test_autocast_regions_are_not_captured(
    tiny_model: Callable[..., GFFusionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph would keep their precision."""
    monkeypatch.setattr(_Prepared, "_capture", None)
    with torch.no_grad():
        prepared = _Prepared(tiny_model(paradigm="cascading").eval())
        inputs = [torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)]
        expected = prepared(inputs)
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: True)
        for _ in range(2):
            assert torch.equal(prepared(inputs), expected)


def test_streams_wait_for_each_other(tiny_model: Callable[..., GFFusionModel], monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs share memory, so that one must not be replayed on a stream while another runs on a second stream."""
    now, done = ["first"], []

    class Event:
        stream = None

        def record(self) -> None:
            self.stream = now[0]

    class Stream:
        def wait_event(self, event: Event) -> None:
            done.append((now[0], "waits for", event.stream))

    def capture(prepared: _Prepared, key: Any, inputs: Any) -> None:
        prepared._graphs[key] = lambda inputs: done.append((now[0], "replays")) or inputs[0]  # type: ignore[assignment]

    monkeypatch.setattr(_Prepared, "_capture", capture)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    with torch.no_grad():
        prepared = _Prepared(tiny_model(paradigm="cascading").eval())
        for size in (32, 40, 32, 40):
            prepared([torch.rand(1, 3, size, size), torch.rand(1, 1, size, size)])
            now[0] = "second" if now[0] == "first" else "first"
        prepared([torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)])
    assert done == [
        ("first", "waits for", None),
        ("first", "replays"),
        ("second", "waits for", "first"),
        ("second", "replays"),
        ("first", "waits for", "second"),
        ("first", "replays"),
    ]
