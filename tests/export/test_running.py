"""ONNX files that are damaged are refused with one line."""

from pathlib import Path

import pytest

from gffusion.export.exporting import export_model
from gffusion.export.running import OnnxModel
from gffusion.zoo import create_model, load_image_processor

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_damaged_files_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Also what ONNX Runtime would log, which does not pass through Python."""
    whole = tmp_path / "whole.onnx"
    export_model(create_model("gffusion-funet"), load_image_processor("gffusion-funet"), whole, name="gffusion-funet")
    capfd.readouterr()
    deep = '{"a": ' * 200_000 + "0" + "}" * 200_000
    facts = {"gffusion.image_processor": None, "gffusion.config": deep}
    messages = ["has no metadata `gffusion.image_processor`", "nested too deep", "not a readable ONNX file"]
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
