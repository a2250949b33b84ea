"""Training: Algorithm 1 on Accelerate. Names are loaded on first use, so that options are parsed without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

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


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
