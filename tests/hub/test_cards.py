"""Model cards: metadata, text, the code example, and files that were edited."""

import logging
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import accelerate
import numpy as np
import pytest
import torch
import transformers
import yaml
from huggingface_hub import ModelCard, metadata_eval_result
from PIL import Image
from transformers import PreTrainedConfig

import gffusion
from gffusion import FusionTrainingArguments, GFFusionConfig, GFFusionImageProcessor
from gffusion.hub import Evaluation, FusionCard, TrainingData, non_default_settings, versions
from gffusion.hub.card_options import list_other_options
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import list_models

FUNET: dict[str, Any] = {"paradigm": "cascading", "use_segmenter": False}

# Other values than the defaults: the card names them, by default as `name=value`.
OTHER_OPTIONS: dict[str, Any] = {
    "num_groups": 3,
    "group_kernel_size": 5,
    "clip_image_size": [320, 240],
    "leaky_relu_slope": 0.125,
    "use_segmenter": False,
    "segmenter_image_size": [448, 588],
    "ignore_index": 254,
    "initializer_range": 0.125,
    "segmenter_layers": 4,
    "segmenter_windows": [2, 7],
    "segmenter_scales": [1, 2],
    "segmenter_refinement": 1.5,
    "intensity_contrast": 1.125,
    "intensity_floor": 0.625,
    "intensity_undershoot": 0.375,
    "pixel_unshuffle": 2,
    "context_channels": 24,
    "blend_sources": True,
}
OPTIONS_IN_ROWS: dict[str, tuple[Any, str]] = {
    "paradigm": ("parallel", "| paradigm | parallel: "),
    "merging": ("group_conv", "merged by `group_conv`"),
    "semantic_layers": ([2, 5], "at layers 2, 5 |"),
    "stem_channels": (24, "| stem 24, "),
    "feature_channels": (40, ", features 2 x 40, "),
    "decoder_channels": ([], ", decoder of one convolution |"),
    "color_space": ("rgb", "| fused channels | all three "),
    "gradient_weight": (7, "gradient (beta) 7,"),
    "segmentation_weight": (0.625, "segmentation (lambda) 0.625 |"),
    "class_weights": ([1, 2, 3, 4, 5, 6, 7], "classes 1, 2, 3, 4, 5, 6, 7 |"),
    "intensity_weight": (20, " intensity 20,"),
    "intensity_target": ("two_scale", " intensity 0 (two_scale),"),
    "vif_weight": (0.625, " VIF 0.625,"),
    "qabf_weight": (0.625, " Qabf 0.625,"),
}


def make(config: GFFusionConfig | None = None, **facts: Any) -> FusionCard:
    defaults = {"model_name": "tiny", "config": config or GFFusionConfig(**FUNET), "license": "Apache-2.0"}
    return FusionCard(**defaults | facts)


def evaluation(**facts: Any) -> Evaluation:
    return replace(Evaluation("M3FD", {"EN": 7.0}, 40, "standard", "measure"), **facts)


def front_matter(card: FusionCard) -> dict[str, Any]:
    return yaml.safe_load(card.render().split("---\n")[1])


def section(card: FusionCard, title: str) -> str:
    """Return the text below a heading, an empty string if the card has no such section."""
    return dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", card.render(), re.MULTILINE | re.DOTALL)).get(title, "")


