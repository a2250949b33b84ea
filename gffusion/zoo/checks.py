"""Validate `model` and `image_processor` arguments."""

import os
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.saving_checks import describe_misfit
from gffusion.models.gffusion.weight_checks import find_adapters

_SAVES_ALL = "FrozenBackboneModel.save_pretrained"  # also that of remote code


def check_model_object(model: Any, can_be_exported: bool = False) -> None:
    """Raise ValueError unless this is a [`GFFusionModel`], or a wrapper that has its attributes, as those of `torch.compile` and PEFT.

    Args:
        model: What a caller passed.
        can_be_exported: Whether an [`OnnxModel`][gffusion.export.running.OnnxModel] is allowed as well.
    """
    if _is_ours(model) and (can_be_exported or not is_exported(model)):
        return
    allowed = "a GFFusionModel, as `create_model` and `GFFusionModel.from_pretrained` return it"
    if can_be_exported:
        allowed += ", or an OnnxModel"
    raise ValueError(f"`model` must be {allowed}, got {describe_argument(model)}: {_advise(model)}.")


def check_processor_object(image_processor: Any) -> None:
    """Raise ValueError unless this is a [`GFFusionImageProcessor`], also of a class of remote code."""
    if isinstance(image_processor, type) or not hasattr(image_processor, "post_process_fusion"):
        raise ValueError(
            "`image_processor` must be a GFFusionImageProcessor, as `load_image_processor` and `GFFusionImageProcessor.from_pretrained` "
            f"return it, got {describe_argument(image_processor)}."
        )


def check_can_be_saved(model: Any) -> None:
    """Raise ValueError unless `save_pretrained` of this model writes all that `from_pretrained` loads.

    Models of `torch.compile` do. Other wrappers, such as those of PEFT, write files of their own, adapters in layers give
    weights other names, and replaced layers may not be those of the configuration. A class with a `save_pretrained` of its own may
    leave such layers out.
    """
    check_model_object(model)
    inner = getattr(model, "_orig_mod", model)  # of a compiled model
    is_ours = isinstance(inner, PreTrainedModel)
    layers = find_adapters(inner) if is_ours else []
    if layers or not is_ours:
        found = f"one with adapters, first in {layers[0]!r}" if layers else "which wraps one and saves other files"
        raise ValueError(
            f"`model` must be a GFFusionModel itself, because all of it is saved, got {describe_argument(model)}, {found}: merge adapters first, "
            "such as by `merge_and_unload()` of a PeftModel, which returns a GFFusionModel. To train adapters, use a loop of your own."
        )
    saves_all = type(inner).save_pretrained.__qualname__ == _SAVES_ALL
    if saves_all and (misfit := describe_misfit(inner)):
        raise ValueError(f"Saved weights of `model` could not be loaded: {misfit}")


def is_exported(model: Any) -> bool:
    """Return whether a model is an exported file, which is run as a whole; one of `torch.compile` has its parts."""
    return not hasattr(model, "funet")


def _is_ours(model: Any) -> bool:
    """Return whether a model has the configuration of ours; classes of remote code and wrappers are others."""
    config = getattr(model, "config", None)
    is_ours = isinstance(config, GFFusionConfig) or getattr(config, "model_type", None) == GFFusionConfig.model_type
    return isinstance(model, nn.Module) and is_ours


def describe_argument(value: Any) -> str:
    """Return what was passed for an object, such as a path or a class."""
    if isinstance(value, str | os.PathLike):
        return f"the {type(value).__name__} {os.fspath(value)!r:.200}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"


def _advise(model: Any) -> str:
    if isinstance(model, str | os.PathLike):
        return f"load it first, by `create_model({os.fspath(model)!r:.200})`"
    # Of ours, only exported files are refused.
    if _is_ours(model) or isinstance(
        model, torch.export.ExportedProgram | torch.jit.ScriptModule | torch.fx.GraphModule
    ):
        return "use the model that it was exported from"
    if _is_ours(getattr(model, "module", None)):
        return "pass its `module`; several GPUs are used by `accelerate launch`"
    if isinstance(model, type):
        return "pass an instance, as `create_model()` returns it"
    return "other networks cannot be used; `gffusion.evaluation.evaluate` compares images that they fused (`fused`)"
