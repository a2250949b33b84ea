"""What the command imports before its first image, and that the parts it leaves out can be imported afterwards."""

import gc
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_files import write_pair

from gffusion import create_model
from gffusion.cli.deferred_modules import defer_modules, stand_for
from gffusion.cli.light_imports import paused_collection
from gffusion.data import read_image
from gffusion.inference.predict import predict
from gffusion.zoo import load_image_processor

RUN = """
import sys
from gffusion.cli import main
try:
    main(sys.argv[1:])
except SystemExit as exit:
    assert exit.code in (0, None), exit.code
"""
LEFT_OUT = """
left_out = {"accelerate.accelerator", "httpcore2", "scipy.optimize", "scipy.spatial"}
left_out |= {"transformers.generation.utils", "transformers.trainer"}
if sys.modules["torch"].__version__ >= "2.13":  # older versions import them
    left_out |= {"sympy", "torch._dynamo"}
assert not left_out & sys.modules.keys(), left_out & sys.modules.keys()
"""
# They work as if they had been imported first.
AFTERWARDS = """
from transformers import AutoConfig, BertConfig, CLIPVisionModel, GenerationConfig, PreTrainedModel
import scipy.optimize, torch, torch._dynamo, torch.distributed, transformers, transformers.modeling_utils
import accelerate, accelerate.utils, huggingface_hub
from accelerate import Accelerator, PartialState, dispatch_model, infer_auto_device_map
from transformers.loss import loss_for_object_detection
from transformers.generation.continuous_batching import PagedAttentionCache
assert issubclass(CLIPVisionModel, PreTrainedModel) and transformers.modeling_utils.PreTrainedModel is PreTrainedModel
assert AutoConfig.for_model("gffusion").model_type == "gffusion"
assert isinstance(transformers.utils.hub.hf_api(), huggingface_hub.HfApi)
assert torch.distributed.is_available() and callable(torch._dynamo.optimize)
assert loss_for_object_detection.linear_sum_assignment([[1, 0], [0, 1]])[1].tolist() == [1, 0]
layer = torch.nn.Linear(2, 3)
assert infer_auto_device_map(layer, {"cpu": 10**9}) == {"": "cpu"}
assert isinstance(dispatch_model(layer, {"": "cpu"}), torch.nn.Linear)
assert transformers.BertModel(BertConfig(num_hidden_layers=1)).eval()(torch.ones(1, 4, dtype=int)).pooler_output.shape == (1, 768)
exported = torch.export.export(layer, (torch.ones(1, 2),)).module()
assert torch.equal(exported(torch.ones(1, 2)), layer(torch.ones(1, 2)))
"""
UNKNOWN_VERSIONS = """
import gffusion.cli.light_imports as light
light._KNOWN = ((0, 0), (0, 0))
"""
MOVED_CLASS = """
import gffusion.cli.light_imports as light
from gffusion.cli.deferred_modules import Location
light._TRANSFORMERS["transformers"]["PreTrainedModel"] = Location("transformers.nowhere", "PreTrainedModel")
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    for name, shape in (("visible", (48, 64, 3)), ("infrared", (48, 64))):
        Image.fromarray(np.random.default_rng(0).integers(20, 236, shape, np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("gffusion-funet", "", LEFT_OUT),
        ("gffusion-tiny", "", LEFT_OUT + AFTERWARDS),
        ("gffusion-tiny", UNKNOWN_VERSIONS, "assert 'accelerate.accelerator' in sys.modules"),
        ("gffusion-tiny", MOVED_CLASS, AFTERWARDS),
    ],
    ids=["funet", "tiny", "unknown versions", "moved class"],
)
def test_parts_that_are_left_out(pair: Path, tmp_path: Path, model: str, before: str, after: str) -> None:
    files, fused = [str(pair / f"{name}.png") for name in ("visible", "infrared")], tmp_path / "fused.png"
    words = ["fuse", *files, "--model", model, "--output", fused, "--device", "cpu"]
    subprocess.run([sys.executable, "-c", before + RUN + after, *words], check=True, timeout=300)
    processor = load_image_processor(model)
    expected = predict(create_model(model, use_segmenter=False), processor, [tuple(map(read_image, files))])[0].fused
    np.testing.assert_array_equal(read_image(fused), expected)


def test_parts_that_are_left_out_for_videos(tmp_path: Path) -> None:
    """Also for folders of frames, and nothing is imported to find that a video is fused already."""
    frames = tmp_path / "visible", tmp_path / "infrared"
    for folder, shape in zip(frames, ((48, 64, 3), (48, 64)), strict=True):
        folder.mkdir()
        for index in range(2):
            image = np.random.default_rng(index).integers(20, 236, shape, np.uint8)
            Image.fromarray(image).save(folder / f"{index}.png")
    rates = ["--visible-fps", "5", "--infrared-fps", "5"]
    cases = {"fused.mp4": write_pair(tmp_path, 2), "frames.mp4": (*frames, *rates)}
    for output, words in cases.items():
        command = ["fuse", *words, "--output", tmp_path / output, "--model", "gffusion-funet", "--device", "cpu"]
        for after in (LEFT_OUT, "assert not {'torch', 'transformers'} & sys.modules.keys()"):
            subprocess.run([sys.executable, "-c", RUN + after, *command], check=True, timeout=300)


def test_collection_is_paused_and_frozen_only_with_the_imports() -> None:
    import torch  # noqa: F401 - before the collection is paused

    frozen = gc.get_freeze_count()
    with paused_collection():
        assert not gc.isenabled()
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen  # calls in one process would keep the unused objects of those before


def test_deferred_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "late_package"
    package.mkdir()
    (package / "__init__.py").write_text("from .part import Part\nruns = 1\n")
    (package / "part.py").write_text("class Part:\n    size = 3\n")
    (package / "user.py").write_text("from . import Part\n")
    monkeypatch.syspath_prepend(tmp_path)
    names = ("late_package", "late_package.part", "late_package.user")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    attributes = {"late_package": {"one": 1}, "late_package.part": stand_for("late_package.part", "Part")}
    with defer_modules(attributes):
        late, part = map(importlib.import_module, names[:2])
    stand = part.Part
    assert late.one == 1 and "runs" not in vars(late)
    assert not hasattr(late, "__wrapped__") and not isinstance(1, stand) and "runs" not in vars(late)
    assert isinstance(stand(), stand) and stand.size == 3
    user = importlib.import_module(names[2])
    assert late.runs == 1 and isinstance(part.Part(), user.Part)
    assert not hasattr(late, "other") and not hasattr(stand, "other")
