"""Compare the weights of a checkpoint with the architecture, before they are read and after."""

import math
import os
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers.initialization import no_init_weights

from .json_files import MAX_JSON_BYTES

Model = TypeVar("Model", bound=nn.Module)

# Their names in safetensors files.
_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_SHOWN = 3
_QUANTIZED = ("torch.ao.nn.quantized.", "torch.ao.nn.intrinsic.quantized.")  # modules whose weights are no parameters

# Names that PEFT gives to the layers that it wraps.
_WRAPPED = re.compile(r"(.+)\.(base_layer|original_module)\.")


class Stored(NamedTuple):
    """Type and shape of a tensor in a file: "F32", "I64", ..."""

    dtype: str
    shape: tuple[int, ...]


class MisfitError(OSError):
    """Weights and configuration do not fit to each other.

    Attributes:
        needs_new_parts: Whether `ignore_mismatched_sizes=True` would help.
        has_adapters: Whether the checkpoint has the weights of adapters.
    """

    needs_new_parts = False
    has_adapters = False


def read_headers(paths: Sequence[str | os.PathLike[str]]) -> dict[str, Stored]:
    """Return the tensors in safetensors files, by name, without reading them; raise OSError if one is in two files."""
    found: dict[str, Stored] = {}
    for path in paths:
        check_header_size(path)
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118, it is no dictionary
                if name in found:
                    raise OSError(f"the tensor {name!r} is in two files, {os.fspath(path)!r} is one of them")
                part = file.get_slice(name)
                found[name] = Stored(part.get_dtype(), tuple(part.get_shape()))
    return found


