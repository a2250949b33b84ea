"""The model zoo: names and weights. Functions that need torch or transformers are loaded on first use."""

from typing import TYPE_CHECKING

from gffusion.utils.lazy_names import load_on_use

from .registry import MODELS, ModelEntry, find_entries, list_models, locate

if TYPE_CHECKING:
    from .loading import create_model, load_image_processor

__all__ = ["MODELS", "ModelEntry", "create_model", "find_entries", "list_models", "load_image_processor", "locate"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, dict.fromkeys(("create_model", "load_image_processor"), "loading"))
