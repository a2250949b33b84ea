"""Objects of other types as arguments of a trainer, which are named before anything fails in it."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import ChainDataset, DataLoader
from transformers import TrainingArguments

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.training.argument_types import check_argument_types

ITEM = {"visible_values": torch.rand(3, 32, 32), "infrared_values": torch.rand(1, 32, 32)}
ARGUMENTS = FusionTrainingArguments("run")


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., GFFusionModel]) -> GFFusionModel:
    return tiny_model()


@pytest.mark.parametrize(
    ("make_args", "message"),
    [
        (lambda: TrainingArguments("run"), "got a TrainingArguments: create one; options .* share their names"),
        (lambda: "run", r"got the str 'run': pass `FusionTrainingArguments\('run'\)`"),
        (lambda: {"output_dir": "run"}, r"got a dict: pass `FusionTrainingArguments\(\*\*args\)`"),
        (lambda: FusionTrainingArguments, "got the class FusionTrainingArguments: create one"),
        (lambda: None, "got a NoneType: create one"),
    ],
)
def test_options(model: GFFusionModel, make_args: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"`args` must be FusionTrainingArguments, {message}"):
        FusionTrainer(model, make_args(), [ITEM])


@pytest.mark.parametrize("which", ["train_dataset", "eval_dataset"])
@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (DataLoader([ITEM]), "a DataLoader: pass its `dataset`"),  # type: ignore[arg-type]
        ("data/train", r"the str 'data/train': pass `FusionDataset\('data/train'\)`"),
        (Path("data"), r"the \w+Path 'data': pass `FusionDataset\('data'\)`"),
        ({"train": [ITEM]}, "a dict: pass one of its values"),
        (iter([ITEM]), "a list_iterator: use a map-style dataset"),
        (ChainDataset([]), "a ChainDataset: use a map-style dataset"),
        (FusionDataset, "the class FusionDataset: use a map-style dataset"),
    ],
)
def test_datasets(model: GFFusionModel, which: str, dataset: Any, message: str) -> None:
    datasets: Any = {"train_dataset": [ITEM]} | {which: dataset}
    with pytest.raises(ValueError, match=f"`{which}` must be a dataset .* got {message}"):
        FusionTrainer(model, ARGUMENTS, **datasets)


def test_quantized_model(model: GFFusionModel) -> None:
    with warnings.catch_warnings(action="ignore"):  # deprecated
        quantized = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)
    with pytest.raises(ValueError, match=r"`model` is quantized \(finet\.\w+\), and cannot be trained: train it first"):
        FusionTrainer(quantized, ARGUMENTS, [ITEM])  # type: ignore[list-item,arg-type]


@pytest.mark.parametrize("dataset", [[ITEM], (ITEM,), {0: ITEM}])
def test_anything_with_length_and_items_is_a_dataset(model: GFFusionModel, dataset: Any) -> None:
    check_argument_types(model, ARGUMENTS, dataset, None)
    check_argument_types(torch.compile(model), ARGUMENTS, [ITEM], dataset)
