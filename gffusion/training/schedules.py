"""Schedules of Algorithm 1: learning rates and lambda."""

import math

from .arguments import FusionTrainingArguments


def progress_after_q(arguments: FusionTrainingArguments, epoch: int) -> float:
    """Return the progress of epoch `epoch` (from 0) from q to the end, in [0, 1); 0 before q.

    Examples:
        >>> arguments = FusionTrainingArguments("run", num_train_epochs=20, head_start_epoch=10)
        >>> [progress_after_q(arguments, epoch) for epoch in (5, 10, 15)]
        [0.0, 0.0, 0.5]
    """
    remaining = arguments.num_train_epochs - arguments.head_start_epoch
    return max(0.0, (epoch - arguments.head_start_epoch) / remaining) if remaining > 0 else 0.0


def warmup_factor(arguments: FusionTrainingArguments, step: int) -> float:
    """Return the factor on both rates in step `step` (from 0): linear from 0 over `warmup_steps`, then 1."""
    return min(1.0, step / arguments.warmup_steps) if arguments.warmup_steps else 1.0


def learning_rate(arguments: FusionTrainingArguments, epoch: int) -> float:
    """Return the rate of FuNet and FINet: constant before q, then half a cosine down to 0 at the end."""
    return arguments.learning_rate * (1 + math.cos(math.pi * progress_after_q(arguments, epoch))) / 2


def head_learning_rate(arguments: FusionTrainingArguments, epoch: int) -> float:
    """Return the rate of the segmentation head: 0 before q, then decayed in steps."""
    if epoch < arguments.head_start_epoch:
        return 0.0
    num_decays = (epoch - arguments.head_start_epoch) // arguments.head_decay_epochs
    return arguments.head_learning_rate * arguments.head_decay_factor**num_decays


def segmentation_weight(arguments: FusionTrainingArguments, epoch: int, initial: float) -> float:
    """Return lambda: `initial` before q, then half a cosine towards `segmentation_weight_end`, its value after the last epoch."""
    rise = (1 - math.cos(math.pi * progress_after_q(arguments, epoch))) / 2
    return initial + (arguments.segmentation_weight_end - initial) * rise
