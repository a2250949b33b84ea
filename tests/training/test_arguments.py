"""Training options: the paper's defaults, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gffusion import FusionTrainer, FusionTrainingArguments
from gffusion.training.recipe import DataArguments


def test_defaults_are_those_of_algorithm_1() -> None:
    arguments = FusionTrainingArguments("run")
    assert (arguments.num_train_epochs, arguments.head_start_epoch) == (150, 100)
    assert (arguments.learning_rate, arguments.head_learning_rate) == (1e-3, 1e-4)
    assert (arguments.head_decay_factor, arguments.head_decay_epochs) == (0.1, 10)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_train_epochs", 0),
        ("num_train_epochs", -1),
        ("per_device_train_batch_size", 0),
        ("head_decay_epochs", 0),
        ("eval_epochs", 0),
        ("head_start_epoch", -1),
        ("max_grad_norm", -0.1),
        ("max_grad_norm", float("nan")),
        ("dataloader_num_workers", -1),
        ("seed", -1),
        ("segmentation_weight_end", -1.0),
        ("segmentation_weight_end", float("nan")),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("head_learning_rate", 0.0),
        ("head_decay_factor", 1.1),
        ("eval_steps", 0),
        ("eval_strategy", "never"),
    ],
)
def test_refused_values_are_named(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"`{name}` must .*{re.escape(str(value))}"):
        FusionTrainingArguments("run", **{name: value})


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("evaluation_strategy", ", did you mean eval_strategy?"),
        ("max_steps", ": a run has whole epochs; set num_train_epochs"),
        ("optim", ". Allowed are output_dir, "),
    ],
)
def test_unknown_options_are_named(name: str, advice: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"FusionTrainingArguments has no option {name!r}{advice}")):
        FusionTrainingArguments("run", **{name: 1})


@pytest.mark.parametrize(
    ("name", "advice"),
    [("callbacks", ": progress goes to"), ("eval_data", ", did you mean eval_dataset?"), ("x", ". Allowed are model,")],
)
def test_arguments_of_other_trainers(name: str, advice: str) -> None:
    with pytest.raises(TypeError, match=re.escape(f"FusionTrainer has no option {name!r}{advice}")):
        FusionTrainer(None, None, None, **{name: None})  # type: ignore[arg-type]


def test_numbers_of_numpy_are_stored_as_those_of_python() -> None:
    arguments = FusionTrainingArguments(
        "run", num_train_epochs=np.int64(3), learning_rate=np.float64(0.5), bf16=np.bool_(True)
    )
    values = (arguments.num_train_epochs, arguments.learning_rate, arguments.bf16)
    assert json.dumps(values) == "[3, 0.5, true]"
    for value in (True, np.bool_(True), np.float64(3)):
        with pytest.raises(ValueError, match="`num_train_epochs` must be int, got "):
            FusionTrainingArguments("run", num_train_epochs=value)  # type: ignore[arg-type]


def test_paths_are_stored_as_text() -> None:
    arguments = FusionTrainingArguments(Path("run"), token_cache=Path("cache"), resume_from_checkpoint=Path("a"))
    assert (arguments.output_dir, arguments.token_cache, arguments.resume_from_checkpoint) == ("run", "cache", "a")
    data = DataArguments(train_data=[Path("a"), "b"])
    assert data.train_data == ["a", "b"]
    with pytest.raises(ValueError, match="`seed` must be int, got 'a'"):
        arguments.seed = Path("a")


@pytest.mark.parametrize(
    ("name", "value"),
    [("head_start_epoch", 0), ("max_grad_norm", 0), ("segmentation_weight_end", 0), ("head_decay_factor", 1)],
)
def test_limits_are_allowed(name: str, value: float) -> None:
    assert getattr(FusionTrainingArguments("run", **{name: value}), name) == value


@pytest.mark.parametrize(
    ("report_to", "names"),
    [
        ([], []),
        ("none", []),
        (["none"], []),
        ("tensorboard", ["tensorboard"]),
        (["wandb", "trackio"], ["wandb", "trackio"]),
    ],
)
def test_trackers_as_transformers_takes_them(report_to: list[str] | str, names: list[str]) -> None:
    assert FusionTrainingArguments("run", report_to=report_to).trackers == names
