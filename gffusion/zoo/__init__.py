"""The model zoo: names to weights, and the cards that describe them."""

from .cards import Evaluation, FusionCard, TrainingData, non_default_settings, versions
from .registry import (
    MODELS,
    Measurement,
    ModelEntry,
    create_model,
    find_entries,
    list_models,
    load_image_processor,
    locate,
)

__all__ = [
    "MODELS",
    "Evaluation",
    "FusionCard",
    "Measurement",
    "ModelEntry",
    "TrainingData",
    "create_model",
    "find_entries",
    "list_models",
    "load_image_processor",
    "locate",
    "non_default_settings",
    "versions",
]
