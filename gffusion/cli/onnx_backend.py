"""The ONNX Runtime backend of `gffusion fuse`."""

from typing import TYPE_CHECKING, Any

from gffusion.export.requirements import check_file, is_onnx

from .library_logging import quiet_libraries
from .models import locate_model
from .printing import print_line

if TYPE_CHECKING:
    from gffusion.export.running import OnnxModel
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor

BACKENDS = ("auto", "torch", "onnx")


def check_backend(backend: str, model: str, dtype: str | None) -> None:
    """Raise an error if the backend does not fit the model, before torch is imported."""
    if backend not in BACKENDS:
        raise ValueError(f"--backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if backend == "onnx" and not is_onnx(model):
        locate_model(model)  # raises if it is no model that can be exported
        raise ValueError(
            f"--backend onnx needs an .onnx file: write one with `gffusion export {model} -o model.onnx`, and pass --model "
            "model.onnx"
        )
    if not is_onnx(model):
        return
    if backend == "torch":
        raise ValueError(f"--backend torch cannot run {model}: give the model that it was exported from to --model")
    if dtype is not None:
        raise ValueError(f"--dtype {dtype} cannot change {model}: leave it out, or export with another --dtype")
    check_file(model)


def load_onnx(
    path: str, device: str, segment: bool, options: dict[str, Any], as_json: bool
) -> "tuple[OnnxModel, GFFusionImageProcessor]":
    """Load an exported file and its image processor; with `as_json`, only the report is on stdout."""
    from gffusion.export.running import OnnxModel

    quiet_libraries()
    model = OnnxModel(path, device)
    if segment and not model.has_labels:
        raise ValueError(f"{path} computes no label maps: export it with --segment, or omit --segment")
    facts = f"{path}: {model.metadata['gffusion.model']}, {model.metadata['gffusion.dtype']}, on {model.provider}"
    print_line(facts, err=as_json)
    return model, model.load_image_processor(**options)
