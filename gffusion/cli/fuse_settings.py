"""Options of `gffusion fuse` that images and videos share, and the model that they name."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gffusion.export.requirements import is_onnx

from .device import choose_device, choose_dtype
from .library_logging import quiet_libraries
from .light_imports import import_transformers, paused_collection, skip_meta_values
from .models import locate_model
from .onnx_backend import check_backend, load_onnx

if TYPE_CHECKING:
    from gffusion.data import ReadOptions
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

DTYPES = ("float32", "bfloat16", "float16")

_NO_SEGMENTER = "the model {} has no segmenter: omit --segment or choose a model with a segmenter"


class FuseSettings(NamedTuple):
    """Options of images and videos."""

    output: Path
    model: str
    device: str
    dtype: str | None
    batch_size: int
    segment: bool
    overwrite: bool
    metadata: bool
    dry_run: bool
    show: bool
    as_json: bool
    strict: bool
    infrared_options: dict[str, Any]
    read_options: "ReadOptions"

    def check_model(self) -> None:
        """Raise errors that name or configuration show before torch is imported."""
        if is_onnx(self.model):
            return
        config = Path(locate_model(self.model), "config.json")
        if self.segment and config.is_file():
            settings: Any = {}
            with contextlib.suppress(ValueError, RecursionError):  # a damaged one is reported when the model is loaded
                settings = json.loads(config.read_bytes())
            if isinstance(settings, dict) and settings.get("use_segmenter") is False:
                raise ValueError(_NO_SEGMENTER.format(self.model))

    def load(self) -> tuple["GFFusionModel", "GFFusionImageProcessor"]:
        """Return the model on its device, and its image processor."""
        name, segment, options = self.model, self.segment, self.infrared_options
        if is_onnx(name):
            return load_onnx(name, self.device, segment, options, self.as_json)  # type: ignore[return-value]
        with paused_collection():
            device = choose_device(self.device)
            import_transformers()
            from gffusion.zoo import create_model, load_image_processor

            quiet_libraries()
            dtype = choose_dtype(self.dtype, device)
            parts = {} if segment else {"use_segmenter": False}
            with skip_meta_values():
                model = create_model(name, dtype=dtype, **parts)
        if segment and not model.config.use_segmenter:  # a model of the Hub
            raise ValueError(_NO_SEGMENTER.format(name))
        return model.to(device), load_image_processor(name, **options)


def check_suffix(suffix: str | None) -> None:
    """Raise ValueError if images cannot be written in the format of a suffix."""
    from gffusion.data import IMAGE_SUFFIXES

    if suffix is not None and suffix not in IMAGE_SUFFIXES:
        raise ValueError(f"--suffix must be one of {', '.join(IMAGE_SUFFIXES)}, got {suffix!r}")


def check_options(dtype: str | None, backend: str, model: str) -> None:
    """Raise errors before torch is imported, which takes seconds."""
    check_backend(backend, model, dtype)
    if dtype not in (None, *DTYPES):
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
