"""The model zoo: names to weights, and the cards that describe them."""

from .cards import Evaluation, FusionCard, TrainingData, non_default_settings, versions
from .registry import MODELS, ModelEntry, create_model, list_models, load_image_processor, locate

__all__ = [
    "MODELS",
    "Evaluation",
    "FusionCard",
    "ModelEntry",
    "TrainingData",
    "create_model",
    "list_models",
    "load_image_processor",
    "locate",
    "non_default_settings",
    "versions",
]
