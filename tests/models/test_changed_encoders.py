"""Encoders that were changed after loading are saved with the model, since their source does not restore them."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_tester import assert_same, parts_in
from transformers import CLIPVisionModel

from gffusion import GFFusionModel


def load_slightly_changed(model: GFFusionModel) -> None:
    """Load a state dict in which one value of CLIP differs in its last digits."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    state["clip.encoder.layers.0.mlp.fc1.weight"][3, 4] *= 1 + 1e-6
    model.load_state_dict(state)


def load_other(model: GFFusionModel) -> None:
    """Load the weights of another CLIP into the encoder itself."""
    model.clip.load_state_dict(CLIPVisionModel(model.config.clip_config).state_dict())


def train_and_convert(model: GFFusionModel) -> None:
    """Change weights in both directions, as training does, so that their sums change little, and convert them."""
    generator = torch.Generator().manual_seed(0)
    for weight in model.clip.parameters():
        weight += 0.05 * weight * torch.randn(weight.shape, generator=generator)
    model.bfloat16()


CHANGES: dict[str, Callable[[GFFusionModel], Any]] = {
    "load_state_dict": load_slightly_changed,
    "load_state_dict of the encoder": load_other,
    "another encoder": lambda model: setattr(model, "clip", CLIPVisionModel(model.config.clip_config).eval()),
    "another layer": lambda model: model.clip.encoder.layers[0].mlp.fc1.weight.normal_(std=0.02),
    "trainable": lambda model: model.clip.requires_grad_(True),
    "trained and converted": train_and_convert,
    "in place": lambda model: model.clip.embeddings.class_embedding.mul_(1.01),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@torch.no_grad()
def test_changed(tiny_model: Callable[..., GFFusionModel], tmp_path: Path, change: Callable) -> None:
    tiny_model().save_pretrained(tmp_path / "slim")
    model = GFFusionModel.from_pretrained(tmp_path / "slim")
    change(model)
    with pytest.raises(ValueError, match=r"\['clip'\] is unknown, or they were changed"):
        model.save_pretrained(tmp_path / "again", include_backbones=False)
    model.save_pretrained(tmp_path / "again")
    assert_same(GFFusionModel.from_pretrained(tmp_path / "again"), model)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_converted(tiny_model: Callable[..., GFFusionModel], tmp_path: Path, dtype: torch.dtype) -> None:
    """Copied and converted encoders have the weights of their source, which is loaded in the dtype of the model."""
    model = copy.deepcopy(tiny_model()).to(dtype)
    model.save_pretrained(tmp_path)
    assert parts_in(tmp_path) == {"funet", "finet", "ssnet"}
    assert_same(GFFusionModel.from_pretrained(tmp_path), model)


def test_compiled_encoders_are_not_changed(tiny_model: Callable[..., GFFusionModel], tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "slim")
    model = GFFusionModel.from_pretrained(tmp_path / "slim")
    model.clip.encoder = torch.compile(model.clip.encoder)
    model.clip = torch.compile(model.clip)
    assert model.find_unsourced() == []
