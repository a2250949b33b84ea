"""Write a model as an ONNX or a torch.export file, after it was compared with PyTorch."""

import io
import json
import logging
import os
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion._version import __version__
from gffusion.data.reading import PairImages
from gffusion.inference.folding import can_divide
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.image_sizes import MIN_SIZE
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.atomic import replace_file, temporary_folder
from gffusion.zoo.checks import check_model_object, check_processor_object

from .graph import FusionGraph
from .metadata import describe_file
from .parity import Function, Parity, measure_parity, render_batches
from .requirements import check_export, load_onnxruntime

logger = logging.getLogger(__name__)

OPSET = 20
_OWN_PARTS = "a `forward`, methods or hooks of your own may be missing in exported files"
_LIMITS = {"fp32": 1, "fp16": 2, "int8": 8}  # gray levels beyond which a file is refused
METADATA_FILE = "gffusion.json"
"""Name of the metadata within a torch.export file."""

_EXPORTING = threading.Lock()  # torch's exporters change torch for the whole process


def export_model(
    model: GFFusionModel,
    image_processor: GFFusionImageProcessor,
    output: str | os.PathLike[str],
    *,
    name: str,
    license: str = "not stated",
    segment: bool = False,
    dtype: str = "fp32",
    uint8: bool = False,
    pairs: Sequence[tuple[Any, Any] | PairImages] | None = None,
    overwrite: bool = False,
) -> Parity:
    """Export a float32 model in evaluation mode, and return how far the file is from PyTorch.

    torch's exporters change `torch.nn.Module` for the whole process. A second export waits for the first one. Anything else that
    runs a module in another thread meanwhile, such as [`predict`], can fail, and lets the export fail.

    Args:
        model: The model.
        image_processor: Its processor, whose options are stored in the file.
        output: An .onnx or .pt2 file.
        name: Name of the model in the metadata.
        license: License of the weights in the metadata.
        segment: Whether the file computes label maps, too.
        dtype: "fp32"; "fp16" for half precision inside; "int8" for encoders with 8-bit weights. Inputs and outputs stay
            the same.
        uint8: Whether inputs and outputs are bytes with channels last.
        pairs: Pairs for the comparison, as [`predict`] takes them, instead of rendered ones. Give some if the model has a
            `forward`, methods or hooks of your own, which may be missing in the file.
        overwrite: Whether to replace an existing file.

    Raises:
        ValueError: If options do not fit the model, the model is not a float32 model on the CPU in evaluation mode, or the
            file is farther from PyTorch than rounding of its type explains.
        OSError: If the file cannot be written.
        ImportError: If a package for ONNX files is missing.
    """
    # Warnings of torch's exporters are about themselves, and the exporters draw random numbers.
    with _EXPORTING, warnings.catch_warnings(action="ignore"), torch.random.fork_rng(devices=[]):
        check_model(model, name, segment, dtype)
        check_processor_object(image_processor)
        output = Path(output)
        check_export(output, dtype, overwrite)
        if pairs is not None and not pairs:
            raise ValueError("`pairs` is empty: give pairs of images for the comparison, or None for rendered ones")
        graph = FusionGraph(model, segment, uint8).to(torch.float16 if dtype == "fp16" else torch.float32).eval()
        program = _trace(graph, uint8)
        is_onnx = output.suffix.lower() == ".onnx"
        content, function = _to_onnx(program, model, segment, dtype) if is_onnx else (None, _call(program))
        batches = render_batches() if pairs is None else [[pair] for pair in pairs]
        source = "rendered" if pairs is None else "given"
        parity = measure_parity(function, model, image_processor, batches, segment, uint8, source)
        if not parity.largest <= _LIMITS[dtype]:  # NaN, too
            raise ValueError(f"{output} was not written: {parity.describe()}{_advise(model, dtype)}")
        if pairs is None and not can_divide(model):
            logger.warning("%s: %s. Give `pairs` to compare the file with your model on your images.", name, _OWN_PARTS)
        options: dict[str, Any] = {"name": name, "license": license, "dtype": dtype, "segment": segment, "uint8": uint8}
        facts = describe_file(model.config, image_processor, parity, **options)
        replace_file(output, _save_program(program, facts) if content is None else _add_metadata(content, facts))
        return parity


def _advise(model: GFFusionModel, dtype: str) -> str:
    if not can_divide(model):
        return f"; {_OWN_PARTS}"
    return "" if dtype == "fp32" else f"; {dtype} is too narrow for this model: use --dtype fp32"


def check_model(model: GFFusionModel, name: str, segment: bool, dtype: str) -> None:
    """Raise ValueError if a model cannot be exported with these options."""
    check_model_object(model)
    if model.training:
        raise ValueError(f"the model {name} is in training mode: call `model.eval()` first")
    if any(value.is_meta for value in model.parameters()):
        raise ValueError(f"the weights of the model {name} are offloaded: load it without `device_map`")
    if any((value.device.type, value.dtype) != ("cpu", torch.float32) for value in model.parameters()):
        raise ValueError(
            f"the model {name} must be on the CPU and in float32, got {model.dtype} on {model.device}: call "
            "`model.cpu().float()` first; `dtype` (--dtype) chooses the precision of the file"
        )
    if segment and not model.config.use_segmenter:
        raise ValueError(f"the model {name} has no segmenter: omit --segment or choose a model with a segmenter")
    if segment and model.config.num_labels > 256:
        raise ValueError(f"label maps of exported files are uint8, but {name} has {model.config.num_labels} classes")
    if dtype == "int8" and model.config.paradigm == "cascading" and not segment:
        raise ValueError(
            f"--dtype int8 quantizes encoders only, and {name} uses none here: FuNet stays in floating point; choose "
            "fp32 or fp16"
        )


