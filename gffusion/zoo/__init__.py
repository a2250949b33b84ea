"""The model zoo: names and weights."""

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
    "Measurement",
    "ModelEntry",
    "create_model",
    "find_entries",
    "list_models",
    "load_image_processor",
    "locate",
]
