"""Weights that no model can use are refused before they are taken over."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gffusion import GFFusionModel

TinyModel = Callable[..., GFFusionModel]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite(tiny_model: TinyModel, tmp_path: Path, value: float) -> None:
    tiny_model().save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["ssnet.classifier.weight"][0] = value
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(OSError, match=r"weights are NaN or infinite: 'ssnet\.classifier\.weight'"):
        GFFusionModel.from_pretrained(tmp_path)


def test_encoders_of_integers(tiny_model: TinyModel, backbone_folders: dict[str, str], tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "slim")
    shutil.copytree(backbone_folders["dinov2"], tmp_path / "other")
    file = tmp_path / "other" / "model.safetensors"
    save_file({name: value.int() for name, value in load_file(file).items()}, file, {"format": "pt"})
    with pytest.raises(OSError, match=r"dinov2 encoder .*other.*has the type I32"):
        GFFusionModel.from_pretrained(tmp_path / "slim", dinov2_name_or_path=str(tmp_path / "other"))


def test_counts_that_were_converted(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    halves = {name: value.half() for name, value in model.state_dict().items()}
    with pytest.raises(OSError, match=r"num_batches_tracked' has the type F16 instead of an integer"):
        GFFusionModel.from_pretrained(tmp_path, state_dict=halves)
