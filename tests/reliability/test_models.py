"""Hostile model folders: refused in one line that names the tensor or the field, before memory is allocated, or loaded as they are."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_models import CONFIG, WEIGHTS, HostileModel, damage_weights, generate_models
from read_back import read_files
from safetensors.torch import load_file, save_file
from transformers import AutoModel, pipeline

from gffusion import GFFusionModel, create_model
from gffusion.hub import find_problems
from gffusion.zoo import load_image_processor, locate

MODELS = list(generate_models(Path(locate("gffusion-funet"))))


def load(folder: Path) -> dict[str, torch.Tensor] | str:
    """Return the weights of a model, or the message of the error, which must be one short line."""
    try:
        weights = create_model(folder).state_dict()
        load_image_processor(folder)
        return weights
    except (OSError, ValueError) as error:
        message = " ".join(str(error).split())
        assert len(message) < 900
        return message


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return create_model("gffusion-funet").state_dict()


def is_same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_there_are_enough_kinds() -> None:
    assert len(MODELS) >= 400
    assert sum(not model.kind.startswith((CONFIG, "preprocessor")) for model in MODELS) >= 90


def test_folders(sample: Callable, tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    """No model loads with other weights than those of its file, and errors name the file."""
    for index, model in enumerate(sample(MODELS, 160)):
        folder = model.write(tmp_path / str(index))
        found = load(folder)
        if isinstance(found, str):
            assert str(folder) in found, (model.kind, found)
            field = model.kind.partition(": ")[2].partition("=")[0]
            if "=" in model.kind and model.kind.startswith((CONFIG, "preprocessor")) and "do not fit" not in found:
                assert field in found, (model.kind, found)
        else:
            assert is_same(found, weights), model.kind
            assert not model.kind.startswith(("weights", "index")) or "weight_extra" in model.kind, model.kind


WAYS: dict[str, Callable[[Path], Any]] = {
    "from_pretrained": GFFusionModel.from_pretrained,
    "AutoModel": AutoModel.from_pretrained,
    "create_model": create_model,
    "pipeline": lambda folder: pipeline("image-fusion", model=str(folder)),
    "new classes": lambda folder: create_model(folder, ignore_mismatched_sizes=True),
    "state dict": lambda folder: GFFusionModel.from_pretrained(
        None, config=GFFusionModel.config_class.from_pretrained(folder), state_dict=load_file(folder / WEIGHTS)
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_loading(tmp_path: Path, way: str) -> None:
    files = read_files(Path(locate("gffusion-funet")))
    for index, (kind, content) in enumerate(list(damage_weights(files[WEIGHTS]))[::3]):
        folder = HostileModel(kind, {**files, WEIGHTS: content}).write(tmp_path / str(index))
        if "weight_extra" in kind:
            continue
        # transformers turns the errors of pipelines into a ValueError with their text.
        with pytest.raises(
            (OSError, ValueError), match=r"is missing|is not expected|has the (shape|type)|NaN or infinite"
        ):
            WAYS[way](folder)
        assert find_problems(folder)


class TestHybrid:
    """A model with encoders in the file, and one that names them."""

    @pytest.fixture(params=["full", "slim"])
    def folder(self, request: pytest.FixtureRequest, tiny_model: Callable, tmp_path: Path) -> Path:
        tiny_model().save_pretrained(tmp_path / request.param, include_backbones=request.param == "full")
        return tmp_path / request.param

    def test_parts(self, folder: Path) -> None:
        whole = load_file(folder / WEIGHTS)
        first = {name.split(".")[0]: name for name in reversed(whole) if whole[name].is_floating_point()}
        assert first.keys() == {"funet", "finet", "ssnet", *(("clip", "dinov2") if folder.name == "full" else ())}
        for part, name in first.items():
            for changed in (None, torch.ones(1, 2, 3, 4, 5), whole[name] * torch.nan, whole[name].to(torch.int64)):
                weights = whole | {name: changed}
                save_file({key: value for key, value in weights.items() if value is not None}, folder / WEIGHTS)
                with pytest.raises(OSError, match=rf"{part}\.|type"):
                    GFFusionModel.from_pretrained(folder)

    def test_encoder_weights_in_a_slim_file(self, folder: Path) -> None:
        save_file({**load_file(folder / WEIGHTS), "clip.extra": torch.ones(3)}, folder / WEIGHTS, {"format": "pt"})
        with pytest.raises(OSError, match=r"clip\."):
            GFFusionModel.from_pretrained(folder)

    def test_only_a_head_can_be_new(self, folder: Path) -> None:
        classes = {"id2label": {0: "background", 1: "ship"}, "label2id": {"background": 0, "ship": 1}}
        with pytest.raises(
            ValueError, match="the segmentation head that id2label asks for: pass ignore_mismatched_sizes=True"
        ):
            GFFusionModel.from_pretrained(folder, **classes)
        model = GFFusionModel.from_pretrained(folder, ignore_mismatched_sizes=True, **classes)
        assert model.ssnet.classifier.weight.shape[0] == 2
        for other in (
            {"stem_channels": 6},
            {"merging": "mean"},
            {"semantic_layers": [1]},
            {**classes, "color_space": "rgb"},
        ):
            for flag in (False, True):
                with pytest.raises(OSError, match=r"not fit the configuration: '(funet|finet)\..* undo it: ") as error:
                    GFFusionModel.from_pretrained(folder, ignore_mismatched_sizes=flag, **other)
                assert "ignore_mismatched_sizes" not in str(error.value)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "id2label": classes["id2label"]}))
        with pytest.raises(OSError, match=r"'ssnet\..*`ignore_mismatched_sizes=True` gives new"):
            GFFusionModel.from_pretrained(folder)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("encoder", ["clip", "dinov2"])
def test_encoders(
    tiny_model: Callable, backbone_folders: dict[str, str], tmp_path: Path, encoder: str, value: float
) -> None:
    tiny_model().save_pretrained(tmp_path / "slim")
    shutil.copytree(backbone_folders[encoder], tmp_path / encoder)
    whole = load_file(tmp_path / encoder / WEIGHTS)
    name = sorted(whole)[-1]
    whole[name].view(-1)[0] = value
    save_file(whole, tmp_path / encoder / WEIGHTS, {"format": "pt"})
    with pytest.raises(OSError, match=f"frozen {encoder} encoder .*NaN or infinite"):
        GFFusionModel.from_pretrained(tmp_path / "slim", **{f"{encoder}_name_or_path": str(tmp_path / encoder)})
    save_file(
        {**whole, name: whole[name].nan_to_num(0, 0).to(torch.int32)}, tmp_path / encoder / WEIGHTS, {"format": "pt"}
    )
    with pytest.raises(OSError, match=f"frozen {encoder} encoder .*has the type I32"):
        GFFusionModel.from_pretrained(tmp_path / "slim", **{f"{encoder}_name_or_path": str(tmp_path / encoder)})


def _change(config: dict[str, Any], part: str, **values: Any) -> dict[str, Any]:
    return {**config, part: {**config[part], **values}}


HUGE: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "wide": lambda config: _change(config, "dinov2_config", hidden_size=8192, num_attention_heads=8),
    "deep": lambda config: _change(config, "dinov2_config", num_hidden_layers=128),
    "deep CLIP": lambda config: _change(config, "clip_config", num_hidden_layers=128),
    "positions": lambda config: _change(config, "dinov2_config", image_size=4096, patch_size=1),
    "patches": lambda config: _change(config, "dinov2_config", image_size=4096, patch_size=4096, hidden_size=320),
    "MLP": lambda config: _change(config, "clip_config", intermediate_size=10**12),
    "decoder": lambda config: {**config, "decoder_channels": [4096] * 128},
    "features": lambda config: {**config, "stem_channels": 4096, "feature_channels": 4096},
    "classes": lambda config: {**config, "id2label": {str(index): "name" for index in range(300_000)}},
    "classes of CLIP": lambda config: _change(config, "clip_config", id2label={str(i): "name" for i in range(10**5)}),
    "number of classes": lambda config: {**config, "num_labels": 10**9},
    "layers": lambda config: {**config, "semantic_layers": list(range(1, 10**5))},
    "bytes": lambda config: {**config, "more": "x" * (1 << 25)},
}

_MEASURE = """
import sys, time
from gffusion import create_model
create_model("gffusion-tiny")
for folder in sys.argv[1:]:
    started = time.process_time()
    try:
        create_model(folder)
        print(folder, "was loaded")
    except (OSError, ValueError) as error:
        seconds = time.process_time() - started
        if seconds > 5 or len(str(error)) > 900:
            print(folder, seconds, len(str(error)))
