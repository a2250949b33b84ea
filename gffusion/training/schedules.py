"""What Algorithm 1 changes from epoch to epoch: learning rates and lambda."""

import math

from .arguments import FusionTrainingArguments


def progress_after_q(arguments: FusionTrainingArguments, epoch: int) -> float:
    """Return how far epoch `epoch` (from 0) is on the way from q to the end, in [0, 1); 0 before q."""
    remaining = arguments.num_train_epochs - arguments.head_start_epoch
    return max(0.0, (epoch - arguments.head_start_epoch) / remaining) if remaining > 0 else 0.0


def warmup_factor(arguments: FusionTrainingArguments, step: int) -> float:
    """Return the factor on both rates in step `step` (from 0): a linear rise from 0 over `warmup_steps`, then 1."""
    return min(1.0, step / arguments.warmup_steps) if arguments.warmup_steps else 1.0


def learning_rate(arguments: FusionTrainingArguments, epoch: int) -> float:
    """Return the rate of FuNet and FINet: constant before q, then half a cosine down to 0 at the end."""
    return arguments.learning_rate * (1 + math.cos(math.pi * progress_after_q(arguments, epoch))) / 2


def head_learning_rate(arguments: FusionTrainingArguments, epoch: int) -> float:
    """Return the rate of the segmentation head: 0 before q, then decayed stepwise."""
    if epoch < arguments.head_start_epoch:
        return 0.0
    steps = (epoch - arguments.head_start_epoch) // arguments.head_decay_epochs
    return arguments.head_learning_rate * arguments.head_decay_factor**steps


def segmentation_weight(arguments: FusionTrainingArguments, epoch: int, initial: float) -> float:
    """Return lambda: `initial` before q, then half a cosine up to `segmentation_weight_end`."""
    rise = (1 - math.cos(math.pi * progress_after_q(arguments, epoch))) / 2
    return initial + (arguments.segmentation_weight_end - initial) * rise
