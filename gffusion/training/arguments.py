"""FusionTrainingArguments: everything that a training run can be told."""

from dataclasses import dataclass
from typing import Literal


@dataclass
class FusionTrainingArguments:
    """Options of a training run; the defaults are the paper's (Algorithm 1), or ours where it is silent.

    Args:
        output_dir: Folder of checkpoints, logs and weights.
        num_epochs: Epochs in all (paper: 150).
        head_start_epoch: q. From this epoch on the head learns too, lambda rises and the rates decay (paper: 100).
        batch_size: Pairs per process and step (ours).
        learning_rate: Adam's rate for FuNet and FINet (paper: 1e-3). Constant before q, then a cosine down to 0 (ours).
        head_learning_rate: Adam's rate for the segmentation head (paper: 1e-4).
        head_decay_factor: Factor on the head's rate every `head_decay_epochs` epochs after q (paper: 0.1).
        head_decay_epochs: Epochs between two decays of the head's rate (paper: 10).
        segmentation_weight_end: Where the cosine rise of lambda from `config.segmentation_weight` ends (ours).
        max_gradient_norm: Gradients are clipped to this norm (ours); 0 switches clipping off.
        mixed_precision: Precision of the forward pass, "no", "bf16" or "fp16".
        eval_epochs: Evaluate every so many epochs, and after the last.
        num_workers: Processes that load data; 0 loads in the main process.
        seed: Fixes initial weights, order and augmentation.

    Raises:
        ValueError: If a value is out of range.
    """

    output_dir: str
    num_epochs: int = 150
    head_start_epoch: int = 100
    batch_size: int = 8
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-4
    head_decay_factor: float = 0.1
    head_decay_epochs: int = 10
    segmentation_weight_end: float = 1.0
    max_gradient_norm: float = 1.0
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    eval_epochs: int = 1
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_epochs", "batch_size", "head_decay_epochs", "eval_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in ("head_start_epoch", "max_gradient_norm", "num_workers", "seed", "segmentation_weight_end"):
            if not getattr(self, name) >= 0:  # NaN fails this, too
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        for name in ("learning_rate", "head_learning_rate", "head_decay_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must lie in (0, 1], got {getattr(self, name)}.")
        if self.mixed_precision not in ("no", "bf16", "fp16"):
            raise ValueError(f'`mixed_precision` must be "no", "bf16" or "fp16", got {self.mixed_precision!r}.')
