"""Recipes: training runs as YAML files and command lines. `examples/train.py` and `gffusion train` read them alike."""

import argparse
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from accelerate.utils import set_seed
from transformers import CLIPVisionConfig, Dinov2Config, HfArgumentParser

from gffusion.data import FusionDataset
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

from .arguments import FusionTrainingArguments
from .head import load_head
from .trainer import FusionTrainer

BUNDLED_RECIPES = Path(__file__).parent / "recipes"

# Of docstrings' markup; argparse formats its texts with %.
_PLAIN = str.maketrans({"`": "", "[": "", "]": "", "%": "%%"})
# Folders of the machine tell nothing about the weights.
_PATHS = {"train_data", "eval_data", "cache_in_memory"}


@dataclass
class ModelArguments:
    """What to train."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Start from these weights: name, folder or Hub id."}
    )
    clip_name_or_path: str | None = field(default=None, metadata={"help": "CLIP encoder of an untrained model."})
    dinov2_name_or_path: str | None = field(default=None, metadata={"help": "DINOv2 encoder of an untrained model."})
    head_path: str | None = field(
        default=None, metadata={"help": "Start the head from this file of `convert_ade20k_head`, class by class."}
    )
    model_config: str | None = field(default=None, metadata={"help": "GFFusionConfig fields, as JSON."})


@dataclass
class DataArguments:
    """What to train on."""

    train_data: list[str] = field(default_factory=list, metadata={"help": "Folders of training pairs."})
    eval_data: list[str] = field(default_factory=list, metadata={"help": "Folders of validation pairs."})
    layout: str = field(default="folders", metadata={"help": "How the folders are arranged: folders, m3fd, mfnet, ..."})
    train_split: str | None = field(default=None, metadata={"help": "Part to train on, where the layout has parts."})
    eval_split: str | None = field(default=None, metadata={"help": "Part to evaluate on."})
    class_names: list[str] | None = field(
        default=None, metadata={"help": "Classes after the background, of boxes and labels."}
    )
    infrared_range: list[str] | None = field(
        default=None,
        metadata={
            "help": "What maps to [0, 1] in infrared images: dtype (all of 8 or 16 bits), percentile, or low and high in the "
            "image's unit. Default: what was saved with the model that the training begins with, else dtype."
        },
    )
    crop_size: int = field(default=128, metadata={"help": "Side of the square training crops in pixels; 0: no crops."})
    image_size: list[int] | None = field(
        default=None, metadata={"help": "Height and width to which whole pictures are resized instead of cropped."}
    )
    scale: list[float] = field(default_factory=lambda: [1.0, 1.0], metadata={"help": "Range of the crops' scale."})
    flip: float = field(default=0.5, metadata={"help": "Probability of mirroring left and right."})
    visible_photometric: float = field(
        default=0.0, metadata={"help": "Brightness, contrast and gamma of the visible image."}
    )
    thermal_gain: float = field(default=0.0, metadata={"help": "Gain of the infrared image, with half as much offset."})
    misalignment: float = field(default=0.0, metadata={"help": "Shift of the infrared image, up to so many pixels."})
    night: float = field(default=0.0, metadata={"help": "Probability of a dark, noisy visible image."})
    glare: float = field(default=0.0, metadata={"help": "Probability of blinding lamps in the visible image."})
    cache_in_memory: bool = field(default=False, metadata={"help": "Keep the decoded images in memory."})


@dataclass(frozen=True)
class Recipe:
    """A training run as it was asked for.

    Attributes:
        model: What to train.
        data: What to train on.
        training: How.
        resume: Whether to go on from the newest checkpoint.
    """

    model: ModelArguments
    data: DataArguments
    training: FusionTrainingArguments
    resume: bool = False

    @classmethod
    def parse(cls, words: Sequence[str], program: str | None = None) -> "Recipe":
        """Read a command line: `--config RECIPE.yaml` first, then the other options, which win.

        Args:
            words: The words of the command line.
            program: Name of the program, for its help.

        Raises:
            SystemExit: If an option is unknown or wrong, with a message, or after `--help`.
        """
        parser = HfArgumentParser((ModelArguments, DataArguments, FusionTrainingArguments), prog=program)
        config = parser.add_argument("--config", metavar="RECIPE", help="A recipe: YAML with the options below.")
        parser.add_argument("--resume", action="store_true", help="Go on from the newest checkpoint in output_dir.")
        for name, text in _described_arguments(FusionTrainingArguments).items():
            parser._option_string_actions[f"--{name}"].help = text
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.add_argument(*config.option_strings)
        words = list(words)
        try:
            if path := finder.parse_known_args(words)[0].config:
                words = _to_words(read_recipe(path)) + words
            parser.parse_args(words)  # ends with a message where an option is unknown
            model, data, training, rest = parser.parse_args_into_dataclasses(words)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        return cls(model, data, training, rest.resume)

    def build_trainer(self) -> FusionTrainer:
        """Load model and data.

        Raises:
            OSError: If weights or data cannot be read.
            ValueError: If options, data and model do not fit together.
        """
        set_seed(self.training.seed)  # of the weights that no encoder brings
        train_data = self._dataset(self.data.train_data, self.data.train_split, build_transform(self.data))
        eval_data = self._dataset(self.data.eval_data, self.data.eval_split) if self.data.eval_data else None
        model = build_model(self.model, train_data.class_names if "labels" in train_data[0] else None)
        names = ", ".join(Path(root).resolve().name for root in self.data.train_data)
        facts: dict[str, Any] = {
            "training_data": [TrainingData(names, len(train_data), "see where the data come from")],
            "settings": {name: value for name, value in non_default_settings(self.data).items() if name not in _PATHS},
        }
        if start := self.model.model_name_or_path:
            if start in list_models(status="bundled"):
                facts["replaced_encoders"] = {
                    name: f"the encoder of {start}"
                    for name in ("clip", "dinov2")
                    if getattr(model.config, f"needs_{name}") and not getattr(model.config, f"{name}_name_or_path")
                }
            facts["base_model"] = start if is_hub_id(start) and not Path(start).exists() else None
            start = start if start in list_models() or is_hub_id(start) else "weights of its own"
            facts["description"] = (
                f"Training started from {start}, whose training data and license apply to these weights as well."
            )
        return FusionTrainer(model, self.training, train_data, eval_data, facts)

    def _dataset(self, roots: list[str], split: str | None, transform: Transform | None = None) -> FusionDataset:
        return FusionDataset(
            roots,
            transform,
            self.training.seed,
            self.data.cache_in_memory,
            layout=self.data.layout,
            split=split,
            infrared_range=self._infrared_range(),
            class_names=self.data.class_names,
        )

    def _infrared_range(self) -> InfraredRange:
        if self.data.infrared_range is not None:
            return parse_infrared_range(self.data.infrared_range)
        start = self.model.model_name_or_path
        return load_image_processor(start).infrared_range if start else "dtype"


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe: a file, or a bundled recipe by its name, such as "finetune" or "ablations/mean".

    Raises:
        FileNotFoundError: If there is neither.
    """
    path, bundled = Path(name), BUNDLED_RECIPES / f"{name}.yaml"
    if path.is_file():
        return path
    if bundled.is_file():
        return bundled
    names = sorted(
        file.relative_to(BUNDLED_RECIPES).with_suffix("").as_posix() for file in BUNDLED_RECIPES.rglob("*.yaml")
    )
    raise FileNotFoundError(
        f"There is no recipe {str(name)!r}: neither a file nor a bundled recipe ({', '.join(names)})."
    )


