"""Checks before the first step."""

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch.utils.data import Dataset

from gffusion.data import FusionDataset
from gffusion.data.layouts.unread import describe_unread
from gffusion.data.transforms.base import Sample, apply_transform
from gffusion.metrics import METRICS, list_metrics
from gffusion.metrics.names import suggest
from gffusion.models.gffusion.configuration_gffusion import OUR_TERMS
from gffusion.models.gffusion.image_sizes import MIN_SIZE
from gffusion.models.gffusion.infrared_options import OPTION_NAMES, InfraredOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.models.gffusion.weight_checks import build_on_meta
from gffusion.models.gffusion.wrappers import without_wrappers
from gffusion.utils.notes import format_count

from .arguments import FusionTrainingArguments
from .checked_dataset import read_item
from .given_data import warn_about_infrared
from .label_checks import check_class_names, check_labels
from .processes import is_alone
from .sampling import count_mixed, describe_sizes
from .step import list_parts
from .trackers import check_trackers

logger = logging.getLogger(__name__)


def check_names(arguments: FusionTrainingArguments, labeled: bool, model: GFFusionModel) -> None:
    """Raise ValueError if a metric or tracker is unknown, not installed, or needs labels that the evaluation data lacks."""
    for name in arguments.eval_metrics:
        if name not in list_metrics():
            hint, allowed_names = suggest(name, list_metrics()), ", ".join(list_metrics())
            if "label maps" in hint:
                hint += " A training measures mIoU by itself if its evaluation data has labels."
            raise ValueError(f"`eval_metrics` has {name!r}.{hint} Allowed are {allowed_names}.")
    losses = "loss", *list_parts(model.config)
    allowed = {*arguments.eval_metrics, *losses, *(("mIoU", "loss_segmentation") if labeled else ())}
    if arguments.metric_for_best_model not in allowed:
        raise ValueError(
            f"`metric_for_best_model` must be a loss or metric of the evaluation ({', '.join(sorted(allowed))}), "
            f"got {arguments.metric_for_best_model!r}."
        )
    check_trackers(arguments.trackers)


def check_data(
    training: Dataset[dict[str, Any]],
    evaluation: Dataset[dict[str, Any]] | None,
    model: GFFusionModel,
    arguments: FusionTrainingArguments,
) -> bool:
    """Check that data, model and options fit together, and return whether the training data has labels that the model uses.

    Raises:
        OSError: If a file is missing or not an image.
        ValueError: If they do not.
    """
    if arguments.early_stopping_patience and evaluation is None:
        raise ValueError(
            "`early_stopping_patience` counts evaluations, for which `eval_dataset` (--eval_data) is missing."
        )
    check_output_folder(Path(arguments.output_dir), training, evaluation)
    first, first_evaluated = _read_first(training), {} if evaluation is None else _read_first(evaluation)
    labeled, evaluated = has_labels(first, model), has_labels(first_evaluated, model)
    check_names(arguments, evaluated, model)
    for dataset in (training, evaluation):
        if isinstance(dataset, FusionDataset):
            dataset.check_infrared_range()
    if evaluation is not None:
        _check_items("Evaluation", evaluation, first_evaluated, model, arguments.eval_metrics)
    _check_items("Training", training, first, model, [])
    check_class_names(training if labeled else None, evaluation if evaluated else None, model)
    check_same_infrared_options(training, evaluation)
    check_parameters(model, arguments, labeled)
    check_precision(model, labeled)
    warn_about_infrared("training", training)
    warn_about_infrared("evaluation", evaluation)
    return labeled


