"""Fuse on a CUDA GPU: half-precision kernels, and one CUDA graph per image size, which replaces hundreds of launches.

A graph is captured when a size is used for the second time, except in an autocast region, whose precision it would keep. The
results are the same with and without a graph.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers.utils import logging

from gffusion.models.gffusion.finet import upsample
from gffusion.models.gffusion.image_ops import CLIP_MEAN, CLIP_STD, resize_bicubic, rgb_to_luma
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .folding import has_global_hooks, has_known_code, has_plain_forward, is_plain

MAX_GRAPHS = 8  # per model; a graph keeps its inputs and its output, and all share the memory between

logger = logging.get_logger(__name__)

Compute = Callable[..., Tensor]


def can_use_graphs(model: Any) -> bool:
    """Return whether [`fuse_on_gpu`] supports a model: on an NVIDIA GPU, not of the parallel paradigm, and with our `forward`."""
    return (
        isinstance(model, GFFusionModel)
        and model.device.type == "cuda"
        and torch.version.cuda is not None
        and not model.training
        and model.config.paradigm != "parallel"
        and has_plain_forward(model)
        and not has_global_hooks()
    )


def fuse_on_gpu(
    model: GFFusionModel, visible_values: Tensor, infrared_values: Tensor, semantic_tokens: Tensor | None = None
) -> Tensor:
    """Return I_fus of a model that [`can_use_graphs`]: (B, 3, H, W), (B, 1, H, W) -> (B, 1 or 3, H, W), float32 in [0, 1].

    The images can be on any device. `semantic_tokens` (B, L, N, D) replace those of [`GFFusionModel.encode_semantics`].
    Gradients are not computed.
    """
    inputs = [visible_values, infrared_values]
    if semantic_tokens is not None:
        inputs.append(semantic_tokens)
    # Buffers of graphs outlive the caller's inference mode, so they must not be inference tensors.
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(model.device), _LOCK:
        prepared = _PREPARED.get(model)
        if prepared is None or not prepared.weights.are_unchanged(model):
            prepared = _PREPARED[model] = _Prepared(model)
        return prepared(inputs)


class _Prepared:
    """A model with weights prepared for a GPU, and its graphs."""

    def __init__(self, model: GFFusionModel) -> None:
        self.weights = _Weights(model)
        self._compute = _make_compute(model)
        self._device = model.device
        self._uses: Counter[tuple[Any, ...]] = Counter()
        self._graphs: OrderedDict[tuple[Any, ...], _Graph] = OrderedDict()
        self._pool: Any = None
        self._replayed: torch.cuda.Event | None = None

    def __call__(self, inputs: list[Tensor]) -> Tensor:
        if torch.is_autocast_enabled("cuda"):
            return self._compute(*(value.to(self._device) for value in inputs))
        key = tuple((value.shape, value.dtype) for value in inputs)
        if (graph := self._graphs.get(key)) is not None:
            self._graphs.move_to_end(key)
            return self._replay(graph, inputs)
        inputs = [value.to(self._device) for value in inputs]
        self._uses[key] += 1
        if self._uses[key] == 2 and self.weights.are_plain:
            try:
                self._capture(key, inputs)
            except torch.OutOfMemoryError:
                torch.cuda.empty_cache()
            else:
                return self._replay(self._graphs[key], inputs)
        return self._compute(*inputs)

    def _replay(self, graph: "_Graph", inputs: list[Tensor]) -> Tensor:
        """Replay a graph after the earlier replays of all streams, because graphs share memory."""
        if self._replayed is None:
            self._replayed = torch.cuda.Event()  # type: ignore[no-untyped-call]
        torch.cuda.current_stream().wait_event(self._replayed)
        output = graph(inputs)
        self._replayed.record()
        return output

    def _capture(self, key: tuple[Any, ...], inputs: list[Tensor]) -> None:
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        if len(self._graphs) == MAX_GRAPHS:
            oldest, _ = self._graphs.popitem(last=False)
            del self._uses[oldest]
        self._graphs[key] = _Graph(self._compute, inputs, self._pool)


class _Graph:
    """A captured function with its own inputs and output."""

    def __init__(self, compute: Compute, inputs: list[Tensor], pool: Any) -> None:
        self._inputs = [value.clone() for value in inputs]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries allocate their workspaces at the first call
            compute(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._output = compute(*self._inputs)

    def __call__(self, inputs: list[Tensor]) -> Tensor:
        for target, value in zip(self._inputs, inputs, strict=True):
            target.copy_(value, non_blocking=True)
        self._graph.replay()
        return self._output.clone()


_PREPARED: WeakKeyDictionary[GFFusionModel, _Prepared] = WeakKeyDictionary()
_LOCK = threading.Lock()


# Attributes of layers that the kernels copy, or that a graph keeps.
_SETTINGS = ("eps", "negative_slope", "padding_mode", "padding", "stride", "dilation", "groups")
# Fields of the configuration that a graph keeps.
_FIELDS = ("paradigm", "color_space", "semantic_layers", "clip_image_size")


class _Weights:
    """Trained weights, and the addresses of the encoder's, to detect changes."""

    def __init__(self, model: GFFusionModel) -> None:
        parts = [getattr(model, name) for name in ("funet", "finet") if hasattr(model, name)]
        self._modules = [module for part in parts for module in part.modules()]
        # Dictionaries of the modules, because all in them can be replaced; reading all of a model takes longer than a graph.
        self._holders = [holder for module in self._modules for holder in (module._parameters, module._buffers)]
        self._encoder = list(model.clip.modules()) if hasattr(model, "clip") else []
        self._encoder_holders = [
            part for module in self._encoder for part in (module._parameters, module._buffers) if part
        ]
        modules = (*self._modules, *self._encoder)
        self._children = [(holder, dict(holder)) for holder in (module._modules for module in modules)]
        self._settings = [
            (vars(module), name) for module in self._modules for name in _SETTINGS if name in vars(module)
        ]
        values = [value.detach() for value in (*model.funet.parameters(), *model.funet.buffers())]
        # Views of the values, which are those of the model as long as their places are.
        self._copied = [
            value.view(-1) if value.is_contiguous() else value for value in values if value.is_floating_point()
        ]
        self.are_plain = self._are_plain()
        self._parts, self._state, self._values = self._find_parts(model), self._read(), self._read_values()

    def are_unchanged(self, model: GFFusionModel) -> bool:
        """Return whether tensors, their values, the configuration, settings, modes and hooks are the same.

        FuNet's values are compared, because kernels have copies of them, and changes by `.data` or of inference tensors have no
        version.
        """
        are_same = self._find_parts(model) == self._parts and all(holder == known for holder, known in self._children)
        return are_same and self._read() == self._state and torch.equal(self._read_values(), self._values)

    @staticmethod
    def _find_parts(model: GFFusionModel) -> list[Any]:
        fields = (repr(getattr(model.config, name)) for name in _FIELDS)  # as texts, because lists change in place
        return [*(model._modules.get(name) for name in ("funet", "finet", "clip")), *fields]

    def _are_plain(self) -> bool:
        return all(map(is_plain, self._modules)) and all(map(_is_plain_encoder, self._encoder))

    def _read(self) -> list[Any]:
        values = (value for holder in self._holders for value in holder.values())
        places = [
            None if value is None else (value.data_ptr(), 0 if value.is_inference() else value._version)
            for value in values
        ]
        # A graph reads the encoder's values where they are, so that only their addresses count.
        addresses = (_find_address(value) for holder in self._encoder_holders for value in holder.values())
        return [self._are_plain(), *places, *addresses, *(holder.get(name) for holder, name in self._settings)]

    def _read_values(self) -> Tensor:
        return torch.cat([value.reshape(-1) for value in self._copied])


