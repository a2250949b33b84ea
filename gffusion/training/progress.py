"""Progress of a run: its steps, the losses of the epoch and the best score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from gffusion.metrics import METRICS


@dataclass
class Progress:
    """Progress of a run, saved in checkpoints next to weights, optimizer and random states.

    Examples:
        >>> progress = Progress()
        >>> [progress.update_best(score, "SSIM") for score in (0.5, 0.4, 0.6)]
        [True, False, True]
    """

    step: int = 0  # number of completed steps
    best: float | None = None  # score
    evaluations_since_best: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the losses of this epoch so far
    missing: dict[str, int] = field(default_factory=dict)  # number of steps of this epoch without a loss

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the progress in the state of a checkpoint, without fields that other versions add.

        Raises:
            ValueError: If the state lacks an entry, or one has a wrong type.
        """
        _check_run(state)
        saved = state.get("progress")
        if not isinstance(saved, dict) or type(saved.get("step")) is not int or saved["step"] < 0:
            raise ValueError("`progress` has no number of steps")
        progress = cls(**{name: saved[name] for name in cls.__dataclass_fields__ if name in saved})
        if not (_holds_numbers(progress.sums) and _holds_numbers(progress.missing)):
            raise ValueError("`sums` and `missing` of `progress` must be objects of finite numbers")
        if not (progress.best is None or _is_number(progress.best)):
            raise ValueError("`best` of `progress` must be a finite number or null")
        if type(progress.evaluations_since_best) is not int:
            raise ValueError("`evaluations_since_best` of `progress` must be a whole number")
        return progress

    def add_losses(self, names: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, float]:
        """Add the losses of some steps to those of the epoch, and return their means.

        A loss that was not computed in a step, such as L_ss without a labeled pixel, is NaN. It does not count, and has no
        mean if it was computed in none of the steps.
        """
        means = {}
        for name, values in zip(names, zip(*rows, strict=True), strict=True):
            computed = [value for value in values if not math.isnan(value)]
            for value in computed:
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.missing[name] = self.missing.get(name, 0) + len(values) - len(computed)
            if computed:
                means[name] = sum(computed) / len(computed)
        return means

    def end_epoch(self, num_steps: int) -> dict[str, float]:
        """Return the mean losses of the epoch, each over the steps in which it was computed, and start the next one."""
        means = {name: value / (num_steps - self.missing.get(name, 0)) for name, value in self.sums.items()}
        self.sums, self.missing = {}, {}
        return means

    def update_best(self, score: float | None, metric: str) -> bool:
        """Return whether the score of a metric or loss is the best so far, and store it if so.

        Non-finite scores count as the best until a score is finite, so that `best` is never missing.
        """
        self.evaluations_since_best += 1
        if score is None or not math.isfinite(score):
            return score is not None and self.best is None
        if self.best is None or (score > self.best if is_higher_better(metric) else score < self.best):
            self.best, self.evaluations_since_best = score, 0
            return True
        return False


def _check_run(state: dict[str, Any]) -> None:
    """Raise ValueError unless a state describes its run."""
    run = state.get("run")
    if not isinstance(run, dict) or not isinstance(run.get("model"), dict):
        raise ValueError("`run` must be an object with `model`")
    if not _is_number(state.get("num_train_epochs")):
        raise ValueError("`num_train_epochs` must be a number")
    if not isinstance(state.get("running_statistics", False), bool):  # states of older versions lack it
        raise ValueError("`running_statistics` must be true or false")


def _holds_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number, as all numbers of a run that goes on are."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def is_higher_better(metric: str) -> bool:
    """Return whether larger values of a metric or loss are better.

    Examples:
        >>> is_higher_better("SSIM"), is_higher_better("loss_structural")
        (True, False)
    """
    return metric in METRICS and bool(METRICS[metric].higher_is_better)
