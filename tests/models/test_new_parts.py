"""Warnings about parts of a checkpoint that a model does not use or that fit no longer, adapters, and FINet of another paradigm."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from gffusion import GFFusionConfig, GFFusionModel, create_model

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
    names = {"paradigm": "FINet", "use_segmenter": "the segmentation head"}
    named = [names[field] for field in overrides]
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


@pytest.mark.parametrize(
    ("saved", "overrides", "named"),
    [
        ({"semantic_layers": [1, 3]}, {"semantic_layers": [2, 3]}, r"`semantic_layers` \[1, 3\], .* has \[2, 3\]"),
        ({"semantic_layers": [1, 3]}, {"semantic_layers": [3, 1]}, r"`semantic_layers` \[1, 3\], .* has \[3, 1\]"),
        ({"merging": "mean"}, {"semantic_layers": [3]}, r"`semantic_layers` \[1, 2\], .* has \[3\]"),
        ({"paradigm": "cascading"}, {"leaky_relu_slope": 0.1}, r"`leaky_relu_slope` 0\.2, .* has 0\.1"),
        ({"semantic_layers": [1, 3]}, {"semantic_layers": [1, 3], "leaky_relu_slope": 0.2}, None),
        ({}, {"paradigm": "cascading", "semantic_layers": [3]}, None),
        ({}, {"segmenter_image_size": [64, 48], "clip_image_size": [40, 48], "gradient_weight": 3}, None),
    ],
    ids=str,
)
def test_options_without_a_shape(
    tiny_model: TinyModel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    saved: dict[str, Any],
    overrides: dict[str, Any],
    named: str | None,
) -> None:
    """Weights fit, but were trained with others: a warning, whether they are arguments or in a configuration."""
    tiny_model(**saved).save_pretrained(tmp_path)
    config = GFFusionConfig.from_pretrained(tmp_path, **overrides)
    for arguments in (overrides, {"config": config}):
        caplog.clear()
        GFFusionModel.from_pretrained(tmp_path, **arguments)
        found = [message for message in caplog.messages if "were trained with" in message]
        assert len(found) == (named is not None) and all(re.search(named or "", message) for message in found)
    caplog.clear()
    GFFusionModel.from_pretrained(tmp_path)
    monkeypatch.setenv("RANK", "1")  # the first process of several warns
    GFFusionModel.from_pretrained(tmp_path, **overrides)
    assert "were trained with" not in caplog.text


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


def test_adapters_of_transformers(
    tiny_model: TinyModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only they are saved, as by other models of transformers; beside the model, they are not overlooked."""
    model, inputs = tiny_model().eval(), {"visible_values": torch.rand(1, 3, 32, 32)}
    inputs["infrared_values"] = torch.rand(1, 1, 32, 32)
    model.save_pretrained(tmp_path / "model")
    plain = model(**inputs).fused_values
    layer = model.finet.feature_projection
    model.requires_grad_(False)
    layer.lora_A = torch.nn.Linear(4, 4)  # as PEFT adds it
    saved = {"finet.feature_projection.lora_A.weight": layer.lora_A.weight}
    config = SimpleNamespace(save_pretrained=lambda folder: Path(folder, "adapter_config.json").write_text("{}"))
    monkeypatch.setattr(model, "_hf_peft_config_loaded", True)
    monkeypatch.setattr(model, "get_adapter_state_dict", lambda state_dict=None: saved)
    monkeypatch.setattr(model, "active_adapters", lambda: ["default"])
    monkeypatch.setattr(model, "peft_config", {"default": config}, raising=False)
    for folder in ("adapter", "model"):
        model.save_pretrained(tmp_path / folder)
    modes = {file.name: file.stat().st_mode for file in (tmp_path / "adapter").iterdir()}
    assert modes.keys() == {"adapter_config.json", "adapter_model.safetensors"}
    assert len(set(modes.values())) == 1  # others can read both
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert weights.keys() == {f"base_model.model.{name}" for name in saved}
    assert not caplog.messages
    model.funet.requires_grad_(True)
    quantizer = SimpleNamespace(get_state_dict_and_metadata=lambda model: (None, {}))
    monkeypatch.setattr(model, "hf_quantizer", quantizer, raising=False)  # as for QLoRA, whose base is not saved
    model.save_pretrained(tmp_path / "trained")
    with pytest.raises(ValueError, match="omit `include_backbones`"):
        model.save_pretrained(tmp_path / "trained", include_backbones=True)
    (message,) = caplog.messages
    assert message.startswith("Only the adapter is saved, without") and "'funet." in message
    caplog.clear()

    loaded = GFFusionModel.from_pretrained(tmp_path, subfolder="model")
    torch.testing.assert_close(loaded(**inputs).fused_values, plain)
    folder = str(tmp_path / "model")
    assert "has an adapter (adapter_config.json), which is not loaded with the model: load" in caplog.text
    assert f"then call `model.load_adapter({folder!r})`" in caplog.text
    with pytest.raises(OSError, match="It contains an adapter: load the model that it was trained with"):
        create_model(tmp_path / "adapter")