def _find_address(value: Tensor | None) -> int | None:
    """Return the address of a weight, or the number of its object if it has no memory of its own, as sparse ones."""
    if value is None:
        return None
    try:
        return value.data_ptr() or id(value)
    except RuntimeError:
        return id(value)


def _is_plain_encoder(module: torch.nn.Module) -> bool:
    """Return whether a module of CLIP is of a known class, and has no hooks and no replaced methods.

    The hooks by which transformers collects hidden states, from the first call on, are allowed: a graph holds their result.
    """
    for hook in (*module._forward_hooks.values(), *module._forward_pre_hooks.values()):
        if not str(getattr(hook, "__module__", "")).startswith("transformers."):
            return False
    return has_known_code(module)


def _make_compute(model: GFFusionModel) -> Compute:
    """Return the function of images, and maybe tokens, that a graph captures. It must not refer to the model strongly."""
    config, funet = model.config, model.funet
    encode = None if config.paradigm == "cascading" else _make_encoder(model)
    finet = getattr(model, "finet", None)
    dtype, is_luma = model.fusion_dtype, config.color_space == "ycbcr"
    kernels = _find_kernels(model)

    def compute(visible: Tensor, infrared: Tensor, tokens: Tensor | None = None) -> Tensor:
        projections = None
        if encode is not None and finet is not None:
            tokens = encode(visible, infrared) if tokens is None else tokens
            _, projections = finet(tokens, config.clip_grid)
        if kernels is not None and kernels.fits(*infrared.shape[-2:]):
            return kernels(visible, infrared, projections)
        source = (rgb_to_luma(visible) if is_luma else visible).to(dtype)
        infrared = infrared.to(dtype)
        features = funet.encode(source, infrared)
        if projections is not None and finet is not None:
            features, _ = finet.inject(features, upsample(projections, (features.shape[-2], features.shape[-1])))
        return funet.decode(features, source, infrared, funet.compute_context(source, infrared))

    return compute


def _make_encoder(model: GFFusionModel) -> Compute:
    """Return [`GFFusionModel.encode_semantics`] without copies from the host, which graphs cannot capture."""
    config, clip = model.config, model.clip
    size, layers = config.clip_size, config.semantic_layers
    mean, std = (
        torch.tensor(values, dtype=torch.float32, device=model.device).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD)
    )
    is_resized = size != [config.clip_config.image_size] * 2

    def encode(visible: Tensor, infrared: Tensor) -> Tensor:
        resized = [resize_bicubic(image.float(), size) for image in (visible, infrared)]
        pixels = torch.cat([resized[0], resized[1].expand_as(resized[0])]).clamp(0, 1)
        outputs = clip(
            ((pixels - mean) / std).to(clip.dtype), interpolate_pos_encoding=is_resized, output_hidden_states=True
        )
        states = torch.stack([outputs.hidden_states[layer] for layer in layers], dim=1)
        return torch.maximum(*states[:, :, 1:].chunk(2))  # (B, L, N, D), without class token

    return encode


def _find_kernels(model: GFFusionModel) -> Any:
    """Return FuNet's kernels, or `None` if its weights are not in half precision, or Triton is missing or fails."""
    try:
        from .triton_funet import TritonFuNet, supports  # Triton is only part of torch's CUDA builds for Linux

        if not supports(model):
            return None
        kernels = TritonFuNet(model.funet, is_luma=model.config.color_space == "ycbcr")
        blank = torch.zeros(1, 3, 32, 32, dtype=torch.float32, device=model.device)
        kernels(blank, blank[:, :1])
    except ImportError:
        return None
    except Exception as error:  # compilers fail in many ways, and the result does not depend on Triton
        logger.warning_once(f"FuNet is computed by torch, because Triton does not work here: {error}")
        return None
    return kernels
