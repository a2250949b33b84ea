"""Progress of a run: its steps, the losses of the epoch and the best score."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Progress:
    """Progress of a run, saved in checkpoints next to weights, optimizer and random states.

    Example:
        >>> progress = Progress()
        >>> [progress.update_best(score, higher_is_better=True) for score in (0.5, 0.4, 0.6)]
        [True, False, True]
    """

    step: int = 0  # number of completed steps
    best: float | None = None  # score
    sums: dict[str, float] = field(default_factory=dict)  # of the losses of this epoch so far

    def add_losses(self, names: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, float]:
        """Add the losses of some steps to those of the epoch, and return their means."""
        for row in rows:
            for name, value in zip(names, row, strict=True):
                self.sums[name] = self.sums.get(name, 0.0) + value
        return {name: sum(values) / len(rows) for name, values in zip(names, zip(*rows, strict=True), strict=True)}

    def end_epoch(self, num_steps: int) -> dict[str, float]:
        """Return the mean losses of the epoch, and start the next one."""
        means = {name: value / num_steps for name, value in self.sums.items()}
        self.sums = {}
        return means

    def update_best(self, score: float | None, higher_is_better: bool) -> bool:
        """Return whether a score is the best so far, and store it if so.

        Non-finite scores count as the best until a score is finite, so that `best` is never missing.
        """
        if score is None or not math.isfinite(score):
            return score is not None and self.best is None
        if self.best is None or (score > self.best if higher_is_better else score < self.best):
            self.best = score
            return True
        return False
