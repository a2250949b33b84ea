"""gffusion: infrared and visible image fusion with frozen CLIP and DINOv2 features (GFFusion).

Importing this package does not import torch or transformers. Public names are loaded on first use, and GFFusion is registered
with the Auto classes and pipelines of transformers when transformers is imported.
"""

from typing import TYPE_CHECKING

from ._version import __version__
from .inference.registration import register_with_transformers
from .utils.lazy_names import load_on_use

if TYPE_CHECKING:
    from .inference.pipeline import ImageFusionPipeline
    from .inference.predict import predict
    from .models.gffusion.configuration_gffusion import GFFusionConfig
    from .models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from .models.gffusion.modeling_gffusion import GFFusionModel, GFFusionOutput
    from .training import FusionTrainer, FusionTrainingArguments
    from .zoo import create_model, list_models, load_image_processor, locate

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
    "load_image_processor",
    "locate",
    "predict",
]

_MODULES = {
    "FusionTrainer": "training",
    "FusionTrainingArguments": "training",
    "GFFusionConfig": "models.gffusion.configuration_gffusion",
    "GFFusionImageProcessor": "models.gffusion.image_processing_gffusion",
    "GFFusionModel": "models.gffusion.modeling_gffusion",
    "GFFusionOutput": "models.gffusion.modeling_gffusion",
    "ImageFusionPipeline": "inference.pipeline",
    "create_model": "zoo",
    "list_models": "zoo",
    "load_image_processor": "zoo",
    "locate": "zoo",
    "predict": "inference.predict",
}

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, _MODULES)

register_with_transformers()
