"""Batch normalization that keeps its statistics while transformers' own Trainer trains the model."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from gffusion import FusionTrainingArguments, GFFusionModel
from gffusion.training.step import TrainingStep

Batch = dict[str, Tensor]


@pytest.fixture
def pretrained(tiny_model: Callable[..., GFFusionModel], make_inputs: Callable[..., Batch]) -> GFFusionModel:
    """Return a model with batch normalization in FuNet and FINet, whose statistics are those of other inputs."""
    model = tiny_model(merging="group_conv").train()
    model(**make_inputs(3))
    return model.eval()


def train(model: GFFusionModel, batch: Batch, folder: Path, learning_rate: float) -> None:
    items = [{name: values[index] for name, values in batch.items()} for index in range(2)]
    options = {"learning_rate": learning_rate, "per_device_train_batch_size": 2, "save_strategy": "no"}
    arguments = TrainingArguments(str(folder), max_steps=5, report_to=[], use_cpu=True, disable_tqdm=True, **options)
    Trainer(model, arguments, train_dataset=items).train()


def find_changes(model: GFFusionModel, before: dict[str, Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}


def find_batch_norms(model: GFFusionModel) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_a_learning_rate_of_0_changes_nothing(
    pretrained: GFFusionModel, make_inputs: Callable[..., Batch], tmp_path: Path
) -> None:
    batch = make_inputs(labels=True)
    before = copy.deepcopy(pretrained.state_dict())
    with torch.no_grad():
        fused = pretrained(**batch).fused_values
    pretrained.freeze_batch_norm()
    train(pretrained, batch, tmp_path, learning_rate=0.0)
    assert find_changes(pretrained, before) == set()
    with torch.no_grad():
        assert torch.equal(pretrained.eval()(**batch).fused_values, fused)


@pytest.mark.parametrize("is_copy", [False, True])
def test_weights_are_trained_without_the_statistics(
    pretrained: GFFusionModel, make_inputs: Callable[..., Batch], tmp_path: Path, is_copy: bool
) -> None:
    pretrained.freeze_batch_norm()
    model = copy.deepcopy(pretrained) if is_copy else pretrained
    before = copy.deepcopy(model.state_dict())
    train(model, make_inputs(labels=True), tmp_path, learning_rate=1e-3)
    changed = find_changes(model, before)
    assert {name.partition(".")[0] for name in changed} == {"funet", "finet", "ssnet"}
    assert "funet.decoder.1.weight" in changed  # of batch normalization
    assert not any("running" in name or "num_batches" in name for name in changed)


def test_it_takes_effect_at_once_and_can_be_undone(pretrained: GFFusionModel) -> None:
    layers = find_batch_norms(pretrained)
    for mode in (True, False):
        pretrained.train(mode).freeze_batch_norm()
        assert not any(layer.training for layer in layers)
        pretrained.freeze_batch_norm(False)
        assert {layer.training for layer in layers} == {mode}
        assert {layer.training for layer in find_batch_norms(pretrained.train())} == {True}


def test_it_is_not_saved(pretrained: GFFusionModel, tmp_path: Path) -> None:
    pretrained.freeze_batch_norm()
    pretrained.save_pretrained(tmp_path)
    loaded = GFFusionModel.from_pretrained(tmp_path).train()
    assert all(layer.training for layer in find_batch_norms(loaded))


@pytest.mark.parametrize("mode", ["local", "calibrated"])
def test_our_trainer_keeps_it(
    pretrained: GFFusionModel, make_inputs: Callable[..., Batch], tmp_path: Path, mode: Any
) -> None:
    pretrained.freeze_batch_norm()
    before = copy.deepcopy(pretrained.state_dict())
    arguments = FusionTrainingArguments(str(tmp_path), batch_normalization=mode)
    step = TrainingStep(pretrained, arguments, Accelerator(), True, None)
    batch = make_inputs(labels=True)
    step.calibrate([batch])
    step.train()
    step([batch], 0.7, True)
    changed = find_changes(pretrained, before)
    assert changed and not any("running" in name for name in changed)
