"""projects/gffusion_tiny: stages after the encoders; segmenting, comparing targets and paradigms, bundling."""

import json
import re
import shutil
from copy import deepcopy
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import Dinov2Model

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.evaluation import evaluate
from gffusion.training.recipe import read_recipe

SMALL = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8]}


def test_injection_is_measured_by_what_fails_without(
    tiny: dict[str, ModuleType], scenes: Path, backbone_folders: dict[str, str], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    encoders = backbone_folders["clip"], backbone_folders["dinov2"]
    model = GFFusionModel.from_backbones(*encoders, **SMALL, segmenter_image_size=[32, 32]).eval()
    model.save_pretrained(tmp_path / "model")
    words = [tmp_path / "model", "--data", scenes, "--output", tmp_path / "out", "--pictures", 1, "--threads", 1]
    tiny["injection"].main(list(map(str, words)))
    report = json.loads((tmp_path / "out" / "injection.json").read_text())
    assert report["layer_weights"] == pytest.approx([0.5, 0.5])
    found = {name: losses["loss_structural"] for name, losses in report["losses"].items()}
    with torch.no_grad():
        losses = [
            model(pair["visible_values"][None], pair["infrared_values"][None], return_loss=True).loss_structural.item()
            for pair in FusionDataset(scenes)
        ]
    assert found["own"] == pytest.approx(sum(losses) / 2, rel=1e-5)
    assert len(set(found.values())) == 3
    assert (tmp_path / "out" / "injection.png").stat().st_size > 10_000


def test_injection_wants_an_injecting_model(
    tiny: dict[str, ModuleType], scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tiny["injection"].main(["gffusion-funet", "--data", str(scenes), "--output", str(tmp_path / "out")])
    assert "gffusion-funet is cascading" in capsys.readouterr().err


def test_targets_are_measured_like_methods(
    tiny: dict[str, ModuleType], scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny["targets"].main([str(scenes)])
    shown = re.findall(r"^\| (.+?) \| (.+) \|$", capsys.readouterr().out, re.MULTILINE)[2:]
    assert [name for name, _ in shown] == list(tiny["targets"].TARGETS)
    metrics = tiny["targets"].METRICS
    table = evaluate(scenes / "visible", scenes / "infrared", baselines=["maximum"], metrics=metrics)
    assert [float(cell) for cell in shown[0][1].split(" | ")] == pytest.approx(table.means[0], abs=1e-3)


@pytest.fixture
def stages(tmp_path: Path, backbone_folders: dict[str, str]) -> Path:
    """What the stages before the ablation leave behind, with small networks."""
    folder = tmp_path / "stages"
    for name, source in backbone_folders.items():
        shutil.copytree(source, folder / name / "encoder")
    GFFusionModel(GFFusionConfig(**SMALL, paradigm="cascading", use_segmenter=False)).save_pretrained(
        folder / "funet" / "last"
    )
    return folder


def test_ablation(
    tiny: dict[str, ModuleType], scenes: Path, stages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every variant begins with the same FuNet and is what its name says; a second call only reads."""
    ablation, data, output = tiny["ablation"], tmp_path / "data", tmp_path / "ablation"
    for part in ("train", "val"):
        tiny["prepare"].main([str(scenes), "--output", str(data / part)])
    options = read_recipe(ablation.RECIPE)
    options["model_config"] |= SMALL | {"segmenter_image_size": [32, 32], "segmenter_layers": 1}
    monkeypatch.setattr(ablation, "read_recipe", lambda path: options)
    words = ["--data", data, "--stages", stages, "--output", output, "--seeds", 0, 1]
    rest = ["--num_train_epochs", 1, "--per_device_train_batch_size", 2, "--image_size", 48, 64, "--eval_epochs", 1]
    ablation.main(list(map(str, words + rest)))
    rows = (output / "table.md").read_text().splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(ablation.VARIANTS)
    assert all(row.count("±") == len(ablation.METRICS) for row in rows)
    for folder, paradigm, merging in (
        ("cascading-0", "cascading", None),
        ("hybrid-group_conv-1", "hybrid", "group_conv"),
    ):
        model = GFFusionModel.from_pretrained(output / folder / "last")
        assert model.config.paradigm == paradigm and merging in (None, model.config.merging)
    monkeypatch.setattr(ablation.Recipe, "parse", None)
    ablation.main(list(map(str, words)))
    assert (output / "table.md").read_text().splitlines()[2:] == rows
    (output / "cascading-0" / "last" / "training_state.json").write_text('{"finished": false}')
    with pytest.raises(TypeError):  # what was interrupted is trained on, by the `parse` that is no more
        ablation.main(list(map(str, words)))


def test_bundled_weights_need_nothing_else(
    tiny: dict[str, ModuleType], stages: Path, tmp_path: Path, backbone_folders: dict[str, str]
) -> None:
    encoders = backbone_folders["clip"], backbone_folders["dinov2"]
    model = GFFusionModel.from_backbones(*encoders, **SMALL, segmenter_image_size=[32, 32]).eval()
    model.save_pretrained(tmp_path / "slim")
    tiny["bundle"].main([str(tmp_path / "slim"), "--output", str(tmp_path / "full")])
    config = json.loads((tmp_path / "full" / "config.json").read_text())
    assert (config["clip_name_or_path"], config["dinov2_name_or_path"]) == (None, None)
    loaded = GFFusionModel.from_pretrained(tmp_path / "full")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert (tmp_path / "full" / "preprocessor_config.json").exists()


def test_bundled_logits_are_adjusted(
    tiny: dict[str, ModuleType], tmp_path: Path, backbone_folders: dict[str, str]
) -> None:
    encoders = backbone_folders["clip"], backbone_folders["dinov2"]
    names = {0: "background", 1: "person", 2: "bicycle"}
    GFFusionModel.from_backbones(*encoders, **SMALL, id2label=names, segmenter_image_size=[32, 32]).save_pretrained(
        tmp_path / "slim"
    )
    words = [str(tmp_path / "slim"), "--output", str(tmp_path / "full"), "--logits"]
    tiny["bundle"].main([*words, "bicycle=-2", "person=0.5"])
    visible, infrared = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        before, after = (
            GFFusionModel.from_pretrained(tmp_path / name)(visible, infrared, segment=True).logits
            for name in ("slim", "full")
        )
    torch.testing.assert_close(after - before, torch.tensor([0, 0.5, -2.0])[None, :, None, None].expand_as(before))
    for word in ("dog=1", "bicycle=much"):
        with pytest.raises(ValueError, match=word.partition("=")[2] if "bicycle" in word else word):
            tiny["bundle"].main([*words, word])


@pytest.mark.parametrize("mixed", [False, True])
def test_segmenter_that_learned_on_is_bundled(
    tiny: dict[str, ModuleType],
    tmp_path: Path,
    backbone_folders: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    mixed: bool,
) -> None:
    """Its encoder and head, or means of two runs', take the places of those before, and fusion stays."""
    monkeypatch.setitem(tiny["bundle"].MODEL_CONFIG, "segmenter_windows", [2, 1])
    monkeypatch.setitem(tiny["bundle"].MODEL_CONFIG, "segmenter_scales", [1, 2])
    names, layers = tiny["segmenter"].MODEL_CONFIG["id2label"], 2
    monkeypatch.setitem(tiny["segmenter"].MODEL_CONFIG, "segmenter_layers", layers)
    sizes = {"id2label": names, "segmenter_image_size": [32, 32], "segmenter_layers": layers}
    model = GFFusionModel.from_backbones(backbone_folders["clip"], backbone_folders["dinov2"], **SMALL, **sizes).eval()
    model.save_pretrained(tmp_path / "slim")
    segmenter = tiny["segmenter"].Segmenter(Dinov2Model.from_pretrained(backbone_folders["dinov2"]))
    learned = {}
    for run, step in (("earlier", 0.02), ("later", 0.04)):
        with torch.no_grad():
            for weight in segmenter.parameters():
                weight += step
        segmenter.encoder.save_pretrained(tmp_path / run / "encoder")
        tiny["segmenter"].save_head(segmenter.head, tmp_path / run / "head.safetensors")
        parts = {"dinov2": segmenter.encoder, "ssnet": segmenter.head}
        learned[run] = {name: deepcopy(part.state_dict()) for name, part in parts.items()}
    words = [tmp_path / "slim", "--output", tmp_path / "full", "--segmenter", tmp_path / "later"]
    if mixed:
        words += ["--earlier", tmp_path / "earlier"]
    tiny["bundle"].main(list(map(str, words)))
    bundled = GFFusionModel.from_pretrained(tmp_path / "full")
    assert (bundled.config.segmenter_windows, bundled.config.segmenter_scales) == ([2, 1], [1, 2])
    assert bundled.config.segmenter_refinement == 1.0
    for name, weights in learned["later"].items():
        found = bundled.get_submodule(name).state_dict()
        for key, value in weights.items():
            before = learned["earlier"][name][key]
            expected = 0.75 * value + 0.25 * before if mixed else value
            torch.testing.assert_close(found[key], expected, rtol=0, atol=1e-6 if mixed else 0)
    visible, infrared = torch.rand(1, 3, 32, 32), torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(bundled(visible, infrared).fused_values, model(visible, infrared).fused_values)
