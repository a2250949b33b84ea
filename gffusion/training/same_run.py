"""What a resumed run must share with the one before, so that it ends as if it had not been interrupted."""

import ast
import dataclasses
import hashlib
import inspect
import json
import logging
from collections.abc import Collection, Iterable
from typing import Any

from torch.utils.data import Dataset
from transformers import PreTrainedConfig

from gffusion._version import __version__
from gffusion.cameras import Rig
from gffusion.data import FusionDataset, RawFrame, ReadOptions, transforms
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.wrappers import without_wrappers
from gffusion.zoo.digest import digest_weights, hash_file

from .arguments import FusionTrainingArguments
from .card import IRRELEVANT
from .checked_dataset import read_item

logger = logging.getLogger(__name__)

_PAIRS, _OF_EVALUATION = "pairs", " of the evaluation"  # in descriptions of runs
_EVALUATED = _PAIRS + _OF_EVALUATION

DIGESTS = "weights of the encoders"
_LABELED, _TRAINED = "has labels", "trained parameters"  # these three are new in descriptions
_VERSION = "version of gffusion"
_INFRARED = "infrared options"
_IMAGE_SIZE = "size of a training image"

_ENCODERS = ("clip_config.", "dinov2_config.")  # their fields in descriptions

_FILES = "files"
_CONTENTS = {_FILES: "training", f"{_FILES}{_OF_EVALUATION}": "evaluation"}  # in descriptions -> data

_CLASSES = {"id2label", "label2id"}

# Fields of a configuration, and of the encoders in it, that do not affect the weights: those of all models, too.
_UNIMPORTANT = {"transformers_version", "backbone_weights", *PreTrainedConfig().to_dict()} - _CLASSES

# Options that can change when a run is resumed; `num_train_epochs` within limits, see `check_same_run`.
_FREE = IRRELEVANT | {"output_dir", "num_train_epochs", "save_steps", "dataloader_num_workers"}
_FREE |= {"eval_strategy", "eval_epochs", "eval_steps", "eval_metrics", "early_stopping_patience"}


def describe_run(
    arguments: FusionTrainingArguments,
    model: GFFusionModel,
    dataset: Dataset[dict[str, Any]],
    evaluation: Dataset[dict[str, Any]] | None,
    num_processes: int,
    reads_files: bool = True,
) -> dict[str, Any]:
    """Return everything that affects the weights of a run and which are the best, except weights that checkpoints hold.

    Of the content of files, only sizes and label maps are described. With several processes, only the one that warns about
    them and writes checkpoints needs to read them.
    """
    plain = without_wrappers(model)
    item, unimportant = read_item(dataset, 0), _UNIMPORTANT
    if not model.config.use_segmenter:
        unimportant = unimportant | _CLASSES  # such a run reads no label maps
    evaluated = {} if evaluation is None else _describe_data(evaluation, model.config.use_segmenter, reads_files)
    return {
        _VERSION: __version__,
        **{name: value for name, value in dataclasses.asdict(arguments).items() if name not in _FREE},
        "processes": num_processes,
        "tokens from a cache": arguments.token_cache is not None,  # cached tokens are rounded
        _IMAGE_SIZE: list(item["visible_values"].shape[1:]),
        _LABELED: "labels" in item and model.config.use_segmenter,
        _TRAINED: [name for name, value in plain.named_parameters() if value.requires_grad and "ssnet." not in name],
        DIGESTS: {name: digest_weights(encoder) for name, encoder in model.backbones.items()},
        **_describe_data(dataset, model.config.use_segmenter, reads_files),
        **{f"{name}{_OF_EVALUATION}": value for name, value in evaluated.items()},
        "model": {
            name: value
            for name, value in model.config.to_dict().items()
            if name not in unimportant and not name.endswith(("name_or_path", "revision"))
        },
    }


def select_shared(run: dict[str, Any], arguments: FusionTrainingArguments) -> dict[str, Any]:
    """Return what all processes of a run must have in common: its description, and the options that decide when they wait for each other.

    One process describes files, and the images of own datasets can have random sizes.
    """
    names = (
        "num_train_epochs",
        "logging_steps",
        "save_steps",
        "eval_strategy",
        "eval_steps",
        "eval_epochs",
        "eval_on_start",
        "early_stopping_patience",
    )
    shared = {name: value for name, value in run.items() if name not in {_IMAGE_SIZE, *_CONTENTS}}
    return shared | {name: getattr(arguments, name) for name in names}


