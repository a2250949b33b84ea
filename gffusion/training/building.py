"""Model, data and trainer of a recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from transformers import CLIPVisionConfig, Dinov2Config

from gffusion.data import FusionDataset
from gffusion.data.infrared_range import parse_infrared_range
from gffusion.data.transforms import (
    Compose,
    Glare,
    Misalignment,
    Night,
    RandomCrop,
    RandomFlip,
    Resize,
    ThermalGain,
    Transform,
    VisiblePhotometric,
)
from gffusion.hub import TrainingData, non_default_settings
from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.image_processing_gffusion import InfraredRange
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.zoo import create_model, list_models, load_image_processor, locate
from gffusion.zoo.registry import is_hub_id

from .head import load_head
from .recipe import DataArguments, ModelArguments, Recipe
from .trainer import FusionTrainer

# Left out of model cards: local folders, and options that do not change the weights.
_NOT_ON_CARDS = {"train_data", "eval_data", "cache_in_memory"}


def build_trainer(recipe: Recipe) -> FusionTrainer:
    """Load model and data of a recipe.

    Raises:
        OSError: If weights or data cannot be read.
        ValueError: If options, data and model do not fit together.
    """
    data, start = recipe.data, recipe.model.model_name_or_path
    set_seed(recipe.training.seed)  # for the new weights
    train_data = _load_dataset(recipe, data.train_data, data.train_split, build_transform(data))
    eval_data = _load_dataset(recipe, data.eval_data, data.eval_split) if data.eval_data else None
    model = build_model(recipe.model, train_data.class_names if "labels" in train_data[0] else None)
    names = ", ".join(Path(root).resolve().name for root in data.train_data)
    settings = {name: value for name, value in non_default_settings(data).items() if name not in _NOT_ON_CARDS}
    facts = {
        "training_data": [TrainingData(names, len(train_data), "see where the data come from")],
        "settings": settings,
        **(_describe_start(start, model) if start else {}),
    }
    return FusionTrainer(model, recipe.training, train_data, eval_data, facts)


def _describe_start(start: str, model: GFFusionModel) -> dict[str, Any]:
    """Return the facts for a model card about the weights that the training started from."""
    facts: dict[str, Any] = {"base_model": start if is_hub_id(start) and not Path(start).exists() else None}
    if start in list_models(status="bundled"):
        facts["replaced_encoders"] = {
            name: f"the encoder of {start}"
            for name in ("clip", "dinov2")
            if getattr(model.config, f"needs_{name}") and not getattr(model.config, f"{name}_name_or_path")
        }
    start = start if start in list_models() or is_hub_id(start) else "weights of its own"
    facts["description"] = (
        f"Training started from {start}, whose training data and license apply to these weights as well."
    )
    return facts


def _load_dataset(
    recipe: Recipe, roots: list[str], split: str | None, transform: Transform | None = None
) -> FusionDataset:
    return FusionDataset(
        roots,
        transform,
        recipe.training.seed,
        recipe.data.cache_in_memory,
        layout=recipe.data.layout,
        split=split,
        infrared_range=_find_infrared_range(recipe),
        class_names=recipe.data.class_names,
    )


def _find_infrared_range(recipe: Recipe) -> InfraredRange:
    if recipe.data.infrared_range is not None:
        return parse_infrared_range(recipe.data.infrared_range, "--infrared_range")
    start = recipe.model.model_name_or_path
    return load_image_processor(start).infrared_range if start else "dtype"


def build_model(arguments: ModelArguments, class_names: Sequence[str] | None = None) -> GFFusionModel:
    """Load the model to start from, or build an untrained one around pretrained encoders.

    Args:
        arguments: What to train.
        class_names: Classes of the labels after the background, used if `model_config` names none. If the loaded weights
            have other classes, the head starts untrained.

    Raises:
        OSError: If weights cannot be read.
        ValueError: If the configuration is wrong.
    """
    overrides = dict(arguments.model_config or {}) | _name_classes(arguments, class_names)
    if arguments.model_name_or_path:
        model = _load_model(arguments, arguments.model_name_or_path, overrides)
    else:
        model = GFFusionModel.from_backbones(arguments.clip_name_or_path, arguments.dinov2_name_or_path, **overrides)
    if arguments.head_path:
        load_head(model, arguments.head_path)
    return model


def _name_classes(arguments: ModelArguments, class_names: Sequence[str] | None) -> dict[str, Any]:
    """Return `id2label` and `label2id` of the model, or an empty dict if neither configuration nor labels name classes."""
    config = arguments.model_config or {}
    if "id2label" in config:
        names = config["id2label"]
        labels = dict(enumerate(names)) if isinstance(names, list) else {int(key): names[key] for key in names}
    elif class_names is None or "num_labels" in config:
        return {}
    else:
        labels = dict(enumerate(["background", *class_names]))
    return {"id2label": labels, "label2id": {name: index for index, name in labels.items()}}


def _load_model(arguments: ModelArguments, start: str, overrides: dict[str, Any]) -> GFFusionModel:
    """Load weights, add encoders that they lack, and create a new head if the classes differ."""
    for name, config_class in (("clip", CLIPVisionConfig), ("dinov2", Dinov2Config)):
        if source := getattr(arguments, f"{name}_name_or_path"):
            overrides[f"{name}_name_or_path"] = source
            revision = overrides.get(f"{name}_revision")
            overrides[f"{name}_config"] = config_class.from_pretrained(source, revision=revision)
    before = GFFusionConfig.from_pretrained(locate(start))
    model = create_model(start, ignore_mismatched_sizes="id2label" in overrides, **overrides).train()
    if model.config.use_segmenter and model.config.id2label != before.id2label:
        model.ssnet.classifier.reset_parameters()  # its rows belong to other classes, even if their number is the same
    return model


def build_transform(arguments: DataArguments) -> Compose:
    """Chain the transforms whose strength is not 0.

    Raises:
        ValueError: If a value is out of range.
    """
    if len(arguments.scale) != 2 or (arguments.image_size is not None and len(arguments.image_size) != 2):
        raise ValueError("`scale` takes a low and a high factor, `image_size` a height and a width.")
    low, high = arguments.scale
    if arguments.scale != [1.0, 1.0] and (arguments.image_size is not None or not arguments.crop_size):
        raise ValueError(
            "`scale` applies only to random crops: set it to 1 1 with `image_size`, or if `crop_size` is 0."
        )
    transforms: list[Transform] = []
    if arguments.image_size is not None:
        transforms.append(Resize((arguments.image_size[0], arguments.image_size[1])))
    elif arguments.crop_size:
        transforms.append(RandomCrop(arguments.crop_size, scale=(low, high)))
    strength = arguments.visible_photometric
    transforms += [
        transform
        for transform, wanted in (
            (RandomFlip(horizontal=arguments.flip), arguments.flip),
            (Misalignment(shift=arguments.misalignment), arguments.misalignment),
            (VisiblePhotometric(strength, strength, strength), strength),
            (Night(arguments.night), arguments.night),
            (Glare(arguments.glare), arguments.glare),
            (ThermalGain(arguments.thermal_gain, arguments.thermal_gain / 2), arguments.thermal_gain),
        )
        if wanted
    ]
    return Compose(*transforms)
