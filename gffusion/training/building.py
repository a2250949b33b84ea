"""Model, data and trainer of a recipe."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed

from gffusion.data import FusionDataset, ReadOptions, transforms
from gffusion.data.infrared_range import parse_infrared_range
from gffusion.data.rigs import parse_align
from gffusion.data.visible_range import check_visible_range
from gffusion.hub import TrainingData, non_default_settings
from gffusion.models.gffusion.config_limits import names_other_classes
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.encoders import BACKBONE_CLASSES, check_given_encoders, read_encoder_config
from gffusion.models.gffusion.infrared_options import OPTION_NAMES, InfraredOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.new_parts import NEW_PART_FIELDS
from gffusion.models.gffusion.processes import is_main_process
from gffusion.models.gffusion.weight_checks import MisfitError
from gffusion.utils.progress import hidden_progress
from gffusion.zoo import create_model, list_models, load_image_processor, locate
from gffusion.zoo.digest import hash_file
from gffusion.zoo.registry import find_entry, find_revision, is_on_hub

from .processes import raised_together
from .recipe import DataArguments, ModelArguments, Recipe
from .segmentation_head import load_head
from .trainer import FusionTrainer

logger = logging.getLogger(__name__)

# Left out of model cards: local folders, and options that do not change the weights.
_NOT_ON_CARDS = {"train_data", "eval_data", "cache_in_memory", "max_pixels"}
_ENCODERS = {name: f"{name}_name_or_path" for name in BACKBONE_CLASSES}  # their options
_CHOICES = ("paradigm", "use_segmenter")  # fields that decide which encoders a model has


def build_trainer(recipe: Recipe) -> FusionTrainer:
    """Load model and data of a recipe.

    Raises:
        OSError: If weights or data cannot be read.
        ValueError: If options, data and model do not fit together.
    """
    with raised_together():
        model, train_data, eval_data, facts = _load(recipe)
    trainer = FusionTrainer(model, recipe.training, train_data, eval_data, facts)
    trainer.folder.recipe = recipe.to_yaml()
    return trainer


def _load(recipe: Recipe) -> tuple[GFFusionModel, FusionDataset, FusionDataset | None, dict[str, Any]]:
    """Return the model of a recipe, its training and evaluation data, and facts for the model card."""
    data, start = recipe.data, recipe.model.model_name_or_path
    for note in recipe.notes if is_main_process() else ():  # before a repository is created
        logger.warning("%s", note)
    if recipe.model == ModelArguments():
        raise ValueError(
            "It is not said what to train: give a recipe (--config finetune), or the weights to start from (`model_name_or_path`)."
        )
    _check_size_options(recipe)
    set_seed(recipe.training.seed)  # for the new weights
    options: dict[str, Any] = {
        "seed": recipe.training.seed,
        "cache_in_memory": data.cache_in_memory,
        "layout": data.layout,
        "class_names": data.class_names,
        "with_boxes": False,
        "read_options": ReadOptions(
            align=parse_align(data.align),
            infrared_luma=data.infrared_luma,
            keep_borders=data.keep_borders,
            visible_range=check_visible_range(data.visible_range, "--visible_range"),
            max_pixels=data.max_pixels,
            truncated=data.truncated,  # type: ignore[arg-type]
        ),
        **choose_infrared_options(recipe).to_dict(),
    }
    with hidden_progress(recipe.training.disable_tqdm):
        train_data = FusionDataset(data.train_data, build_transform(data), split=data.train_split, **options)
        eval_data = FusionDataset(data.eval_data, split=data.eval_split, **options) if data.eval_data else None
    class_names = train_data.class_names if "labels" in train_data[0] else None
    model = build_model(recipe.model, class_names, recipe.typed)
    names = ", ".join(Path(root).resolve().name for root in data.train_data)
    facts = {
        "training_data": [TrainingData(names, len(train_data), "see where the data come from")],
        "settings": {"recipe": recipe.name or "none"} | _describe_settings(recipe),
        **(_describe_start(start, model) if start else {}),
    }
    return model, train_data, eval_data, facts


def _check_size_options(recipe: Recipe) -> None:
    """Raise ValueError if both sizes were typed; that of a recipe may be replaced."""
    data, sizes = recipe.data, {"crop_size", "image_size"}
    if data.image_size and sizes <= recipe.typed and data.crop_size not in (0, DataArguments.crop_size):
        raise ValueError(
            "`image_size` resizes whole images, which are then not cropped: omit `crop_size` or `image_size`."
        )


def _describe_settings(recipe: Recipe) -> dict[str, Any]:
    """Return the options for a model card. Files have their name, without folders, and a digest."""
    options = non_default_settings(recipe.data)
    settings = {name: value for name, value in options.items() if name not in _NOT_ON_CARDS}
    files = {"head_path": recipe.model.head_path, "align": recipe.data.align}
    for name, file in files.items():
        if file not in (None, "", "none", "resize", "auto"):
            settings[name] = f"{Path(file).name}, SHA-256 {hash_file(Path(file))}"
    return settings


def _describe_start(start: str, model: GFFusionModel) -> dict[str, Any]:
    """Return the facts for a model card about the weights that the training started from."""
    entry = find_entry(start)
    facts: dict[str, Any] = {
        "base_model": start if is_on_hub(start) else entry and entry.repo_id,
        "license": entry and entry.license,
    }
    if start in list_models(status="bundled"):
        facts["replaced_encoders"] = {
            name: f"the encoder of {start}"
            for name in ("clip", "dinov2")
            if getattr(model.config, f"needs_{name}") and not getattr(model.config, f"{name}_name_or_path")
        }
    source = start if start in list_models() or is_on_hub(start) else "weights of its own"
    text = f"Training started from {source}, whose training data and license apply to these weights as well."
    return facts | {"description": text}


def choose_infrared_options(recipe: Recipe) -> InfraredOptions:
    """Return the options saved with the initial model, overridden by those of the recipe."""
    given: dict[str, Any] = {name: getattr(recipe.data, name) for name in OPTION_NAMES}
    if recipe.data.infrared_range is not None:
        given["infrared_range"] = parse_infrared_range(recipe.data.infrared_range, "--infrared_range")
    start = recipe.model.model_name_or_path
    saved = load_image_processor(start).infrared_options if start else InfraredOptions()
    return saved.override(**given)


def build_model(
    arguments: ModelArguments,
    class_names: Sequence[str] | None = None,
    typed: Collection[str] = tuple(_ENCODERS.values()),
) -> GFFusionModel:
    """Load the model to start from, or build an untrained one around pretrained encoders.

    The model has the classes of its `model_config` or else `class_names`, the classes of the labels after the background.
    If the loaded weights have other classes, up to case and underscores, the head starts untrained, and a warning says so.
    An encoder that the model does not have is ignored unless its option is one of `typed`.

    Raises:
        OSError: If weights cannot be read.
        ValueError: If the configuration is wrong, an encoder is missing, or an option in `typed` gives one that the model
            does not have.
    """
    config = arguments.model_config or {}
    overrides = config | _name_classes(config, class_names)
    if arguments.model_name_or_path:
        model = _load_model(arguments, arguments.model_name_or_path, overrides, typed)
    else:
        plan = GFFusionConfig(**{name: config[name] for name in _CHOICES if name in config})
        encoders = _choose_encoders(arguments, plan, typed)
        model = GFFusionModel.from_backbones(**encoders, **overrides)
    if arguments.head_path:
        load_head(model, arguments.head_path)
    return model


def _choose_encoders(
    arguments: ModelArguments, plan: GFFusionConfig, typed: Collection[str], may_lack: bool = False
) -> dict[str, str]:
    """Return the sources of the encoders that a model has."""
    if misplaced := sorted((arguments.model_config or {}).keys() & _ENCODERS.values()):
        raise ValueError(f"`model_config` has {misplaced[0]}, which is an option of its own: set `{misplaced[0]}`.")
    sources = {name: getattr(arguments, option) for name, option in _ENCODERS.items() if getattr(arguments, option)}
    chosen = {
        name: source for name, source in sources.items() if _ENCODERS[name] in typed or getattr(plan, f"needs_{name}")
    }
    check_given_encoders(plan, chosen, "{}_name_or_path", may_lack)
    return chosen


def _name_classes(config: dict[str, Any], class_names: Sequence[str] | None) -> dict[str, Any]:
    """Return `id2label` and `label2id` of the model, or an empty dict if neither configuration nor labels name classes."""
    if "id2label" in config:
        labels = _number_classes(config["id2label"])
    elif class_names is None:
        return {}
    else:
        labels = dict(enumerate(["background", *class_names]))
        if config.get("num_labels", len(labels)) != len(labels):
            raise ValueError(
                f"`model_config` has num_labels {config['num_labels']!r}, but the data has the {len(labels)} classes "
                f"{', '.join(labels.values())}: leave num_labels out, or name as many classes (`class_names`, classes.txt)."
            )
    return {"id2label": labels, "label2id": {name: index for index, name in labels.items()}}


def _number_classes(names: Any) -> dict[int, str]:
    """Return the names of `id2label` by number, from a list or a mapping, whose keys JSON makes texts."""
    labels = dict(enumerate(names)) if isinstance(names, list) else names
    try:
        numbered = {int(key): name for key, name in labels.items()}
    except (AttributeError, TypeError, ValueError):
        numbered = {}
    if not numbered or not all(isinstance(name, str) for name in numbered.values()):
        raise ValueError(
            "id2label of `model_config` must be a list of class names, or a mapping of the numbers 0, 1, 2, ... to names, "
            f"got {names!r:.80}."
        )
    return numbered


def _load_model(
    arguments: ModelArguments, start: str, overrides: dict[str, Any], typed: Collection[str]
) -> GFFusionModel:
    """Load weights, add encoders that they lack, and create a new head if the classes differ, or FINet if there is none."""
    before = GFFusionConfig.from_pretrained(locate(start), revision=find_revision(start))
    plan = GFFusionConfig(**{name: overrides.get(name, getattr(before, name)) for name in _CHOICES})
    for name, source in _choose_encoders(arguments, plan, typed, may_lack=True).items():
        is_included = before.backbone_weights == "included" and getattr(before, f"needs_{name}")
        if is_included and _ENCODERS[name] not in typed:
            continue
        overrides[_ENCODERS[name]] = source
        if not is_included:  # refused below
            revision = overrides.get(f"{name}_revision")
            overrides[f"{name}_config"] = read_encoder_config(name, source, revision=revision)
    may_have_new_parts = bool(NEW_PART_FIELDS & overrides.keys())
    options = {"dtype": torch.float32, **overrides}  # half precision would lose small steps
    try:
        model = create_model(start, ignore_mismatched_sizes=may_have_new_parts, **options).train()
    except OSError as error:
        changed = _list_changed_layers(before, arguments.model_config or {})
        if not changed or not isinstance(error.__cause__, MisfitError):
            raise
        raise ValueError(
            f"The weights of {start} belong to a model with other layers than `model_config` describes ({changed}): to fine-tune "
            "them, leave these fields out, or take the recipe finetune (--config finetune); to train a new model, leave "
            "`model_name_or_path` out."
        ) from error
    if model.config.use_segmenter and names_other_classes(before.to_dict(), {"id2label": model.config.id2label}):
        model.ssnet.classifier.reset_parameters()  # its rows belong to other classes, even if their number is the same
        if before.use_segmenter and not arguments.head_path and is_main_process():
            old, new = (", ".join(config.id2label.values()) for config in (before, model.config))
            logger.warning(
                "The segmentation head starts untrained: %s has the classes %s, the new model %s.", start, old, new
            )
    return model


def _list_changed_layers(config: GFFusionConfig, changes: dict[str, Any]) -> str:
    """Return the fields of a configuration that are changed, without those that loaded weights need not fit."""
    return ", ".join(
        f"{name} {value}, not {getattr(config, name)}"
        for name, value in changes.items()
        if name not in NEW_PART_FIELDS
        and not name.endswith(("_weight", "_weights"))
        and value != getattr(config, name, value)
    )


def build_transform(arguments: DataArguments) -> transforms.Compose:
    """Chain the transforms whose strength is not 0."""
    chain: list[transforms.Transform] = []
    if arguments.image_size is not None:
        chain.append(transforms.Resize((arguments.image_size[0], arguments.image_size[1])))
    elif arguments.crop_size:
        chain.append(transforms.RandomCrop(arguments.crop_size, scale=(arguments.scale[0], arguments.scale[1])))
    photometric, gain = arguments.visible_photometric, arguments.thermal_gain
    optional = (
        (arguments.flip, transforms.RandomFlip(horizontal=arguments.flip)),
        (arguments.misalignment, transforms.Misalignment(shift=arguments.misalignment)),
        (photometric, transforms.VisiblePhotometric(photometric, photometric, photometric)),
        (arguments.night, transforms.Night(arguments.night)),
        (arguments.glare, transforms.Glare(arguments.glare)),
        (gain, transforms.ThermalGain(gain, gain / 2)),
        (arguments.thermal_artifacts, transforms.ThermalArtifacts(arguments.thermal_artifacts)),
    )
    return transforms.Compose([*chain, *(transform for strength, transform in optional if strength)])