# The maximum of getrusage includes the process that started this one.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["VmHWM"].split()[0]) // 1024, "MB")
"""


@pytest.mark.slow
def test_huge_configurations(run_script: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    """A configuration of a model of bundled size takes less than 2 GB and 5 seconds."""
    source = Path(locate("gffusion-tiny"))
    config = json.loads((source / CONFIG).read_text())
    for name, change in HUGE.items():
        shutil.copytree(source, tmp_path / name)
        (tmp_path / name / CONFIG).write_text(json.dumps(change(config)))
    done = run_script(_MEASURE, *(tmp_path / name for name in HUGE))
    *slow, memory = done.stdout.splitlines()
    assert not slow and int(memory.split()[0]) < 2000, done.stdout + done.stderr


@pytest.mark.parametrize(
    "change", [lambda image: 255 * image, lambda image: (255 * image).byte(), lambda image: 2 * image - 1]
)
def test_images_that_are_not_scaled(change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """They would give a white or a black image."""
    model, images = create_model("gffusion-funet"), (torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32))
    for wrong in range(2):
        values = [change(image) if index == wrong else image for index, image in enumerate(images)]
        with pytest.raises(ValueError, match=r"Images must be (floating point )?in \[0, 1\], got"):
            model(*values)


@pytest.mark.slow
def test_command(gffusion: Callable, sample: Callable, tmp_path: Path, scenes: Path) -> None:
    """`fuse` and `models` end with one line and exit code 2, and write nothing."""
    chosen = [model for model in MODELS if model.kind.startswith(("weights", "index")) or "no object" in model.kind]
    pair = [next((scenes / kind).glob("*.png")) for kind in ("visible", "infrared")]
    for index, model in enumerate(sample(chosen, 12)):
        if "weight_extra" in model.kind:
            continue
        folder = model.write(tmp_path / str(index))
        done = gffusion("fuse", *pair, "-o", tmp_path / "out.png", "-m", folder)
        assert done.exit_code == 2 and done.err.startswith("gffusion: error: "), (model.kind, done.err)
        assert "Traceback" not in done.err and not (tmp_path / "out.png").exists()
