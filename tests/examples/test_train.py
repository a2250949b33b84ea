"""examples/train.py: a recipe and the command line that overrides it, resuming, and mistakes in either."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model

from gffusion import GFFusionConfig, GFFusionModel, create_model
from gffusion.synthetic.samples import write_scenes
from gffusion.training.building import build_model
from gffusion.training.recipe import BUNDLED_RECIPES, ModelArguments, Recipe, read_recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPT = EXAMPLES / "train.py"
RECIPES = sorted(BUNDLED_RECIPES.rglob("*.yaml"))

RECIPE: dict[str, Any] = {
    "model_config": {
        "paradigm": "cascading",
        "use_segmenter": False,
        "stem_channels": 4,
        "feature_channels": 8,
        "decoder_channels": [8, 4],
    },
    "num_train_epochs": 50,
    "head_start_epoch": 1,
    "per_device_train_batch_size": 2,
    "learning_rate": 0.002,
    "crop_size": 48,
    "scale": [0.9, 1.1],
    "visible_photometric": 0.2,
    "thermal_gain": 0.2,
}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module."""
    specification = importlib.util.spec_from_file_location("train_script", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def train(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs the script here."""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")

    def run(*arguments: object) -> None:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        script.main()

    return run


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, count=3, height=64, width=96)
    return folder


@pytest.fixture
def recipe(tmp_path: Path, scenes: Path) -> Callable[..., Path]:
    """Writes a recipe that trains a tiny model into tmp_path/run."""

    def write(**changes: Any) -> Path:
        options = RECIPE | {"train_data": [str(scenes)], "output_dir": str(tmp_path / "run")} | changes
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(options))
        return path

    return write


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_process_as_documented(recipe: Callable, scenes: Path, tmp_path: Path) -> None:
    """Through Accelerate's launcher; the command line wins over the recipe."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", SCRIPT, "--config", recipe()]
    options = ["--num_train_epochs", 2, "--eval_data", scenes, scenes, "--output_dir", tmp_path / "other"]
    done = subprocess.run(
        [str(part) for part in command + options], capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    log = read_log(tmp_path / "other")
    assert [record["epoch"] for record in log] == [0, 1]
    assert all(record["learning_rate"] == 0.002 and "eval_SSIM" in record for record in log)
    model = GFFusionModel.from_pretrained(tmp_path / "other" / "best")
    assert (model.config.paradigm, model.config.feature_channels) == ("cascading", 8)
    assert not (tmp_path / "run").exists()


def test_process_refuses_unknown_options(recipe: Callable, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--config", str(recipe(nmu_epochs=3))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "nmu_epochs" in done.stderr.split("error: ")[-1]
    assert not (tmp_path / "run").exists()


def test_same_seed_same_weights_and_resume(train: Callable, recipe: Callable, tmp_path: Path) -> None:
    config = recipe(num_train_epochs=2, head_start_epoch=9)
    weights = []
    for name in ("once", "again"):
        train("--config", config, "--output_dir", tmp_path / name)
        weights.append((tmp_path / name / "last" / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]

    train("--config", config, "--output_dir", tmp_path / "once", "--num_train_epochs", 4, "--resume_from_checkpoint")
    train("--config", config, "--output_dir", tmp_path / "whole", "--num_train_epochs", 4)
    assert read_log(tmp_path / "once") == read_log(tmp_path / "whole")
    resumed, whole = (tmp_path / name / "last" / "model.safetensors" for name in ("once", "whole"))
    assert resumed.read_bytes() == whole.read_bytes()


def test_option_with_an_equals_sign(train: Callable, recipe: Callable, tmp_path: Path) -> None:
    train(f"--config={recipe()}", "--num_train_epochs=1")
    assert len(read_log(tmp_path / "run")) == 1
    assert GFFusionModel.from_pretrained(tmp_path / "run" / "last").config.feature_channels == 8


def test_training_goes_on_from_given_weights(
    train: Callable, recipe: Callable, tiny_model: Callable, tmp_path: Path
) -> None:
    tiny_model(merging="mean").save_pretrained(tmp_path / "start")
    config = recipe(model_config=None, model_name_or_path=str(tmp_path / "start"), crop_size=32)
    train("--config", config, "--num_train_epochs", 1)
    assert GFFusionModel.from_pretrained(tmp_path / "run" / "last").config.merging == "mean"
    assert read_log(tmp_path / "run")[0]["loss_segmentation"] > 0


def test_encoders_are_never_random(train: Callable, recipe: Callable, tmp_path: Path) -> None:
    """Frozen encoders with random weights would teach nothing, in hours."""
    config = recipe(model_config={"paradigm": "hybrid", "use_segmenter": False})
    with pytest.raises(ValueError, match=r"needs the encoders \['clip'\]"):
        train("--config", config, "--num_train_epochs", 1)


def test_pretrained_encoders_by_name(
    train: Callable, recipe: Callable, backbone_folders: dict[str, str], tmp_path: Path
) -> None:
    small = RECIPE["model_config"] | {"paradigm": "hybrid"}
    train("--config", recipe(model_config=small, clip_name_or_path=backbone_folders["clip"]), "--num_train_epochs", 1)
    assert GFFusionModel.from_pretrained(tmp_path / "run" / "last").config.needs_clip


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "recipe.yaml"),
        ("", "recipe.yaml"),
        ("- num_train_epochs\n- 3\n", "recipe.yaml"),
        ("num_train_epochs: [", "recipe.yaml"),
        ("num_train_epochs: two\noutput_dir: run\n", "num_train_epochs"),
        ("num_train_epochs: 2.5\noutput_dir: run\n", "num_train_epochs"),
        ("per_device_train_batch_size: 2\n", "output_dir"),
    ],
    ids=["missing", "empty", "list", "damaged", "word", "fraction", "incomplete"],
)
def test_mistakes_in_the_recipe(
    train: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, named: str
) -> None:
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as stop:
        train("--config", path)
    assert stop.value.code == 2
    assert named in capsys.readouterr().err.split("error: ")[-1]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(BUNDLED_RECIPES)))
