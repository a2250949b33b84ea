"""The model card that a run leaves."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.hub.cards import TrainingData
from gffusion.metrics import register_metric
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.training.card import write_card

LOG = [
    {"epoch": -1, "step": 0, "eval_SSIM": 0.875, "eval_EN": 8.0, "eval_loss_structural": 0.5},
    {"epoch": 0, "step": 2, "loss": 3.0, "eval_SSIM": 0.25, "eval_EN": 6.125, "eval_loss_structural": 2.0},
    {"epoch": 1, "step": 4, "loss": 2.0, "eval_SSIM": 0.75, "eval_EN": 5.125, "eval_loss_structural": 1.0},
    {"epoch": 2, "step": 6, "loss": 1.0, "eval_SSIM": 0.5, "eval_EN": 7.125, "eval_loss_structural": 1.5},
    {"epoch": 3, "step": 8, "loss": 1.0},
]


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., GFFusionModel]) -> GFFusionModel:
    return tiny_model(paradigm="cascading", use_segmenter=False)


def figures(folder: Path) -> dict[str, float]:
    """The measured figures in the card's metadata."""
    metadata = yaml.safe_load((folder / "README.md").read_text().split("---")[1])
    results = metadata["model-index"][0]["results"]
    return {metric["name"]: metric["value"] for result in results for metric in result["metrics"]}


