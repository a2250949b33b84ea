"""The model zoo: names to weights."""

from .registry import MODELS, ModelEntry, create_model, list_models, load_image_processor, locate

__all__ = ["MODELS", "ModelEntry", "create_model", "list_models", "load_image_processor", "locate"]
