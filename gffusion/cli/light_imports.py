"""Import transformers without parts that fusing images never runs, which take more than a second.

These parts are the list of all its models, losses, downloads, accelerate, and SciPy's optimizers. They are imported when
something uses them ([`defer_modules`]). Only commands use this, because it changes what this process imports, and when.
"""

import gc
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from .deferred_modules import Location, defer_modules, stand_for

# The first and last version, major and minor, whose modules can be imported in another order. Others are imported whole.
_KNOWN = ((5, 22), (5, 24))
_LOSSES = {
    "d_fine": "DFineForObjectDetectionLoss",
    "deformable_detr": "DeformableDetrForObjectDetectionLoss DeformableDetrForSegmentationLoss",
    "deimv2": "Deimv2ForObjectDetectionLoss",
    "for_object_detection": "ForObjectDetectionLoss ForSegmentationLoss",
    "grounding_dino": "GroundingDinoForObjectDetectionLoss",
    "lw_detr": "LwDetrForObjectDetectionLoss",
    "rf_detr": "RfDetrForSegmentationLoss",
    "rt_detr": "RTDetrForObjectDetectionLoss",
}
_PAGED = "transformers.generation.continuous_batching"
_TRANSFORMERS: dict[str, dict[str, Any]] = {
    "transformers": {
        "AutoConfig": Location("transformers.models.auto.configuration_auto", "AutoConfig"),
        "AutoImageProcessor": Location("transformers.models.auto.image_processing_auto", "AutoImageProcessor"),
        "AutoModel": Location("transformers.models.auto.modeling_auto", "AutoModel"),
        "CLIPVisionConfig": Location("transformers.models.clip.configuration_clip", "CLIPVisionConfig"),
        "CLIPVisionModel": Location("transformers.models.clip.modeling_clip", "CLIPVisionModel"),
        "Dinov2Config": Location("transformers.models.dinov2.configuration_dinov2", "Dinov2Config"),
        "Dinov2Model": Location("transformers.models.dinov2.modeling_dinov2", "Dinov2Model"),
        "PreTrainedConfig": Location("transformers.configuration_utils", "PreTrainedConfig"),
        "PreTrainedModel": Location("transformers.modeling_utils", "PreTrainedModel"),
        "initialization": Location("transformers.initialization"),
    },
    "transformers.models": {},
    "transformers.safetensors_conversion": stand_for("transformers.safetensors_conversion", "auto_conversion"),
    _PAGED: stand_for(f"{_PAGED}.cache", "PagedAttentionCache"),
    f"{_PAGED}.cache": stand_for(f"{_PAGED}.cache", "PagedAttentionCache"),
    **{f"transformers.loss.loss_{name}": stand_for(f"transformers.loss.loss_{name}", loss) for name, loss in _LOSSES.items()},
    "accelerate": stand_for("accelerate", "dispatch_model"),
    "accelerate.hooks": stand_for("accelerate.hooks", "add_hook_to_module"),
    "accelerate.utils": stand_for("accelerate.utils", "extract_model_from_parallel get_balanced_memory get_max_memory infer_auto_device_map"),
    "accelerate.utils.modeling": stand_for("accelerate.utils.modeling", "clean_device_map get_max_layer_size"),
    "huggingface_hub.hf_api": stand_for("huggingface_hub.hf_api", "HfApi"),
    "huggingface_hub.repocard": stand_for("huggingface_hub.repocard", "ModelCard"),
    "huggingface_hub._commit_api": stand_for("huggingface_hub._commit_api", "CommitOperationAdd"),
    "huggingface_hub._snapshot_download": stand_for("huggingface_hub._snapshot_download", "snapshot_download"),
}  # fmt: skip


@contextmanager
def paused_collection() -> Iterator[None]:
    """Look for no unused objects: importing and loading leave hardly any, and each look takes longer than the one before."""
    if not gc.isenabled():
        yield
        return
    is_imported = "torch" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if not is_imported:
            gc.freeze()  # what was imported stays; only once, as a second call would keep the unused objects of the first
        gc.enable()


def import_transformers() -> None:
    """Import our model and the parts of transformers that it needs.

    It does nothing if one of the parts is imported already, the version of transformers is not known, or this is one of several
    processes of `accelerate launch`. Later imports of the parts work as usual.
    """
    parts = {"transformers", "accelerate", "scipy.optimize", "torch._dynamo"}
    if parts & sys.modules.keys() or "WORLD_SIZE" in os.environ or not _is_known():
        return
    before = set(sys.modules)
    modules = _TRANSFORMERS | {
        "transformers": {**_TRANSFORMERS["transformers"], "__version__": importlib.metadata.version("transformers")}
    }
    try:
        with defer_modules(modules), _replaced_parts():
            importlib.import_module("gffusion.models.gffusion.modeling_gffusion")
    except (ImportError, AttributeError, TypeError):  # a version of transformers that uses more of the parts
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in ("transformers", "accelerate") or name.startswith("gffusion.models"):
                del sys.modules[name]


def _is_known() -> bool:
    """Return whether the installed version of transformers is one of those in `_KNOWN`."""
    first, last = _KNOWN
    major, minor = map(int, importlib.metadata.version("transformers").split(".")[:2])
    return first <= (major, minor) <= last


@contextmanager
def _replaced_parts() -> Iterator[None]:
    """Let torch report that it was built without distributed tensors, and replace parts by what their importers need."""
    import torch.distributed
    import transformers.utils
    import transformers.utils.import_utils

    def find_transformers(*_: Any) -> ModuleType:
        return sys.modules["transformers"]  # which is deferred, instead of a second copy that runs

    indexing = "torch._dynamo._trace_wrapped_higher_order_op"
    shapes = "torch.fx.experimental.symbolic_shapes"
    parts: dict[str, dict[str, Any]] = {
        # Decorators that only concern compiled functions.
        "torch._dynamo": dict.fromkeys(("allow_in_graph", "assume_constant_result", "disable"), _decorate_nothing),
        indexing: stand_for(indexing, "TransformGetItemToIndex"),
        shapes: stand_for(shapes, "has_free_unbacked_symbols"),  # used by flex attention; imports SymPy
    }
    is_available = torch.distributed.is_available
    copies = [
        (module, module.direct_transformers_import) for module in (transformers.utils, transformers.utils.import_utils)
    ]
    torch.distributed.is_available = lambda: False
    try:
        for module, _ in copies:
            module.direct_transformers_import = find_transformers
        with _modules(parts):
            yield
    finally:
        torch.distributed.is_available = is_available
        for module, function in copies:
            module.direct_transformers_import = function


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


def _decorate_nothing(function: Any = None, *args: Any, **kwargs: Any) -> Any:
    return function if callable(function) else _decorate_nothing