class TestMetadata:
    def test_front_matter(self) -> None:
        data = front_matter(make(GFFusionConfig()))
        expected = {"library_name": "gffusion", "pipeline_tag": "image-to-image", "license": "apache-2.0"}
        assert data.items() >= expected.items()
        assert {"infrared-visible-image-fusion", "image-fusion", "thermal", "gffusion"} < set(data["tags"])
        assert "image-segmentation" in data["tags"]
        assert "image-segmentation" not in front_matter(make())["tags"]

    def test_round_trip_through_the_hub_client(self, tmp_path: Path) -> None:
        card = make(
            GFFusionConfig(),
            model_name='with "quotes": and colons',
            training_data=[TrainingData("M3FD", 4200, "research use", hub_id="organization/m3fd")],
            evaluations=[evaluation(metrics={"EN": np.float64(7.0), "mIoU": 0.5})],
        )
        loaded = ModelCard.load(card.save(tmp_path))
        assert str(loaded) == card.render()
        assert loaded.data.to_dict() == card.metadata.to_dict()
        assert loaded.data.eval_results == card.metadata.eval_results

    @pytest.mark.parametrize(
        ("choices", "expected"),
        [
            ({"paradigm": "hybrid"}, ["openai/clip-vit-base-patch16", "facebook/dinov2-base"]),
            ({"paradigm": "hybrid", "use_segmenter": False}, ["openai/clip-vit-base-patch16"]),
            ({"paradigm": "parallel", "use_segmenter": False}, ["facebook/dinov2-base"]),
            ({"paradigm": "cascading"}, ["facebook/dinov2-base"]),
            (FUNET, None),
        ],
    )
    def test_base_models_are_the_encoders_of_the_paradigm(self, choices: dict, expected: list | None) -> None:
        assert front_matter(make(GFFusionConfig(**choices))).get("base_model") == expected

    def test_starting_point_of_the_training_is_the_first_base_model(self) -> None:
        card = make(GFFusionConfig(use_segmenter=False), base_model="org/street")
        assert front_matter(card)["base_model"] == ["org/street", "openai/clip-vit-base-patch16"]

    def test_local_encoders_are_not_base_models(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "encoders" / "clip").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)
        absolute = str(tmp_path / "dinov2")
        card = make(GFFusionConfig(clip_name_or_path="encoders/clip", dinov2_name_or_path=absolute))
        assert "base_model" not in front_matter(card)
        assert absolute not in card.render() and "encoders/clip" not in card.render()

    def test_metadata_lists_datasets_of_the_hub_only(self) -> None:
        data = [
            TrainingData("M3FD", 10, "research use", url="https://example.org/m3fd"),
            TrainingData("MSRS", 20, "MIT", hub_id="organization/msrs"),
        ]
        card = make(training_data=data)
        assert front_matter(card)["datasets"] == ["organization/msrs"]
        assert "[M3FD](https://example.org/m3fd) | 10 | research use" in section(card, "Training data")
        assert "datasets" not in front_matter(make(training_data=data[:1]))

    def test_model_index_equals_that_of_the_hub_client(self) -> None:
        expected = metadata_eval_result(
            model_pretty_name="tiny",
            task_pretty_name="Infrared and visible image fusion",
            task_id="image-to-image",
            metrics_pretty_name="EN",
            metrics_id="en",
            metrics_value=7.1235,
            dataset_pretty_name="M3FD",
            dataset_id="organization/m3fd",
        )
        card = make(evaluations=[evaluation(metrics={"EN": 7.12345678}, hub_id="organization/m3fd")])
        index = front_matter(card)["model-index"]
        assert index[0]["results"][0]["metrics"][0].pop("args") == {"protocol": "standard", "images": 40}
        assert index == expected["model-index"]

    @pytest.mark.parametrize("datasets", [("M3FD", "MSRS"), ("夜间", "白天"), ("***", "§")])
    def test_model_index_separates_datasets_and_tasks(self, datasets: tuple[str, str]) -> None:
        metrics = {"EN": 7.0, "mIoU": 0.6, "IoU person": 0.5}
        card = make(evaluations=[evaluation(dataset=name, metrics=metrics) for name in datasets])
        results = front_matter(card)["model-index"][0]["results"]
        found = {
            (result["dataset"]["name"], result["task"]["type"]): [metric["type"] for metric in result["metrics"]]
            for result in results
        }
        assert found == {
            (name, task): types
            for name in datasets
            for task, types in (("image-to-image", ["en"]), ("image-segmentation", ["miou", "iou_person"]))
        }
        assert all(result["dataset"]["type"] for result in results)
        assert front_matter(card)["metrics"] == ["en", "miou", "iou_person"]

    def test_results_of_the_paper_are_not_in_the_metadata(self) -> None:
        card = make(evaluations=[evaluation()], paper_figures={"M3FD": {"SCD": 1.872, "VIF": 0.852}})
        assert "1.872" not in yaml.safe_dump(front_matter(card))
        assert "| M3FD | 1.872 | 0.852 |" in section(card, "Results reported in the paper")
        assert card.render().count("1.872") == 1

    def test_missing_facts_are_left_out(self) -> None:
        card = make(license=None)
        assert set(front_matter(card)) == {"library_name", "pipeline_tag", "tags"}
        assert "| license of the weights | not stated |" in card.render()
        headings = re.findall(r"^## (.+)$", card.render(), re.MULTILINE)
        assert headings == ["Usage", "Intended use", "Limitations", "Citation"]


