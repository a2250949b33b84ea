"""The frozen encoders: their classes, which of them a model has, and checks of their files."""

import os
from collections.abc import Collection
from typing import Any

from transformers import CLIPVisionModel, Dinov2Model, PreTrainedConfig, PreTrainedModel
from transformers.utils import CONFIG_NAME, cached_file

from .config_limits import check_encoder_sizes, name_file_in_errors, read_json_object
from .weight_checks import check_encoder_files
from .weight_files import explained, locate_weights

BACKBONE_CLASSES: dict[str, type[PreTrainedModel]] = {"clip": CLIPVisionModel, "dinov2": Dinov2Model}

_TYPES = {"clip": ("clip", "clip_vision_model"), "dinov2": ("dinov2",)}  # in config.json
_EXAMPLES = {
    "clip": "CLIPModel or CLIPVisionModel of transformers, such as openai/clip-vit-base-patch16",
    "dinov2": "Dinov2Model of transformers, without registers, such as facebook/dinov2-base",
}


def check_given_encoders(plan: Any, given: Collection[str], argument: str = "{}", may_lack: bool = False) -> None:
    """Raise ValueError if encoders are given that a model does not have, or, unless it `may_lack` them, are missing.

    Args:
        plan: Configuration with the paradigm of the model, and whether it has a segmenter.
        given: Names of encoders.
        argument: Name of the argument that gives an encoder, with a place for the name of the encoder.
        may_lack: Whether encoders can come from elsewhere.
    """
    options = f"paradigm={plan.paradigm!r} and use_segmenter={plan.use_segmenter}"
    problems = []
    for name in BACKBONE_CLASSES:
        field, is_needed = f"`{argument.format(name)}`", getattr(plan, f"needs_{name}")
        if is_needed and name not in given and not may_lack:
            problems.append(f"{field} is missing: a model with {options} needs it. Give its Hub id or folder.")
        if not is_needed and name in given:
            problems.append(
                f"{field} gives an encoder that a model with {options} does not have: leave it out, or change these "
                "fields of the configuration."
            )
    if problems:
        raise ValueError(" ".join(problems))


def explain_move(name: str) -> str:
    """Return the advice for an encoder that was not found."""
    return f"If it has moved, pass {name}_name_or_path or {name}_revision."


def read_encoder_config(name: str, source: str, **request: Any) -> PreTrainedConfig:
    """Read the configuration of an encoder from a folder or the Hub.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is that of another kind of model, or a size is wrong.
    """
    with explained(f"the frozen {name} encoder", source, explain_move(name)):
        if os.path.isdir(source) and not os.path.isfile(os.path.join(source, CONFIG_NAME)):
            raise FileNotFoundError(f"the folder has no {CONFIG_NAME}.")
        found = read_json_object(cached_file(source, CONFIG_NAME, **request)).get("model_type")
    if found not in _TYPES[name]:
        kind = f"the `model_type` {found!r}" if found else "no `model_type`, as those of timm"
        raise ValueError(
            f"{source!r} cannot be the {name} encoder: its {CONFIG_NAME} has {kind}. Allowed is "
            f"{' or '.join(map(repr, _TYPES[name]))}: {_EXAMPLES[name]}."
        )
    with name_file_in_errors(os.path.join(source, CONFIG_NAME)):
        config: PreTrainedConfig = BACKBONE_CLASSES[name].config_class.from_pretrained(source, **request)
        check_encoder_sizes(f"{name}_config", config)  # type: ignore[arg-type]
    return config


def check_encoder(name: str, source: str, config: PreTrainedConfig | None, request: dict[str, Any]) -> None:
    """Check kind and sizes of an encoder and the headers of its weights, before memory is allocated."""
    has_weights_alone = (
        config is not None and os.path.isdir(source) and not os.path.isfile(os.path.join(source, CONFIG_NAME))
    )
    found = config if has_weights_alone else read_encoder_config(name, source, **request)
    try:
        paths = locate_weights(source, **request)
    except OSError:  # the loader reports it, or finds converted weights
        return
    with explained(f"the frozen {name} encoder", source, explain_move(name)):
        check_encoder_files(paths, BACKBONE_CLASSES[name], found if config is None else config)
