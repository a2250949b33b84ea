"""projects/gffusion_tiny: the stages after the encoders, comparisons of targets and paradigms, and bundling."""

import argparse
import json
import re
import shutil
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Dinov2Model

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.evaluation import evaluate
from gffusion.training.recipe import Recipe, read_recipe
from projects.gffusion_tiny import ablation, bundle, injection, segmenter, targets

SMALL = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8]}
SHORT = ["--num_train_epochs", 1, "--per_device_train_batch_size", 2, "--image_size", 48, 64, "--eval_epochs", 1]


def save_model(backbone_folders: dict[str, str], folder: Path, **overrides: Any) -> GFFusionModel:
    """Save a small hybrid model without its encoders, and return it."""
    encoders = backbone_folders["clip"], backbone_folders["dinov2"] if overrides.get("use_segmenter", True) else None
    model = GFFusionModel.from_backbones(*encoders, **SMALL, **{"segmenter_image_size": [32, 32]} | overrides).eval()
    model.save_pretrained(folder)
    return model


def run(script: Any, *words: object) -> None:
    script.main(list(map(str, words)))


def test_injection_is_measured_by_losses_without_it(
    pairs: Path, backbone_folders: dict[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = save_model(backbone_folders, tmp_path / "model")
    run(injection, tmp_path / "model", "--data", pairs, "--output", tmp_path, "--images", 1, "--threads", 1)
    report = json.loads((tmp_path / "injection.json").read_text())
    assert report["layer_weights"] == pytest.approx([0.5, 0.5])
    found = {name: losses["loss_structural"] for name, losses in report["losses"].items()}
    with torch.no_grad():
        losses = [
            model(pair["visible_values"][None], pair["infrared_values"][None], return_loss=True).loss_structural.item()
            for pair in FusionDataset(pairs)
        ]
    assert found["own"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert len(set(found.values())) == 5
    assert (tmp_path / "injection.png").stat().st_size > 10_000


def test_injection_needs_an_injecting_model(pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(injection, "gffusion-funet", "--data", pairs, "--output", tmp_path / "out")
    assert "gffusion-funet has paradigm cascading" in capsys.readouterr().err


def test_targets_are_measured_like_baselines(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(targets, pairs)
    shown = re.findall(r"^\| (.+?) \| (.+) \|$", capsys.readouterr().out, re.MULTILINE)[2:]
    assert [name for name, _ in shown] == list(targets.TARGETS)
    table = evaluate(pairs / "visible", pairs / "infrared", baselines=["maximum"], metrics=targets.METRICS)
    assert [float(cell) for cell in shown[0][1].split(" | ")] == pytest.approx(table.means[0], abs=1e-3)


@pytest.fixture
def stages(tmp_path: Path, backbone_folders: dict[str, str]) -> Path:
    """Outputs of the stages before the ablation, with small networks."""
    folder = tmp_path / "stages"
    for name, source in backbone_folders.items():
        shutil.copytree(source, folder / name / "encoder")
    funet = GFFusionModel(GFFusionConfig(**SMALL, paradigm="cascading", use_segmenter=False))
    funet.save_pretrained(folder / "funet" / "last")
    return folder


@pytest.fixture
def data(labeled: Path, tmp_path: Path) -> Path:
    """The labeled pairs as training and validation data."""
    for part in ("train", "val"):
        (tmp_path / "data" / part).mkdir(parents=True)
        (tmp_path / "data" / part / "pairs").symlink_to(labeled, target_is_directory=True)
    return tmp_path / "data"


def test_ablation_variants_differ_only_in_paradigm_and_merging(data: Path, stages: Path, tmp_path: Path) -> None:
    options = argparse.Namespace(data=data, stages=stages, rest=[])
    settings = []
    for variant in ablation.VARIANTS.values():
        words = ablation.make_command(variant, 3, options, tmp_path / "run")
        model_config = json.loads(words[words.index("--model_config") + 1])
        assert model_config.items() >= variant.items()
        assert words[words.index("--model_name_or_path") + 1] == str(stages / "funet" / "last")
        assert ("--clip_name_or_path" in words) == (variant["paradigm"] == "hybrid")
        Recipe.parse(words)  # every option exists
        settings.append({key: value for key, value in model_config.items() if key not in ("paradigm", "merging")})
    assert all(other == settings[0] for other in settings)


@pytest.mark.slow
def test_ablation_trains_what_is_missing_and_writes_a_table(
    data: Path, stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = read_recipe(ablation.RECIPE)
    options["model_config"] |= SMALL | {"segmenter_image_size": [32, 32], "segmenter_layers": 1}
    names = ("cascading (no injection)", "hybrid, group_conv")
    monkeypatch.setattr(ablation, "VARIANTS", {name: ablation.VARIANTS[name] for name in names})
    monkeypatch.setattr(ablation, "read_recipe", lambda path: options)
    output = tmp_path / "ablation"
    words = ["--data", data, "--stages", stages, "--output", output, "--seeds", 0, 1]
    run(ablation, *words, *SHORT)
    rows = (output / "table.md").read_text().splitlines()[2:]
    assert tuple(row.split(" | ")[0].strip("| ") for row in rows) == names
    assert all(row.count("±") == len(ablation.METRICS) for row in rows)
    for folder, paradigm in (("cascading-0", "cascading"), ("hybrid-group_conv-1", "hybrid")):
        config = GFFusionModel.from_pretrained(output / folder / "last").config
        assert config.paradigm == paradigm and ("group_conv" in folder) == (config.merging == "group_conv")
    monkeypatch.setattr(ablation.Recipe, "parse", None)
    run(ablation, *words)  # reads the finished runs
    assert (output / "table.md").read_text().splitlines()[2:] == rows
    (output / "cascading-0" / "last" / "training_state.json").write_text('{"finished": false}')
    with pytest.raises(TypeError):  # an interrupted run is resumed, which calls `parse`
        run(ablation, *words)


def test_bundled_weights_need_nothing_else(tmp_path: Path, backbone_folders: dict[str, str]) -> None:
    model = save_model(backbone_folders, tmp_path / "slim")
    run(bundle, tmp_path / "slim", "--output", tmp_path / "full")
    config = json.loads((tmp_path / "full" / "config.json").read_text())
    assert (config["clip_name_or_path"], config["dinov2_name_or_path"]) == (None, None)
    loaded = GFFusionModel.from_pretrained(tmp_path / "full")
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    for name, value in loaded.state_dict().items():
        before = model.state_dict()[name]
        assert torch.equal(value, before.half().float() if name.startswith(("clip.", "dinov2.")) else before)
    assert (tmp_path / "full" / "preprocessor_config.json").exists()


def test_bundled_logits_are_adjusted(tmp_path: Path, backbone_folders: dict[str, str]) -> None:
    names = {0: "background", 1: "person", 2: "bicycle"}
    save_model(backbone_folders, tmp_path / "slim", id2label=names)
    words = [tmp_path / "slim", "--output", tmp_path / "full", "--logits"]
    run(bundle, *words, "bicycle=-2", "person=0.5")
    visible, infrared = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before, after = (
            GFFusionModel.from_pretrained(tmp_path / name)(visible, infrared, segment=True).logits
            for name in ("slim", "full")
        )
    added = torch.tensor([0, 0.5, -2.0])[None, :, None, None].expand_as(before)
    torch.testing.assert_close(after - before, added, rtol=0, atol=1e-3)  # encoders are stored in half precision
    for word, message in (("dog=1", "dog"), ("bicycle=much", "much")):
        with pytest.raises(ValueError, match=message):
            run(bundle, *words, word)


@pytest.mark.parametrize("mixed", [False, True])
def test_bundled_segmenter_replaces_encoder_and_head(
    tmp_path: Path, backbone_folders: dict[str, str], monkeypatch: pytest.MonkeyPatch, mixed: bool
) -> None:
    """The segmenter of one run, or the mean of two runs, replaces the earlier one; fused images do not change."""
    reading = {"segmenter_windows": [2, 1], "segmenter_scales": [1, 2], "segmenter_layers": 2}
    reading["segmenter_image_size"] = [32, 32]
    for name, value in reading.items():
        monkeypatch.setitem(segmenter.MODEL_CONFIG, name, value)
    names = segmenter.MODEL_CONFIG["id2label"]
    model = save_model(backbone_folders, tmp_path / "slim", id2label=names, use_segmenter=False)
    network = segmenter.Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"]))
    learned = {}
    for folder, step in (("earlier", 0.02), ("later", 0.04)):
        shift(network.parameters(), step)
        network.encoder.save_pretrained(tmp_path / folder / "encoder")
        segmenter.save_head(network.head, tmp_path / folder / "head.safetensors")
        parts = {"dinov2": network.encoder, "ssnet": network.head}
        learned[folder] = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    earlier = ["--earlier", tmp_path / "earlier"] if mixed else []
    run(bundle, tmp_path / "slim", "--output", tmp_path / "full", "--segmenter", tmp_path / "later", *earlier)
    bundled = GFFusionModel.from_pretrained(tmp_path / "full")
    assert {name: getattr(bundled.config, name) for name in reading} == reading
    assert bundled.config.segmenter_refinement == 1.0
    for name, weights in learned["later"].items():
        found = bundled.get_submodule(name).state_dict()
        for key, value in weights.items():
            expected = 0.75 * value + 0.25 * learned["earlier"][name][key] if mixed else value
            expected = expected.half().float() if name == "dinov2" else expected
            torch.testing.assert_close(found[key], expected, rtol=2e-3 if mixed else 0, atol=1e-6 if mixed else 0)
    visible, infrared = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        fused = [network(visible, infrared).fused_values for network in (bundled, model)]
    torch.testing.assert_close(*fused, rtol=0, atol=0.1 / 255)  # of a gray level, from encoders in half precision
    run(bundle, tmp_path / "full", "--output", tmp_path / "again", "--segmenter", tmp_path / "earlier")
    again = GFFusionModel.from_pretrained(tmp_path / "again").dinov2.state_dict()  # not that of the bundled weights
    assert all(torch.equal(value.half().float(), again[key]) for key, value in learned["earlier"]["dinov2"].items())


@torch.no_grad()
def shift(weights: Iterable[torch.nn.Parameter], step: float) -> None:
    for weight in weights:
        weight += step