def test_recipes_of_the_repository(
    path: Path, backbone_folders: dict[str, str], layouts: dict[str, Path], tmp_path: Path
) -> None:
    """Each recipe trains for two epochs, one of them after q, with small encoders; what it asks for is what is built."""
    written = read_recipe(path)
    data = layouts[written.get("layout", "folders")]
    words = ["--config", path, "--train_data", data, "--eval_data", data, "--output_dir", tmp_path / "run"]
    words += [
        "--num_train_epochs",
        2,
        "--head_start_epoch",
        1,
        "--per_device_train_batch_size",
        2,
        "--crop_size",
        48,
        "--dataloader_num_workers",
        0,
    ]
    for name, folder in backbone_folders.items():
        words += [f"--{name}_name_or_path", folder] if written.get(f"{name}_name_or_path") else []
    if "model_config" in written:
        small = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8], "segmenter_image_size": [32, 32]}
        small |= {"segmenter_layers": 2} if "segmenter_layers" in written["model_config"] else {}
        words += ["--model_config", json.dumps(written["model_config"] | small)]
        if str(written.get("model_name_or_path")).startswith("runs/"):  # a stage after another one
            words += ["--model_name_or_path", save_stage_before(written, small, backbone_folders, tmp_path / "before")]
        if written.get("head_path"):
            words += ["--head_path", save_head(written, small["segmenter_layers"], backbone_folders, tmp_path)]
    recipe = Recipe.parse(list(map(str, words)))
    for name in written.keys() - {"model_config", "clip_name_or_path", "dinov2_name_or_path", *map(option_name, words)}:
        value = next(
            getattr(part, name) for part in (recipe.model, recipe.data, recipe.training) if hasattr(part, name)
        )
        assert value == written[name], name
    model = recipe.build_trainer().train()
    for name, value in (written.get("model_config") or {}).items():
        assert name in small or getattr(model.config, name) == value
    labeled = model.config.use_segmenter
    assert ("loss_segmentation" in read_log(tmp_path / "run")[-1]) == labeled
    loaded = GFFusionModel.from_pretrained(tmp_path / "run" / "best")
    assert loaded.config.merging == model.config.merging
    if labeled:
        assert "car" in loaded.config.label2id