def check_same_run(
    before: dict[str, Any], now: dict[str, Any], epochs_before: int, arguments: FusionTrainingArguments, epochs: float
) -> None:
    """Raise ValueError unless a run resumed after `epochs` gives the same weights and the same best ones as one that was never stopped.

    `before` is [`describe_run`] of the checkpoint, and `epochs_before` its `num_train_epochs`; `now` and `arguments` are of
    this process. Options that an earlier version did not have are taken as their defaults.
    """
    before, now = _complete(before), _complete(now)
    of_model = _compare_models(before, now)
    names, differences = before.keys() | now.keys(), []
    names -= {_LABELED, _TRAINED, _VERSION, DIGESTS, *_CONTENTS}
    # Those of an encoder are in one of both if `paradigm` or `use_segmenter` differs.
    names -= {name for name in before.keys() ^ now.keys() if name.startswith(_ENCODERS)}
    if (_EVALUATED in before) != (_EVALUATED in now):
        names = {name for name in names if not name.endswith(_OF_EVALUATION)}
        differences.append(
            "the run had no evaluation and has one: leave the evaluation data out, or set `eval_strategy` to 'no'"
            if _EVALUATED in now
            else "the run had an evaluation and has none: give the evaluation data, and an `eval_strategy` that is not 'no'"
        )
    differences += [
        f"{name} was {before.get(name)!r} and is {now.get(name)!r}"
        for name in sorted(names)
        if parse_options(before.get(name)) != parse_options(now.get(name))
    ]
    differences = differences or of_model  # other parts have other parameters
    # Rates and lambda depend on the number of epochs from `head_start_epoch` on.
    if epochs > arguments.num_train_epochs:
        differences.append(f"num_train_epochs is {arguments.num_train_epochs}, and {epochs:g} epochs were trained")
    elif epochs_before != arguments.num_train_epochs and int(epochs) > arguments.head_start_epoch:
        differences.append(
            f"num_train_epochs was {epochs_before} and is {arguments.num_train_epochs}, after epoch {arguments.head_start_epoch} "
            "(head_start_epoch), from which the rates depend on it"
        )
    if differences:
        raise ValueError(
            f"This run cannot be resumed with other options or data: {'; '.join(differences)}. Restore them, or start a "
            "new run from its weights in another `output_dir`: set `model_name_or_path` to its folder last, or load that with "
            f"create_model.{_compare_versions(before, now)}"
        )


def _complete(run: dict[str, Any]) -> dict[str, Any]:
    """Return a description as JSON has it, with the fields of the model among the others, and defaults for missing options."""
    config = GFFusionConfig().to_dict()
    fields = {name: value for name, value in config.items() if name not in _CLASSES and f"{name}." not in _ENCODERS}
    run = {**dataclasses.asdict(FusionTrainingArguments("")), **fields, **run, **_flatten(run["model"])}
    del run["model"]
    for name in (_INFRARED, f"{_INFRARED}{_OF_EVALUATION}"):
        if name in run:
            run[name] = InfraredOptions().to_dict() | run[name]
    completed: dict[str, Any] = json.loads(json.dumps(run))
    return completed


