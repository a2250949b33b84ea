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
        "evaluated_step": 6,
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
        for value in (None, True, [], {}, 0.5, "3", {"step": -1}, {"step": "3"}, {"step": True}, {"model": []})
        if (name, value) != ("running_statistics", True)
    ],
)
def test_damaged_states_are_refused(name: str, value: Any) -> None:
    """By a ValueError: other errors look like faults of this package."""
    with pytest.raises(ValueError, match=f"`({name}|step)`"):
        Progress.from_state(STATE | {name: value})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"best": float("nan")}, "`progress` must hold finite numbers"),
        ({"sums": {"loss": float("inf")}}, "`progress` must hold finite numbers"),
        ({"best": "x"}, "`best` must be"),
        ({"evaluations_since_best": 0.5}, "`evaluations_since_best` must be"),
        *(
            ({name: -1}, f"`{name}` must be at least 0")
            for name in ("step", "best_step", "evaluations_since_best", "evaluated_step", "stopped_after")
        ),
        ({"missing": {"loss": "1"}}, "`missing` must be"),
        ({"sums": []}, "`sums` must be"),
        ({"sums": {"loss": None}}, "`sums` must be"),
    ],
)
def test_damaged_fields_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Progress.from_state(STATE | {"progress": STATE["progress"] | values})