def check_output_folder(folder: Path, *datasets: Any) -> None:
    """Raise ValueError if the files of a run would be written between the files or folders of a [`FusionDataset`]."""
    pairs = [pair for dataset in datasets if isinstance(dataset, FusionDataset) for pair in dataset.pairs]
    files = [file for pair in pairs for file in (pair.visible, pair.infrared, pair.labels, pair.boxes)]
    folders = {file.parent for file in files if isinstance(file, Path)}
    if inside := {path.resolve() for path in folders} & {folder.resolve(), *folder.resolve().parents}:
        raise ValueError(
            f"`output_dir` {folder} is in a folder of the data, {inside.pop()}, where images of the run would be read as data: "
            "choose another one."
        )
    if folder.resolve() in {path.resolve().parent for path in folders}:
        raise ValueError(
            f"`output_dir` {folder} holds folders of the data, between which those of the run would lie: choose another one, such as "
            f"{folder / 'run'}."
        )


def check_parameters(model: GFFusionModel, arguments: FusionTrainingArguments, labeled: bool) -> None:
    """Raise ValueError if no parameter would be trained, or if an encoder's would be, which checkpoints do not hold.

    The head is trained from q on if there are labels, frozen or not.
    """
    trains_head = labeled and arguments.head_start_epoch < arguments.num_train_epochs
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    if trained := [name for name in names if name.startswith(tuple(f"{encoder}." for encoder in model.backbones))]:
        raise ValueError(
            f"FusionTrainer does not train encoders, but {len(trained)} of their parameters require gradients, {trained[0]!r} among "
            "them. Call `model.freeze_backbones()` first, or use your own training loop."
        )
    if not trains_head and all(name.startswith("ssnet.") for name in names):
        raise ValueError(
            "There is no parameter to train: all of FuNet and FINet are frozen. Set `requires_grad_(True)` for a part of the "
            "model, such as `model.funet`"
            + (", or lower `head_start_epoch` below `num_train_epochs` to train the head." if labeled else ".")
        )


def check_precision(model: GFFusionModel, labeled: bool) -> None:
    """Raise ValueError if weights to train are in half precision, in which small steps are lost; frozen encoders may be."""
    for name, parameter in model.named_parameters():
        is_trained = parameter.requires_grad or (labeled and "ssnet." in name)
        if is_trained and parameter.dtype in (torch.float16, torch.bfloat16):
            raise ValueError(
                f"The weights to train must be in float32, got {parameter.dtype} ({name}), in which small steps are lost: load the "
                "model with `dtype=torch.float32`, and set `bf16=True` to compute in half precision."
            )


def has_labels(item: dict[str, Any], model: GFFusionModel) -> bool:
    """Return whether an item of a dataset has labels that the model uses."""
    return "labels" in item and model.config.use_segmenter


def _read_first(dataset: Dataset[dict[str, Any]]) -> dict[str, Any]:
    """Return the first item of a dataset, or raise ValueError if it has none."""
    if not len(dataset):  # type: ignore[arg-type]
        raise ValueError("The training or evaluation dataset is empty: add pairs, or omit the evaluation dataset.")
    return read_item(dataset, 0)


def check_same_infrared_options(training: Dataset[dict[str, Any]], evaluation: Dataset[dict[str, Any]] | None) -> None:
    """Raise ValueError if training and evaluation data map infrared values differently; one mapping is saved with the model."""
    options: list[Any] = [getattr(dataset, "infrared_options", None) for dataset in (training, evaluation)]
    if not all(isinstance(part, InfraredOptions) for part in options) or options[0].maps_like(options[1]):
        return
    names = [name for name in OPTION_NAMES if getattr(options[0], name) != getattr(options[1], name)]
    texts = [", ".join(f"{name}={getattr(part, name)!r}" for name in names) for part in options]
    raise ValueError(
        f"The training data has {texts[0]}, but the evaluation data {texts[1]}: the evaluation chooses the best weights, and is "
        "to see images as the model is trained for. Give both the same."
    )