class TestWriteCard:
    @pytest.mark.parametrize(("here", "source"), [(".", "runs/mine/best"), ("elsewhere", "mine/best")])
    def test_snippet_names_the_folder_but_not_what_lies_above(
        self, model: GFFusionModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, source: str
    ) -> None:
        (tmp_path / here).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / here)
        card = self.write(tmp_path / "runs" / "mine" / "best", model)
        assert f'locate("{source}")' in card and str(tmp_path) not in card

    def write(
        self,
        folder: Path,
        model: GFFusionModel,
        log: Any = LOG,
        step: int = 4,
        infrared_range: Any = "auto",
        settings: Any = None,
        **options: Any,
    ) -> str:
        arguments = FusionTrainingArguments(str(folder.parent), **options)
        infrared_options = InfraredOptions(infrared_range, invert=infrared_range != "auto")
        write_card(folder, model, arguments, {"settings": settings or {}}, log, step, 3, infrared_options)
        return (folder / "README.md").read_text()

    @pytest.mark.parametrize(("step", "score"), [(4, 0.75), (6, 0.5), (8, None)])
    def test_figures_are_those_of_the_weights(
        self, model: GFFusionModel, tmp_path: Path, step: int, score: float | None
    ) -> None:
        card = self.write(tmp_path / "best", model, step=step)
        if score is None:  # nothing was measured
            assert "model-index" not in card
        else:
            assert figures(tmp_path / "best")["SSIM"] == score

    def test_scores_that_are_not_finite_are_left_out(self, model: GFFusionModel, tmp_path: Path) -> None:
        self.write(tmp_path / "best", model, [LOG[1] | {"eval_EN": float("nan")}, LOG[2]], step=2)
        assert figures(tmp_path / "best") == {"SSIM": 0.25}

    @pytest.mark.parametrize(("criterion", "epoch"), [("loss_structural", 2), ("EN", 3), ("SSIM", 2), ("SCD", None)])
    def test_log_names_the_epoch_of_the_best_weights(
        self, model: GFFusionModel, tmp_path: Path, criterion: str, epoch: int | None
    ) -> None:
        log = [LOG[0], LOG[1] | {f"eval_{criterion}": float("nan")}, *LOG[2:]]
        card = self.write(tmp_path / "best", model, log, metric_for_best_model=criterion)
        assert re.findall(r"best, epoch (\d+)", card) == ([] if epoch is None else [str(epoch)])

    @pytest.mark.parametrize("registered", [True, False])
    def test_registered_metrics_are_in_the_log_only(
        self, model: GFFusionModel, tmp_path: Path, registered: bool
    ) -> None:
        """`gffusion evaluate` of a reader does not know them, and a later process not even which value is the best."""
        if registered:
            register_metric("own", lambda fused, visible, infrared: fused.mean((1, 2, 3)), higher_is_better=True)
        log = [record | {"eval_own": value} for record, value in zip(LOG[:4], (1.0, 2.0, 4.0, 3.0), strict=True)]
        card = self.write(tmp_path / "best", model, log, metric_for_best_model="own")
        assert "--metrics EN,SSIM\n" in card and figures(tmp_path / "best").keys() == {"EN", "SSIM"}
        assert "| `eval_own` |" in card and ("best, epoch 2" in card) == registered

    def test_without_evaluation(self, model: GFFusionModel, tmp_path: Path) -> None:
        card = self.write(tmp_path / "last", model, [{"epoch": 0, "step": 2, "loss": 3.0}], step=2)
        assert "SSIM" not in card.split("---")[1]

    def test_settings_that_tell_about_the_weights(self, model: GFFusionModel, tmp_path: Path) -> None:
        card = self.write(
            tmp_path / "last", model, learning_rate=0.0125, logging_steps=7654321, seed=4321, dataloader_num_workers=3
        )
        assert "0.0125" in card
        assert "4321" in card
        assert "7654321" not in card
        assert "| `seed` | `0` |" in self.write(tmp_path / "best", model)  # the default, too
        assert str(tmp_path) not in card  # no path of the machine

    def test_infrared_options_are_named_and_in_the_command(self, model: GFFusionModel, tmp_path: Path) -> None:
        card = self.write(tmp_path / "best", model, infrared_range=[7200, 8500.5])
        assert "--metrics EN,SSIM --infrared-range 7200,8500.5 --invert\n" in card
        assert "| `infrared_range` | `[7200, 8500.5]` |" in card
        assert "infrared_range" not in self.write(tmp_path / "last", model)

    @pytest.mark.parametrize(
        ("settings", "options"),
        [
            ({"align": "resize", "keep_borders": True}, "--align resize --keep-borders"),
            ({"align": "r.json, SHA-256 1f", "infrared_luma": True}, "--align RIG.json --infrared-luma"),
            ({"visible_range": ["0", "4095"]}, "--visible-range 0,4095"),
        ],
    )
    def test_command_reads_images_as_the_training_did(
        self, settings: dict[str, Any], options: str, model: GFFusionModel, tmp_path: Path
    ) -> None:
        assert f"--metrics EN,SSIM {options}\n" in self.write(tmp_path / "best", model, settings=settings)

    def test_card_that_a_person_has_edited_stays(self, model: GFFusionModel, tmp_path: Path) -> None:
        self.write(tmp_path / "last", model)
        path = tmp_path / "last" / "README.md"
        path.write_text(path.read_text() + "\nMind the fog.\n")
        assert "Mind the fog." in self.write(tmp_path / "last", model, seed=99)


@pytest.mark.slow
def test_finished_run_has_cards(make_trainer: Callable[..., FusionTrainer], model: GFFusionModel) -> None:
    """And a run that is resumed does not lose what a person wrote into them."""
    facts = {"training_data": [TrainingData("rendered scenes", 4, "CC0")], "settings": {"crop_size": 40}}
    kind = functools.partial(FusionTrainer, card_facts=facts)
    make = functools.partial(make_trainer, "night-run", kind=kind, evaluation=True, model=model, head_start_epoch=9)
    trainer = make(num_train_epochs=1)
    trainer.train()
    folder = trainer.output_dir
    for name in ("best", "last"):
        card = (folder / name / "README.md").read_text()
        assert "night-run" in card
        assert "rendered scenes" in card
        assert "SSIM" in figures(folder / name)
    path = folder / "last" / "README.md"
    path.write_text(path.read_text() + "\nMind the fog.\n")
    make(num_train_epochs=2).train(resume_from_checkpoint=True)
    assert "Mind the fog." in path.read_text()
