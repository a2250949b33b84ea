"""gffusion: infrared and visible image fusion with frozen CLIP and DINOv2 features (GFFusion).

Importing this module imports neither torch nor transformers: public names load on first use, and the Auto classes and the
"image-fusion" pipeline of transformers learn about GFFusion as soon as transformers is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._registration import register_with_transformers

if TYPE_CHECKING:
    from .configuration_gffusion import GFFusionConfig
    from .image_processing_gffusion import GFFusionImageProcessor
    from .modeling_gffusion import GFFusionModel, GFFusionOutput
    from .pipeline_gffusion import ImageFusionPipeline
    from .training import FusionTrainer, FusionTrainingArguments
    from .zoo import create_model, list_models

__version__ = "0.1.0"

_MODULES = {
    "GFFusionConfig": "configuration_gffusion",
    "GFFusionModel": "modeling_gffusion",
    "GFFusionOutput": "modeling_gffusion",
    "GFFusionImageProcessor": "image_processing_gffusion",
    "ImageFusionPipeline": "pipeline_gffusion",
    "FusionTrainer": "training",
    "FusionTrainingArguments": "training",
    "create_model": "zoo",
    "list_models": "zoo",
}

__all__ = [
    "FusionTrainer",
    "FusionTrainingArguments",
    "GFFusionConfig",
    "GFFusionImageProcessor",
    "GFFusionModel",
    "GFFusionOutput",
    "ImageFusionPipeline",
    "__version__",
    "create_model",
    "list_models",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'gffusion' has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__


register_with_transformers()