def _check_items(
    which: str, dataset: Dataset[dict[str, Any]], first: dict[str, Any], model: GFFusionModel, metrics: Sequence[str]
) -> None:
    """Check that all items, or the first one of datasets other than [`FusionDataset`], fit the model and metrics, and each other in training."""
    _check_sizes(which, [first["visible_values"].shape[1:]], model, metrics)  # before headers of all files are read
    is_training, sizes = which == "Training", _sizes(dataset, first)
    if is_training and len(sizes) > 1:
        raise ValueError(f"Training images must have one size to form batches, got {describe_sizes(sizes)}")
    _check_sizes(which, sizes, model, metrics)
    if has_labels(first, model):
        check_labels(which.lower(), dataset, first, model)


def _sizes(dataset: Any, first: dict[str, Any]) -> list[tuple[int, int]]:
    """Return the heights and widths of all items; a FusionDataset's transform is applied to blank images."""
    sizes = {tuple(first["visible_values"].shape[1:])}
    for size in set(dataset.read_sizes() if hasattr(dataset, "read_sizes") else ()):
        sample: Sample = {"visible": np.zeros((*size, 3), np.float32), "infrared": np.zeros((*size, 1), np.float32)}
        if getattr(dataset, "has_labels", False):
            sample["labels"] = np.zeros(size, np.int64)
        if dataset.transform is not None:
            sample = apply_transform(dataset.transform, sample, np.random.default_rng(0))
        sizes.add(sample["visible"].shape[:2])
    return sorted(sizes)


def _check_sizes(which: str, sizes: Iterable[Sequence[int]], model: GFFusionModel, metrics: Sequence[str]) -> None:
    """Raise ValueError if images of one of the sizes (height, width) are too small for the model, its losses or metrics."""
    used = [term for name, term in OUR_TERMS.items() if getattr(model.config, f"{name}_weight")]
    minimum = max([MIN_SIZE, *(term.minimum_size for term in used)])
    for height, width in sizes:
        if min(height, width) < minimum:
            raise ValueError(
                f"{which} images must measure at least {minimum} x {minimum} for the model and its losses, got {height} x {width} "
                "(height x width)."
            )
        if large := [name for name in metrics if METRICS[name].minimum_size > min(height, width)]:
            needed = max(METRICS[name].minimum_size for name in large)
            raise ValueError(
                f"`eval_metrics` has {', '.join(large)}: leave that out, because evaluation images must measure at least {needed} x "
                f"{needed} for it, got {height} x {width} (height x width)."
            )


def check_batch_size(arguments: FusionTrainingArguments, batch_size: int, labeled: bool) -> None:
    """Warn if there are fewer pairs than a batch takes; raise ValueError if `mixed_pairs` does not fit the size of a batch."""
    if batch_size < arguments.per_device_train_batch_size:
        logger.warning(
            "`per_device_train_batch_size` is %d, but the training dataset has %s: each step takes all of them.",
            arguments.per_device_train_batch_size,
            format_count(batch_size, "pair"),
        )
    if arguments.mixed_pairs and batch_size < 2:
        raise ValueError(
            "`mixed_pairs` mixes the pairs of a batch, but the training dataset has only one: add pairs, or set `mixed_pairs` "
            "to 0."
        )
    if labeled and (mixed := count_mixed(arguments.mixed_pairs, batch_size)) >= batch_size:
        raise ValueError(
            f"`mixed_pairs` {arguments.mixed_pairs} mixes {mixed} pairs of each batch of {batch_size}, and mixed pairs have no labels, so "
            "that none would be learned: use larger batches (`per_device_train_batch_size`) or a smaller share, set `mixed_pairs` "
            "to 0, or omit the labels to train the fusion alone."
        )


