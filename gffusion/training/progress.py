"""Progress of a run: its steps, the losses of the epoch and the best score."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from gffusion.metrics import METRICS

from .strict_options import at_least, strict_options


@strict_options
@dataclass
class Progress:
    """Progress of a run, saved in checkpoints next to weights, optimizer and random states.

    Examples:
        >>> progress = Progress(step=2)
        >>> for score in (0.5, 0.6, 0.4):
        ...     progress.update_best(score, "SSIM")
        >>> progress.best, progress.best_step, progress.evaluations_since_best
        (0.6, 2, 1)
    """

    step: int = at_least(0, default=0)  # number of completed steps
    best: float | int | None = None  # score
    best_step: int = at_least(0, default=0)  # whose weights are the best so far; 0 if there are none
    evaluations_since_best: int = at_least(0, default=0)
    evaluated_step: int = at_least(0, default=0)  # of the last evaluation that counts for the best; 0 if there was none
    stopped_after: int = at_least(0, default=0)  # evaluations without better weights, if the run ended early
    sums: dict[str, float | int] = field(default_factory=dict)  # of the losses of this epoch so far
    missing: dict[str, int] = field(default_factory=dict)  # number of steps of this epoch without a loss

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Return the progress in the state of a checkpoint, without fields of other versions; raise ValueError if that is wrong."""
        run, saved = state.get("run"), state.get("progress")
        if not isinstance(run, dict) or not isinstance(run.get("model"), dict):
            raise ValueError("`run` must be an object with `model`")
        if type(state.get("num_train_epochs")) is not int:
            raise ValueError("`num_train_epochs` must be a whole number")
        if type(state.get("running_statistics")) is not bool:
            raise ValueError("`running_statistics` must be true or false")
        if not isinstance(saved, dict) or "step" not in saved:
            raise ValueError("`progress` has no number of steps")
        known = {name: saved[name] for name in cls.__dataclass_fields__ if name in saved}
        try:
            json.dumps(known, allow_nan=False)
        except ValueError:
            raise ValueError("`progress` must hold finite numbers") from None
        return cls(**known)

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
        self.sums, self.missing, self.stopped_after = {}, {}, 0
        return means

    def update_best(self, score: float | None, metric: str) -> None:
        """Count an evaluation, and store the score of a metric or loss and the step if it is the best so far.

        Non-finite scores count as the best until a score is finite, so that `best` is never missing.
        """
        self.evaluations_since_best += 1
        self.evaluated_step = self.step
        sign, is_finite = 1 if is_higher_better(metric) else -1, score is not None and math.isfinite(score)
        if score is not None and (self.best is None or (is_finite and sign * score > sign * self.best)):
            self.best_step = self.step
            if is_finite:
                self.best, self.evaluations_since_best = score, 0

    def stalls(self, patience: int) -> bool:
        """Return whether so many evaluations brought no better weights, now or when the run ended; never if the number is 0."""
        return 0 < patience <= max(self.evaluations_since_best, self.stopped_after)

    def stop(self) -> int:
        """Note that the run ends early, and return the number of evaluations without better weights."""
        self.stopped_after = max(self.evaluations_since_best, self.stopped_after)
        return self.stopped_after


def is_higher_better(metric: str) -> bool:
    """Return whether larger values of a metric or loss are better.

    Examples:
        >>> is_higher_better("SSIM"), is_higher_better("loss_structural")
        (True, False)
    """
    return metric in METRICS and bool(METRICS[metric].higher_is_better)
