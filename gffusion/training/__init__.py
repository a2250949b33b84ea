"""Training: Algorithm 1 on Accelerate."""

from .ade20k import convert_ade20k_head
from .arguments import FusionTrainingArguments
from .head import HeadMatch, load_head
from .trainer import FusionTrainer

__all__ = ["FusionTrainer", "FusionTrainingArguments", "HeadMatch", "convert_ade20k_head", "load_head"]
