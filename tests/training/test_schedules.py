"""Learning rates and lambda over the epochs, against values computed by hand."""

from collections.abc import Callable

import pytest
import torch
from transformers import get_constant_schedule_with_warmup

from gffusion import FusionTrainingArguments
from gffusion.training.schedules import head_learning_rate, learning_rate, segmentation_weight, warmup_factor

HALF_ROOT = 2**-0.5  # cos(pi / 4)


@pytest.fixture
def arguments() -> FusionTrainingArguments:
    """q = 4 of 12 epochs, so that epochs 6, 8 and 10 are a quarter, half and three quarters of the way."""
    return FusionTrainingArguments(
        "run", num_train_epochs=12, head_start_epoch=4, learning_rate=0.01, head_decay_epochs=3
    )


def over_epochs(schedule: Callable, arguments: FusionTrainingArguments, *more: float) -> list[float]:
    return [schedule(arguments, epoch, *more) for epoch in range(arguments.num_train_epochs)]


def test_learning_rate_is_constant_before_q_and_falls_like_a_cosine_after(arguments: FusionTrainingArguments) -> None:
    rates = over_epochs(learning_rate, arguments)
    assert rates[:5] == [0.01] * 5
    expected = [0.005 * (1 + HALF_ROOT), 0.005, 0.005 * (1 - HALF_ROOT)]
    assert [rates[epoch] for epoch in (6, 8, 10)] == pytest.approx(expected)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_head_rests_before_q_and_slows_down_in_steps_after(arguments: FusionTrainingArguments) -> None:
    expected = [0.0] * 4 + [1e-4] * 3 + [1e-5] * 3 + [1e-6] * 2
    assert over_epochs(head_learning_rate, arguments) == pytest.approx(expected)


@pytest.mark.parametrize(("initial", "end"), [(0.2, 1.0), (0.2, 0.2), (0.5, 0.0)])
def test_lambda_goes_from_the_configured_value_to_its_end(
    arguments: FusionTrainingArguments, initial: float, end: float
) -> None:
    arguments.segmentation_weight_end = end
    weights = over_epochs(segmentation_weight, arguments, initial)
    assert weights[:5] == [initial] * 5
    shares = [(1 - HALF_ROOT) / 2, 1 / 2, (1 + HALF_ROOT) / 2]
    expected = [initial + share * (end - initial) for share in shares]
    assert [weights[epoch] for epoch in (6, 8, 10)] == pytest.approx(expected)
    assert weights[-1] == pytest.approx(end, abs=0.04)


def test_values_of_the_paper() -> None:
    arguments = FusionTrainingArguments("run")
    assert [head_learning_rate(arguments, epoch) for epoch in (0, 99, 100, 109, 110, 149)] == pytest.approx(
        [0, 0, 1e-4, 1e-4, 1e-5, 1e-8]
    )
    assert learning_rate(arguments, 99) == learning_rate(arguments, 100) == 1e-3
    assert learning_rate(arguments, 125) == pytest.approx(5e-4)


@pytest.mark.parametrize("head_start_epoch", [12, 20])
def test_run_that_ends_before_q(arguments: FusionTrainingArguments, head_start_epoch: int) -> None:
    arguments.head_start_epoch = head_start_epoch
    assert over_epochs(learning_rate, arguments) == [0.01] * 12
    assert over_epochs(head_learning_rate, arguments) == [0] * 12
    assert over_epochs(segmentation_weight, arguments, 0.2) == [0.2] * 12


def test_head_that_learns_from_the_start(arguments: FusionTrainingArguments) -> None:
    arguments.head_start_epoch = 0
    assert learning_rate(arguments, 0) == 0.01
    assert head_learning_rate(arguments, 0) == 1e-4
    assert segmentation_weight(arguments, 0, 0.2) == 0.2
    assert learning_rate(arguments, 6) == pytest.approx(0.005)


@pytest.mark.parametrize(("warmup_steps", "factors"), [(0, [1, 1, 1, 1, 1, 1]), (4, [0, 0.25, 0.5, 0.75, 1, 1])])
def test_warmup_is_that_of_transformers(
    arguments: FusionTrainingArguments, warmup_steps: int, factors: list[float]
) -> None:
    arguments.warmup_steps = warmup_steps
    assert [warmup_factor(arguments, step) for step in range(6)] == factors
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    reference = get_constant_schedule_with_warmup(optimizer, warmup_steps)
    for factor in factors:
        assert reference.get_last_lr() == [factor]
        optimizer.step()
        reference.step()
