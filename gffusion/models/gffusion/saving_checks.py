"""Checks of a model before it is saved: whether `from_pretrained` could load it."""

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor, nn
from transformers.utils import logging

from .encoders import BACKBONE_CLASSES
from .new_parts import find_new_weights
from .weight_checks import MisfitError, describe_tensors, find_adapters, find_quantized
from .wrappers import without_wrappers

logger = logging.get_logger(__name__)

_ADVICE = (
    "Name the classes of a new head in the configuration (`model.config.id2label`), create other layers in `__init__` of a subclass of "
    "GFFusionModel, whose `from_pretrained` loads them, and remove parametrizations and masks (`remove_parametrizations`, `prune.remove`)."
)


def refuse_quantized_and_offloaded(model: Any) -> None:
    """Raise ValueError if a saved model could not be loaded: files may not choose how weights are quantized."""
    if _is_quantized(model):
        raise ValueError(
            "A quantized model cannot be saved: save it before it is quantized, and pass `quantization_config` to "
            "`from_pretrained` to quantize it whenever it is loaded."
        )
    if any(weight.is_meta for weight in model.parameters()) and not hasattr(model, "hf_device_map"):
        raise ValueError(
            "The weights are offloaded, so that they cannot be saved: save the model before `cpu_offload` or `disk_offload`."
        )


def warn_about_misfit(model: Any, weights: Mapping[str, Tensor] | None) -> None:
    """Warn if a saved model could not be loaded. It is saved nevertheless: an error would lose what was trained."""
    if layers := find_adapters(model):
        logger.warning(
            f"Saving a model with adapters ({layers[0]!r}, ...), so that `from_pretrained` cannot load it: merge them first (`merge_and_unload()` "
            "of a PeftModel)."
        )
    elif misfit := describe_misfit(model, weights):
        logger.warning(f"Saving a model that `from_pretrained` cannot load: {misfit} Then save it again.")


def describe_misfit(model: Any, weights: Mapping[str, Tensor] | None = None) -> str:
    """Return why `from_pretrained` of the class of a model could not load its weights, and what to do, or an empty text.

    The model has no adapters; `weights` are saved instead of its own. Quantized models are not compared.
    """
    model = without_wrappers(model)
    if _is_quantized(model):
        return ""
    if shared := _find_shared(model, weights):
        return f"{' and '.join(map(repr, shared))} are one tensor. Copy it: every layer needs weights of its own."
    found = describe_tensors(model.state_dict() if weights is None else weights)
    included = BACKBONE_CLASSES.keys() & {name.partition(".")[0] for name in found}
    try:
        find_new_weights(type(model), model.config, found, False, included)
    except MisfitError as error:
        return f"{error}. {_ADVICE}"
    except Exception:  # a subclass may need other arguments, or files
        return ""
    return ""


def _is_quantized(model: Any) -> bool:
    return getattr(model, "hf_quantizer", None) is not None or bool(find_quantized(model))


def _find_shared(model: nn.Module, weights: Collection[str] | None) -> list[str]:
    """Return the names of a parameter that has several, without those that are not saved and encoders, which may be saved elsewhere."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        is_saved = weights is None or name in weights
        if is_saved and name.partition(".")[0] not in BACKBONE_CLASSES:
            names.setdefault(id(parameter), []).append(name)
    return next((shared for shared in names.values() if len(shared) > 1), [])
