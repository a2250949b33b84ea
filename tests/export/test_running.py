"""ONNX files that are damaged are refused with one line."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from environments import make_environment

from gffusion.export.exporting import export_model
from gffusion.export.running import OnnxModel
from gffusion.zoo import create_model, load_image_processor

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "whole.onnx"
    export_model(create_model("gffusion-funet"), load_image_processor("gffusion-funet"), path, name="gffusion-funet")
    return path


def test_damaged_files_are_one_line(whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also what ONNX Runtime would log, which does not pass through Python."""
    deep = '{"a": ' * 200_000 + "0" + "}" * 200_000
    names = ["model", "dtype", "values", "image_processor"]
    facts = {**{f"gffusion.{name}": None for name in names}, "gffusion.config": deep}
    messages = [
        *(rf"lacks metadata that `gffusion export` writes: gffusion\.{name}\. Export it again" for name in names),
        "nested too deep",
        "keeps weights in other files.*onnx.save",
    ]
    contents = []
    for name, value in facts.items():
        content = onnx.load(whole)
        kept = [fact for fact in content.metadata_props if fact.key != name]
        del content.metadata_props[:]
        content.metadata_props.extend(kept)
        if value:
            content.metadata_props.add(key=name, value=value)
        contents.append(content)
    short = onnx.load(whole)
    weight = max(short.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="short.bin")
    weight.ClearField("raw_data")
    (tmp_path / "short.bin").write_bytes(bytes(100))
    for content, message in zip([*contents, short], messages, strict=True):
        onnx.save(content, tmp_path / "damaged.onnx")
        with pytest.raises(ValueError, match=message) as error:
            OnnxModel(tmp_path / "damaged.onnx").load_image_processor()
        assert "wrong type" not in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().err == ""


@pytest.mark.processes
def test_onnxruntime_sends_no_telemetry(whole: Path, tmp_path: Path) -> None:
    """It would write an id for it to the folder for temporary files; it never does in tests of CI."""
    code = "import sys, pathlib; from gffusion.export.running import OnnxModel; OnnxModel(pathlib.Path(sys.argv[1]))"
    environment = make_environment(TMPDIR=str(tmp_path))
    for name in ("CI", "ORT_DISABLE_TELEMETRY"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", code, str(whole)], env=environment, check=True)
    assert not (tmp_path / ".ses").exists()


def test_weights_in_another_file(whole: Path, tmp_path: Path) -> None:
    """They could change without a new digest; the remedy of the message works."""
    parts, again = tmp_path / "parts.onnx", tmp_path / "again.onnx"
    onnx.save(onnx.load(whole), parts, save_as_external_data=True, location="parts.bin", size_threshold=0)
    with pytest.raises(ValueError, match=r'parts\.onnx keeps weights in other files.*onnx\.load\("parts\.onnx"\)'):
        OnnxModel(parts)
    onnx.save(onnx.load(parts), again)
    values = torch.rand(1, 3, 48, 64), torch.rand(1, 1, 48, 64)
    assert torch.equal(OnnxModel(again)(*values).fused_values, OnnxModel(whole)(*values).fused_values)


@pytest.mark.parametrize(
    "entry",
    [
        b"\x12\x09parts.bin\n\x08location",
        b"\n\x88\x00location\x12\x08part.bin",
        b"\x8a\x00\x08location\x12\x08part.bin",
    ],
    ids=["order", "length", "number"],
)
def test_weights_in_another_file_in_other_encodings(whole: Path, tmp_path: Path, entry: bytes) -> None:
    """Protocol Buffers allow fields in any order, and zeros above a length; ONNX Runtime reads both."""
    path = tmp_path / "parts.onnx"
    onnx.save(onnx.load(whole), path, save_as_external_data=True, location="parts.bin")
    shutil.copy(tmp_path / "parts.bin", tmp_path / "part.bin")
    path.write_bytes(path.read_bytes().replace(b"\n\x08location\x12\x09parts.bin", entry))
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with pytest.raises(ValueError, match=r"parts\.onnx keeps weights in other files"):
        OnnxModel(path)


def test_metadata_can_hold_the_word_location(whole: Path, tmp_path: Path) -> None:
    content = onnx.load(whole)
    content.producer_name = "location"
    onnx.save(content, tmp_path / "named.onnx")
    OnnxModel(tmp_path / "named.onnx")


@pytest.mark.parametrize(
    ("operator", "value", "message"),
    [
        ("Mul", np.float32(255), "returns values from 0 to 2.* instead of 0 to 1"),
        ("Sub", np.float32(0.5), "returns values from -0.* to 0.* instead of 0 to 1"),
        ("ReduceMean", np.array([1]), r"shapes \[\[1, 1, 48, 64\]\] for images of \[1, 3, 48, 64\]: export"),
        ("Flatten", None, r"shapes \[\[1, 9216\]\]"),
        ("Squeeze", None, r"shapes \[\[3, 48, 64\]\]"),
    ],
)
def test_outputs_that_are_no_color_images(whole: Path, tmp_path: Path, operator: str, value: Any, message: str) -> None:
    content = onnx.load(whole)
    for node in content.graph.node:
        node.output[:] = ["inner" if name == "fused" else name for name in node.output]
    inputs = ["inner"]
    if value is not None:
        content.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value), "value"))
        inputs.append("value")
    content.graph.node.append(onnx.helper.make_node(operator, inputs, ["fused"]))
    content.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(content, tmp_path / "changed.onnx")
    with pytest.raises(ValueError, match=message):
        OnnxModel(tmp_path / "changed.onnx")(torch.rand(1, 3, 48, 64), torch.rand(1, 1, 48, 64))


def test_results_as_a_tuple(whole: Path) -> None:
    values = torch.rand(1, 3, 48, 64), torch.rand(1, 1, 48, 64)
    model = OnnxModel(whole)
    output = model(*values, segment=model.has_labels)
    as_tuple = model(*values, segment=model.has_labels, return_dict=False)
    assert type(as_tuple) is tuple
    for value, expected in zip(as_tuple, output.values(), strict=True):
        assert torch.equal(value, expected)
    model.config.return_dict = False
    assert torch.equal(model(*values)[0], output.fused_values)
