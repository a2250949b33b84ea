"""Exported files give PyTorch's images at any size and batch, say what they are, and run in `gffusion fuse`."""

import contextlib
import io
import json
import logging
import re
import runpy
import subprocess
import sys
import threading
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image

import gffusion
from gffusion import GFFusionConfig, GFFusionModel
from gffusion.cli import main
from gffusion.export.exporting import METADATA_FILE, export_model
from gffusion.export.running import OnnxModel, choose_providers
from gffusion.inference.pipeline import ImageFusionPipeline
from gffusion.inference.predict import predict, predict_labels
from gffusion.models.gffusion.image_ops import replace_luma
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.synthetic.rendering import render_scene
from gffusion.utils import extras
from gffusion.zoo import create_model, load_image_processor
from gffusion.zoo.digest import digest_weights

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLE = Path(__file__).parents[2] / "examples" / "run_onnx.py"
SIZES = [(1, 32, 32), (2, 97, 133), (3, 33, 120)]  # none is that of the export
ENCODER: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
CLIP = ENCODER | {"patch_size": 8, "image_size": 32, "projection_dim": 16}
DINOV2 = {**ENCODER, "patch_size": 8, "image_size": 16, "mlp_ratio": 2}
DINOV2.pop("intermediate_size")
SEGMENTER: dict[str, Any] = {
    "dinov2_config": DINOV2,
    "segmenter_image_size": [32, 48],
    "segmenter_windows": [2, 2],
    "segmenter_scales": [1, 0.5],
    "segmenter_refinement": 1.0,
    "segmenter_layers": 2,
    "num_labels": 4,
}
MODELS: dict[str, dict[str, Any]] = {
    "cascading": {"paradigm": "cascading", "use_segmenter": False},  # the paper's widths
    "hybrid": {"clip_config": CLIP, "clip_image_size": [32, 48], "stem_channels": 8, **SEGMENTER},
    "small": {
        "clip_config": CLIP,
        "clip_image_size": [32, 48],
        "stem_channels": 8,
        "use_segmenter": False,
        "pixel_unshuffle": 2,
        "context_channels": 4,
        "blend_sources": True,
    },
    "parallel": {
        "paradigm": "parallel",
        "color_space": "rgb",
        "merging": "group_conv",
        "stem_channels": 8,
        **SEGMENTER,
        "segmenter_windows": [1, 1],
        "segmenter_scales": [1],
    },
}


def make_model(name: str) -> GFFusionModel:
    torch.manual_seed(0)
    model = GFFusionModel(GFFusionConfig(**MODELS[name])).eval()
    for norm in model.modules():  # fresh norms change nothing, so that errors in folding them would not be seen
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.running_mean.uniform_(-0.2, 0.2)
            norm.running_var.uniform_(0.5, 2)
    return model


