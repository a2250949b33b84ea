"""What speaks against publishing a model: weights that are incomplete, damaged, diverged or not trained to the end."""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from gffusion.models.gffusion.checkpointing import BACKBONE_CLASSES
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo.registry import is_hub_id

# How far a training is, where it writes weights: {"finished": bool, "step": int, "total_steps": int}.
TRAINING_STATE = "training_state.json"


def find_problems(folder: str | os.PathLike[str], full: bool = False) -> list[str]:
    """Return what speaks against publishing the model of a folder, one phrase each.

    Args:
        folder: Folder with the model.
        full: Whether the frozen encoders are to be published, too.

    Raises:
        OSError: If the folder holds no model that can be read.
    """
    folder = Path(folder)
    config = read_config(folder)
    problems = _find_unfinished(folder) + _find_sources(config, full) + _find_damage(folder, config)
    if not (folder / "preprocessor_config.json").is_file():
        problems.append("preprocessor_config.json is missing: save a GFFusionImageProcessor there")
    return problems


def read_config(folder: Path) -> GFFusionConfig:
    """Return the configuration of the model of a folder.

    Raises:
        OSError: If configuration or weights are missing.
        ValueError: If the configuration is refused.
    """
    present = {CONFIG_NAME: (folder / CONFIG_NAME).is_file(), SAFE_WEIGHTS_NAME: bool(weight_files(folder))}
    if missing := [name for name, is_there in present.items() if not is_there]:
        raise OSError(
            f"{folder} holds no model: it lacks {' and '.join(missing)}. Save one there with `save_pretrained`; of a "
            "training's output, name the folder `best` or `last`."
        )
    config: GFFusionConfig = GFFusionConfig.from_pretrained(folder)
    return config


def weight_files(folder: Path) -> list[Path]:
    """Return the file of weights, or those that the index of the shards names, whether they are there or not."""
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        return [folder / SAFE_WEIGHTS_NAME]
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    if not index.is_file():
        return []
    return [folder / Path(name).name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]


def is_on_hub(source: str | None) -> bool:
    """Tell whether the source of an encoder is a Hub id rather than a folder."""
    return source is not None and is_hub_id(source) and not os.path.exists(source)


def find_missing_sources(config: GFFusionConfig) -> list[str]:
    """Return which frozen encoders nobody else could get, if they are left out of what is published; one phrase each."""
    return [
        f"its {name} encoder comes from {source!r}, which is not on the Hub: publish it, too (`full`), or set "
        f"{name}_name_or_path in config.json to where it is"
        for name in BACKBONE_CLASSES
        if getattr(config, f"needs_{name}") and not is_on_hub(source := getattr(config, f"{name}_name_or_path"))
    ]


def _find_unfinished(folder: Path) -> list[str]:
    file = folder / TRAINING_STATE
    if not file.is_file():
        return []
    state = json.loads(file.read_text())
    if state["finished"]:
        return []
    return [f"its training is not finished: step {state['step']} of {state['total_steps']}. Resume it"]


def _find_sources(config: GFFusionConfig, full: bool) -> list[str]:
    if full:
        return []
    if config.backbone_weights == "included":
        return ["it holds the frozen encoders, too: publish all of it (`full`), or save it without them"]
    return find_missing_sources(config)


def _find_damage(folder: Path, config: GFFusionConfig) -> list[str]:
    """Find weights that are missing, have other shapes than the architecture, or are not finite."""
    with torch.device("meta"):
        expected = {name: list(value.shape) for name, value in GFFusionModel(config).state_dict().items()}
    if config.backbone_weights == "external":
        encoders = tuple(f"{name}." for name in BACKBONE_CLASSES)
        expected = {name: shape for name, shape in expected.items() if not name.startswith(encoders)}
    problems, found = [], {}
    for file in weight_files(folder):
        if not file.is_file():
            problems.append(f"{file.name} is missing, which {SAFE_WEIGHTS_INDEX_NAME} names")
            continue
        try:
            with safe_open(file, framework="pt") as weights:
                for name in weights.keys():  # noqa: SIM118, it is no dictionary
                    value = weights.get_tensor(name)
                    found[name] = list(value.shape)
                    if value.is_floating_point() and not torch.isfinite(value).all():
                        problems.append(f"{name} holds NaN or infinity: the training has diverged")
        except SafetensorError as error:
            problems.append(f"{file.name} is damaged ({error}): save it again")
    if not problems and found != expected:
        differing = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        problems.append(f"{len(differing)} weights are missing or not those of config.json, {differing[0]} among them")
    return problems
