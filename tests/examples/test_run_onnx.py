"""What the example for ONNX files reads, maps and refuses; tests/export/test_export.py compares its images."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from gffusion import GFFusionImageProcessor
from gffusion.synthetic.rendering import render_scene

pytest.importorskip("onnxruntime")

EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "run_onnx.py"), run_name="example")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 36)).save("visible.png")
    Image.new("L", (40, 36)).save("infrared.png")
    Path("damaged.onnx").write_bytes(b"damaged")
    return tmp_path


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("none.onnx visible.png infrared.png fused.png", "none.onnx does not exist"),
        ("damaged.onnx visible.png infrared.png fused.png", "damaged.onnx is not a readable ONNX file"),
        ("damaged.onnx visible.png infrared.png infrared.png", "infrared.png is an input"),
        ("damaged.onnx visible.png infrared.png", "the following arguments are required: output"),
    ],
)
def test_refused(
    words: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run_onnx.py", *words.split()])
    with pytest.raises(SystemExit) as stop:
        EXAMPLE["main"]()
    assert message in f"{stop.value}{capsys.readouterr().err}"
    assert not Path("fused.png").exists()


@pytest.mark.parametrize("array", [np.full((4, 4), 3000, np.uint16), np.full((4, 4), 0.5, np.float32)])
def test_deep_images_are_not_clipped(array: NDArray[Any], folder: Path) -> None:
    Image.fromarray(array).save("deep.tif")
    with pytest.raises(ValueError, match="more than 8 bits"):
        EXAMPLE["read"](Path("deep.tif"), "L")


def test_images_are_upright_and_of_one_size(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (40, 36)).save("turned.png", exif=exif)
    turned = EXAMPLE["read"](Path("turned.png"), "L")
    assert turned.shape == (40, 36)
    with pytest.raises(ValueError, match="the visible one has 40x36 pixels, the infrared one 36x40"):
        EXAMPLE["fuse"](None, EXAMPLE["read"](Path("visible.png"), "RGB"), turned)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"infrared_range": "type", "invert": True},
        {"infrared_range": "percentile"},
        {"infrared_range": [40, 200], "invert": True},
        {"infrared_range": [200, 40]},
    ],
)
def test_saved_options_are_applied(options: dict[str, Any]) -> None:
    scene, processor = render_scene(0, 64, 96), GFFusionImageProcessor(**options)
    expected = processor((scene.visible, scene.infrared), return_tensors="np")["infrared_values"][0, 0]
    mapped = EXAMPLE["map_infrared"](scene.infrared, json.loads(json.dumps(processor.to_dict())))
    np.testing.assert_allclose(mapped, expected, atol=1e-6)


@pytest.mark.parametrize("limits", [[7000, 9000], [9000, 7000], [-20, -5]])
def test_ranges_of_other_units_are_refused(limits: list[float]) -> None:
    """As gffusion refuses them; otherwise, the image would be uniform."""
    scene = render_scene(0, 64, 96)
    with pytest.raises(ValueError, match="outside the range"):
        GFFusionImageProcessor(infrared_range=limits)((scene.visible, scene.infrared))
    message = f"most infrared values are outside the saved range {min(limits)} to {max(limits)}: use gffusion fuse"
    with pytest.raises(ValueError, match=message):
        EXAMPLE["map_infrared"](scene.infrared, {"infrared_range": limits})


@pytest.mark.parametrize(
    "options",
    [
        {"infrared_range": "folder"},
        {"infrared_range": "percentile", "smooth_range": 8},
        {"agc": "clahe"},
        {"agc": "plateau"},
        {"size_divisor": 8},
    ],
)
def test_other_saved_options_are_refused(options: dict[str, Any]) -> None:
    saved = {"gffusion.image_processor": json.dumps(GFFusionImageProcessor(**options).to_dict())}
    session = SimpleNamespace(get_modelmeta=lambda: SimpleNamespace(custom_metadata_map=saved))
    name, value = list(options.items())[-1]
    with pytest.raises(ValueError, match=f"has the option {name}={value!r}, which needs gffusion fuse"):
        EXAMPLE["fuse"](session, np.zeros((40, 36, 3), np.uint8), np.zeros((40, 36), np.uint8))