def test_fine_tuning_keeps_what_the_weights_know(layouts: dict[str, Path], tmp_path: Path) -> None:
    """The recipe begins with gffusion-tiny: its encoders, whose card does not call them CLIP's, and its statistics."""
    data, run = layouts["folders"], tmp_path / "run"
    words = ["--config", "finetune", "--train_data", data, "--eval_data", data]
    words += [
        "--output_dir",
        run,
        "--num_train_epochs",
        2,
        "--head_start_epoch",
        1,
        "--per_device_train_batch_size",
        2,
        "--crop_size",
        48,
    ]
    Recipe.parse(list(map(str, words))).build_trainer().train()
    tuned, begun = GFFusionModel.from_pretrained(run / "last").state_dict(), create_model("gffusion-tiny").state_dict()
    unchanged = {name for name, value in begun.items() if name in tuned and torch.equal(value, tuned[name])}
    assert "funet.decoder.1.running_mean" in unchanged and "clip.pre_layrnorm.weight" in unchanged
    assert "funet.decoder.0.weight" not in unchanged
    card = (run / "last" / "README.md").read_text()
    for name in ("CLIP", "DINOv2"):
        assert f"The {name} encoder does not have the weights of {name} (the encoder of gffusion-tiny)" in card


def save_stage_before(
    written: dict[str, Any], small: dict[str, Any], backbone_folders: dict[str, str], folder: Path
) -> Path:
    """What a stage begins with: the last one's model, which lacks the encoder that this stage brings."""
    if written["clip_name_or_path"]:
        model = GFFusionModel(GFFusionConfig(**small, paradigm="cascading", use_segmenter=False))
    else:
        model = GFFusionModel.from_backbones(clip=backbone_folders["clip"], **small, use_segmenter=False)
    model.save_pretrained(folder)
    return folder


def save_head(written: dict[str, Any], layers: int, backbone_folders: dict[str, str], folder: Path) -> Path:
    """What the stage before has left for the recipe's classes."""
    width = layers * Dinov2Config.from_pretrained(backbone_folders["dinov2"]).hidden_size
    names = list(written["model_config"]["id2label"].values())
    weights = {"weight": torch.randn(len(names), width), "bias": torch.zeros(len(names))}
    save_file(weights, folder / "head.safetensors", {"classes": json.dumps(names), "layers": str(layers)})
    return folder / "head.safetensors"


def option_name(word: object) -> str:
    return str(word).removeprefix("--")


