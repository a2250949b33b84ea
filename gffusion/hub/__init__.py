"""Model cards, publishing and inspection of models on the Hugging Face Hub. Its names are loaded on first use."""

from typing import TYPE_CHECKING

from gffusion.utils.lazy_names import load_on_use

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

_MODULES = {"find_problems": "inspection", "pull": "pulling", "push": "publishing", "push_model": "publishing"}

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, dict.fromkeys(__all__, "cards") | _MODULES)
