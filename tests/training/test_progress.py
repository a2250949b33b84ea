"""Progress of a run: what a checkpoint must hold."""

import dataclasses
from typing import Any

import pytest

from gffusion.training.progress import Progress

STATE: dict[str, Any] = {
    "run": {"model": {}},
    "num_train_epochs": 3,
    "running_statistics": False,
    "progress": {
        "step": 7,
        "best": 0.5,
        "best_step": 5,
        "evaluations_since_best": 2,
        "stopped_after": 3,
        "sums": {"loss": 3.5},
        "missing": {"loss": 1},
    },
}


def test_progress_is_restored() -> None:
    """Without what other versions add, and with defaults for what they lack."""
    progress = Progress.from_state(STATE | {"progress": STATE["progress"] | {"later": [None]}, "later": 1})
    assert dataclasses.asdict(progress) == STATE["progress"]
    assert Progress.from_state(STATE | {"progress": {"step": 7}}) == Progress(7)


@pytest.mark.parametrize("name", STATE)
def test_incomplete_states_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"`{name}`"):
        Progress.from_state({key: value for key, value in STATE.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name in STATE
        for value in (None, True, [], {}, 0.5, "3", {"step": -1}, {"step": "3"}, {"model": []})
        if (name, value) != ("running_statistics", True)
    ],
)
def test_damaged_states_are_refused(name: str, value: Any) -> None:
    """By a ValueError: other errors look like faults of this package."""
    with pytest.raises(ValueError, match=f"`({name}|step)`"):
        Progress.from_state(STATE | {name: value})


@pytest.mark.parametrize("values", [{"best": float("nan")}, {"sums": {"loss": float("inf")}}])
def test_numbers_that_are_not_finite_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`progress` must hold finite numbers"):
        Progress.from_state(STATE | {"progress": STATE["progress"] | values})
