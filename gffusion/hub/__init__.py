"""Model cards, publishing and inspection of models on the Hugging Face Hub. Its names are loaded on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cards import Evaluation, FusionCard, TrainingData, non_default_settings, versions
    from .inspection import find_problems
    from .publishing import push, push_model
    from .pulling import pull

__all__ = [
    "Evaluation",
    "FusionCard",
    "TrainingData",
    "find_problems",
    "non_default_settings",
    "pull",
    "push",
    "push_model",
    "versions",
]

_MODULES = {"find_problems": ".inspection", "pull": ".pulling", "push": ".publishing", "push_model": ".publishing"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, ".cards"), __name__), name)
