"""The model zoo: names and weights. Functions that need torch or transformers are loaded on first use."""

from typing import TYPE_CHECKING, Any

from .registry import MODELS, ModelEntry, find_entries, list_models, locate

if TYPE_CHECKING:
    from .loading import create_model, load_image_processor

__all__ = ["MODELS", "ModelEntry", "create_model", "find_entries", "list_models", "load_image_processor", "locate"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import loading  # saves start-up time: imports torch

    return getattr(loading, name)
