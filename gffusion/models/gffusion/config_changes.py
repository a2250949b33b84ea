"""Detect changes of a model's configuration that its networks, which were built before, do not follow."""

import copy
from collections.abc import Collection
from typing import Any

from torch import nn

from .config_limits import ENCODER_LIMITS
from .weight_checks import build_on_meta

# Networks are built with these. All other fields can be changed later.
_NETWORK_FIELDS = (
    "paradigm",
    "use_segmenter",
    "num_labels",
    "color_space",
    "stem_channels",
    "feature_channels",
    "decoder_channels",
    "leaky_relu_slope",
    "pixel_unshuffle",
    "context_channels",
    "blend_sources",
    "merging",
    "num_groups",
    "group_kernel_size",
    "semantic_layers",
    "segmenter_layers",
)

# Of those, the fields that do not show in the shapes of weights.
_WITHOUT_SHAPE = ("leaky_relu_slope", "num_attention_heads")


def copy_network_fields(config: Any) -> dict[str, Any]:
    """Return the fields that networks are built with, for [`check_network_fields`]."""
    encoders = [name for name in ("clip", "dinov2") if getattr(config, f"needs_{name}")]
    sizes = [f"{name}_config.{size}" for name in encoders for size in ENCODER_LIMITS]
    return {field: copy.deepcopy(_read(config, field)) for field in (*_NETWORK_FIELDS, *sizes)}


def check_network_fields(model: nn.Module, config: Any, built: dict[str, Any]) -> None:
    """Raise ValueError if networks contradict the configuration, with which their weights would be loaded as another model.

    `built` has the fields that they were built with. Networks that were replaced since are compared by their weights.
    """
    changed = [field for field in built if _read(config, field) != built[field]]
    if not changed:
        return
    if not any(field.endswith(_WITHOUT_SHAPE) for field in changed) and _has_weights_of(model, config, changed):
        return
    changes = ", ".join(f"`{field}` from {built[field]!r} to {_read(config, field)!r}" for field in changed)
    raise ValueError(
        f"The model cannot be saved: its configuration was changed ({changes}), but not its networks, which were built before. Undo "
        "the change. To get another model, create it by `GFFusionModel(config)` or "
        "`GFFusionModel.from_backbones`; one without a segmenter is loaded with `use_segmenter=False`."
    )


def _read(config: Any, field: str) -> Any:
    """Return a field of a configuration, or one of an encoder such as "clip_config.hidden_size"."""
    part, _, name = field.rpartition(".")
    return getattr(getattr(config, part) if part else config, name, None)


def _has_weights_of(model: nn.Module, config: Any, changed: Collection[str]) -> bool:
    """Return whether a model has the weights of a new one of this configuration, by name and shape."""
    try:
        config.validate()
        expected = build_on_meta(type(model), config).state_dict()
    except (AttributeError, TypeError):  # the configuration of an encoder that the model does not have is missing
        return False
    found = model.state_dict()
    if "paradigm" not in changed and not config.needs_dinov2:  # loading leaves out the encoder of a removed segmenter
        found = {name: value for name, value in found.items() if not name.startswith("dinov2.")}
    shapes = [{name: value.shape for name, value in state.items()} for state in (expected, found)]
    return shapes[0] == shapes[1]
