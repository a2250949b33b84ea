"""Run an exported ONNX file in place of a model: in `predict`, the pipeline and `gffusion fuse --backend onnx`."""

import json
import mmap
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.image_processing_gffusion import PROCESSOR_OPTIONS, GFFusionImageProcessor
from gffusion.models.gffusion.json_files import name_file_in_errors
from gffusion.models.gffusion.modeling_gffusion import GFFusionOutput
from gffusion.utils.escaping import first_line
from gffusion.zoo.digest import hash_file

from .requirements import check_packages, load_onnxruntime

_PROVIDERS = {"tensorrt": "TensorrtExecutionProvider", "cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_NEEDED = ("gffusion.model", "gffusion.dtype", "gffusion.values", "gffusion.image_processor")
_ROUNDING = 0.01  # of values in half precision or of 8-bit weights
# The key `location` with its number and length, in all their encodings, without which no tensor names another file.
_LOCATION = re.compile(rb"(?:\n|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")


@dataclass
class OnnxOutput(GFFusionOutput):
    """Output of [`OnnxModel`]: `fused_values` in color, and label maps (B, H, W) rather than logits."""

    label_maps: Tensor | Any = None


class OnnxModel(nn.Module):
    """An exported .onnx file with the interface of [`GFFusionModel`] that `predict` and the pipeline use.

    Args:
        path: File of `gffusion export`.
        device: "auto" (CUDA if this build of ONNX Runtime has it, else the CPU), "cpu", "cuda" or "tensorrt".

    Raises:
        ValueError: If the file is not an export of this package with float inputs, or the device is not available.
        OSError: If the file cannot be read.
        ImportError: If onnxruntime is missing.

    Examples:
        >>> model = OnnxModel("model.onnx")  # doctest: +SKIP
        >>> predict(model, model.load_image_processor(), [(visible, infrared)])[0].fused  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], device: str = "auto") -> None:
        super().__init__()
        check_packages("run")
        self.path = Path(path)
        self.session = _start(self.path, device)
        # Digests of the weights of models then differ between files.
        self.register_buffer("file_digest", torch.tensor(list(bytes.fromhex(hash_file(self.path))), dtype=torch.uint8))
        self.metadata: dict[str, str] = self.session.get_modelmeta().custom_metadata_map
        if "gffusion.config" not in self.metadata:
            raise ValueError(
                f"{path} was not written by `gffusion export`: it has no metadata of gffusion. Other networks are not run; "
                "`gffusion evaluate --fused NAME=DIR` compares images that they fused"
            )
        if missing := [name for name in _NEEDED if name not in self.metadata]:
            raise ValueError(
                f"{path} lacks metadata that `gffusion export` writes: {', '.join(missing)}. Export it again"
            )
        if self.metadata["gffusion.values"] != "float32":
            raise ValueError(
                f"{path} takes bytes (--uint8), for programs of your own: export it without --uint8 for fuse"
            )
        with name_file_in_errors(str(path)):
            self.config = GFFusionConfig.from_dict(json.loads(self.metadata["gffusion.config"]))
        self.device = torch.device("cpu")  # of its inputs and outputs
        self.dtype = torch.float32
        self.has_labels = len(self.session.get_outputs()) > 1
        self.eval()

    @property
    def provider(self) -> str:
        """The execution provider of ONNX Runtime that runs the file."""
        return str(self.session.get_providers()[0])

    def load_image_processor(self, **options: Any) -> GFFusionImageProcessor:
        """Return the image processor that is stored in the file, with other options of [`GFFusionImageProcessor`].

        Raises:
            ValueError: If an option is unknown or invalid, or the file has no image processor.
        """
        if unknown := sorted(set(options) - set(PROCESSOR_OPTIONS)):
            raise ValueError(f"Unknown options {unknown}. Allowed: {', '.join(PROCESSOR_OPTIONS)}.")
        with name_file_in_errors(str(self.path), options):
            saved = json.loads(self.metadata["gffusion.image_processor"])
            processor: GFFusionImageProcessor = GFFusionImageProcessor.from_dict(saved, **options)
        return processor

    def forward(
        self,
        visible_values: Tensor,
        infrared_values: Tensor,
        labels: Tensor | None = None,
        segment: bool | None = None,
        return_dict: bool | None = None,
        return_loss: bool | None = None,
        semantic_tokens: Tensor | None = None,
    ) -> OnnxOutput | Any:  # a tuple only with `return_dict=False`
        """Fuse a batch of pairs, as [`GFFusionModel.forward`] does, without losses.

        Raises:
            ValueError: If an argument is not supported, or ONNX Runtime cannot run the file on these images.
        """
        if labels is not None or return_loss or semantic_tokens is not None:
            raise ValueError("An ONNX file takes no labels and no tokens: use the model that it was exported from.")
        if segment and not self.has_labels:
            raise ValueError(
                f"{self.path} computes no label maps: export a model that has a segmenter with --segment, or omit --segment"
            )
        inputs = {"visible": visible_values, "infrared": infrared_values}
        arrays = {name: np.ascontiguousarray(values.float().numpy()) for name, values in inputs.items()}
        try:
            fused, *label_maps = self.session.run(["fused", "labels"][: 1 + bool(segment)], arrays)
        except Exception as error:  # its errors share no class of their own
            raise ValueError(f"{self.path} cannot be run: {first_line(error)}") from error
        self._check_outputs(visible_values.shape, fused, *label_maps)
        maps = torch.from_numpy(label_maps[0]).long() if label_maps else None
        output = OnnxOutput(fused_values=torch.from_numpy(fused), label_maps=maps)
        return_dict = self.config.return_dict if return_dict is None else return_dict
        return output if return_dict else output.to_tuple()

    def _check_outputs(self, shape: torch.Size, fused: NDArray[Any], labels: NDArray[Any] | None = None) -> None:
        """Raise ValueError unless outputs fit visible values of a shape, as those of changed files do not."""
        batch, _, height, width = shape
        if fused.shape != shape or (labels is not None and labels.shape != (batch, height, width)):
            found = [list(output.shape) for output in (fused, labels) if output is not None]
            raise ValueError(
                f"{self.path} returns outputs of the shapes {found} for images of {list(shape)}: export the model again"
            )
        low, high = float(fused.min()), float(fused.max())
        if low < -_ROUNDING or high > 1 + _ROUNDING:  # false for NaN, which `predict` refuses
            raise ValueError(
                f"{self.path} returns values from {low:g} to {high:g} instead of 0 to 1: export the model again"
            )

    def can_generate(self) -> bool:
        """Return False; the pipeline asks."""
        return False


def choose_providers(device: str, available: list[str]) -> list[str]:
    """Return the execution providers of a device, in order of preference.

    Raises:
        ValueError: If the device is unknown or not available.

    Examples:
        >>> choose_providers("auto", ["CUDAExecutionProvider", "CPUExecutionProvider"])
        ['CUDAExecutionProvider', 'CPUExecutionProvider']
    """
    kind = device.partition(":")[0]
    if kind == "auto":
        return [_PROVIDERS[name] for name in ("cuda", "cpu") if _PROVIDERS[name] in available]
    wanted = {"tensorrt": ("tensorrt", "cuda", "cpu"), "cuda": ("cuda", "cpu"), "cpu": ("cpu",)}.get(kind)
    if wanted is None or _PROVIDERS[kind] not in available:
        found = [name for name, provider in _PROVIDERS.items() if provider in available]
        raise ValueError(
            f"--device {device}: this onnxruntime runs ONNX files on {', '.join(found)} only; onnxruntime-gpu has cuda and "
            "tensorrt"
        )
    return [_PROVIDERS[name] for name in wanted if _PROVIDERS[name] in available]


def _start(path: Path, device: str) -> Any:
    onnxruntime = load_onnxruntime()
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if _has_external_weights(path):
        raise ValueError(
            f"{path} keeps weights in other files, whose changes would not be noticed: write one file with "
            f'`onnx.save(onnx.load("{path.name}"), "one_file.onnx")`, or export the model again'
        )
    providers = choose_providers(device, onnxruntime.get_available_providers())
    index = device.partition(":")[2]
    options = [{} if name == _PROVIDERS["cpu"] or not index else {"device_id": index} for name in providers]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # errors are raised, too
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # other processes need the cores, too
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=providers, provider_options=options)
    except Exception as error:  # its errors share no class of their own
        raise ValueError(f"{path} is not a readable ONNX file: {first_line(error)}") from error
    if device != "auto" and session.get_providers()[0] != providers[0]:
        raise ValueError(f"--device {device}: ONNX Runtime could not start {providers[0]}: check its libraries")
    return session


def _has_external_weights(path: Path) -> bool:
    """Return whether a file refers to others. `onnx`, which could tell, is slow to import and not needed to run files."""
    if not path.stat().st_size:  # which cannot be mapped
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _LOCATION.search(content) is not None
