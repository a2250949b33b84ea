"""Training: Algorithm 1 on Accelerate. Names are loaded on first use, so that options are parsed without torch."""

from typing import TYPE_CHECKING

from gffusion.utils.lazy_names import load_on_use

if TYPE_CHECKING:
    from .arguments import FusionTrainingArguments
    from .epoch_callback import SetEpochCallback
    from .segmentation_head import HeadMatch, load_head
    from .trainer import FusionTrainer

__all__ = ["FusionTrainer", "FusionTrainingArguments", "HeadMatch", "SetEpochCallback", "load_head"]

_MODULES = {
    "FusionTrainer": "trainer",
    "FusionTrainingArguments": "arguments",
    "HeadMatch": "segmentation_head",
    "SetEpochCallback": "epoch_callback",
    "load_head": "segmentation_head",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, _MODULES)
