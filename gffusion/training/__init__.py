"""Training: Algorithm 1 on Accelerate."""

from .arguments import FusionTrainingArguments
from .trainer import FusionTrainer

__all__ = ["FusionTrainer", "FusionTrainingArguments"]
