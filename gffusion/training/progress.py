"""Progress of a run: its steps, the losses of the epoch and the best score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    sums: dict[str, float] = field(default_factory=dict)  # of the losses of this epoch so far
    missing: dict[str, int] = field(default_factory=dict)  # number of steps of this epoch without a loss

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
        if score is None or not math.isfinite(score):
            return score is not None and self.best is None
        if self.best is None or (score > self.best if is_higher_better(metric) else score < self.best):
            self.best = score
            return True
        return False


def is_higher_better(metric: str) -> bool:
    """Return whether larger values of a metric or loss are better.

    Examples:
        >>> is_higher_better("SSIM"), is_higher_better("loss_structural")
        (True, False)
    """
    return metric in METRICS and bool(METRICS[metric].higher_is_better)
