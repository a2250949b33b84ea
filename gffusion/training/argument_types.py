"""Types of the arguments of a trainer, so that a wrong object is named before something fails inside it."""

import os
from collections.abc import Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from gffusion.models.gffusion.weight_checks import find_quantized
from gffusion.zoo.checks import check_can_be_saved, describe_argument

from .arguments import FusionTrainingArguments


def check_argument_types(model: Any, args: Any, train_dataset: Any, eval_dataset: Any) -> None:
    """Raise ValueError, with what to pass instead, if an argument of a trainer has another type."""
    check_can_be_saved(model)
    if layers := find_quantized(model):
        raise ValueError(
            f"`model` is quantized ({layers[0]}), and cannot be trained: train it first, and quantize the result."
        )
    if not isinstance(args, FusionTrainingArguments):
        raise ValueError(
            f"`args` must be FusionTrainingArguments, got {describe_argument(args)}: {_advise_options(args)}."
        )
    _check_dataset("train_dataset", train_dataset)
    if eval_dataset is not None:
        _check_dataset("eval_dataset", eval_dataset)


def _check_dataset(name: str, dataset: Any) -> None:
    is_indexed = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
    is_other = isinstance(dataset, str | os.PathLike | IterableDataset | type)
    if is_other or not is_indexed or (isinstance(dataset, Mapping) and 0 not in dataset):
        raise ValueError(
            f"`{name}` must be a dataset with a length and items by index, such as a FusionDataset, got "
            f"{describe_argument(dataset)}: {_advise_dataset(dataset)}."
        )


def _advise_options(args: Any) -> str:
    if isinstance(args, str | os.PathLike):
        return f"pass `FusionTrainingArguments({os.fspath(args)!r:.200})`"
    if isinstance(args, Mapping):
        return "pass `FusionTrainingArguments(**args)`"
    return "create one; options that transformers' `TrainingArguments` also have share their names"


def _advise_dataset(dataset: Any) -> str:
    if isinstance(dataset, DataLoader):
        return "pass its `dataset`; the trainer forms batches of `per_device_train_batch_size` itself"
    if isinstance(dataset, str | os.PathLike):
        return f"pass `FusionDataset({os.fspath(dataset)!r:.200})`"
    if isinstance(dataset, Mapping):
        return "pass one of its values, such as that of the split 'train'"
    return "use a map-style dataset"
