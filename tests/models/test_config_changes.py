"""Fields of a configuration that are changed after its model was built: saved, or refused if the networks contradict them."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_tester import assert_same
from transformers import PreTrainedModel

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.models.gffusion.ssnet import SSNet

TinyModel = Callable[..., GFFusionModel]

REFUSED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"paradigm": "cascading"}),
    ({}, {"paradigm": "parallel"}),
    ({"paradigm": "parallel"}, {"paradigm": "cascading"}),
    ({"use_segmenter": False}, {"paradigm": "parallel"}),
    ({"paradigm": "cascading"}, {"paradigm": "hybrid"}),
    ({}, {"use_segmenter": False}),
    ({"use_segmenter": False}, {"use_segmenter": True}),
    ({}, {"num_labels": 5}),
    ({}, {"color_space": "rgb"}),
    ({}, {"stem_channels": 5}),
    ({}, {"feature_channels": 7}),
    ({}, {"decoder_channels": [8]}),
    ({}, {"leaky_relu_slope": 0.1}),
    ({}, {"pixel_unshuffle": 2}),
    ({}, {"context_channels": 3}),
    ({}, {"blend_sources": True}),
    ({}, {"merging": "mean"}),
    ({"merging": "group_conv"}, {"num_groups": 1}),
    ({"merging": "group_conv"}, {"group_kernel_size": 5}),
    ({}, {"semantic_layers": [2]}),
    ({}, {"segmenter_layers": 2}),
    ({}, {"clip_config": None}),
    ({}, {"clip_config.num_attention_heads": 4}),
    ({}, {"dinov2_config.hidden_size": 64}),
]

ALLOWED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"gradient_weight": 1.0, "segmentation_weight": 0, "vif_weight": 0.5, "intensity_target": "two_scale"}),
    ({}, {"id2label": dict(enumerate("abcd")), "class_weights": [1, 2, 3, 4], "ignore_index": 254}),
    ({}, {"segmenter_scales": [1, 0.5], "segmenter_refinement": 1.0, "segmenter_windows": [2, 2]}),
    ({}, {"segmenter_image_size": [64, 48], "clip_image_size": [40, 48], "semantic_layers": [1, 3]}),
    ({"paradigm": "cascading"}, {"merging": "mean", "num_groups": 1}),
    ({"use_segmenter": False}, {"segmenter_layers": 2}),
]


def change(config: Any, fields: dict[str, Any]) -> None:
    """Set fields of a configuration, or of its encoders."""
    for field, value in fields.items():
        part, _, name = field.rpartition(".")
        setattr(getattr(config, part) if part else config, name, value)


@pytest.mark.parametrize(("choices", "fields"), REFUSED, ids=str)
def test_contradictions_are_refused(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choices: dict, fields: dict
) -> None:
    """Before anything is written or uploaded."""
    refuse_to_save(tiny_model(**choices), fields, tmp_path, monkeypatch)


def refuse_to_save(
    model: GFFusionModel, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Change a model's configuration, and check that it can neither be saved nor uploaded."""
    monkeypatch.setattr(PreTrainedModel, "push_to_hub", lambda *_, **__: pytest.fail("an upload started"))
    change(model.config, fields)
    for save in (model.save_pretrained, model.push_to_hub):
        with pytest.raises(ValueError, match=rf"cannot be saved: .*`{next(iter(fields))}.*`GFFusionModel\(config\)`"):
            save(tmp_path / "refused")
    assert not (tmp_path / "refused").exists()


def test_contradictions_of_copies_and_of_loaded_models(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which can be saved again when the change is undone."""
    model = tiny_model()
    model.save_pretrained(tmp_path / "first")
    before = (tmp_path / "first/config.json").read_bytes()
    for built in (pickle.loads(pickle.dumps(model)), GFFusionModel.from_pretrained(tmp_path / "first")):
        original = copy.deepcopy(built.config)
        refuse_to_save(built, {"clip_config.num_attention_heads": 4, "stem_channels": 5}, tmp_path, monkeypatch)
        built.config = original
        built.save_pretrained(tmp_path / "again")
        assert (tmp_path / "again/config.json").read_bytes() == before


@pytest.mark.parametrize(("choices", "fields"), ALLOWED, ids=str)
def test_other_fields_are_saved(tiny_model: TinyModel, tmp_path: Path, choices: dict, fields: dict) -> None:
    model = tiny_model(**choices)
    change(model.config, fields)
    model.save_pretrained(tmp_path)
    loaded = GFFusionModel.from_pretrained(tmp_path)
    assert_same(loaded, model)
    assert {field: getattr(loaded.config, field) for field in fields} == fields


def test_replaced_networks(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A head that was replaced together with its classes is saved."""
    model = tiny_model()
    model.config.id2label, model.ssnet = {0: "ground", 1: "deer"}, SSNet(32, 2)
    model.save_pretrained(tmp_path)
    assert_same(GFFusionModel.from_pretrained(tmp_path), model)


def test_removed_segmenter(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A model whose head was removed is saved without a segmenter, though its encoder is still there."""
    model = tiny_model()
    model.config.use_segmenter, model.ssnet = False, None
    model.save_pretrained(tmp_path)
    loaded = GFFusionModel.from_pretrained(tmp_path)
    assert not loaded.config.use_segmenter and not any(name.startswith("dinov2.") for name in loaded.state_dict())
    torch.testing.assert_close(loaded.funet.state_dict(), model.funet.state_dict(), rtol=0, atol=0)


def test_invalid_values_name_the_limits(tiny_model: TinyModel, tmp_path: Path) -> None:
    model = tiny_model()
    model.config.feature_channels = -1
    with pytest.raises(ValueError, match=r"^GFFusionConfig: `feature_channels` must be between 1 and 4096, got -1"):
        model.save_pretrained(tmp_path)
    assert not any(tmp_path.iterdir())
    assert isinstance(model.config, GFFusionConfig)
