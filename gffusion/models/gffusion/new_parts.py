"""Parts of a model that a checkpoint does not have, and parts of a checkpoint that a model does not use."""

import contextlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from transformers.utils import logging

from .config_limits import names_other_classes
from .encoders import BACKBONE_CLASSES
from .processes import is_main_process
from .weight_checks import MisfitError, Stored, build_on_meta, find_new_parts, leave_out_renamed

logger = logging.get_logger(__name__)

# Parts of a checkpoint that models of other options do not have.
_OPTIONAL_PARTS = ("clip", "dinov2", "finet", "ssnet")
_FINET = "finet."
_HEAD = "ssnet."
_NEW_PARTS = {_HEAD: "the segmentation head", _FINET: "FINet"}

NEW_PART_FIELDS = frozenset({"id2label", "num_labels", "use_segmenter", "segmenter_layers", "paradigm"})
"""Fields of the configuration that can ask for a new segmentation head or FINet."""

TRAINED_FIELDS = frozenset({"semantic_layers", "leaky_relu_slope"})
"""Fields that weights were trained with, but that do not show in their shapes."""


def leave_out_other_parts(
    found: dict[str, Stored],
    config: Any,
    asked_by: Sequence[str],
    source: str | os.PathLike[str],
    request: dict[str, Any],
) -> dict[str, Stored]:
    """Return the weights in the file without parts of the same shapes that arguments ask to replace.

    These are a head whose classes have other names, and a FINet that was trained on the features of another encoder.
    """
    saved = _read_saved_config(config, source, request) if asked_by else None
    if saved is None:
        return found
    default = type(config)()
    names = {"id2label": saved.get("id2label") or default.id2label}
    others = []
    if names_other_classes(names, {"id2label": config.id2label}):
        others.append(_HEAD)
    if saved.get("paradigm", default.paradigm) != config.paradigm:
        others.append(_FINET)
    return {name: value for name, value in found.items() if not name.startswith(tuple(others))}


def _read_saved_config(config: Any, source: str | os.PathLike[str], request: dict[str, Any]) -> dict[str, Any] | None:
    """Return the saved configuration, `None` if the configuration was given and lies elsewhere."""
    try:
        return type(config).get_config_dict(source, **request)[0]
    except OSError:
        return None


def refuse_new_parts(
    model_class: Any, config: Any, found: dict[str, Stored], included: Iterable[str], asked_by: Sequence[str]
) -> None:
    """Raise ValueError if arguments ask for a part that must be new, and nothing else is wrong with the weights."""
    try:
        new = find_new_weights(model_class, config, found, True, included)
    except OSError:  # raised again without the new parts
        return
    if new:
        raise ValueError(
            f"The weights do not have {_name_parts(new)} that {', '.join(asked_by)} asks for: pass ignore_mismatched_sizes=True "
            "to get a new one, which is untrained, or leave the argument out. To give the classes of a head other names, set "
            "`model.config.id2label`."
        )


def find_new_weights(
    model_class: Any, config: Any, found: dict[str, Stored], may_have_new_parts: bool, included: Iterable[str]
) -> set[str]:
    """Return the weights of new parts; raise OSError if others, or those of `included` encoders, do not fit the configuration."""
    expected = build_on_meta(model_class, config).state_dict()
    parts = {name.partition(".")[0] for name in expected}
    external = tuple(f"{name}." for name in BACKBONE_CLASSES.keys() - set(included))
    expected = {name: value for name, value in expected.items() if not name.startswith(external)}
    for encoder in BACKBONE_CLASSES:
        expected, found = leave_out_renamed(f"{encoder}.", expected, found)
    ignored = [f"{part}." for part in _OPTIONAL_PARTS if part not in parts]
    has_finet = any(name.startswith(_FINET) for name in found)
    can_be_new = [part for part in _NEW_PARTS if not (part == _FINET and has_finet)]
    try:
        return find_new_parts(expected, found, can_be_new if may_have_new_parts else [], ignored)
    except MisfitError as error:
        with contextlib.suppress(MisfitError):
            find_new_parts(expected, found, can_be_new, ignored)
            error.needs_new_parts = True
        raise


def warn_about_parts(
    source: str, config: Any, found: Mapping[str, Stored], new: set[str], asked_by: Collection[str] = ()
) -> None:
    """Warn about `new`, untrained weights of a model, and about weights `found` in the checkpoint that it does not use.

    A segmenter that the arguments `asked_by` leave out is no reason to warn.
    """
    if not is_main_process():
        return
    if new:
        logger.warning(
            f"Newly initialized, because {source} does not contain them: {_name_parts(new)}. Train the model before you use it."
        )
    is_unused = {
        _HEAD: not config.use_segmenter and not {"use_segmenter", "config"} & set(asked_by),
        _FINET: config.paradigm == "cascading",
    }
    unused = [name for name in found if any(name.startswith(part) for part in is_unused if is_unused[part])]
    if unused:
        advice = " Images differ from those of the saved model: train this one before you use it."
        logger.warning(
            f"Not used, because this configuration has no such part: {_name_parts(unused)} of {source}."
            f"{advice if is_unused[_FINET] else ''}"
        )


def warn_about_trained_fields(
    source: str | os.PathLike[str], config: Any, request: dict[str, Any], new: Collection[str]
) -> None:
    """Warn if the saved weights were trained with other values of [`TRAINED_FIELDS`] than those of a configuration.

    `new` has the names of the weights that were not saved.
    """
    if not is_main_process():
        return
    saved = _read_saved_config(config, source, request) or {}
    is_other_finet = config.semantic_config is None or saved.get("paradigm", type(config).paradigm) != config.paradigm
    is_new_finet = any(name.startswith(_FINET) for name in new)
    for name in sorted(TRAINED_FIELDS - ({"semantic_layers"} if is_other_finet or is_new_finet else set())):
        before, now = saved.get(name), getattr(config, name)
        if before not in (None, now):
            logger.warning(
                f"The weights of {os.fspath(source)!r} were trained with `{name}` {before}, but this model has {now}. Images differ "
                "from those of the saved model: train this one before you use it."
            )


def _name_parts(weights: Iterable[str]) -> str:
    names = list(weights)
    return " and ".join(label for prefix, label in _NEW_PARTS.items() if any(name.startswith(prefix) for name in names))
