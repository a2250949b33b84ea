"""Exports that several tests share."""

from typing import Any

import pytest
import torch

from gffusion.export import exporting
from gffusion.zoo.digest import digest_weights


@pytest.fixture(scope="module")
def programs() -> dict[str, Any]:
    """What PyTorch's exporters returned for each model and precision."""
    return {}


@pytest.fixture
def exported_once(programs: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Use PyTorch's exporters once for the files of one model that begin with the same program."""
    trace, convert = exporting._trace, torch.onnx.export

    def trace_once(graph: Any, uint8: bool) -> Any:
        key = f"{digest_weights(graph.model)} {graph.model.dtype} {graph.segment} {uint8}"
        if key not in programs:
            programs[key] = trace(graph, uint8)
        return programs[key]

    def convert_once(program: Any, **options: Any) -> Any:
        (key,) = (key for key, value in programs.items() if value is program)
        if f"{key} in ONNX" not in programs:
            programs[f"{key} in ONNX"] = convert(program, **options)
        return programs[f"{key} in ONNX"]

    monkeypatch.setattr(exporting, "_trace", trace_once)
    monkeypatch.setattr(torch.onnx, "export", convert_once)