def _compare_versions(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the versions as the end of a message, if they differ as far as the checkpoint tells."""
    version = before.get(_VERSION, now[_VERSION])
    if version == now[_VERSION]:
        return ""
    return (
        f" The checkpoint is of gffusion {version}, and this is {now[_VERSION]}: the other version may resume the run."
    )


def _compare_models(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Return how labels, trained parameters and encoders differ, as far as the checkpoint tells; older ones do not."""
    if not {_LABELED, _TRAINED, DIGESTS} <= before.keys():
        return []
    differences = []
    if before[_LABELED] != now[_LABELED]:
        differences.append(
            "the training data had labels and has none: give them"
            if before[_LABELED]
            else "the training data had no labels and has some: leave them out"
        )
    trained_before, trained_now = set(before[_TRAINED]), set(now[_TRAINED])
    if added := trained_now - trained_before:
        differences.append(f"{_count(added)} frozen and would be trained: freeze them with `requires_grad_(False)`")
    if removed := trained_before - trained_now:
        differences.append(f"{_count(removed)} trained and would be frozen: set `requires_grad_(True)`")
    if changed := [name for name, digest in before[DIGESTS].items() if digest != now[DIGESTS].get(name)]:
        differences.append(
            f"the weights of {' and '.join(changed)}, which checkpoints do not hold, are not those of the run: load the model from "
            "the folder last of the run, or with the encoders that the run began with"
        )
    return differences


def _count(names: Collection[str]) -> str:
    first, others = min(names), len(names) - 1
    return f"{first} and {others} other parameters were" if others else f"{first} was"


def warn_about_changed_files(before: dict[str, Any], now: dict[str, Any]) -> None:
    """Warn if the files of the data have other sizes, or its label maps another content, than in the checkpoint, if that tells."""
    for name, data in _CONTENTS.items():
        known, found = before.get(name, {}), now.get(name, {})
        if changed := [kind for kind in known if known[kind] != found.get(kind)]:
            logger.warning(
                "The %s of the %s data changed since the run began: the resumed run does not end as if it had not been "
                "interrupted. Restore the files if you did not mean to change them.",
                " and ".join(changed),
                data,
            )


def _describe_data(dataset: Dataset[dict[str, Any]], reads_labels: bool, reads_files: bool) -> dict[str, Any]:
    names = json.dumps(list(getattr(dataset, "names", ())))
    return {
        _PAIRS: len(dataset),  # type: ignore[arg-type]
        "names of the pairs": _digest([names]),
        _FILES: _describe_files(dataset, reads_labels) if reads_files and isinstance(dataset, FusionDataset) else {},
        **getattr(dataset, "settings", {}),
    }


def _describe_files(dataset: FusionDataset, reads_labels: bool) -> dict[str, str]:
    """Return digests of the sizes of images and of the content of label maps, which are small and were read before."""
    files = {
        "visible images": _digest(str(pair.visible.stat().st_size) for pair in dataset.pairs),
        "infrared images": _digest(str(pair.infrared.stat().st_size) for pair in dataset.pairs),
    }
    if reads_labels and dataset.has_labels:
        files["label maps"] = _digest(hash_file(pair.labels) for pair in dataset.pairs if pair.labels)
    return files


def _digest(texts: Iterable[str]) -> str:
    return hashlib.blake2b("\n".join(texts).encode(), digest_size=8).hexdigest()


def _flatten(config: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a configuration, those of its encoders with names such as "clip_config.hidden_size"."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if f"{name}." in _ENCODERS:
            fields |= {f"{name}.{key}": field for key, field in (value or {}).items() if key not in _UNIMPORTANT}
        else:
            fields[name] = value
    return fields


def parse_options(text: Any) -> Any:
    """Return a value that is equal for texts of the same options, such as `"ReadOptions(crop=True)"`; others are returned unchanged.

    Options that a text lacks have the default in the signature of their class.

    Examples:
        >>> parse_options("RandomFlip(horizontal=0.5)") == parse_options("RandomFlip(horizontal=0.5, vertical=0.0)")
        True
        >>> parse_options("RandomFlip(horizontal=0.5)") == parse_options("RandomFlip(horizontal=0.5, vertical=0.5)")
        False
    """
    try:
        node = ast.parse(text, mode="eval").body
        calls = node.elts if isinstance(node, ast.Tuple) else [node]
        return [_read_value(call) for call in calls] if all(isinstance(call, ast.Call) for call in calls) else text
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):  # no text, or see `ast.literal_eval`
        return text


def _read_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        given = {str(keyword.arg): _read_value(keyword.value) for keyword in node.keywords}
        return name, [_read_value(value) for value in node.args], _find_defaults(name) | given
    return ast.literal_eval(node)


def _find_defaults(name: str) -> dict[str, Any]:
    """Return the defaults of the arguments of a class, none for classes of other packages."""
    known = {item.__name__: item for item in (ReadOptions, Rig, RawFrame)}
    found = known.get(name) or getattr(transforms, name, None)
    if not isinstance(found, type):
        return {}
    parameters = inspect.signature(found).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not item.empty}
