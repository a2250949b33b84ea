"""Options of `gffusion fuse` that images and videos share, and the model that they name."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from gffusion.export.requirements import check_file, is_onnx

from .device import choose_device, choose_dtype
from .infrared_options import check_saved_options
from .library_logging import quiet_libraries
from .light_imports import import_transformers, paused_collection, skip_meta_values
from .models import NO_SEGMENTER, check_segmenter, locate_model
from .printing import print_line

if TYPE_CHECKING:
    from gffusion.data import ReadOptions
    from gffusion.export.running import OnnxModel
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

BACKENDS = ("auto", "torch", "onnx")
DTYPES = ("float32", "bfloat16", "float16")


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
    suffix: str | None  # of images only
    keep_thermal: bool  # of images only
    timing: dict[str, Any]  # of videos only: arguments of `fuse_video`

    def check_model(self) -> None:
        """Raise errors that name or configuration show before torch is imported."""
        if is_onnx(self.model):
            return
        folder = locate_model(self.model)
        check_saved_options(folder, self.infrared_options)
        if self.segment:
            check_segmenter(self.model, folder)

    def load(self) -> tuple["GFFusionModel", "GFFusionImageProcessor"]:
        """Return the model on its device, and its image processor."""
        if is_onnx(self.model):
            return self._load_onnx()  # type: ignore[return-value]
        with paused_collection():
            device = choose_device(self.device)
            import_transformers()
            from gffusion.zoo import create_model, load_image_processor

            quiet_libraries()
            dtype = choose_dtype(self.dtype, device)
            parts = {} if self.segment else {"use_segmenter": False}
            with skip_meta_values():
                model = create_model(self.model, dtype=dtype, **parts)
        if self.segment and not model.config.use_segmenter:  # a model of the Hub
            raise ValueError(NO_SEGMENTER.format(self.model))
        return model.to(device), load_image_processor(self.model, **self.infrared_options)

    def _load_onnx(self) -> "tuple[OnnxModel, GFFusionImageProcessor]":
        """Load an exported file and its image processor."""
        from gffusion.export.running import OnnxModel

        quiet_libraries()
        model = OnnxModel(self.model, self.device)
        if self.segment and not model.has_labels:
            raise ValueError(
                f"{self.model} computes no label maps: export a model that has a segmenter with --segment, or omit --segment"
            )
        facts = f"{model.metadata['gffusion.model']}, {model.metadata['gffusion.dtype']}, on {model.provider}"
        print_line(f"{self.model}: {facts}")
        return model, model.load_image_processor(**self.infrared_options)


def check_options(dtype: str | None, backend: str, model: str) -> None:
    """Raise an error if backend or precision are unknown or do not fit the model, before torch is imported, which takes seconds."""
    if backend not in BACKENDS:
        raise ValueError(f"--backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if dtype not in (None, *DTYPES):
        raise ValueError(f"--dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if is_onnx(model):
        if backend == "torch":
            raise ValueError(f"--backend torch cannot run {model}: give the model that it was exported from to --model")
        if dtype is not None:
            raise ValueError(f"--dtype {dtype} cannot change {model}: leave it out, or export with another --dtype")
        check_file(model)
    elif backend == "onnx":
        locate_model(model)  # raises if it is no model that can be exported
        raise ValueError(
            f"--backend onnx needs an .onnx file: write one with `gffusion export {model} -o model.onnx`, and pass --model "
            "model.onnx"
        )
