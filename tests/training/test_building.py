"""Model, data and trainer of a recipe."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from read_back import read_log

from gffusion import (
    FusionTrainer,
    FusionTrainingArguments,
    GFFusionConfig,
    GFFusionImageProcessor,
    GFFusionModel,
    create_model,
)
from gffusion.cameras import Rig
from gffusion.conversion import convert_ade20k_head
from gffusion.data import FusionDataset
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.training.building import build_model, build_trainer, build_transform
from gffusion.training.given_data import warn_about_shared_pairs
from gffusion.training.recipe import DataArguments, ModelArguments, Recipe, list_recipes, read_recipe
from gffusion.zoo.digest import digest_weights

SMALL = {"stem_channels": 4, "feature_channels": 8, "decoder_channels": [8, 4]}
FUNET = SMALL | {"paradigm": "cascading", "use_segmenter": False}


@pytest.fixture
def train(scenes: Path, tmp_path: Path) -> Callable[..., Path]:
    """Trains by a command line, by default a tiny FuNet for an epoch, and returns the output folder."""

    def run(*words: object, name: str = "run", model_config: dict[str, Any] | None = FUNET) -> Path:
        config = [] if model_config is None else ["--model_config", json.dumps(model_config)]
        defaults = ["--train_data", scenes, "--output_dir", tmp_path / name, "--crop_size", 48, "--head_start_epoch", 1]
        defaults += ["--per_device_train_batch_size", 2, "--num_train_epochs", 1]
        defaults += ["--scale", 0.9, 1.1, "--thermal_gain", 0.2]
        build_trainer(Recipe.parse([str(word) for word in [*defaults, *config, *words]])).train()
        return tmp_path / name

    return run


def weights(folder: Path) -> bytes:
    return (folder / "last" / "model.safetensors").read_bytes()


def test_same_seed_same_weights_and_resume(train: Callable[..., Path], tmp_path: Path) -> None:
    short = ["--num_train_epochs", 2, "--head_start_epoch", 9]
    assert weights(train(*short, name="once")) == weights(train(*short, name="again"))
    (checkpoint,) = (tmp_path / "once/checkpoints").iterdir()
    resumed = train(*short, "--num_train_epochs", 4, "--resume_from_checkpoint", checkpoint, name="once")
    whole = train(*short, "--num_train_epochs", 4, name="whole")
    assert read_log(resumed) == read_log(whole)
    assert weights(resumed) == weights(whole)


def test_recipe_of_a_run_repeats_it(
    train: Callable[..., Path], backbone_folders: dict[str, str], scenes: Path, tmp_path: Path
) -> None:
    """With values from the command line, a recipe and defaults, and texts that YAML could take for something else."""
    words = ["--config", "ablations/hybrid", "--layout", "folders", "--seed", 7, "--eval_data", scenes]
    words += ["--eval_metrics", "EN"]
    words += [word for name, folder in backbone_folders.items() for word in (f"--{name}_name_or_path", folder)]
    words += ["--infrared_range", "10,200", "--num_eval_images", 0, "--head_start_epoch", 0, "--learning_rate", "3e-05"]
    small = SMALL | {"segmenter_image_size": [32, 32], "semantic_layers": [1], "segmentation_weight": 0.3}
    first = train(*words, "--overwrite_output_dir", "true", model_config=small)
    recipe = (first / "recipe.yaml").read_text(encoding="utf-8")
    assert "from the recipe 'ablations/hybrid'" in recipe.splitlines()[0]
    for _ in range(2):  # also by the recipe of the repeated run
        trainer = build_trainer(Recipe.parse(["--config", f"{first}/recipe.yaml", "--output_dir", f"{first}-again"]))
        trainer.train()
        assert weights(trainer.output_dir) == weights(first)
        first = trainer.output_dir
    again = yaml.safe_load((tmp_path / "run-again" / "recipe.yaml").read_text(encoding="utf-8"))
    assert again == yaml.safe_load(recipe)
    card = (tmp_path / "run" / "best" / "README.md").read_text(encoding="utf-8")
    rows = {"recipe": "ablations/hybrid", "seed": 7}
    rows |= {
        f"digest_weights(model.{name})": digest_weights(module) for name, module in trainer.model.backbones.items()
    }
    assert all(f"| `{name}` | `{value}` |" in card for name, value in rows.items())


def test_cards_name_files_without_their_folders(
    train: Callable[..., Path],
    tiny_model: Callable,
    published_head: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And with the digest that `sha256sum` prints; also the folder of a model that looks like a Hub id."""
    monkeypatch.chdir(tmp_path)
    files = {"head_path": tmp_path / "ade20k.safetensors", "align": tmp_path / "rig.json"}
    convert_ade20k_head(published_head(32)[0], files["head_path"], hidden_size=32)
    Rig(np.eye(3)).save(files["align"])
    tiny_model(paradigm="cascading").save_pretrained("secret/start")
    words = [word for name, file in files.items() for word in (f"--{name}", file)]
    folder = train("--model_name_or_path", "secret/start", *words, "--flip", 0, model_config=None)
    text = (folder / "best" / "README.md").read_text(encoding="utf-8")
    for name, file in files.items():
        assert f"| `{name}` | `{file.name}, SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()}` |" in text
    assert "| `flip` | `0.0` |" in text and str(tmp_path) not in text
    assert "Training started from weights of its own" in text and "secret" not in text


