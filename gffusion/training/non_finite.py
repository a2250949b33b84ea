"""Stop training whose losses or weights are not finite."""

from pathlib import Path

from torch import Tensor, nn


def raise_on_non_finite(
    losses: Tensor, model: nn.Module, step: int, steps_per_epoch: int, checkpoint: Path | None
) -> None:
    """Raise FloatingPointError if the total losses (steps,) of the steps up to `step`, or the weights, are not finite."""
    problem, finite = None, losses.isfinite()
    if not finite.all():
        first = int(finite.int().argmin())
        step, problem = step - len(losses) + first + 1, f"The loss is {losses[first].item()}"
    # A finite loss can have non-finite gradients, which the next loss would reveal only after the weights were saved.
    elif not all(bool(p.isfinite().all()) for p in model.parameters() if p.requires_grad):
        problem = "A weight is not finite"
    if problem:
        last = None if checkpoint is None else checkpoint.parent.parent / "last"
        start = f" from the weights in {last}" if last and last.is_dir() else ""
        raise FloatingPointError(
            f"{problem} at step {step} (epoch {(step - 1) // steps_per_epoch + 1}). The last good checkpoint: "
            f"{checkpoint or 'none yet'}. A lower `learning_rate` may help, which a resumed run cannot change: start a new run{start}."
        )
