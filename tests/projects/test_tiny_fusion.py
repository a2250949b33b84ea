"""projects/gffusion_tiny: training on views made on the device, and the comparison of settings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from camera_files import to_jpeg
from PIL import Image

from gffusion import GFFusionModel
from projects.gffusion_tiny import device_views, fusion, pareto

SMALL = {"stem_channels": 4, "feature_channels": 4, "decoder_channels": [4], "use_segmenter": False, "vif_weight": 0.5}


@pytest.fixture
def recipe(pairs: Path, tmp_path: Path) -> Path:
    options: dict[str, Any] = {
        "model_config": SMALL | {"paradigm": "cascading"},
        "train_data": [str(pairs)],
        "eval_data": [str(pairs)],
        "output_dir": str(tmp_path / "run"),
        "crop_size": 64,
        "scale": [0.8, 1.5],
        "per_device_train_batch_size": 4,
        "batch_normalization": "calibrated",
        "mixed_pairs": 0.5,
        "thermal_artifacts": 0.5,
        "visible_photometric": 0.2,
        "thermal_gain": 0.2,
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(options))
    return path


@pytest.mark.parametrize("paradigm", ["cascading", "hybrid"])
def test_a_run_is_repeatable_and_can_be_continued_with_a_teacher(
    recipe: Path, tmp_path: Path, backbone_folders: dict[str, str], paradigm: str
) -> None:
    words = ["--config", str(recipe), "--steps", "2", "--white", "0.5", "--eval_every", "1"]
    words += ["--model_config", json.dumps(SMALL | {"paradigm": paradigm})]
    words += ["--clip_name_or_path", backbone_folders["clip"]] if paradigm == "hybrid" else []
    fused = []
    for _ in range(2):
        fusion.main(words)
        model = GFFusionModel.from_pretrained(tmp_path / "run" / "last").eval()
        with torch.no_grad():
            fused.append(model(torch.full((1, 3, 64, 64), 0.4), torch.full((1, 1, 64, 64), 0.6)).fused_values)
    assert torch.equal(*fused)
    (means,) = json.loads((tmp_path / "run" / "metrics.json").read_text()).values()
    assert set(means) == set(fusion.METRICS)

    last = str(tmp_path / "run" / "last")
    fusion.main([*words, "--model_name_or_path", last, "--teacher", last, "--output_dir", str(tmp_path / "next")])
    assert (tmp_path / "next" / "last" / "model.safetensors").is_file()


def test_settings_are_compared_over_seeds(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"no VIF term": {"vif_weight": 0.0}, "clean": {"thermal_artifacts": 0.0, "white": 0.0}}
    monkeypatch.setattr(pareto, "SETTINGS", settings)
    pareto.main(["--seeds", "0", "1", "--config", str(recipe), "--steps", "1", "--white", "0.5"])
    results = tmp_path / "run" / "results.jsonl"
    runs = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(run["setting"], run["seed"]) for run in runs] == [(name, seed) for seed in (0, 1) for name in settings]
    capsys.readouterr()
    pareto.main(["--table", str(results)])
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("| clean |"))
    (folder,) = (name for name, value in runs[2].items() if isinstance(value, dict))
    entropies = [run[folder]["EN"] for run in runs if run["setting"] == "clean"]
    assert row.split(" | ")[1] == f"{np.mean(entropies):.3f} ± {np.std(entropies, ddof=1):.3f}"


def test_only_large_overexposed_areas_that_are_cold_stay_white() -> None:
    visible, infrared = torch.full((1, 3, 40, 60), 0.4), torch.full((1, 1, 40, 60), 0.2)
    visible[..., :20, :20] = 1  # sky
    visible[..., :20, 40:] = 1  # a hot object
    infrared[..., :20, 40:] = 1
    visible[..., 30:32, 30:32] = 1  # a lamp
    target = device_views.keep_white(visible, infrared, share=0.5)
    assert target[0, 0, 10, 10].item() == pytest.approx(0.6)
    changed = (target - infrared).abs() > 1e-6
    assert not changed[..., 20:, :].any() and not changed[..., 20:].any()


@pytest.mark.parametrize("quality", [15, 50, 90])
def test_blocks_are_those_of_jpeg(quality: int) -> None:
    rng = np.random.default_rng(0)
    image = np.asarray(
        Image.fromarray(rng.integers(0, 256, (5, 7), np.uint8)).resize((60, 43), Image.Resampling.BICUBIC)
    )
    expected = to_jpeg(image, quality).astype(np.float32)
    tensor = torch.from_numpy(image.astype(np.float32) / 255)[None, None]
    found = 255 * device_views.compress(tensor, torch.full((1, 1, 1, 1), float(quality)))[0, 0].numpy()
    assert np.abs(found - expected)[:40, :56].mean() < 1  # padding differs
    assert np.abs(image - expected)[:40, :56].mean() > np.abs(found - expected)[:40, :56].mean()


def test_settings_of_the_study_change_something() -> None:
    _, recipe = fusion.parse(
        ["--config", str(Path(pareto.__file__).with_name("pareto.yaml")), "--train_data", "a", "--eval_data", "b"]
    )
    current = {"thermal_artifacts": recipe.data.thermal_artifacts, "mixed_pairs": recipe.training.mixed_pairs}
    current |= {"white": 0.5, **recipe.model.model_config}
    found = {name: pareto.find_changes(name, changes, current) for name, changes in pareto.SETTINGS.items()}
    assert found["a third of the intensity term"] == {"intensity_weight": pytest.approx(40 / 3)}
    for name, known in (("no VIF term", {"vif_weight": 0.0}), ("contrast 0.85", {})):
        with pytest.raises(ValueError, match=name):
            pareto.find_changes(name, pareto.SETTINGS[name], known)
