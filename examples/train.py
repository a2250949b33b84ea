"""Train GFFusion on folders of pairs: `accelerate launch examples/train.py --config examples/recipes/funet.yaml`.

Every option of the recipe can be overridden on the command line, e.g. `--num_epochs 10 --output_dir /tmp/run`.
A data folder holds `visible/` and `infrared/`, and optionally `labels/` (class index PNGs), with the same file stems.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field

import yaml
from accelerate.utils import set_seed
from transformers import HfArgumentParser
from transformers.utils.logging import disable_progress_bar

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, ThermalGain, VisiblePhotometric


@dataclass
class ModelArguments:
    """What to train."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "Start from these weights: folder or Hub id."}
    )
    clip_name_or_path: str | None = field(default=None, metadata={"help": "CLIP encoder of an untrained model."})
    dinov2_name_or_path: str | None = field(default=None, metadata={"help": "DINOv2 encoder of an untrained model."})
    model_config: str | None = field(default=None, metadata={"help": "GFFusionConfig fields, as JSON."})


@dataclass
class DataArguments:
    """What to train on."""

    train_data: list[str] = field(default_factory=list, metadata={"help": "Folders of training pairs."})
    eval_data: list[str] = field(default_factory=list, metadata={"help": "Folders of validation pairs."})
    crop_size: int = field(default=128, metadata={"help": "Side of the square training crops in pixels."})
    scale: list[float] = field(default_factory=lambda: [1.0, 1.0], metadata={"help": "Range of the random scale."})
    visible_photometric: float = field(
        default=0.0, metadata={"help": "Brightness, contrast and gamma of the visible image."}
    )
    thermal_gain: float = field(default=0.0, metadata={"help": "Gain and offset of the infrared image."})
    cache_in_memory: bool = field(default=False, metadata={"help": "Keep the decoded images in memory."})


def parse_arguments() -> tuple[ModelArguments, DataArguments, FusionTrainingArguments, bool]:
    """Read the recipe, then the command line, which wins."""
    parser = HfArgumentParser((ModelArguments, DataArguments, FusionTrainingArguments))
    config = parser.add_argument("--config", help="A recipe: YAML with the options below.")
    parser.add_argument("--resume", action="store_true", help="Go on from the checkpoint in the output folder.")
    recipe = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    recipe.add_argument(*config.option_strings)
    words = sys.argv[1:]
    try:
        if path := recipe.parse_known_args()[0].config:
            words = read_recipe(path) + words
        parser.parse_args(words)  # ends with a message where an option is unknown
        model, data, training, rest = parser.parse_args_into_dataclasses(words)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return model, data, training, rest.resume


def read_recipe(path: str) -> list[str]:
    """Return the options of a recipe as words of a command line, so that the same rules hold for both."""
    with open(path, encoding="utf-8") as file:
        try:
            options = yaml.safe_load(file)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(options, dict):
        raise ValueError(f"{path} must hold options such as `num_epochs: 80`.")
    words = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
        words += [f"--{name}", *map(str, values)] if value is not None else []
    return words


def build_model(arguments: ModelArguments) -> GFFusionModel:
    """Load the model to start from, or build an untrained one around pretrained encoders."""
    overrides = json.loads(arguments.model_config or "{}")
    if arguments.model_name_or_path:
        return GFFusionModel.from_pretrained(arguments.model_name_or_path, **overrides)
    return GFFusionModel.from_backbones(arguments.clip_name_or_path, arguments.dinov2_name_or_path, **overrides)


def main() -> None:
    """Train."""
    model_arguments, data, training, resume = parse_arguments()
    disable_progress_bar()  # of the weights that are loaded and saved; the epochs keep theirs
    set_seed(training.seed)
    transform = Compose(
        RandomCrop(data.crop_size, scale=tuple(data.scale)),
        RandomFlip(horizontal=0.5),
        VisiblePhotometric(data.visible_photometric, data.visible_photometric, data.visible_photometric),
        ThermalGain(data.thermal_gain, data.thermal_gain / 2),
    )
    trainer = FusionTrainer(
        build_model(model_arguments),
        training,
        FusionDataset(data.train_data, transform, seed=training.seed, cache_in_memory=data.cache_in_memory),
        FusionDataset(data.eval_data, cache_in_memory=data.cache_in_memory) if data.eval_data else None,
    )
    trainer.train(resume=resume)
    trainer.accelerator.print(f"best weights: {trainer.output_dir / 'best'}")


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError) as error:
        print(f"train.py: error: {error}", file=sys.stderr)
        sys.exit(2)
