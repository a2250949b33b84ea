"""Trackers: what they get, and that they end, fail and are shared without harm to the training.

Modules in the place of wandb and MLflow do what these do, as far as Accelerate's trackers use them.
"""

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import accelerate.tracking
import pytest
from accelerate.utils import LoggerType

from gffusion import FusionTrainer, GFFusionConfig
from gffusion.data import FusionDataset
from gffusion.data.transforms import RandomCrop, RandomFlip
from gffusion.training.recipe import Recipe
from gffusion.training.trackers import describe_options

Make = Callable[..., FusionTrainer]


class Run:
    """A run of the module `wandb` or `mlflow` below."""

    def __init__(self, module: Any, place: str, name: str | None = None) -> None:
        self.module, self.place, self.name = module, place, name
        self.options: dict[str, Any] = {}
        self.figures: list[tuple[int, str]] = []
        self.state = "running"

    def log(self, values: dict[str, Any], step: int) -> None:
        if step >= self.module.fails_at:
            raise ConnectionError("503\nService unavailable")
        self.figures += [(step, name) for name in values]

    def finish(self, exit_code: int = 0) -> None:
        self.state = "failed" if exit_code else "finished"
        self.module.run = None


class Module(ModuleType):
    """Runs, of which one can be active."""

    run: Run | None = None
    fails_at = 100
    utils = SimpleNamespace(validation=SimpleNamespace(MAX_PARAM_VAL_LENGTH=6000, MAX_PARAMS_TAGS_PER_BATCH=100))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.runs: list[Run] = []

    def init(self, project: str) -> Run:
        self.run = self.run or Run(self, project)  # wandb
        self.runs += [self.run] * (self.run not in self.runs)
        return self.run

    @property
    def config(self) -> Any:
        assert self.run
        options = self.run.options
        return SimpleNamespace(update=lambda values, allow_val_change: options.update(values))

    Image = staticmethod(lambda image: image)

    def search_experiments(self, filter_string: str) -> list[Any]:
        return [SimpleNamespace(experiment_id=filter_string.split("'")[1])]

    def start_run(self, experiment_id: str = "Default", run_name: str | None = None, **_: Any) -> Run:
        if self.run:
            raise RuntimeError("Run is already active")
        self.run = Run(self, experiment_id, run_name)
        self.runs.append(self.run)
        return self.run

    def active_run(self) -> Run | None:
        return self.run

    def log_params(self, options: dict[str, Any]) -> None:
        assert self.run
        if changed := [name for name in options.keys() & self.run.options if options[name] != self.run.options[name]]:
            raise ValueError(f"Changing param values is not allowed: {changed}")
        self.run.options |= options

    def log_metrics(self, values: dict[str, Any], step: int) -> None:
        assert self.run
        self.run.log(values, step)

    def end_run(self, status: str = "FINISHED") -> None:
        assert self.run
        self.run.state, self.run = status.lower(), None


@pytest.fixture
def trackers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Module]:
    modules = {name: Module(name) for name in ("wandb", "mlflow")}
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(accelerate.tracking, "_available_trackers", [LoggerType(name) for name in modules])
    for variable in ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_RUN_ID", "MLFLOW_NESTED_RUN"):
        monkeypatch.delenv(variable, raising=False)
    return modules


@pytest.fixture(params=["wandb", "mlflow"])
def tracker(trackers: dict[str, Module], request: pytest.FixtureRequest) -> Module:
    return trackers[request.param]


@pytest.fixture
def make(make_trainer: Make, tracker: Module) -> Make:
    def make(name: str = "run", **options: Any) -> FusionTrainer:
        defaults = {"model": {"use_segmenter": False}, "num_train_epochs": 2, "logging_steps": 1}
        return make_trainer(name, **defaults | {"report_to": [tracker.__name__]} | options)

    return make


class Ended(FusionTrainer):
    """Ends by an error after the third step."""

    error: type[BaseException] = KeyboardInterrupt

    def _after_step(self, *arguments: Any) -> None:
        super()._after_step(*arguments)
        if self.progress.step == 3:
            raise self.error("the third step")


class TestRuns:
    @pytest.mark.parametrize("error", [FloatingPointError, KeyboardInterrupt])
    def test_each_training_ends_its_own_run(self, make: Make, tracker: Module, error: type[BaseException]) -> None:
        kind = type("Kind", (Ended,), {"error": error})
        with pytest.raises(error, match="the third step"):
            make(kind=kind).train()
        make(resume_from_checkpoint=True).train()
        first, second = tracker.runs
        killed = error is KeyboardInterrupt and tracker.__name__ == "mlflow"
        assert (first.state, second.state) == ("killed" if killed else "failed", "finished")
        assert [step for step, name in first.figures if name == "loss"] == [1, 2, 3]
        assert [step for step, name in second.figures if name == "loss"] == [3, 4]  # a checkpoint after step 2
        assert first.options == second.options  # also those of a run that is continued

    def test_one_trainer_that_continues_has_a_run_each_time(self, make: Make, tracker: Module) -> None:
        tracker.fails_at = 2
        trainer = make(kind=Ended, save_steps=1)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        tracker.fails_at = 100
        trainer.train(resume_from_checkpoint=True)
        assert [[step for step, name in run.figures if name == "loss"] for run in tracker.runs] == [[1], [4]]
        assert len(trainer.accelerator.trackers) == 1  # the last one, such as for the address of its run

    def test_active_run_is_used_and_stays_open(self, make: Make, tracker: Module) -> None:
        run = tracker.init("mine") if tracker.__name__ == "wandb" else tracker.start_run()
        make("first").train()
        make("second", seed=1).train()  # whose options MLflow refuses
        assert tracker.runs == [run] and run.state == "running"
        assert [step for step, name in run.figures if name == "loss"] == [1, 2, 3, 4] * 2

    def test_nothing_to_train_starts_no_run(self, make: Make, tracker: Module) -> None:
        for resume in (False, True):
            make(resume_from_checkpoint=resume).train()
        assert len(tracker.runs) == 1

    @pytest.mark.parametrize("project", ["", "mine"])
    def test_project_of_the_environment(
        self, make: Make, tracker: Module, monkeypatch: pytest.MonkeyPatch, project: str
    ) -> None:
        variable = {"wandb": "WANDB_PROJECT", "mlflow": "MLFLOW_EXPERIMENT_NAME"}[tracker.__name__]
        if project:
            monkeypatch.setenv(variable, project)
        make(num_train_epochs=1).train()
        assert [run.place for run in tracker.runs] == [project or "gffusion"]


