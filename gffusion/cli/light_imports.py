"""Import transformers without parts that fusing images never runs. They take half of the time to the first image.

These parts are the compiler of torch, distributed tensors, and SciPy's optimizers. transformers imports the first for
decorators, and the others for losses and training. Only commands use this, because it changes what this process can import.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# Module -> names of functions and classes in it that are imported when they are first called.
_DEFERRED: dict[str, tuple[str, ...]] = {
    "scipy.optimize": ("linear_sum_assignment",),
    "torch._dynamo._trace_wrapped_higher_order_op": ("TransformGetItemToIndex",),
}
# Decorators that only concern compiled functions.
_DECORATORS = {"torch._dynamo": ("allow_in_graph", "assume_constant_result", "disable")}


def import_transformers() -> None:
    """Import our model and the parts of transformers that it needs.

    It does nothing if one of the parts is imported already, or this is one of several processes of `accelerate launch`.
    Later imports of the parts work as usual.
    """
    parts = {"transformers", "scipy.optimize", "torch._dynamo"}
    if parts & sys.modules.keys() or "WORLD_SIZE" in os.environ:
        return
    before = set(sys.modules)
    try:
        with _replaced_parts():
            importlib.import_module("gffusion.models.gffusion.modeling_gffusion")
    except (ImportError, AttributeError, TypeError):  # a version of transformers that uses more of the parts
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("transformers", "accelerate") or name.startswith("gffusion.models"):
                del sys.modules[name]


@contextmanager
def _replaced_parts() -> Iterator[None]:
    """Replace the parts by small modules, and let torch report that it was built without distributed tensors."""
    import torch.distributed

    parts: dict[str, dict[str, Any]] = {name: {} for name in _DEFERRED.keys() | _DECORATORS.keys()}
    for name, attributes in _DEFERRED.items():
        parts[name].update({attribute: _defer(name, attribute) for attribute in attributes})
    for name, attributes in _DECORATORS.items():
        parts[name].update(dict.fromkeys(attributes, _decorate_nothing))
    is_available = torch.distributed.is_available
    torch.distributed.is_available = lambda: False
    try:
        with _modules(parts):
            yield
    finally:
        torch.distributed.is_available = is_available


@contextmanager
def skip_meta_values() -> Iterator[None]:
    """Compute no values on the device "meta", on which models are created before their weights are loaded.

    There are no values on this device, but to draw random ones, torch imports its compiler, and SymPy to check arguments.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Mode(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if getattr(func, "__name__", "") == "normal_":  # of torch.nn.init
                tensor = args[0] if args else kwargs["tensor"]
                return tensor if tensor.is_meta else func(*args, **kwargs)
            if func is torch.empty_like and args[0].is_meta:
                return torch.empty(args[0].shape, **{"dtype": args[0].dtype, "device": "meta", **kwargs})
            if str(kwargs.get("device")) == "meta" and len(args) == 1:
                if func is torch.arange:
                    return torch.empty(args[0], dtype=torch.int64, device="meta")
                func = torch.empty if func is torch.randn else func
            return func(*args, **kwargs)

    with Mode():
        yield


@contextmanager
def _modules(modules: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Let modules that are not imported yet have some attributes only."""
    added = modules.keys() - sys.modules.keys()
    for name in added:
        sys.modules[name] = module = ModuleType(name)
        module.__path__ = []
        vars(module).update(modules[name])
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def _defer(module: str, name: str) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


def _decorate_nothing(function: Any = None, *args: Any, **kwargs: Any) -> Any:
    return function if callable(function) else _decorate_nothing