def warn_about_untrained_parts(
    model: GFFusionModel, arguments: FusionTrainingArguments, training: Dataset[dict[str, Any]], labeled: bool
) -> None:
    """Warn about parts of Algorithm 1 that the data or the number of epochs disables."""
    if not labeled:
        reason, unread = "The model has no segmenter", ""
        if model.config.use_segmenter:
            reason = "The data has no label maps (`gffusion masks` makes them from boxes, your own without --layout)"
            unread = describe_unread(training.pairs, "labels") if isinstance(training, FusionDataset) else ""
        logger.warning("%s: training with the structural loss L_st alone%s.", reason, unread)
    elif arguments.head_start_epoch >= arguments.num_train_epochs:
        logger.warning(
            "`head_start_epoch` (q) is %d and `num_train_epochs` is %d: rates and lambda stay constant, and the head is not trained. "
            "Lower `head_start_epoch` to train it.",
            arguments.head_start_epoch,
            arguments.num_train_epochs,
        )


def warn_about_warmup(arguments: FusionTrainingArguments, total_steps: int) -> None:
    """Warn if the run ends before the rates reach their values."""
    if arguments.warmup_steps >= total_steps:
        logger.warning(
            "`warmup_steps` is %d and the run has %s: the rates never reach `learning_rate` and `head_learning_rate`. "
            "Lower `warmup_steps`, or train longer.",
            arguments.warmup_steps,
            format_count(total_steps, "step"),
        )


def start_accelerator(arguments: FusionTrainingArguments, output_dir: Path, model: GFFusionModel) -> Accelerator:
    """Return the accelerator of a run.

    Raises:
        ValueError: If `accelerate launch` has another precision or number of accumulated batches, or an earlier run of this process
            has another precision.
    """
    launched, wanted = os.environ.get("ACCELERATE_MIXED_PRECISION", "no"), arguments.mixed_precision
    if launched in ("bf16", "fp16") and launched != wanted:
        raise ValueError(
            f"`accelerate launch` was given `--mixed_precision {launched}`, but the training options choose the precision, "
            f"and it is {wanted!r}: set `{launched}`, or launch with `--mixed_precision no`."
        )
    steps = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "1")
    if steps.isdecimal() and int(steps) not in (1, arguments.gradient_accumulation_steps):
        raise ValueError(
            f"`accelerate launch` was given `--gradient_accumulation_steps {steps}`, but the training options choose that number, and "
            f"it is {arguments.gradient_accumulation_steps}: set it to {steps}, or launch with `--gradient_accumulation_steps 1`."
        )
    try:
        return Accelerator(
            mixed_precision=wanted,
            # Otherwise, the variable would divide the gradients again.
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),
            dynamo_backend="no",  # accelerators of a process share their state, so compile explicitly instead
            log_with=arguments.trackers or None,  # type: ignore[arg-type]
            project_dir=str(output_dir / "trackers"),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=has_own_parameters(model))],
        )
    except ValueError as error:
        if "already been initialized" not in str(error):
            raise
        raise ValueError(
            f"Accelerate keeps the precision of the first training of a process: start a new one, such as a restarted notebook, to "
            f"train with mixed precision {wanted!r}."
        ) from error


def has_own_parameters(model: GFFusionModel) -> bool:
    """Return whether parameters are trained that GFFusionModel does not have, which a step may not use."""
    if is_alone():
        return False
    plain = without_wrappers(model)
    known = build_on_meta(GFFusionModel, plain.config).state_dict()
    return any(value.requires_grad and name not in known for name, value in plain.named_parameters())


def check_gradients() -> None:
    """Raise ValueError where torch computes no gradients."""
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise ValueError(
            "torch computes no gradients here: call `train()` outside of `torch.no_grad()` and `torch.inference_mode()`, or after "
            "`torch.set_grad_enabled(True)`."
        )


def check_device(arguments: FusionTrainingArguments, device: torch.device) -> None:
    """Raise ValueError if the device does not support `batch_normalization` or `fp16`."""
    if arguments.batch_normalization == "synchronized" and device.type != "cuda":
        raise ValueError(
            f'`batch_normalization="synchronized"` works on CUDA devices only, got {device.type}. Use "running" or "local".'
        )
    if arguments.fp16 and device.type == "cpu":  # Accelerate would silently compute in float32
        raise ValueError("`fp16` works on GPUs only, got cpu. Use `bf16`, or neither.")