@pytest.fixture(scope="module")
def layouts(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same pairs as the layouts of the recipes have them."""
    m3fd, mfnet = tmp_path_factory.mktemp("m3fd"), tmp_path_factory.mktemp("mfnet")
    for name, source in (("Vis", "visible"), ("Ir", "infrared"), ("masks", "labels")):
        (m3fd / name).symlink_to(scenes / source)
    (mfnet / "images").mkdir()
    (mfnet / "labels").symlink_to(scenes / "labels")
    for file in (scenes / "visible").iterdir():
        visible, infrared = (Image.open(scenes / kind / file.name) for kind in ("visible", "infrared"))
        visible.putalpha(infrared.convert("L"))
        visible.save(mfnet / "images" / file.name)
    for root in (m3fd, mfnet):
        for split in ("train", "val"):
            (root / f"{split}.txt").write_text("\n".join(file.stem for file in (scenes / "visible").iterdir()))
    return {"folders": scenes, "m3fd": m3fd, "mfnet": mfnet}


def test_base_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(
        "num_train_epochs: 5\nper_device_train_batch_size: 2\nmodel_config: {paradigm: hybrid, num_groups: 3}\n"
    )
    (tmp_path / "part").mkdir()
    derived = tmp_path / "part" / "derived.yaml"
    derived.write_text("base: ../base.yaml\nnum_train_epochs: 7\nmodel_config: {paradigm: parallel}\n")
    assert read_recipe(derived) == {
        "num_train_epochs": 7, "per_device_train_batch_size": 2, "model_config": {"paradigm": "parallel", "num_groups": 3},
    }  # fmt: skip
    derived.write_text("base: derived.yaml\n")
    with pytest.raises(ValueError, match="its own"):
        read_recipe(derived)


def test_finetune_script(
    data_dir: Path, backbone_folders: dict[str, str], dinov2_config: Callable, tmp_path: Path
) -> None:
    """Boxes to masks to training on real pairs, in a process of its own; the weights load."""
    data, source = tmp_path / "data", data_dir / "train" / "msrs"
    boxed = [path.stem for path in sorted((source / "boxes").iterdir()) if path.stat().st_size][:8]
    for kind in ("visible", "infrared", "boxes"):
        (data / kind).mkdir(parents=True)
        for file in (source / kind).iterdir():
            if file.stem in boxed:
                (data / kind / file.name).symlink_to(file)
    (data / "classes.txt").symlink_to(source / "classes.txt")
    Dinov2Model(dinov2_config(patch_size=14, image_size=28)).save_pretrained(tmp_path / "dinov2")
    script = [sys.executable, EXAMPLES / "finetune.py", data, tmp_path / "run", "--clip", backbone_folders["clip"]]
    script += ["--dinov2", tmp_path / "dinov2", "--epochs", 2]
    done = subprocess.run(
        list(map(str, script)), capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(list((data / "labels").iterdir())) == 8
    log = read_log(tmp_path / "run")
    assert [record["epoch"] for record in log] == [0, 1]
    assert all(record["loss_segmentation"] > 0 for record in log)
    model = GFFusionModel.from_pretrained(tmp_path / "run" / "best")
    assert list(model.config.id2label.values()) == ["background", "person", "bicycle", "car"]


def test_head_of_other_classes_begins_anew(tiny_model: Callable, tmp_path: Path) -> None:
    """Be they as many: rows of a car are no start for a tree. The same classes keep their rows."""
    names = ["background", "person", "bicycle", "car"]
    start = tiny_model(id2label=dict(enumerate(names)))
    start.save_pretrained(tmp_path / "start")
    arguments = ModelArguments(model_name_or_path=str(tmp_path / "start"))
    head = start.ssnet.classifier.weight
    assert torch.equal(build_model(arguments, names[1:]).ssnet.classifier.weight, head)
    other = build_model(arguments, ["person", "tree", "car"])
    assert other.config.id2label[2] == "tree"
    assert not torch.isclose(other.ssnet.classifier.weight, head).any(dim=1).all()
    assert torch.equal(
        other.funet.state_dict()[next(iter(start.funet.state_dict()))], next(iter(start.funet.state_dict().values()))
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--image_size", "48", "64", "--scale", "0.5", "1"], "scale"),
        (["--crop_size", "0", "--scale", "0.5", "1"], "scale"),
        (["--infrared_range", "7000"], "infrared_range"),
    ],
)
def test_options_that_do_not_go_together(scenes: Path, tmp_path: Path, words: list[str], named: str) -> None:
    recipe = Recipe.parse(["--train_data", str(scenes), "--output_dir", str(tmp_path / "run"), *words])
    with pytest.raises(ValueError, match=named):
        recipe.build_trainer()
    assert not (tmp_path / "run").exists()