def test_recipe_belongs_to_the_run_in_the_folder(
    train: Callable[..., Path], scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = train("--num_train_epochs", 2, "--head_start_epoch", 9) / "recipe.yaml"
    content = recipe.read_text()
    recipe.unlink()  # as of a run of an older version
    train("--num_train_epochs", 2, "--head_start_epoch", 9, "--resume_from_checkpoint", "true")
    assert recipe.read_text() == content
    recipe.write_text(content + "learning_rate: 0.5\n")  # of another run, or edited
    train("--num_train_epochs", 3, "--head_start_epoch", 9, "--resume_from_checkpoint", "true")
    assert recipe.read_text() == content.replace("num_train_epochs: 2", "num_train_epochs: 3")
    words = ["--train_data", str(scenes), "--output_dir", str(tmp_path / "run"), "--resume_from_checkpoint", "true"]
    parsed = Recipe.parse(["--config", str(recipe), *words, "--num_train_epochs", "4", "--logging_steps", "1"])
    trainer = build_trainer(parsed)
    trainer.folder.recipe = ""  # as in Python
    trainer.train()
    assert yaml.safe_load(recipe.read_text()) == yaml.safe_load(content) | {"num_train_epochs": 4, "logging_steps": 1}
    assert recipe.read_text().splitlines()[0] == content.splitlines()[0]
    recipe.write_text(f"{content}: [\n")
    FusionTrainer(trainer.model, parsed.training, trainer.train_dataset).train()
    assert recipe.read_text() == f"{content}: [\n" and f"{recipe} is damaged (" in caplog.text
    arguments = FusionTrainingArguments(str(tmp_path / "run"), num_train_epochs=1, overwrite_output_dir=True)
    FusionTrainer(build_model(ModelArguments(model_config=FUNET)), arguments, FusionDataset(scenes)).train()
    assert not recipe.exists()  # options in Python are no recipe
    recipe.write_text("learning_rate: 0.5  # mine\n")
    train("--config", recipe, "--overwrite_output_dir", "true")
    assert recipe.read_text() == "learning_rate: 0.5  # mine\n"
    assert f"{recipe} was not written by a run and is kept" in caplog.text


@pytest.mark.parametrize("disable_tqdm", [False, True])
def test_progress_can_be_hidden(
    train: Callable[..., Path],
    scenes: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    disable_tqdm: bool,
) -> None:
    """That of reading the data, of training, and of evaluation, which then begins with a line: it would look like a hang."""
    monkeypatch.delenv("TQDM_DISABLE")
    monkeypatch.setattr("gffusion.utils.progress.SECONDS", 0)
    options = ("--infrared_range", "folder", "--eval_on_start", "true", "--disable_tqdm", disable_tqdm)
    train("--eval_data", scenes, *options)
    printed, shown = capsys.readouterr()
    lines = [line.split(":")[0] for line in printed.splitlines() if re.search("evaluating|epoch|before", line)]
    begun = ["evaluating 3 pairs"] if disable_tqdm else []
    assert lines == [*begun, "before training", *begun, "epoch 1/1"]
    expected = ["Measuring infrared range: 3 of 3", "Reading sizes: 3 of 3", "epoch 1/1: 1 of 1", "evaluation: 1 of 3"]
    assert [text for text in expected if text in shown] == ([] if disable_tqdm else expected), shown


def test_training_starts_from_given_weights(train: Callable[..., Path], tiny_model: Callable, tmp_path: Path) -> None:
    tiny_model(merging="mean").half().save_pretrained(tmp_path / "start")
    folder = train("--model_name_or_path", tmp_path / "start", "--crop_size", 32, model_config=None)
    last = GFFusionModel.from_pretrained(folder / "last")
    assert (last.config.merging, last.dtype) == ("mean", torch.float32)
    assert read_log(folder)[0]["loss_segmentation"] > 0


def test_notes_and_pairs_of_both_training_and_evaluation_are_reported(
    scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["--train_data", scenes, "--eval_data", scenes, "--output_dir", tmp_path / "run", "--crop_size", 48]
    words += ["--per_device_train_batch_size", 2, "--model_config", json.dumps(FUNET)]
    build_trainer(replace(Recipe.parse([str(word) for word in words]), notes=("fewer workers",)))
    assert "fewer workers" in caplog.text
    assert "3 of 3 evaluation pairs are training pairs, too (such as rendered_0000)" in caplog.text
    caplog.clear()
    files = FusionDataset(scenes)
    rows = [{"visible": str(pair.visible), "infrared": str(pair.infrared)} for pair in files.pairs]
    warn_about_shared_pairs(files.select([0, 1]), FusionDataset.from_dataset(rows[1:]))
    assert "1 of 2 evaluation pairs are training pairs, too (such as 0)" in caplog.text


def test_options_that_contradict_each_other_or_the_data(
    scenes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def build(*words: object, config: str = "funet", times: int = 1) -> None:
        defaults = ["--config", config, "--train_data", *[scenes] * times, "--model_config", json.dumps(FUNET)]
        defaults += ["--per_device_train_batch_size", 2, "--scale", 1, 1, "--output_dir", tmp_path / "run"]
        caplog.clear()
        build_trainer(Recipe.parse([str(word) for word in [*defaults, *words]]))

    resized = "--image_size", 48, 64
    with pytest.raises(ValueError, match="omit `crop_size` or `image_size`"):
        build(*resized, "--crop_size", 48)
    build(*resized, "--crop_size", 0)
    (tmp_path / "mine.yaml").write_text("base: funet\ncrop_size: 64\n")
    for config in ("funet", str(tmp_path / "mine.yaml")):  # those of recipes are replaced
        build(*resized, config=config)
    assert "given several times" not in caplog.text
    build(*resized, times=2)
    assert "3 of 3 training images are given several times" in caplog.text
    for names, is_moved in (("car,bicycle,person", True), ("person,van,car", False), ("Person,bicycle,car", False)):
        build(*resized, "--class_names", names)
        assert ("names the classes person, bicycle, car, but `class_names`" in caplog.text) == is_moved


def test_infrared_options_are_saved_and_overridden(train: Callable[..., Path]) -> None:
    words = ["--infrared_range", "folder", "--invert", "--agc", "plateau", "--plateau_limit", 2]
    folder = train(*words, name="first")
    first = InfraredOptions("folder", invert=True, agc="plateau", plateau_limit=2)
    assert GFFusionImageProcessor.from_pretrained(folder / "best").infrared_options == first
    start = ["--model_name_or_path", folder / "best", "--infrared_range", "percentile", "--smooth_range", 9]
    folder = train(*start, "--invert", "false", name="second", model_config=None)
    second = InfraredOptions("percentile", agc="plateau", plateau_limit=2, smooth_range=9)
    assert GFFusionImageProcessor.from_pretrained(folder / "best").infrared_options == second


def test_encoders_are_never_random(train: Callable[..., Path], backbone_folders: dict[str, str]) -> None:
    """Training with random frozen encoders would be a waste of hours."""
    config = FUNET | {"paradigm": "hybrid"}
    with pytest.raises(ValueError, match="`clip_name_or_path` is missing"):
        train(model_config=config)
    folder = train("--clip_name_or_path", backbone_folders["clip"], model_config=config)
    assert GFFusionModel.from_pretrained(folder / "last").config.needs_clip


@pytest.mark.parametrize("start", [None, "slim", "full"])
@pytest.mark.parametrize("use_segmenter", [True, False])
def test_encoders_of_recipes(
    paradigm: str,
    use_segmenter: bool,
    start: str | None,
    tiny_model: Callable,
    backbone_folders: dict[str, str],
    tmp_path: Path,
) -> None:
    """A recipe can name encoders that some of its runs do not have; those of the command line are for this run."""
    config = SMALL | {"segmenter_image_size": [32, 32], "paradigm": paradigm, "use_segmenter": use_segmenter}
    lines = [f"{name}_name_or_path: {folder}" for name, folder in backbone_folders.items()]
    if start is not None:
        tiny_model().save_pretrained(tmp_path / "start", include_backbones=start == "full")
        lines.append(f"model_name_or_path: {tmp_path / 'start'}")
    (tmp_path / "base.yaml").write_text("\n".join(["base: paper_m3fd", *lines]))
    (tmp_path / "mine.yaml").write_text("base: base.yaml\noutput_dir: run\n")
    words = ["--config", str(tmp_path / "mine.yaml"), "--model_config", json.dumps(config)]
    recipe = Recipe.parse(words)
    plan = GFFusionConfig(paradigm=paradigm, use_segmenter=use_segmenter)
    needed = {name for name in backbone_folders if getattr(plan, f"needs_{name}")}
    if start is None or paradigm != "parallel":  # FINet of another encoder does not fit
        built = build_model(recipe.model, None, recipe.typed)
        assert built.backbones.keys() == needed
    for name in backbone_folders.keys() - needed:
        typed = Recipe.parse([*words, f"--{name}_name_or_path", backbone_folders[name]])
        with pytest.raises(ValueError, match=f"^`{name}_name_or_path` gives an encoder .* not have: leave it out"):
            build_model(typed.model, None, typed.typed)
        with pytest.raises(ValueError, match=f"`{name}_name_or_path` gives an encoder"):
            build_model(ModelArguments(**vars(recipe.model)))


def test_head_of_other_classes_is_new(
    tiny_model: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if there are as many. The same classes keep their rows and weights, also in another spelling."""
    names = ["background", "person", "bicycle", "car"]
    start = tiny_model(id2label=dict(enumerate(names)), class_weights=[1, 2, 3, 4])
    start.save_pretrained(tmp_path / "start")
    arguments = ModelArguments(model_name_or_path=str(tmp_path / "start"))
    head = start.ssnet.classifier.weight
    for same in (names[1:], ["Person", "Bicycle ", "car"]):
        model = build_model(arguments, same)
        assert torch.equal(model.ssnet.classifier.weight, head)
        assert model.config.class_weights == [1, 2, 3, 4] and model.config.id2label[1] == same[0]
    assert not caplog.records
    other = build_model(arguments, ["person", "tree", "car"])
    assert other.config.id2label[2] == "tree" and other.config.class_weights is None
    assert "The segmentation head starts untrained: " in caplog.text
    assert (
        "has the classes background, person, bicycle, car, the new model background, person, tree, car." in caplog.text
    )
    caplog.clear()
    monkeypatch.setenv("RANK", "1")
    build_model(arguments, ["person", "tree", "car"])
    assert not caplog.records
    assert not torch.isclose(other.ssnet.classifier.weight, head).any(dim=1).all()
    assert torch.equal(next(other.funet.parameters()), next(start.funet.parameters()))


@pytest.mark.parametrize(
    ("config", "report"),
    [
        ({"id2label": None}, "must be a list of class names, or a mapping .* got None"),
        ({"id2label": 5}, "must be a list of class names, or a mapping .* got 5"),
        ({"id2label": ["sky", ["sheep"]]}, r"must be a list of class names, or .* got \['sky', \['sheep'\]\]"),
        ({"id2label": {"sky": "sheep"}}, "must be a list of class names, or a mapping .* got {'sky': 'sheep'}"),
        ({"clip_name_or_path": "a"}, "has clip_name_or_path, which is an option of its own"),
        ({"num_labels": 7}, "has num_labels 7, but the data has the 2 classes background, sheep: leave num_labels out"),
    ],
)
def test_wrong_classes(config: dict[str, Any], report: str) -> None:
    with pytest.raises(ValueError, match=f"`model_config`? {report}"):
        build_model(ModelArguments(model_config=SMALL | config), ["sheep"])


def test_models_without_a_head_do_not_need_the_classes(caplog: pytest.LogCaptureFixture) -> None:
    model = build_model(ModelArguments(model_name_or_path="gffusion-funet"), ["person", "car"])
    assert not model.config.use_segmenter and not caplog.records


def test_recipe_that_describes_another_model_than_the_given_weights(tiny_model: Callable, tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "start")
    config = SMALL | {"stem_channels": 6, "gradient_weight": 7.0}
    with pytest.raises(ValueError, match=r"`model_config` describes \(stem_channels 6, not 4\).* \(--config finetune"):
        build_model(ModelArguments(model_name_or_path=str(tmp_path / "start"), model_config=config))


def test_nothing_says_what_to_train(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a recipe \(--config finetune\), or .*`model_name_or_path`"):
        build_trainer(Recipe.parse(["--train_data", str(scenes), "--output_dir", str(tmp_path / "run")]))


@pytest.mark.parametrize(
    "options",
    [
        {"flip": 1, "night": 1, "glare": 1, "thermal_artifacts": 1, "thermal_gain": 1, "misalignment": 1e6},
        {"visible_photometric": 0.999, "crop_size": 1, "scale": [0.001, 1000]},
        {"image_size": [1, 1], "crop_size": 0},
    ],
)
def test_transforms_take_all_values_that_options_allow(options: dict[str, Any]) -> None:
    build_transform(DataArguments(train_data=["a"], **options))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--infrared_range", 7000], "infrared_range"),
        (["--infrared_range", "folder", "--smooth_range", 5], "smooth_range"),
        (["--plateau_limit", 5], "plateau_limit"),
    ],
)
def test_options_that_exclude_each_other(
    train: Callable[..., Path], tmp_path: Path, words: list[object], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        train(*words)
    assert not (tmp_path / "run").exists()


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


@pytest.mark.slow
@pytest.mark.parametrize("name", list_recipes())
def test_bundled_recipes(name: str, backbone_folders: dict[str, str], layouts: dict[str, Path], tmp_path: Path) -> None:
    """Each recipe trains for two epochs, one of them after q, with small encoders and the options that it sets."""
    written = read_recipe(name)
    data, run = layouts[written.get("layout", "folders")], tmp_path / "run"
    words = ["--config", name, "--train_data", data, "--eval_data", data, "--output_dir", run]
    words += ["--num_train_epochs", 2, "--head_start_epoch", 1, "--per_device_train_batch_size", 2, "--crop_size", 48]
    words += ["--dataloader_num_workers", 0]
    for encoder, folder in backbone_folders.items():
        words += [f"--{encoder}_name_or_path", folder] if written.get(f"{encoder}_name_or_path") else []
    small = SMALL | {"segmenter_image_size": [32, 32]}
    config = written.get("model_config") or {}
    words += ["--model_config", json.dumps(config | small)] if config else []
    recipe = Recipe.parse(list(map(str, words)))
    given = {str(word).removeprefix("--") for word in words}
    options = vars(recipe.model) | vars(recipe.data) | vars(recipe.training)
    for option in written.keys() - given - {"model_config"}:
        assert options[option] == written[option], option
    model = build_trainer(recipe).train()
    for option, value in config.items():
        assert option in small or getattr(model.config, option) == value
    labeled = model.config.use_segmenter
    assert ("loss_segmentation" in read_log(run)[-1]) == labeled
    loaded = GFFusionModel.from_pretrained(run / "best")
    assert loaded.config.merging == model.config.merging
    assert not labeled or "car" in loaded.config.label2id
    if name == "finetune":
        check_what_fine_tuning_keeps(run)


def check_what_fine_tuning_keeps(run: Path) -> None:
    """The recipe begins with gffusion-tiny: its encoders, whose card does not call them CLIP's, and its statistics."""
    tuned, begun = GFFusionModel.from_pretrained(run / "last").state_dict(), create_model("gffusion-tiny").state_dict()
    unchanged = {name for name, value in begun.items() if name in tuned and torch.equal(value, tuned[name])}
    assert "funet.decoder.1.running_mean" in unchanged and "clip.pre_layrnorm.weight" in unchanged
    assert "funet.decoder.0.weight" not in unchanged
    card = (run / "last" / "README.md").read_text()
    for name in ("CLIP", "DINOv2"):
        assert f"The {name} encoder does not have the weights of {name} (the encoder of gffusion-tiny)" in card