def read_recipe(name: str | Path) -> dict[str, Any]:
    """Return the options of a recipe merged over those of its `base`, a path relative to the recipe.

    The fields of `model_config` are merged one by one, every other option is replaced.

    Args:
        name: Path of a YAML file, or name of a bundled recipe.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is not a recipe, or a recipe is its own base.
    """
    return _read_chain(find_recipe(name), ())


def build_model(arguments: ModelArguments, class_names: Sequence[str] | None = None) -> GFFusionModel:
    """Load the model to start from, or build an untrained one around pretrained encoders.

    Args:
        arguments: What to train.
        class_names: Classes of the labels after the background, for a model whose `model_config` names none. Where
            loaded weights have other classes, the head begins anew.

    Raises:
        OSError: If weights cannot be read.
        ValueError: If the configuration is wrong.
    """
    try:
        overrides = json.loads(arguments.model_config or "{}")
    except json.JSONDecodeError as error:
        raise ValueError(f'`model_config` must be JSON such as {{"merging": "mean"}}: {error}.') from error
    if class_names is not None and not {"id2label", "num_labels"} & set(overrides):
        overrides["id2label"] = dict(enumerate(["background", *class_names]))
    if "id2label" in overrides:
        names = overrides["id2label"]
        names = dict(enumerate(names)) if isinstance(names, list) else {int(key): name for key, name in names.items()}
        overrides["id2label"] = names
        overrides["label2id"] = {name: index for index, name in names.items()}
    if arguments.model_name_or_path:
        for name, config_class in (("clip", CLIPVisionConfig), ("dinov2", Dinov2Config)):
            if source := getattr(arguments, f"{name}_name_or_path"):
                overrides[f"{name}_name_or_path"] = source
                revision = overrides.get(f"{name}_revision")
                overrides[f"{name}_config"] = config_class.from_pretrained(source, revision=revision)
        before = GFFusionConfig.from_pretrained(locate(arguments.model_name_or_path))
        model = create_model(
            arguments.model_name_or_path, ignore_mismatched_sizes="id2label" in overrides, **overrides
        ).train()
        if model.config.use_segmenter and model.config.id2label != before.id2label:
            model.ssnet.classifier.reset_parameters()  # its rows are those of other classes, be they as many
    else:
        model = GFFusionModel.from_backbones(arguments.clip_name_or_path, arguments.dinov2_name_or_path, **overrides)
    if arguments.head_path:
        load_head(model, arguments.head_path)
    return model


