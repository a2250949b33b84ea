"""Training: Algorithm 1 on Accelerate."""

from .arguments import FusionTrainingArguments
from .head import HeadMatch, load_head
from .trainer import FusionTrainer

__all__ = ["FusionTrainer", "FusionTrainingArguments", "HeadMatch", "load_head"]