def make_inputs(batch: int, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rng = np.random.default_rng(height)
    return rng.random((batch, 3, height, width), np.float32), rng.random((batch, 1, height, width), np.float32)


@torch.no_grad()
def run_torch(model: GFFusionModel, arrays: Any, segment: bool) -> list[NDArray[Any]]:
    visible, infrared = map(torch.from_numpy, arrays)
    output = model(visible, infrared, segment=segment)
    colored = output.fused_values
    if colored.shape[1] == 1:
        colored = replace_luma(visible, colored)
    return [colored.numpy(), *([predict_labels(model, output, visible, infrared).numpy()] if segment else [])]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the command; return its file and what it printed."""
    path, printed = tmp_path_factory.mktemp("export") / "funet.onnx", io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as stop:
        main(["export", "gffusion-funet", "-o", str(path)])
    assert not stop.value.code
    return path, printed.getvalue()


@pytest.fixture(scope="module")
def funet_file(exported: tuple[Path, str]) -> Path:
    return exported[0]


@pytest.mark.slow
@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize(("name", "suffix"), [(name, ".onnx") for name in MODELS] + [("parallel", ".pt2")])
def test_equals_pytorch_at_other_sizes_and_batches(name: str, suffix: str, tmp_path: Path) -> None:
    model, path = make_model(name), tmp_path / f"model{suffix}"
    segment = model.config.use_segmenter
    parity = export_model(model, GFFusionImageProcessor(), path, name=name, segment=segment)
    assert parity.largest < 0.01
    if suffix == ".pt2":
        stored = {METADATA_FILE: ""}
        module = torch.export.load(path, extra_files=stored).module()
        facts = json.loads(stored[METADATA_FILE])
        assert facts["gffusion.model"] == name and len(json.loads(facts["gffusion.labels"])) == 4
    else:
        session = onnxruntime.InferenceSession(path)
        facts = session.get_modelmeta().custom_metadata_map
        attributes = [attribute for node in onnx.load(path).graph.node for attribute in node.attribute]
        assert not any(attribute.name == "antialias" and attribute.i for attribute in attributes)  # OpenVINO ignores it
    assert ("chroma" in facts["gffusion.preprocessing"]) == (model.config.color_space == "ycbcr")
    for size in SIZES:
        arrays = make_inputs(*size)
        if suffix == ".pt2":
            found = [output.numpy() for output in module(*map(torch.from_numpy, arrays))]  # without gradients
        else:
            found = session.run(None, dict(zip(("visible", "infrared"), arrays, strict=True)))
        expected = run_torch(model, arrays, segment)
        assert np.abs(found[0] - expected[0]).max() < 0.01 / 255
        if segment:
            assert (found[1] == expected[1]).mean() > 0.999


@pytest.mark.slow
@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"), [("cascading", "fp16", 1), ("small", "fp16", 1), ("small", "int8", 8)]
)
def test_narrow_types_stay_near(
    name: str, dtype: str, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "small" and torch.__version__ < "2.12":
        pytest.skip("older versions of torch refuse FuNet's context in fp16, and those before 2.9 also in fp32")
    path = tmp_path / "model.onnx"
    monkeypatch.setattr(logging.root, "handlers", [])  # as without pytest
    parity = export_model(make_model(name), GFFusionImageProcessor(), path, name=name, dtype=dtype)
    assert logging.root.handlers == []
    assert 0 < parity.largest < tolerance
    assert OnnxModel(path).metadata["gffusion.dtype"] == dtype


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_files_hold_no_paths_of_this_machine(suffix: str, tmp_path: Path) -> None:
    """Which would also differ between machines. Random numbers of the program stay the same."""
    path, model = tmp_path / f"model{suffix}", make_model("cascading")
    random = torch.get_rng_state()
    export_model(model, GFFusionImageProcessor(), path, name="cascading")
    assert torch.equal(torch.get_rng_state(), random)
    content = path.read_bytes()
    if suffix == ".pt2":
        with zipfile.ZipFile(path) as parts:
            content = b"".join(map(parts.read, parts.namelist()))
    folders = {Path(module.__file__).parent.as_posix() for module in (gffusion, torch, transformers)}
    assert not [folder for folder in folders if folder.encode() in content]


def test_axes_and_metadata(funet_file: Path) -> None:
    assert [(entry.domain, entry.version) for entry in onnx.load(funet_file).opset_import] == [("", 20)]
    session = onnxruntime.InferenceSession(funet_file)
    assert [value.shape for value in session.get_inputs()] == [
        ["batch", 3, "height", "width"],
        ["batch", 1, "height", "width"],
    ]
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["gffusion.model"] == "gffusion-funet" and facts["gffusion.license"] == "Apache-2.0"
    text = facts["gffusion.preprocessing"]
    assert "divide values by 255 or 65535" in text
    assert all(word in text for word in ("RGB in [0, 1]", "chroma", "EXIF", "NaN", "on the right", "crop"))
    assert "options" not in text and "gffusion.labels" not in facts
    assert json.loads(facts["gffusion.parity"])["largest"] < 0.01
    assert json.loads(facts["gffusion.image_processor"])["infrared_range"] == "auto"


def test_bytes_are_those_of_the_image(tmp_path: Path) -> None:
    """Also with saved options, which the metadata name."""
    path, scene = tmp_path / "bytes.onnx", render_scene(3, 64, 96)
    model = create_model("gffusion-funet")
    processor = load_image_processor("gffusion-funet", infrared_range=[40, 200], invert=True)
    export_model(model, processor, path, name="gffusion-funet", uint8=True)
    mapped = processor((scene.visible, scene.infrared), return_tensors="np")["infrared_values"][:, 0]
    inputs = {"visible": scene.visible[None], "infrared": np.rint(255 * mapped).astype(np.uint8)}
    session = onnxruntime.InferenceSession(path)
    fused = session.run(None, inputs)[0][0]
    expected = predict(model, processor, [(scene.visible, scene.infrared)])[0].fused
    assert np.abs(fused.astype(int) - expected).max() <= 1
    text = session.get_modelmeta().custom_metadata_map["gffusion.preprocessing"]
    assert "infrared_range [40, 200], invert true" in text
    assert "keep values of 8 bits" in text and "by 255" not in text
    example = runpy.run_path(str(EXAMPLE))
    assert np.array_equal(example["fuse"](example["load"](path), scene.visible, scene.infrared), fused)
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
    assert np.abs(fused.astype(int) - expected).max() <= 1  # also of 65535
    if kind == "color":
        fuse = ImageFusionPipeline(model=exported, image_processor=exported.load_image_processor())
        assert np.abs(np.asarray(fuse((visible, infrared)), int) - expected).max() <= 1


def test_exported_files_refuse_what_needs_the_model(funet_file: Path, tmp_path: Path) -> None:
    """And another file has another digest, so that an interrupted video is not continued with it."""
    model, scene = OnnxModel(funet_file), render_scene(1, 64, 96)
    with pytest.raises(ValueError, match="`row_bands` cannot be used with an exported file"):
        predict(model, model.load_image_processor(), [(scene.visible, scene.infrared)], row_bands=True)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`pairs` is empty"):
        predict(model, model.load_image_processor(), [])  # type: ignore[arg-type]
    assert model.load_image_processor(size_divisor=8, invert=True).size_divisor == 8
    with pytest.raises(ValueError, match=r"Unknown options \['invrt'\]. Allowed: size_divisor, "):
        model.load_image_processor(invrt=True)
    with pytest.raises(ValueError, match=r"^`size_divisor` must be .* got -3"):  # the argument, not the file
        model.load_image_processor(size_divisor=-3)
    other = tmp_path / "other.onnx"
    content = onnx.load(funet_file)
    content.doc_string = "other"
    onnx.save(content, other)
    assert digest_weights(model) == digest_weights(OnnxModel(funet_file)) != digest_weights(OnnxModel(other))


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


def test_report_of_fuse(run: Callable[..., Any], funet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON is alone on stdout, and a file that ONNX Runtime cannot run on an image is an error of this pair."""
    command = f"fuse visible.png infrared.png -o out --model {funet_file} --overwrite"
    code, text = run(f"{command} --json")
    assert code == 0 and json.JSONDecoder().raw_decode(text)[0]["fused"] == 1

    def fail(*_: object) -> None:
        raise RuntimeError("Non-zero status code\nwhile running Conv")

    started = SimpleNamespace(run=fail, get_providers=lambda: ["CPUExecutionProvider"])
    session = onnxruntime.InferenceSession(funet_file)
    started.get_modelmeta, started.get_outputs = session.get_modelmeta, session.get_outputs
    monkeypatch.setattr("gffusion.export.running._start", lambda *_: started)
    code, text = run(command)
    assert code == 2 and f"error: {funet_file} cannot be run: Non-zero status code\n" in text


@pytest.mark.slow
@pytest.mark.processes
def test_commands_and_example(run: Callable[..., Any], exported: tuple[Path, str], tmp_path: Path) -> None:
    assert "parity with PyTorch on 4 rendered pairs" in exported[1]
    (tmp_path / "model.onnx").symlink_to(exported[0])
    assert run("fuse visible.png infrared.png -o torch.png --model gffusion-funet --device cpu")[0] == 0
    code, text = run("fuse visible.png infrared.png -o onnx.png --model model.onnx --backend onnx --device cpu")
    assert code == 0 and "CPUExecutionProvider" in text
    blocked = "import sys, runpy; sys.modules.update(torch=None, gffusion=None); runpy.run_path(sys.argv.pop(1), run_name='__main__')"
    words = [sys.executable, "-c", blocked, str(EXAMPLE), "model.onnx", "visible.png", "infrared.png", "example.png"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    images = [np.asarray(Image.open(f"{name}.png"), int) for name in ("torch", "onnx", "example")]
    assert max(np.abs(image - images[0]).max() for image in images[1:]) <= 1


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
        ("export gffusion-funet -o m.onnx --infrared .", "--infrared needs --visible: give both"),
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
        (
            "fuse visible.png infrared.png -o o.png --model m.pt2",
            "a .pt2 file is for `torch.export.load`: give the model",
        ),
        ("fuse visible.png infrared.png -o o.png --model M.PT2 --backend onnx", "M.PT2 .* a .pt2 file is for"),
        ("export m.pt2 -o model.onnx", "a .pt2 file is for"),
    ],
)
def test_refused(words: str, message: str, run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "old.onnx").write_bytes(b"old")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, text = run(words)
    assert code == 2
    assert re.search(message, text), text
    assert "exporting" not in text
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "old.onnx").read_bytes() == b"old"


