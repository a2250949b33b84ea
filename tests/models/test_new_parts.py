"""Warnings about parts of a checkpoint that a model does not use, and FINet of another paradigm."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gffusion import GFFusionConfig, GFFusionModel

TinyModel = Callable[..., GFFusionModel]


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"paradigm": "cascading"}, "FINet"),
        ({"paradigm": "cascading", "use_segmenter": False}, "FINet"),
        ({"use_segmenter": False}, None),
        ({}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("full", [False, True])
def test_unused_parts(
    tiny_model: TinyModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    overrides: dict[str, Any],
    parts: str | None,
    full: bool,
) -> None:
    """Those that change the images are named, and those that config.json denies, but no segmenter that an argument leaves out."""
    tiny_model().save_pretrained(tmp_path, include_backbones=full)
    GFFusionModel.from_pretrained(tmp_path, **overrides)
    assert (f"no such part: {parts} of '{tmp_path}'. Images differ" in caplog.text) == (parts is not None)
    assert len(caplog.messages) == (parts is not None)
    caplog.clear()
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | overrides))
    GFFusionModel.from_pretrained(tmp_path)
    named = [
        name
        for name, field in (("FINet", "paradigm"), ("the segmentation head", "use_segmenter"))
        if field in overrides
    ]
    assert all(name in caplog.text for name in named)
    assert len(caplog.messages) == bool(named)


def test_unused_parts_of_a_state_dict(
    tiny_model: TinyModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    config = GFFusionConfig.from_dict(model.config.to_dict(), paradigm="cascading", backbone_weights="included")
    GFFusionModel.from_pretrained(None, config=config, state_dict=model.state_dict())
    assert "no such part: FINet of the state dict" in caplog.text
    caplog.clear()
    monkeypatch.setenv("RANK", "1")  # the first process of several warns
    GFFusionModel.from_pretrained(None, config=config, state_dict=model.state_dict())
    assert not caplog.messages


@pytest.mark.parametrize(("saved", "wanted"), [("hybrid", "parallel"), ("parallel", "hybrid")])
def test_finet_of_another_encoder(
    tiny_model: TinyModel, backbone_folders: dict[str, str], tmp_path: Path, saved: str, wanted: str
) -> None:
    """It has the same shapes, but was trained on other features: it is refused or new, and never taken over."""
    tiny_model(paradigm=saved).save_pretrained(tmp_path)
    arguments = {"paradigm": wanted, "clip_config": tiny_model().config.clip_config}
    arguments["clip_name_or_path"] = backbone_folders["clip"]
    with pytest.raises(ValueError, match="do not have FINet that paradigm asks for: pass ignore_mismatched_sizes=True"):
        GFFusionModel.from_pretrained(tmp_path, **arguments)
    model = GFFusionModel.from_pretrained(tmp_path, ignore_mismatched_sizes=True, **arguments)
    weights = load_file(tmp_path / "model.safetensors")
    assert not torch.equal(model.finet.feature_projection.weight, weights["finet.feature_projection.weight"])
    assert torch.equal(model.ssnet.classifier.weight, weights["ssnet.classifier.weight"])


def test_adapters_that_were_not_merged(tiny_model: TinyModel, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    layer = model.finet.feature_projection
    wrapped = torch.nn.ModuleDict({"base_layer": layer, "lora_A": torch.nn.Linear(32, 4)})  # as PEFT names them
    model.finet.feature_projection = wrapped  # type: ignore[assignment]
    model.save_pretrained(tmp_path)
    assert "Saving a model with adapters ('finet.feature_projection', ...)" in caplog.text
    with pytest.raises(OSError, match=r"was saved with adapters, .*: merge them before saving \(`merge_and_unload"):
        GFFusionModel.from_pretrained(tmp_path)
    caplog.clear()
    model.finet.feature_projection = layer
    model.save_pretrained(tmp_path)
    GFFusionModel.from_pretrained(tmp_path)
    assert not caplog.messages
