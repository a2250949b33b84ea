"""Exported files give PyTorch's images at any size and batch, say what they are, and run in `gffusion fuse`."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gffusion.cli import main
from gffusion.export import requirements
from gffusion.export.exporting import export_model
from gffusion.export.running import OnnxModel, choose_providers
from gffusion.inference.pipeline import ImageFusionPipeline
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import create_model, load_image_processor

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def funet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "funet.onnx"
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    export_model(model, processor, path, name="gffusion-funet", license="Apache-2.0")
    return path


def test_axes_and_metadata(funet_file: Path) -> None:
    session = onnxruntime.InferenceSession(funet_file)
    assert [value.shape for value in session.get_inputs()] == [
        ["batch", 3, "height", "width"],
        ["batch", 1, "height", "width"],
    ]
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["gffusion.model"] == "gffusion-funet" and facts["gffusion.license"] == "Apache-2.0"
    assert "RGB in [0, 1]" in facts["gffusion.preprocessing"] and "chroma" in facts["gffusion.preprocessing"]
    assert json.loads(facts["gffusion.parity"])["largest"] < 0.01
    assert json.loads(facts["gffusion.image_processor"])["infrared_range"] == "auto"


def test_bytes_are_those_of_the_image(tmp_path: Path) -> None:
    path, scene = tmp_path / "bytes.onnx", render_scene(3, 64, 96)
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    export_model(model, processor, path, name="gffusion-funet", uint8=True)
    inputs = {"visible": scene.visible[None], "infrared": scene.infrared[None]}
    fused = onnxruntime.InferenceSession(path).run(None, inputs)[0][0]
    expected = predict(model, processor, [(scene.visible, scene.infrared)])[0].fused
    assert np.abs(fused.astype(int) - expected).max() <= 1
    with pytest.raises(ValueError, match="takes bytes"):
        OnnxModel(path)


@pytest.mark.parametrize("kind", ["gray", "color", "deep", "small"])
def test_predict_and_pipeline_take_a_file(kind: str, funet_file: Path) -> None:
    scene = render_scene(1, 64, 96)
    visible, infrared = scene.visible, scene.infrared
    if kind == "gray":
        visible = visible[..., 0]
    elif kind == "deep":
        visible = visible.astype(np.uint16) * 257
    elif kind == "small":
        visible, infrared = visible[:20, :41], infrared[:20, :41]
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    exported = OnnxModel(funet_file)
    expected = predict(model, processor, [(visible, infrared)])[0].fused
    fused = predict(exported, exported.load_image_processor(), [(visible, infrared)])[0].fused  # type: ignore[arg-type]
    assert fused.dtype == expected.dtype and fused.shape == expected.shape
    assert np.abs(fused.astype(int) - expected).max() <= (257 if kind == "deep" else 1)
    if kind == "color":
        fuse = ImageFusionPipeline(model=exported, image_processor=exported.load_image_processor())
        assert np.abs(np.asarray(fuse((visible, infrared)), int) - expected).max() <= 1


def test_providers() -> None:
    everything = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    assert choose_providers("tensorrt", everything) == everything
    assert choose_providers("auto", everything) == choose_providers("cuda:1", everything) == everything[1:]
    with pytest.raises(ValueError, match=r"--device cuda: .* on cpu only"):
        choose_providers("cuda", everything[2:])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the command in a folder with a rendered pair; return exit code and output."""
    scene = render_scene(2, 64, 96)
    Image.fromarray(scene.visible).save(tmp_path / "visible.png")
    Image.fromarray(scene.infrared).save(tmp_path / "infrared.png")
    monkeypatch.chdir(tmp_path)

    def call(words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            main(words.split())
        return int(stop.value.code or 0), "".join(capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export gffusion-funet -o model.bin", "--output must be one of .onnx, .pt2"),
        ("export gffusion-funet -o visible.png", "--output must be one of"),
        ("export gffusion-funet -o old.onnx", "old.onnx exists: .* --overwrite"),
        ("export gffusion-funet -o no/model.onnx", "folder no does not exist"),
        ("export gffusion-funet -o m.onnx --dtype half", "--dtype must be one of fp32, fp16, int8"),
        ("export gffusion-funet -o m.pt2 --dtype int8", "--dtype int8 needs an .onnx file"),
        ("export gffusion-funet -o m.onnx --dtype int8", "--dtype int8 quantizes encoders only"),
        ("export gffusion-funet -o m.onnx --segment", "no segmenter"),
        ("export gffusion-funet -o m.onnx --visible .", "--visible and --infrared must be given together"),
        ("fuse visible.png infrared.png -o o.png --backend onnx", "gffusion export gffusion-tiny -o model.onnx"),
        ("fuse visible.png infrared.png -o o.png --backend tf", "--backend must be one of"),
        (
            "fuse visible.png infrared.png -o o.png --model old.onnx --backend torch",
            "--backend torch cannot run old.onnx",
        ),
        ("fuse visible.png infrared.png -o o.png --model old.onnx --dtype float16", "--dtype float16 cannot change"),
        (
            "fuse visible.png infrared.png -o o.png --model old.onnx --device cpu",
            "old.onnx is not a readable ONNX file",
        ),
        ("fuse visible.png infrared.png -o o.png --model new.onnx", "new.onnx does not exist"),
    ],
)
def test_refused(words: str, message: str, run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "old.onnx").write_bytes(b"old")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, text = run(words)
    assert code == 2
    assert re.search(message, text), text
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.onnx").read_bytes() == b"old"


def test_missing_extra_is_named(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    code, text = run("export gffusion-funet -o model.onnx")
    assert code == 2 and 'pip install "gffusion[onnx]"' in text
