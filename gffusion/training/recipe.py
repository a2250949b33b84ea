"""Recipes: training runs as YAML files and command lines. `examples/train.py` and `gffusion train` read them alike.

Nothing here imports torch, so that wrong options are reported at once.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from gffusion._version import __version__
from gffusion.utils.regular_files import decode_text, read_regular
from gffusion.utils.yaml_text import load_yaml

from .arguments import FusionTrainingArguments
from .options import OptionParser, convert, make
from .recipe_notes import find_consequences, find_unused, limit_workers
from .strict_options import at_least, between, limited, strict_options

_MAX_BYTES, _MAX_VALUES = 1 << 20, 10_000

BUNDLED_RECIPES = Path(__file__).parent / "recipes"

_DESCRIPTION = """\
Train or fine-tune a model. Options override those of the recipe.

Examples:
  %(prog)s --config finetune --train_data data/train
  %(prog)s --config funet --train_data data/train --eval_data data/val \\
    --output_dir runs/mine
  accelerate launch -m gffusion train --config finetune --train_data data/train

The last command trains on all GPUs. Ctrl-C finishes the step and writes a
checkpoint, from which the same command with --resume_from_checkpoint continues.

Exit codes: 0 the training is complete; 2 it cannot start, continue or be
published; 130 interrupted by Ctrl-C, 143 by SIGTERM."""


@strict_options
@dataclass
class ModelArguments:
    """What to train.

    Args:
        model_name_or_path: Start from these weights: name, folder or Hub id.
        clip_name_or_path: CLIP encoder for an untrained model, or for weights that lack it. That of a recipe is ignored if
            the model has no CLIP (paradigm cascading or parallel).
        dinov2_name_or_path: DINOv2 encoder for an untrained model, or for weights that lack it. That of a recipe is ignored
            if the model has no DINOv2 (use_segmenter false, and paradigm not parallel).
        head_path: Initialize the head from this file of `convert_ade20k_head`, class by class.
        model_config: Fields of `GFFusionConfig`, as JSON on the command line, such as {"merging": "mean"}. They are merged with those of
            the recipe.
    """

    model_name_or_path: str | None = None
    clip_name_or_path: str | None = None
    dinov2_name_or_path: str | None = None
    head_path: str | None = None
    model_config: dict[str, Any] | None = None


@strict_options
@dataclass
class DataArguments:
    """What to train on.

    Args:
        train_data: Folders of training pairs, or CSV files as `gffusion match` writes them, at least one.
        eval_data: Folders or CSV files of validation pairs. By default, there are no evaluations.
        layout: Arrangement of the folders: folders, m3fd, mfnet, msrs, roadscene, tno, llvip or fmb.
        train_split: Split to train on, such as train, if the layout has splits. By default, all pairs; layouts with
            one folder per split need one.
        eval_split: Split to evaluate on, such as test, if the layout has splits. By default, all pairs; layouts with
            one folder per split need one.
        class_names: Classes of boxes and labels, after the background.
        infrared_range: Infrared values that become 0 and 1: type (0 and 255, or 65535 for 16 bits), percentile (the 0.1st and
            99.9th percentile of each image), auto (percentile for radiometric files, else type), folder (the percentiles of all
            images together), or low and high in the unit of the image; high and low inverts. Defaults of this option and the
            next four: as saved with the initial model, else auto, false, linear, 1 and 0.
        invert: Invert infrared images in which cold objects are bright.
        agc: Automatic gain control of the infrared images within the range: linear, plateau or clahe.
        plateau_limit: For plateau: the largest count of a histogram bin, as a multiple of the mean; smaller is closer to linear.
        smooth_range: For frames of a video with the range percentile: average the range over about this number of frames, against
            flicker; 0 turns it off.
        align: How images that do not match pixel by pixel are aligned: none refuses different sizes, resize is for cameras with
            the same field of view, auto uses tags or estimates one rig per folder, and RIG.json is a file of `gffusion align`.
        infrared_luma: Take the brightness of infrared images in color as their intensity. By default, colors of known palettes are
            mapped back to intensity, and images in other colors are refused.
        keep_borders: Take black or white borders of infrared images as measured values. By default, borders that a registration
            left are filled from the visible image.
        visible_range: Low and high values of the visible images that become black and white, for cameras with 10, 12 or 14 bits in
            16-bit files, and for reflectance.
        max_pixels: Refuse images with more pixels, before they are decoded.
        truncated: Image files that end early: refuse, or fill their missing part and log a note.
        crop_size: Side of the square training crops in pixels; 0 does not crop.
        image_size: Height and width in pixels to which whole images are resized, instead of cropping.
        scale: Lowest and highest factor by which images are enlarged before they are cropped.
        flip: Probability of mirroring left and right.
        visible_photometric: Largest relative change of brightness, contrast and gamma of the visible image, such as 0.2; 0 turns it off.
        thermal_gain: Largest relative change of the infrared image's gain, such as 0.2; its offset changes by half as much.
        misalignment: Largest shift of the infrared image in pixels.
        thermal_artifacts: Probability of an infrared image with noise, stripes, JPEG blocks and a small shift, whose losses
            compare with the clean image.
        night: Probability of a dark, noisy visible image.
        glare: Probability of blinding lamps in the visible image.
        cache_in_memory: Keep the decoded images in memory.

    Raises:
        ValueError: If a value has the wrong type or is out of range, or options exclude each other, also on later assignment.
    """

    train_data: list[str] = field(default_factory=list)
    eval_data: list[str] = field(default_factory=list)
    layout: str = "folders"
    train_split: str | None = None
    eval_split: str | None = None
    class_names: list[str] | None = None
    infrared_range: list[str] | None = None
    invert: bool | None = None
    agc: str | None = None
    plateau_limit: float | int | None = None
    smooth_range: float | int | None = None
    align: str = "none"
    infrared_luma: bool = False
    keep_borders: bool = False
    visible_range: list[str] | None = None
    max_pixels: int = 100_000_000
    truncated: str = "refuse"
    crop_size: int = at_least(0, default=128)
    image_size: list[int] | None = None
    scale: list[float | int] = field(default_factory=lambda: [1.0, 1.0])
    flip: float | int = between(0, 1, default=0.5)
    visible_photometric: float | int = limited(lambda value: 0 <= value < 1, "must lie in [0, 1)", default=0.0)
    thermal_gain: float | int = between(0, 1, default=0.0)
    misalignment: float | int = at_least(0, default=0.0)
    thermal_artifacts: float | int = between(0, 1, default=0.0)
    night: float | int = between(0, 1, default=0.0)
    glare: float | int = between(0, 1, default=0.0)
    cache_in_memory: bool = False

    def validate_sizes(self) -> None:
        """Raise ValueError if factors or sizes are wrong, or if there are factors but no crops."""
        scale, size = self.scale, self.image_size
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] < math.inf:
            raise ValueError(f"`scale` must be a low and a high factor above 0, such as 0.7 and 1.1, got {scale}.")
        if size is not None and (len(size) != 2 or min(size) < 1):
            raise ValueError(f"`image_size` must be a height and a width in pixels, got {size}.")
        if scale != [1, 1] and (size is not None or not self.crop_size):
            raise ValueError(
                "`scale` applies only to random crops: set it to 1 1 with `image_size`, or if `crop_size` is 0."
            )


RECIPE_START = "# All options of a run of gffusion"
"""Beginning of the files that [`Recipe.to_yaml`] makes."""

OF_ONE_RUN = {"output_dir", "overwrite_output_dir", "resume_from_checkpoint", "push_to_hub", "hub_model_id"}
"""Options that place, continue, replace or publish one run, and are not part of its recipe."""

_KINDS = {"model": ModelArguments, "data": DataArguments, "training": FusionTrainingArguments}


@dataclass(frozen=True)
class Recipe:
    """Options of a training run: what to train, what to train on, and how.

    `typed` has the names of the options that are meant for this run; those of a YAML file serve several runs. By default, all are.
    `notes` say what was changed for this machine. `name` is that of a bundled recipe, or of a file, if there is one.

    Examples:
        >>> recipe = Recipe.parse(["--config", "finetune", "--train-data", "mine", "yours", "--num_train_epochs", "3"])
        >>> recipe.model.model_name_or_path, recipe.data.train_data, recipe.training.num_train_epochs
        ('gffusion-tiny', ['mine', 'yours'], 3)
    """

    model: ModelArguments
    data: DataArguments
    training: FusionTrainingArguments
    typed: frozenset[str] = field(default_factory=lambda: frozenset(list_options()))
    notes: tuple[str, ...] = ()
    name: str = ""

    @classmethod
    def parse(cls, words: Sequence[str], program: str | None = None) -> "Recipe":
        """Read a command line: the recipe in `--config`, and options that override it; fields of `model_config` are merged.

        A recipe serves several machines: its `dataloader_num_workers` are at most the usable cores of this one.

        Raises:
            SystemExit: If an option is unknown or wrong, with a message of `program` on stderr, or after `--help`.
        """
        parser = OptionParser(_KINDS, prog=program, description=_DESCRIPTION)
        text = f"Recipe: the path of a YAML file with options as below, or the name of a bundled one: {', '.join(list_recipes())}."
        parser.add_argument("--config", metavar="RECIPE", help=text)
        first = words[0] if words else ""
        if first in list_recipes() or (first.endswith((".yaml", ".yml")) and not first.startswith("-")):
            parser.error(f"unknown option {first}, did you mean --config {first}?")
        given = parser.parse_words(words)
        try:
            path = given.pop("config", None)
            recipe = read_recipe(path) if path else {}
            is_file = path is not None and Path(path).is_file()
            parser.in_file = frozenset(recipe if is_file else ())
            for name in recipe.keys() - parser.names:
                raise ValueError(f"{find_recipe(path)} has an unknown option {name}{parser.suggest(name)}")
            options = _merge(recipe, given)
            model, data, training = (make(kind, options) for kind in _KINDS.values())
            name = Path(path).name if is_file else path or ""  # folders say nothing on another machine
            notes = () if "dataloader_num_workers" in given else limit_workers(training)
            notes += tuple(find_consequences(training, given.keys(), name))
            notes += () if data.eval_data else tuple(find_unused(training, given.keys()))
            return cls(model, data, training, frozenset(given), notes, name)
        except (OSError, ValueError) as error:
            parser.error(str(error))

    def to_yaml(self) -> str:
        """Return a recipe with all options, which gives the same training with the same data and initial weights.

        Options that place, continue, replace or publish a run are left out. Paths are as they were given.

        Examples:
            >>> recipe = Recipe.parse(["--config", "finetune", "--train-data", "mine"])
            >>> load_yaml(recipe.to_yaml())["train_data"]
            ['mine']
        """
        options = asdict(self.model) | asdict(self.data) | asdict(self.training)
        source = f", from the recipe {self.name!r}" if self.name else ""
        return _format(f"{RECIPE_START} {__version__}{source}.", options)


def update_yaml(text: str, training: FusionTrainingArguments) -> str:
    """Return a text of [`Recipe.to_yaml`] with other options of the training; raise ValueError if it is no longer YAML."""
    first, _, rest = text.partition("\n")
    options = load_yaml(rest)
    if not isinstance(options, dict):
        raise ValueError("it holds no options")
    return _format(first, options | json.loads(json.dumps(asdict(training))))  # numbers of NumPy are no YAML


def _format(first_line: str, options: dict[str, Any]) -> str:
    given = {name: value for name, value in options.items() if value is not None and name not in OF_ONE_RUN}
    return f"{first_line}\n{yaml.safe_dump(given, sort_keys=False, allow_unicode=True)}"


def list_options() -> list[str]:
    """Return the names of all options of a run.

    Examples:
        >>> "crop_size" in list_options()
        True
    """
    return [field.name for kind in _KINDS.values() for field in fields(kind)]


def list_recipes() -> list[str]:
    """Return the names of the bundled recipes.

    Examples:
        >>> "ablations/mean" in list_recipes()
        True
    """
    files = BUNDLED_RECIPES.rglob("*.yaml")
    return sorted(file.relative_to(BUNDLED_RECIPES).with_suffix("").as_posix() for file in files)


def find_recipe(name: str | Path) -> Path:
    """Return the path of a recipe: a YAML file, or a bundled one such as "ablations/mean"; or raise FileNotFoundError."""
    for candidate in (Path(name), BUNDLED_RECIPES / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(f"{str(name)!r} is neither a file nor a bundled recipe ({', '.join(list_recipes())}).")


def read_recipe(name: str | Path) -> dict[str, Any]:
    """Return the options of a recipe merged over those of its `base`.

    `base` is the path of a recipe, relative to this one, or the name of a bundled one. The fields of `model_config` are
    merged one by one. Other options are replaced. The name is as in [`find_recipe`].

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a file is not a recipe, or a recipe is its own base.

    Examples:
        >>> read_recipe("ablations/mean")["model_config"]["merging"]
        'mean'
    """
    return _read_chain(find_recipe(name), ())


def _read_yaml(path: Path) -> dict[str, Any]:
    text = decode_text(read_regular(path, _MAX_BYTES), path)
    try:
        options = load_yaml(text)
    except ValueError as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ValueError(f"{path} must hold options such as `num_train_epochs: 80`.")
    if _count_values(options) >= _MAX_VALUES:
        raise ValueError(f"{path} has more than {_MAX_VALUES} values, or refers to itself.")
    return {name: _expand_home(value) for name, value in options.items()}


def _expand_home(value: Any) -> Any:
    """Return a path, or a list of them, with the home folder for a leading `~`; other values unchanged."""
    if isinstance(value, list):
        return [_expand_home(part) for part in value]
    is_path = isinstance(value, str) and value.startswith("~") and not os.path.lexists(value)
    return os.path.expanduser(value) if is_path else value


def _count_values(value: Any) -> int:
    """Return the number of values in lists and mappings, with those behind references, up to `_MAX_VALUES`."""
    count, rest = 0, [value]
    while rest and count < _MAX_VALUES:
        count, part = count + 1, rest.pop()
        rest += list(part.values()) if isinstance(part, dict) else part if isinstance(part, list) else []
    return count


def _read_chain(path: Path, derived: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in derived:
        raise ValueError(f"{path} is its own `base`.")
    options = _read_yaml(path)
    if "base" not in options:
        return options
    parent = options.pop("base")
    candidates = (path.parent / str(parent), BUNDLED_RECIPES / f"{parent}.yaml")
    base_path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if base_path is None:
        raise ValueError(
            f"{path}: `base` must be the path of a recipe, relative to this file, or the name of a bundled one "
            f"({', '.join(list_recipes())}), got {parent!r}."
        )
    return _merge(_read_chain(base_path, (*derived, path.resolve())), options)


def _merge(base: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `base`, replaced by others, but with the fields of both `model_config`, which can be JSON."""
    configs = [convert(dict[str, Any], part.get("model_config")) for part in (base, options)]
    merged = base | options
    if all(isinstance(config, dict) for config in configs):
        merged["model_config"] = configs[0] | configs[1]
    return merged