class TestFailures:
    def test_training_goes_on_after_one_warning(
        self, make: Make, tracker: Module, caplog: pytest.LogCaptureFixture
    ) -> None:
        tracker.fails_at = 2
        trainer = make(evaluation=True, num_eval_images=1)
        trainer.train()
        assert [record["step"] for record in trainer.folder.read_log()] == [2, 4]
        kinds = {"figures", "images"} if tracker.__name__ == "wandb" else {"figures"}  # MLflow gets no images
        messages = [record.getMessage() for record in caplog.records if "The tracker" in record.getMessage()]
        assert messages == [
            f"The tracker '{tracker.__name__}' failed at step 2, and gets no more {kind}: 503" for kind in sorted(kinds)
        ]
        (run,) = tracker.runs
        assert {step for step, _ in run.figures} == ({0, 1} if tracker.__name__ == "wandb" else {1})
        assert run.state == "finished"

    def test_the_error_of_the_training_is_not_hidden(
        self, make: Make, tracker: Module, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise ConnectionError("no server")

        monkeypatch.setattr(*((Run, "finish") if tracker.__name__ == "wandb" else (Module, "end_run")), fail)
        with pytest.raises(KeyboardInterrupt, match="the third step"):
            make(kind=Ended).train()
        assert f"The tracker '{tracker.__name__}' cannot end its run: no server" in caplog.text

    def test_cannot_start(
        self, make: Make, trackers: dict[str, Module], tracker: Module, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The run that it would replace is still there, and the tracker that had started has failed."""
        make("old", report_to=[], num_train_epochs=1).train()
        method = {"wandb": "init", "mlflow": "start_run"}[tracker.__name__]

        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("no key.\nHint: log in")

        monkeypatch.setattr(tracker, method, fail, raising=False)
        (other,) = trackers.keys() - {tracker.__name__}
        trainer = make("old", report_to=[other, tracker.__name__], overwrite_output_dir=True)
        message = f"The tracker '{tracker.__name__}' of `report_to` cannot start: no key."
        with pytest.raises(ValueError, match=re.escape(message) + "$") as caught:
            trainer.train()
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert [run.state for run in trackers[other].runs] == ["failed"]
        assert len(trainer.folder.read_log()) == 1


class TestOptions:
    def test_recipe_of_the_command(self) -> None:
        words = ["--config", "finetune", "--train_data", "a", "b", "--output_dir", "run", "--crop_size", "96"]
        recipe = Recipe.parse([*words, "--night", "0.1", "--resume_from_checkpoint", "true"])
        options = describe_options(recipe.training, recipe.to_yaml(), GFFusionConfig(), [None] * 3)
        expected = {
            "model_name_or_path": "gffusion-tiny", "train_data": "['a', 'b']", "crop_size": 96, "night": 0.1,
            "training_pairs": 3, "model_config.merging": "weighted_sum", "learning_rate": recipe.training.learning_rate,
        }  # fmt: skip
        assert expected.items() <= options.items()
        assert not options.keys() & {"output_dir", "resume_from_checkpoint", "model_config", "model_config.clip_config"}
        assert {type(value) for value in options.values()} <= {bool, int, float, str}

    def test_datasets_of_python(self, make_trainer: Make, pairs: Path) -> None:
        """Other transforms, and many classes, whose text is cut."""
        options = []
        for transform in (RandomCrop(32), RandomFlip()):
            trainer = make_trainer(training=FusionDataset(pairs, transform))
            config = GFFusionConfig(id2label={i: f"class {i}" for i in range(99)})
            options.append(describe_options(trainer.args, "", config, trainer.train_dataset))
        assert options[0].keys() == options[1].keys()
        assert [name for name, value in options[0].items() if value != options[1][name]] == ["transform"]
        assert options[0]["training_pairs"] == 4
        assert len(str(options[0]["model_config.id2label"])) == 500


def test_tracker_of_your_own(
    make_trainer: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Registered by its name, and then known and installed."""
    seen: list[int] = []

    class Notebook(accelerate.tracking.GeneralTracker):
        name, requires_logging_directory, tracker = "notebook", False, None

        def __init__(self, project: str) -> None:
            super().__init__()

        def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
            seen.append(int(step or 0))

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    with caplog.at_level(logging.WARNING):
        make_trainer(report_to=["notebook"], num_train_epochs=1, logging_steps=1).train()
    assert seen == [1, 2]
    assert "The tracker" not in caplog.text