def build_transform(arguments: DataArguments) -> Compose:
    """Chain the transforms that are asked for; those of no strength are left out.

    Raises:
        ValueError: If a value is out of range.
    """
    if len(arguments.scale) != 2 or (arguments.image_size is not None and len(arguments.image_size) != 2):
        raise ValueError("`scale` takes a low and a high factor, `image_size` a height and a width.")
    low, high = arguments.scale
    if arguments.scale != [1.0, 1.0] and (arguments.image_size is not None or not arguments.crop_size):
        raise ValueError("`scale` is that of random crops: set it to 1 1 with `image_size`, or where `crop_size` is 0.")
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


def parse_infrared_range(words: Sequence[str]) -> InfraredRange:
    """Return the range that `infrared_range` names.

    Raises:
        ValueError: If it is none.
    """
    if list(words) in (["dtype"], ["percentile"]):
        return words[0]  # type: ignore[return-value]
    try:
        low, high = map(float, words)
    except ValueError:
        raise ValueError(
            f"`infrared_range` takes dtype, percentile, or two numbers, low and high; got {' '.join(words)!r}."
        ) from None
    return low, high


def _read_chain(path: Path, derived: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in derived:
        raise ValueError(f"{path} is its own `base`.")
    with open(path, encoding="utf-8") as file:
        try:
            options = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(options, dict):
        raise ValueError(f"{path} must hold options such as `num_epochs: 80`.")
    if "base" not in options:
        return options
    base = _read_chain(path.parent / options.pop("base"), (*derived, path.resolve()))
    if isinstance(base.get("model_config"), dict) and isinstance(options.get("model_config"), dict):
        options["model_config"] = base["model_config"] | options["model_config"]
    return base | options


def _described_arguments(kind: type) -> dict[str, str]:
    """Return what a docstring says of each argument, as argparse wants it."""
    entries = inspect.cleandoc(kind.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n     .*)*)", entries, flags=re.MULTILINE)
    return {name: " ".join(text.split()).translate(_PLAIN) for name, text in found}


def _to_words(options: dict[str, Any]) -> list[str]:
    """Turn options into words of a command line, so that the same rules hold for both."""
    words = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        words += [f"--{name}", *map(str, values)] if value is not None else []
    return words