class TestText:
    def test_facts(self) -> None:
        text = make(GFFusionConfig(clip_revision="abc123")).render()
        assert "hybrid" in text and "`weighted_sum`" in text
        assert "stem 16, features 2 x 48, decoder 64, 32, 16" in text
        assert "252,403 trainable, 171,525,120 frozen" in text
        assert "(https://huggingface.co/openai/clip-vit-base-patch16), revision `abc123`; license: MIT" in text
        assert "(https://huggingface.co/facebook/dinov2-base), no revision pinned; license: Apache-2.0" in text
        assert "background, person, car, bus, motorcycle, lamp, truck" in text

    def test_every_option_of_the_method_is_named(self) -> None:
        """Also later ones. The card describes the encoders instead of naming their options."""
        options = {name: (value, f"`{name}={value}`") for name, value in OTHER_OPTIONS.items()} | OPTIONS_IN_ROWS
        own = GFFusionConfig.__dataclass_fields__.keys() - PreTrainedConfig.__dataclass_fields__.keys()
        sources = [f"{name}_{part}" for name in ("clip", "dinov2") for part in ("config", "name_or_path", "revision")]
        assert options.keys() == own - {*sources, "backbone_weights"}
        default = make(GFFusionConfig()).render()
        assert list_other_options(GFFusionConfig()) == ""
        for name, (value, words) in options.items():
            card = make(GFFusionConfig(**{name: value})).render()
            assert words in card and words not in default, name

    def test_all_weights_of_the_loss(self) -> None:
        """Every field of a weight, also later ones; those that are 0 by default only if they are not."""
        names = [item.name for item in fields(GFFusionConfig) if item.name.endswith("_weight")]
        weights = {name: 3 + number / 8 for number, name in enumerate(names)}
        config = GFFusionConfig(**weights, class_weights=[1, 5.25, 2, 1, 1, 1, 1], intensity_target="two_scale")
        (row,) = re.findall(r"\| loss weights \| (.*) \|", make(config).render())
        assert len(weights) >= 5 and all(re.search(rf" {value:g}(,| |$)", row) for value in weights.values())
        assert row.endswith("classes 1, 5.25, 2, 1, 1, 1, 1") and "(two_scale)" in row
        assert "| gradient (beta) 10, intensity 0, segmentation (lambda) 0.2 |" in make(GFFusionConfig()).render()
        assert "| gradient (beta) 10, intensity 0 |" in make(GFFusionConfig(use_segmenter=False)).render()

    def test_limits(self) -> None:
        limits = section(make(limits=["Noise is passed on."]), "Limitations")
        for words in ("radiometric", "safety-critical", "aligned", "- Noise is passed on."):
            assert words in limits
        assert "surveillance" not in limits
        assert "surveillance" in section(make(GFFusionConfig()), "Limitations")

    def test_replaced_encoders(self) -> None:
        card = make(GFFusionConfig(), replaced_encoders={"clip": "randomly initialized"})
        assert front_matter(card)["base_model"] == ["facebook/dinov2-base"]
        assert "openai/clip" not in card.render()
        assert "weights of CLIP (randomly initialized)" in section(card, "Limitations")
        with pytest.raises(ValueError, match=r"none.*\['clip'\]"):
            make(replaced_encoders={"clip": "randomly initialized"})

    def test_encoders_that_are_not_from_the_hub(self, tmp_path: Path) -> None:
        config = GFFusionConfig(clip_name_or_path=None, dinov2_name_or_path=str(tmp_path))
        limits = section(make(config), "Limitations")
        for name in ("CLIP", "DINOv2"):
            assert f"It is unknown whether it has the weights of {name}" in limits
        for known in (make(GFFusionConfig()), make(config, has_weights=False)):
            assert "unknown" not in known.render()

    @pytest.mark.parametrize(("paradigm", "name"), [("hybrid", "CLIP"), ("parallel", "DINOv2")])
    def test_features_of_other_encoders_are_not_those_of_clip(self, paradigm: str, name: str) -> None:
        original, own = GFFusionConfig(paradigm=paradigm), GFFusionConfig(paradigm=paradigm)
        own.clip_name_or_path = own.dinov2_name_or_path = None
        replaced = {name.lower(): "randomly initialized"}
        for card, is_original in (
            (make(original), True),
            (make(own, has_weights=False), True),
            (make(own), False),
            (make(original, replaced_encoders=replaced), False),
        ):
            assert (f"| paradigm | {paradigm}: {name} features of both" in card.render()) == is_original
            assert (f"by an encoder with the architecture of {name}" in card.render()) != is_original

    def test_training(self) -> None:
        log = [
            {"epoch": 0, "loss": 3.0, "eval_loss_structural": 2.0},
            {"epoch": 1, "loss": 2.0, "eval_loss_structural": 1.0},
            {"epoch": 2, "loss": 1.0},
        ]
        log.insert(0, {"epoch": -1, "eval_loss_structural": 0.5})
        text = section(
            make(log=log, settings={"batch_size": 4}, command="train --it", versions={"torch": "2.13.0"}), "Training"
        )
        assert "| training log | before training | best, epoch 2 | last, epoch 3 |" in text
        assert "| `loss` | - | 2 | 1 |" in text
        assert "| `eval_loss_structural` | 0.5 | 1 | - |" in text
        assert "| `batch_size` | `4` |" in text
        assert "```bash\ntrain --it\n```" in text
        assert "torch 2.13.0" in text
        assert "best" not in section(make(log=log[3:]), "Training")

    def test_results_with_command_and_direction(self) -> None:
        text = section(make(evaluations=[evaluation(metrics={"EN": 7.0, "Nabf": 0.0151})]), "Results")
        assert "**M3FD**, 40 images, protocol `standard`" in text
        assert "EN ↑ | Nabf ↓" in text and "7 | 0.0151" in text
        assert "```bash\nmeasure\n```" in text
        table = "| method | EN |\n| --- | --- |\n| average | 6 |"
        assert table in section(make(evaluations=[evaluation(comparison=table)]), "Results")

    @pytest.mark.parametrize(
        ("facts", "message"),
        [
            ({"metrics": {"EN": float("nan")}}, "EN on M3FD must be finite"),
            ({"metrics": {"EN": float("inf")}}, "EN on M3FD must be finite"),
            ({"metrics": {}}, "needs `metrics` and `command`"),
            ({"command": ""}, "needs `metrics` and `command`"),
            ({"metrics": {"beauty": 1.0}}, "Unknown metric 'beauty'.*EN"),
        ],
    )
    def test_invalid_evaluations(self, facts: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            evaluation(**facts)

    @pytest.mark.parametrize("name", ["m3fd", "a/b/c", "data/tr ain", "/data/m3fd", ""])
    def test_invalid_hub_ids(self, name: str) -> None:
        for function in (make, evaluation, lambda hub_id: TrainingData("M3FD", 1, "MIT", hub_id=hub_id)):
            with pytest.raises(ValueError, match="organization/name"):
                function(hub_id=name)


class TestCodeExample:
    @pytest.mark.parametrize("choices", [FUNET, {"paradigm": "hybrid"}], ids=["fusion alone", "with segmenter"])
    def test_runs(
        self, choices: dict[str, Any], tiny_model: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        model = tiny_model(**choices)
        model.save_pretrained("tiny")
        GFFusionImageProcessor().save_pretrained("tiny")
        path = make(model.config).save("tiny")
        scene = render_scene(0, height=48, width=64)
        Image.fromarray(scene.visible).save("visible.png")
        Image.fromarray(scene.infrared).save("infrared.png")

        (code,) = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
        exec(code, {})
        assert np.asarray(Image.open("fused.png")).shape == scene.visible.shape
        assert Path("labels.png").exists() == model.config.use_segmenter
        if model.config.use_segmenter:
            labels = np.asarray(Image.open("labels.png"))
            assert labels.shape == scene.visible.shape[:2] and labels.max() < model.config.num_labels

    def test_names_the_hub_id_or_the_bundled_model(self) -> None:
        assert 'locate("organization/tiny")' in section(make(hub_id="organization/tiny"), "Usage")
        (name,) = list_models("gffusion-funet")
        assert f'locate("{name}")' in section(make(model_name=name), "Usage")


class TestSave:
    @pytest.fixture(autouse=True)
    def logs(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING, "gffusion.hub.cards")

    def test_replaces_a_generated_card(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        folder = tmp_path / "new" / "folder"
        make().save(folder)
        path = make(description="Other weights, ähnlich.").save(str(folder))
        assert path == folder / "README.md"
        assert path.read_text(encoding="utf-8") == make(description="Other weights, ähnlich.").render()
        assert os.listdir(folder) == ["README.md"]
        assert not caplog.records

    @pytest.mark.parametrize(
        "edit",
        [
            lambda card: card.replace(b"# tiny", b"# Tiny"),
            lambda card: card.replace(b"license: apache-2.0", b"license: mit"),
            lambda card: card + b"\nOne more remark.\n",
            lambda card: card[: card.index(b"<!--")],
            lambda card: card.replace(b"\n", b"\r\n"),
            lambda card: b"# Mine\n",
            lambda card: b"",
            lambda card: "Schön".encode("latin-1"),
        ],
        ids=["text", "metadata", "appended", "signature removed", "line ends", "handwritten", "empty", "not UTF-8"],
    )
    def test_keeps_edited_files(
        self, edit: Callable[[bytes], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = make().save(tmp_path)
        edited = edit(path.read_bytes())
        path.write_bytes(edited)
        assert make(description="new", images={"missing.png": "Fused"}).save(tmp_path) == path
        assert path.read_bytes() == edited
        assert os.listdir(tmp_path) == ["README.md"]
        assert str(path) in caplog.text and "kept unchanged" in caplog.text

    def test_failed_write_keeps_the_old_card(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = make().save(tmp_path)
        monkeypatch.setattr(os, "replace", Mock(side_effect=OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            make(description="new").save(tmp_path)
        assert path.read_text(encoding="utf-8") == make().render()
        assert os.listdir(tmp_path) == ["README.md"]

    def test_images_must_exist(self, tmp_path: Path) -> None:
        card = make(images={"a grid.png": "Visible, infrared, fused"})
        with pytest.raises(FileNotFoundError, match=r"a grid.png"):
            card.save(tmp_path)
        assert not (tmp_path / "README.md").exists()
        (tmp_path / "a grid.png").touch()
        assert "![Visible, infrared, fused](a%20grid.png)" in card.save(tmp_path).read_text(encoding="utf-8")

    def test_saving_weights_keeps_the_card(self, tiny_model: Callable, tmp_path: Path) -> None:
        model = tiny_model(**FUNET)
        path = make(model.config).save(tmp_path)
        model.save_pretrained(tmp_path)
        assert path.read_text(encoding="utf-8") == make(model.config).render()
        assert type(model).from_pretrained(tmp_path).config.paradigm == "cascading"


def test_non_default_settings() -> None:
    assert non_default_settings(FusionTrainingArguments("runs/mine")) == {}
    arguments = FusionTrainingArguments("runs/mine", num_train_epochs=40, learning_rate=2e-3, seed=0)
    assert non_default_settings(arguments) == {"num_train_epochs": 40, "learning_rate": 2e-3}

    @dataclass
    class Options:
        folders: list[str] = field(default_factory=list)
        scale: list[float] = field(default_factory=lambda: [1.0, 1.0])

    assert non_default_settings(Options(["a"])) == {"folders": ["a"]}


def test_versions() -> None:
    found = versions()
    modules = {"gffusion": gffusion, "torch": torch, "transformers": transformers, "accelerate": accelerate}
    for name, module in modules.items():  # the distribution of torch 2.6 leaves the local part of its version out
        assert module.__version__.partition("+")[0] == found[name].partition("+")[0]
    assert re.fullmatch(r"3\.\d+\.\d+\S*", found["Python"])
