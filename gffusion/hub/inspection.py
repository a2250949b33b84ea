"""Checks before publishing: incomplete, damaged or diverged weights, unfinished training runs and unavailable encoders."""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.encoders import BACKBONE_CLASSES, find_included_backbones
from gffusion.models.gffusion.json_files import read_json_object
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.new_parts import find_new_weights
from gffusion.models.gffusion.weight_checks import build_on_meta, check_finite, read_headers
from gffusion.models.gffusion.weight_files import read_index
from gffusion.zoo.registry import is_on_hub

from .links import leads_outside

# State of the training that wrote the weights: {"finished": bool, "step": int, "total_steps": int}.
TRAINING_STATE = "training_state.json"


def find_problems(folder: str | os.PathLike[str], full: bool | None = None) -> list[str]:
    """Return the reasons not to publish the model in a folder, with the frozen encoders or not (default: as saved).

    Raises:
        OSError: If the folder has no readable model.

    Examples:
        >>> from gffusion import locate
        >>> find_problems(locate("gffusion-funet"))
        []
    """
    folder = Path(folder)
    try:
        config = read_config(folder)
    except ValueError as error:
        return [str(error)]
    full = config.backbone_weights == "included" if full is None else full
    problems = []
    if (folder / TRAINING_STATE).is_file():
        problems += _find_unfinished_training(folder / TRAINING_STATE)
    if config.backbone_weights == "included" and not full:
        problems.append(
            "it includes the frozen encoders: publish them as well (`full=True`, `--full`), or save it without them"
        )
    elif not full:
        problems += find_unavailable_encoders(config)
    problems += _find_links(folder) + _find_damaged_weights(folder, config)
    if not (folder / IMAGE_PROCESSOR_NAME).is_file():
        problems.append("preprocessor_config.json is missing: save a GFFusionImageProcessor there")
    return problems


def read_config(folder: Path) -> GFFusionConfig:
    """Return the configuration of the model in a folder.

    Raises:
        OSError: If configuration or weights are missing.
        ValueError: If the configuration is invalid.
    """
    is_present = {CONFIG_NAME: (folder / CONFIG_NAME).is_file(), SAFE_WEIGHTS_NAME: bool(find_weight_files(folder))}
    if missing := [name for name, found in is_present.items() if not found]:
        raise OSError(
            f"{folder} contains no model: {' and '.join(missing)} missing. Save a model there with `save_pretrained`, or "
            "name the folder `best` or `last` of a training run."
        )
    config: GFFusionConfig = GFFusionConfig.from_pretrained(folder)
    return config


def find_weight_files(folder: Path) -> list[Path]:
    """Return the weight file, or the shards listed in the index, including missing ones."""
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        return [folder / SAFE_WEIGHTS_NAME]
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    return [folder / name for name in read_index(index)] if index.is_file() else []


def find_unavailable_encoders(config: GFFusionConfig) -> list[str]:
    """Return the frozen encoders that cannot be downloaded from the Hub, one phrase each."""
    return [
        f"its {name} encoder comes from {source!r}, which is not on the Hub: publish it as well (`full=True`, `--full`), or "
        f"set {name}_name_or_path in config.json to its Hub id"
        for name in BACKBONE_CLASSES
        if getattr(config, f"needs_{name}") and not is_on_hub(source := getattr(config, f"{name}_name_or_path"))
    ]


def _find_links(folder: Path) -> list[str]:
    """Find the files of a model that are those of another folder, which its author need not have the right to publish."""
    names = (CONFIG_NAME, IMAGE_PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME)
    files = [*(folder / name for name in names), *find_weight_files(folder)]
    return [
        f"{file.name} leads by a symbolic link to {file.resolve()}, outside of the model's folder: replace the link by the file"
        for file in files
        if leads_outside(file, folder)
    ]


def _find_unfinished_training(file: Path) -> list[str]:
    try:
        state = read_json_object(file)
    except OSError as error:
        return [str(error)]
    if state.get("finished") is True:
        return []
    return [f"its training is not finished (step {state.get('step')} of {state.get('total_steps')}): resume it"]


def _find_damaged_weights(folder: Path, config: GFFusionConfig) -> list[str]:
    """Find weights that cannot be loaded, that the model has no part for, or that are not finite."""
    problems, files = [], find_weight_files(folder)
    for file in files:
        if not file.is_file():
            problems.append(f"{file.name} is missing, which {SAFE_WEIGHTS_INDEX_NAME} names")
            continue
        try:
            read_headers([file])
        except SafetensorError as error:
            problems.append(f"{file.name} is damaged ({error}): save it again")
    problems = problems or _find_misfit(files, config)
    if problems:
        return problems
    for file in files:
        try:
            check_finite(load_file(file))
        except OSError as error:
            problems.append(f"{error}: training has diverged")
    return problems


def _find_misfit(files: list[Path], config: GFFusionConfig) -> list[str]:
    """Find weights that the loader refuses, and parts that it would leave out with a warning."""
    try:
        found = read_headers(files)
        find_new_weights(GFFusionModel, config, found, False, find_included_backbones(config, ()))
    except OSError as error:
        return [f"{error}: save the model again"]
    model = build_on_meta(GFFusionModel, config).state_dict()
    unused = {name.partition(".")[0] for name in found} - {name.partition(".")[0] for name in model}
    return [f"the weights have parts that config.json does not have: {', '.join(sorted(unused))}"] if unused else []