def test_missing_extra_is_named(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    code, text = run("export gffusion-funet -o model.onnx")
    assert code == 2 and re.search(r'need onnx, onnxscript, onnxruntime: pip install .*\[onnx\]"', text)


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda model: model.train(), {}, "training mode: call `model.eval"),
        (lambda model: model.half(), {}, r"float32, got torch.float16 on cpu: call `model.cpu\(\).float"),
        (lambda model: model, {"pairs": []}, "`pairs` is empty"),
    ],
)
def test_refused_before_the_export(change: Any, options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        export_model(
            change(make_model("cascading")), GFFusionImageProcessor(), str(tmp_path / "m.pt2"), name="x", **options
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As half precision gives them when it overflows, here in one of three images."""

    def call(program: Any) -> Any:
        def run(visible: NDArray[Any], infrared: NDArray[Any]) -> list[NDArray[Any]]:
            fused = run_torch(model, (visible, infrared), segment=False)
            fused[0][-1, 0, 0, 0] = value if len(visible) == 3 else fused[0][-1, 0, 0, 0]
            return fused

        return run

    model = make_model("cascading")
    monkeypatch.setattr("gffusion.export.exporting._trace", lambda *_: None)  # takes seconds
    monkeypatch.setattr("gffusion.export.exporting._call", call)
    with pytest.raises(ValueError, match=r"m.pt2 was not written: .*not finite; fp16 is too narrow .* --dtype fp32"):
        export_model(model, GFFusionImageProcessor(), tmp_path / "m.pt2", name="x", dtype="fp16")
    assert not list(tmp_path.iterdir())


class NightModel(GFFusionModel):
    """Takes the infrared image where the visible one is black, as no rendered scene is."""

    def forward(self, visible_values: Any, infrared_values: Any, **options: Any) -> Any:
        output = super().forward(visible_values, infrared_values, **options)
        if not visible_values.any():
            output.fused_values = infrared_values
        return output


@pytest.mark.usefixtures("exported_once")
def test_own_forward_may_be_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model, black = NightModel(GFFusionConfig(**MODELS["small"])).eval(), np.zeros((40, 48, 3), np.uint8)
    export_model(model, GFFusionImageProcessor(), tmp_path / "night.pt2", name="night")
    assert "night: a `forward`, methods or hooks of your own may be missing" in caplog.text
    pairs = [(black, render_scene(0, 40, 48).infrared)]
    with pytest.raises(ValueError, match=r"not written: parity .*; a `forward`, methods or hooks of your own may be"):
        export_model(model, GFFusionImageProcessor(), tmp_path / "night2.pt2", name="night", pairs=pairs)


def test_errors_of_exporters_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*values: Any, **options: Any) -> None:
        raise RuntimeError("no symbolic sizes\nframe #0")

    monkeypatch.setattr("torch.export.export", fail)
    with pytest.raises(
        ValueError, match=r"^torch .* cannot export this model \(RuntimeError: no symbolic sizes\): another thread"
    ):
        export_model(make_model("cascading"), GFFusionImageProcessor(), tmp_path / "model.onnx", name="x")
    assert not list(tmp_path.iterdir())


def test_exports_in_two_threads_wait_for_each_other(tmp_path: Path) -> None:
    paths, together = [tmp_path / "a.pt2", tmp_path / "b.pt2"], threading.Barrier(2)

    def export(path: Path) -> float:
        model = make_model("cascading")
        together.wait()
        return export_model(model, GFFusionImageProcessor(), path, name="x").largest

    with ThreadPoolExecutor(2) as executor:
        assert max(executor.map(export, paths)) < 0.01
    assert sorted(tmp_path.iterdir()) == paths


def test_other_threads_print_and_log_during_an_export(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def speak(*_: Any, **options: Any) -> None:
        print("printed")
        logging.getLogger("host").warning("logged")
        warnings.warn("about the exporter", stacklevel=1)
        raise RuntimeError

    monkeypatch.setattr("torch.onnx.export", speak)
    monkeypatch.setattr("gffusion.export.exporting._trace", lambda *_: None)  # takes seconds
    with (
        pytest.raises(ValueError, match=r"cannot export this model \(RuntimeError"),
        warnings.catch_warnings(action="error"),
    ):
        export_model(make_model("cascading"), GFFusionImageProcessor(), tmp_path / "model.onnx", name="x")
    assert (capsys.readouterr().out, caplog.messages) == ("printed\n", ["logged"])


def test_models_that_an_onnx_file_cannot_hold_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Large:
        def SerializeToString(self) -> bytes:
            raise RuntimeError("Failed to serialize proto")

    monkeypatch.setattr("gffusion.export.exporting._trace", lambda *_: None)  # takes seconds
    monkeypatch.setattr("torch.onnx.export", lambda *_, **options: SimpleNamespace(model_proto=Large()))
    with pytest.raises(ValueError, match=r"up to 2 GB \(Failed to serialize proto\): write a .pt2 file"):
        export_model(make_model("cascading"), GFFusionImageProcessor(), tmp_path / "model.onnx", name="x")
    assert not list(tmp_path.iterdir())


def test_evaluated_as_the_model_it_was_exported_from(funet_file: Path, run: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("visible", "infrared"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}.png").rename(tmp_path / name / "a.png")
    words = f"--model {funet_file} --model gffusion-funet --no-baselines --metrics EN,SF -o table"
    code, text = run(f"evaluate --visible visible --infrared infrared {words} --device cpu --json")
    assert code == 0, text
    rows = json.loads((tmp_path / "table" / "summary.json").read_text())["methods"]
    exported, original = rows[funet_file.name], rows["gffusion-funet"]
    assert abs(exported["SF"] - original["SF"]) < 0.05
    code, text = run(f"evaluate --visible visible --infrared infrared {words.replace('funet.onnx', 'none.onnx')}")
    assert code == 2 and "none.onnx does not exist" in text