def _trace(graph: FusionGraph, uint8: bool) -> torch.export.ExportedProgram:
    batch, height, width = (
        torch.export.Dim(name, min=smallest)
        for name, smallest in (("batch", 1), ("height", MIN_SIZE), ("width", MIN_SIZE))
    )
    if uint8:
        inputs = torch.zeros(2, 96, 128, 3, dtype=torch.uint8), torch.zeros(2, 96, 128, dtype=torch.uint8)
        axes = {0: batch, 1: height, 2: width}
    else:
        inputs = torch.zeros(2, 3, 96, 128, dtype=torch.float32), torch.zeros(2, 1, 96, 128, dtype=torch.float32)
        axes = {0: batch, 2: height, 3: width}
    with torch.no_grad(), _named_errors():
        program = torch.export.export(graph, inputs, dynamic_shapes=(axes, axes), strict=False)
    _drop_paths(program)
    return program


def _drop_paths(program: torch.export.ExportedProgram) -> None:
    """Remove the lines of code behind every node, with paths of this machine, which both kinds of files would store."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)


def _to_onnx(
    program: torch.export.ExportedProgram, model: GFFusionModel, segment: bool, dtype: str
) -> tuple[bytes, Function]:
    onnxruntime = load_onnxruntime()
    outputs = ["fused", "labels"][: 1 + segment]
    with _quiet(), _named_errors():
        exported = torch.onnx.export(
            program, input_names=["visible", "infrared"], output_names=outputs, opset_version=OPSET, verbose=False
        )
        assert exported is not None
        proto = exported.model_proto
        if dtype == "int8":
            proto = _quantize(proto, _name_precise_layers(model))
    content = _serialize(proto)
    with _named_errors():
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda visible, infrared: session.run(None, {"visible": visible, "infrared": infrared})


def _name_precise_layers(model: GFFusionModel) -> str:
    """Return a pattern of modules that rounding to 8 bits would make far less precise: FINet, and CLIP's first layers."""
    count = model.config.clip_config.num_hidden_layers // 4 if model.config.needs_clip else 0
    return "|".join([r"model\.finet", *(rf"model\.clip\.encoder\.layers\.{index}'" for index in range(count))])


def _quantize(proto: Any, precise: str) -> Any:
    """Quantize the weights of the encoders' linear layers to 8 bits per channel; activations as they come."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    excluded = [
        node.name
        for node in proto.graph.node
        if any(re.search(precise, entry.value) for entry in node.metadata_props if entry.key.endswith("name_scopes"))
    ]
    add_pre_process_metadata(proto)  # torch inferred the shapes; otherwise, a warning in the root logger asks for it
    with temporary_folder() as folder:
        target = folder / "model.onnx"
        quantize_dynamic(
            proto,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
        )
        return onnx.load(target)


def _call(program: torch.export.ExportedProgram) -> Function:
    module = program.module()

    def run(*images: NDArray[Any]) -> list[NDArray[Any]]:
        tensors = [torch.from_numpy(np.ascontiguousarray(image)) for image in images]
        return [output.numpy() for output in module(*tensors)]

    return run


def _add_metadata(content: bytes, facts: dict[str, str]) -> bytes:
    import onnx

    proto = onnx.load_model_from_string(content)
    proto.producer_name, proto.producer_version = "gffusion", __version__
    proto.doc_string = facts["gffusion.preprocessing"]
    onnx.helper.set_model_props(proto, facts)
    _name_axes(proto.graph)
    return _serialize(proto)


def _serialize(proto: Any) -> bytes:
    try:
        return bytes(proto.SerializeToString())
    except Exception as error:  # of another class in every version of protobuf
        raise ValueError(
            f"the model does not fit into an .onnx file, which holds up to 2 GB ({error}): write a .pt2 file, or use --dtype "
            "fp16 or int8"
        ) from error


def _name_axes(graph: Any) -> None:
    """Rename the exporter's symbols of free axes to batch, height and width."""
    free = [axis.dim_param for axis in graph.input[0].type.tensor_type.shape.dim if axis.dim_param]
    names = dict(zip(free, ("batch", "height", "width"), strict=True))
    del graph.value_info[:]  # shapes inside, which use the symbols, too
    for value in (*graph.input, *graph.output):
        for axis in value.type.tensor_type.shape.dim:
            if axis.dim_param in names:
                axis.dim_param = names[axis.dim_param]


def _save_program(program: torch.export.ExportedProgram, facts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={METADATA_FILE: json.dumps(facts, indent=1)})
    return buffer.getvalue()


@contextmanager
def _named_errors() -> Iterator[None]:
    """Turn errors of torch's exporters, which share no class of their own, into one line."""
    try:
        yield
    except Exception as error:
        cause = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"torch {torch.__version__} cannot export this model ({type(error).__name__}: {cause}): another thread "
            "that ran a torch module meanwhile can be the cause; if there was none, try newer versions of torch, onnx and onnxscript"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings about optional packages in the log of torch's exporter, and leave the loggers of the process as they are."""
    exporter, handlers = logging.getLogger("torch.onnx"), logging.root.handlers[:]
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        yield
    finally:
        exporter.setLevel(level)
        # `quantize_dynamic` adds one, which would print the messages of all libraries.
        logging.root.handlers[:] = handlers
