"""Reasons not to publish a model."""

import copy
import json
import math
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPImageProcessor

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.hub import find_problems, push_model

HEAD = "ssnet.classifier.weight"


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., GFFusionModel]) -> GFFusionModel:
    """Return a model whose encoders are on the Hub."""
    model = tiny_model()
    model.config.clip_name_or_path, model.config.dinov2_name_or_path = "lab/clip", "lab/dinov2"
    return model


@pytest.fixture
def folder(model: GFFusionModel, tmp_path: Path) -> Path:
    model.save_pretrained(tmp_path)
    GFFusionImageProcessor().save_pretrained(tmp_path)
    return tmp_path


def test_none(folder: Path) -> None:
    assert find_problems(folder) == find_problems(folder, full=True) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda weights: weights[HEAD].view(-1)[3:4].fill_(math.nan),
            "weights are NaN or infinite: 'ssnet.classifier.weight': training has diverged",
        ),
        (
            lambda weights: weights[HEAD].view(-1)[3:4].fill_(math.inf),
            "weights are NaN or infinite: 'ssnet.classifier.weight': training has diverged",
        ),
        (
            lambda weights: weights.pop(HEAD),
            ".*'ssnet.classifier.weight' is missing",
        ),
        (
            lambda weights: weights.update({"ssnet.extra": torch.zeros(1)}),
            ".*'ssnet.extra' is not expected",
        ),
        (
            lambda weights: weights.update({HEAD: weights[HEAD].to(torch.float8_e4m3fn)}),
            ".*'ssnet.classifier.weight' has the type F8_E4M3",
        ),
    ],
    ids=["NaN", "infinity", "missing", "unexpected", "float8"],
)
def test_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None], problem: str) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (found,) = find_problems(folder)
    assert re.match(problem, found)


def test_a_tensor_in_two_shards(model: GFFusionModel, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    first, second, *_ = sorted(folder.glob("*.safetensors"))
    weights = load_file(first)
    save_file({**load_file(second), **weights}, second, {"format": "pt"})
    (found,) = find_problems(folder)
    assert re.search("tensor .* is in two files", found)


def test_parts_without_use(folder: Path) -> None:
    """The loader only warns that it leaves them out."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "use_segmenter": False}))
    (found,) = find_problems(folder)
    assert found.endswith(": ssnet")


def test_encoders_with_other_names(model: GFFusionModel, folder: Path) -> None:
    """transformers names the weights of CLIP differently from version to version, and loads all."""
    model.save_pretrained(folder, include_backbones=True)
    weights = load_file(folder / "model.safetensors")
    is_old = any(name.startswith("clip.vision_model.") for name in weights)
    names = ("clip.vision_model.", "clip.") if is_old else ("clip.", "clip.vision_model.")
    renamed = {name.replace(*names, 1): value for name, value in weights.items()}
    assert renamed.keys() != weights.keys()
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    GFFusionModel.from_pretrained(folder)
    assert find_problems(folder) == []


def test_missing_files(model: GFFusionModel, folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    shard = sorted(folder.glob("*.safetensors"))[1]
    shard.unlink()
    problems = find_problems(folder)
    assert len(problems) == 2
    assert problems[0].startswith(f"{shard.name} is missing") and problems[1].startswith("preprocessor_config.json")


def test_configuration(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "my_run": "x"}))
    (found,) = find_problems(folder)
    assert re.search(r"config\.json: .*my_run", found)


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        (
            "image_processor",
            "size_divisor",
            -3,
            "^`size_divisor` must be an integer from 1 to 4096, got -3",
        ),
        ("image_processor", "agc", "x", "^`agc` .* got 'x'"),
        ("config", "quantization_config", {}, r"`model.config`: .*\['quantization_config'\]"),
        (None, None, "gffusion-live", "`image_processor` must be a GFFusionImageProcessor, got 'gffusion-live'"),
        (None, None, CLIPImageProcessor(), "`image_processor`: `image_processor_type` is 'CLIPImageProcessor"),
    ],
)
def test_models_in_memory(
    model: GFFusionModel, monkeypatch: pytest.MonkeyPatch, part: str | None, name: str, value: Any, message: str
) -> None:
    """Errors name the argument, and not the temporary files that are published."""
    monkeypatch.setattr("gffusion.hub.publishing.can_reach_hub", lambda: True)
    model, processor = copy.deepcopy(model), GFFusionImageProcessor()
    if part is None:
        processor = value
    else:
        setattr(model.config if part == "config" else processor, name, value)
    with pytest.raises(ValueError, match=message) as error:
        push_model(model, "lab/street", image_processor=processor)
    assert tempfile.gettempdir() not in str(error.value)


def test_damaged(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    assert find_problems(folder)[0].startswith("model.safetensors is damaged")