def check_header_size(path: str | os.PathLike[str]) -> None:
    """Raise OSError if the header of a safetensors file is too large to be parsed in a short time."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if MAX_JSON_BYTES < size <= os.path.getsize(path):  # a longer one is damaged
        raise OSError(f"{os.fspath(path)} has a header of {size:,} bytes, more than {MAX_JSON_BYTES:,}")


def describe_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Stored]:
    """Return the types and shapes of tensors as [`read_headers`] does."""
    kinds = {dtype: kind for kind, dtype in _FLOATS.items()}
    return {
        name: Stored(kinds.get(value.dtype, "F32" if value.is_floating_point() else "I64"), tuple(value.shape))
        for name, value in tensors.items()
    }


LOADING = threading.RLock()
"""Held while models are loaded: meanwhile, transformers replaces functions of torch, which threads would not put back."""


def build_on_meta(model_class: type[Model], config: Any) -> Model:
    """Return a model without memory, to know the names and shapes of its weights."""
    with LOADING, no_init_weights(), torch.device("meta"):
        return model_class(config)


def find_new_parts(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Stored],
    parts: Collection[str] = (),
    ignored: Collection[str] = (),
) -> set[str]:
    """Return the weights of `parts` of a model that a checkpoint lacks or has in another shape; raise MisfitError for all others.

    Parts of the model that may be new, such as `"ssnet."`, are in `parts`; `ignored` has parts of the checkpoint that the model
    does not have.
    """
    problems, new = [], set()
    for name, value in expected.items():
        problem = _compare(value, found.get(name))
        if problem is not None and name.startswith(tuple(parts)):
            new.add(name)
        elif problem is not None:
            problems.append(f"{name!r} {problem}")
    unexpected = sorted(found.keys() - expected.keys())
    problems += [f"{name!r} is not expected" for name in unexpected if not name.startswith(tuple(ignored))]
    if problems:
        error = MisfitError(f"the weights do not fit the configuration: {_list(problems)}")
        error.has_adapters = bool(find_wrapped(found))
        raise error
    return new


def find_wrapped(weights: Iterable[str]) -> list[str]:
    """Return the layers that PEFT or alike wrapped to add adapters, by the names of weights.

    Examples:
        >>> find_wrapped(["finet.feature_projection.base_layer.weight", "finet.gate_projection.weight"])
        ['finet.feature_projection']
    """
    return sorted({match[1] for match in map(_WRAPPED.match, weights) if match})


def find_adapters(model: Any) -> list[str]:
    """Return the layers of a model of transformers to which adapters were added after its class had built it."""
    wrapped = find_wrapped(model.state_dict())
    own = find_wrapped(build_on_meta(type(model), model.config).state_dict()) if wrapped else []
    return [layer for layer in wrapped if layer not in own]


def leave_out_renamed(
    prefix: str, expected: Mapping[str, Tensor], found: Mapping[str, Stored]
) -> tuple[dict[str, Tensor], dict[str, Stored]]:
    """Return weights without those of a part that have other names but the same types and shapes in the checkpoint.

    transformers maps the names of encoders on the Hub to those of its modules; [`check_loaded`] checks the result.
    """
    theirs = {name: part for name, part in found.items() if name.startswith(prefix)}
    ours = {name: part for name, part in describe_tensors(expected).items() if name.startswith(prefix)}
    is_renamed = ours.keys() != theirs.keys() and all(part.dtype in _FLOATS for part in theirs.values())
    if is_renamed and sorted(part.shape for part in ours.values()) == sorted(part.shape for part in theirs.values()):
        expected = {name: value for name, value in expected.items() if name not in ours}
        found = {name: part for name, part in found.items() if name not in theirs}
    return dict(expected), dict(found)


def check_loaded(lost: Collection[str]) -> None:
    """Raise OSError if weights of a model were not loaded, with their names."""
    if lost:
        raise OSError(f"weights are missing or have another shape: {_list(sorted(map(repr, lost)))}")


def is_quantized(weight: Any) -> bool:
    """Return whether a value of a state dict is a quantized tensor, as of torchao and quanto, or packed by `torch.ao`.

    Such values lack operations such as sums.
    """
    return not isinstance(weight, Tensor) or type(weight).dequantize is not Tensor.dequantize or weight.is_quantized


def find_quantized(model: nn.Module) -> list[str]:
    """Return the names of quantized layers, whose weights cannot be trained or saved."""
    return [
        name
        for name, module in model.named_modules()
        if type(module).__module__.startswith(_QUANTIZED) or any(map(is_quantized, module.parameters(recurse=False)))
    ]


def _compare(value: Tensor, found: Stored | None) -> str | None:
    """Return what is wrong with a stored weight."""
    if found is None:
        return "is missing"
    if found.shape != tuple(value.shape):
        return f"has the shape {list(found.shape)} instead of {list(value.shape)}"
    if value.is_floating_point() != (found.dtype in _FLOATS):
        return (
            f"has the type {found.dtype} instead of {'floating point' if value.is_floating_point() else 'an integer'}"
        )
    return None


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise OSError, which names the weight, if one is NaN or infinite."""
    wrong = [
        f"{name!r}" for name, value in weights.items() if value.is_floating_point() and not torch.isfinite(value).all()
    ]
    if wrong:
        raise OSError(f"weights are NaN or infinite: {_list(wrong)}")


def check_encoder_files(paths: Sequence[str | os.PathLike[str]], model_class: Any, config: Any) -> None:
    """Raise OSError unless files hold floating-point numbers, and enough for an encoder, before memory is allocated."""
    found = read_headers(paths)
    # CLIP stores the indices of its positions.
    integers = [
        name for name, stored in found.items() if stored.dtype not in _FLOATS and not name.endswith("position_ids")
    ]
    if integers:
        raise OSError(f"the weight {min(integers)!r} has the type {found[min(integers)].dtype}")
    wanted = sum(value.numel() for value in build_on_meta(model_class, config).state_dict().values())
    stored = sum(math.prod(part.shape) for part in found.values())
    if wanted > 2 * stored + 10**7:  # less is reported by the names of the missing weights
        raise OSError(f"it holds {stored:,} numbers, but an encoder of this configuration has {wanted:,}")


def _list(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_SHOWN]) + (f", and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
