"""The output folder: log, weights, and what is chosen as best."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers.utils import logging as transformers_logging

from gffusion import FusionTrainer, GFFusionImageProcessor, GFFusionModel
from gffusion.training.recipe import RECIPE_START
from gffusion.training.run_folder import RunFolder


class TestLog:
    def test_lines_come_back(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path / "new" / "run")
        assert folder.read_log() == []
        records = [{"epoch": 0, "step": 2, "loss": 0.1 + 0.2}, {"epoch": 1, "step": 4, "loss": math.inf}]
        for record in records:
            folder.append_log(record)
        assert folder.read_log() == records
        folder.clear()
        assert folder.read_log() == []
        assert not any(folder.path.iterdir())

    @pytest.mark.parametrize(("first_line", "is_kept"), [(f"{RECIPE_START} 1.0", False), ("# My options", True)])
    def test_recipe_of_another_run_is_deleted(self, tmp_path: Path, first_line: str, is_kept: bool) -> None:
        """A new run without a recipe would seem to have it; those that users wrote stay."""
        (tmp_path / "recipe.yaml").write_text(f"{first_line}\nseed: 1\n")
        RunFolder(tmp_path).clear()
        assert (tmp_path / "recipe.yaml").exists() == is_kept

    def test_cut_drops_what_comes_again_and_half_a_line(self, tmp_path: Path) -> None:
        folder = RunFolder(tmp_path)
        folder.truncate_log(3)  # no log yet
        for step in (2, 4, 6):
            folder.append_log({"epoch": 0, "step": step})
        with open(tmp_path / "log.jsonl", "a") as log:
            log.write('{"step": 3, "lo')
        folder.truncate_log(4)
        assert folder.read_log() == [{"epoch": 0, "step": 2}, {"epoch": 0, "step": 4}]
        assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]

    def test_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "log.jsonl").symlink_to(tmp_path / "target")
        with pytest.raises(OSError, match=r"log.jsonl: it is a symbolic link"):
            RunFolder(tmp_path).append_log({"epoch": 0, "step": 2})
        assert not (tmp_path / "target").exists()


class TestWeights:
    @pytest.mark.parametrize("name", [".last", "last", ".outdated-last"])
    def test_links_to_folders_are_replaced(self, tiny_model: Callable, tmp_path: Path, name: str) -> None:
        target, run = tmp_path / "target", tmp_path / "run"
        for folder in (target, run):
            folder.mkdir()
        (target / "notes.txt").touch()
        (run / name).symlink_to(target)
        RunFolder(run).write_weights("last", tiny_model(paradigm="cascading"), GFFusionImageProcessor(), {"step": 1})
        assert [file.name for file in target.iterdir()] == ["notes.txt"]
        assert (run / "last" / "model.safetensors").is_file() and not (run / "last").is_symlink()

    def test_no_bar_of_transformers(
        self, tiny_model: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would break the bar of the training. Bars of other work are shown as before."""
        model, disabled = tiny_model(paradigm="cascading"), []

        def show(items: Any, disable: bool = False, **_: Any) -> Any:
            disabled.append(disable)
            return items

        monkeypatch.setattr(transformers_logging.tqdm_lib, "tqdm", show)
        monkeypatch.setattr(transformers_logging, "_tqdm_active", True)
        RunFolder(tmp_path).write_weights("last", model, GFFusionImageProcessor(), {"step": 1})
        model.save_pretrained(tmp_path / "other")
        assert disabled == [True, False]

    def test_written_in_the_place_of_older_ones_beside_what_stays(self, tiny_model: Callable, tmp_path: Path) -> None:
        folder, processor = RunFolder(tmp_path), GFFusionImageProcessor(infrared_range="percentile")
        models = [tiny_model(paradigm="cascading") for _ in range(2)]
        next(models[1].funet.parameters()).data += 1
        folder.write_weights("last", models[0], processor, {"step": 1})
        (tmp_path / "last" / "README.md").write_text("mine")
        (tmp_path / "last" / "model.onnx").touch()
        folder.write_weights("last", models[1], processor, {"step": 2})
        loaded = GFFusionModel.from_pretrained(tmp_path / "last")
        assert all(torch.equal(value, models[1].state_dict()[name]) for name, value in loaded.state_dict().items())
        assert GFFusionImageProcessor.from_pretrained(tmp_path / "last").infrared_range == "percentile"
        assert json.loads((tmp_path / "last" / "training_state.json").read_text()) == {"step": 2}
        assert (tmp_path / "last" / "README.md").read_text() == "mine"
        assert (tmp_path / "last" / "model.onnx").exists()
        assert [path.name for path in tmp_path.iterdir()] == ["last"]


def test_state_of_weights_without_a_step(tmp_path: Path) -> None:
    (tmp_path / "last").mkdir()
    (tmp_path / "last" / "training_state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"training_state.json is damaged: `step` must be a number\. Remove the file"):
        RunFolder(tmp_path).mark_weights(True, 4)


class TestUsedFolder:
    """A run replaces nothing that it did not write, and nothing of another run without `overwrite_output_dir`."""

    @pytest.mark.parametrize("name", ["log.jsonl", "best/notes.txt", "last/notes.txt", "checkpoints/other.pth"])
    def test_foreign_file(self, make_trainer: Callable[..., FusionTrainer], tmp_path: Path, name: str) -> None:
        file, draft = tmp_path / "run" / name, tmp_path / "run" / "data" / ".work.tmp"
        for path in (file, draft):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("mine\n")
        for resume in [False] if "checkpoints" in name else [False, True]:
            with pytest.raises(ValueError, match=f"holds {name.split('/')[0]}, but no checkpoint"):
                make_trainer().train(resume_from_checkpoint=resume)
        assert file.read_text() == draft.read_text() == "mine\n"
        if "checkpoints" in name:
            make_trainer(num_train_epochs=1, overwrite_output_dir=True).train()
            assert file.read_text() == "mine\n"

    def test_run_whose_checkpoints_were_deleted(self, make_trainer: Callable[..., FusionTrainer]) -> None:
        trainer = make_trainer(num_train_epochs=1)
        trainer.train()
        trainer.checkpoints.clear()
        for resume, found in ((False, "best, last, log.jsonl"), (True, "best, last")):
            with pytest.raises(ValueError, match=f"holds {found}, but no checkpoint to continue from"):
                make_trainer().train(resume_from_checkpoint=resume)
        trainer.folder.mark_weights(False, total_steps=2)
        with pytest.raises(ValueError, match="before its first checkpoint: set `resume_from_checkpoint`"):
            make_trainer().train()
        make_trainer(num_train_epochs=1).train(resume_from_checkpoint=True)  # as if killed before the first checkpoint

    def test_nothing_of_an_overwritten_run_is_left(
        self, make_trainer: Callable[..., FusionTrainer], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_trainer(num_train_epochs=1, evaluation=True, num_eval_images=1).train()
        trainer = make_trainer(overwrite_output_dir=True)
        mine = ["best/model.onnx", "best/notes/a.txt", "images/step-1.png", "images/step-one.png"]
        for name in mine:
            (trainer.output_dir / name).parent.mkdir(exist_ok=True)
            (trainer.output_dir / name).touch()
        with open(trainer.output_dir / "best" / "README.md", "a") as card:
            card.write("edited")
        monkeypatch.setattr(trainer, "_train_epoch", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            trainer.train()
        files = [path for path in trainer.output_dir.rglob("*") if path.is_file()]
        assert sorted(path.relative_to(trainer.output_dir).as_posix() for path in files) == ["best/README.md", *mine]

    def test_recipe_stays_until_it_is_replaced(self, make_trainer: Callable[..., FusionTrainer]) -> None:
        """The new run can have been started from it."""
        recipe = f"{RECIPE_START}\nseed: 1\n"
        for seed in (1, 2):
            trainer = make_trainer(num_train_epochs=1, overwrite_output_dir=True)
            trainer.folder.recipe = f"{RECIPE_START}\nseed: {seed}\n"
            if seed == 2:
                trainer.folder.clear()
                assert (trainer.output_dir / "recipe.yaml").read_text() == recipe
            trainer.train()
        assert (trainer.output_dir / "recipe.yaml").read_text() == trainer.folder.recipe

    @pytest.mark.parametrize("kind", ["folder", "linked folder", "linked file", "linked best"])
    def test_weights_that_a_run_starts_from_are_not_deleted(
        self, make_trainer: Callable[..., FusionTrainer], tmp_path: Path, kind: str
    ) -> None:
        make_trainer(num_train_epochs=1).train()
        best, other = tmp_path / "run" / "best", tmp_path / "other"
        start = best if kind == "folder" else other
        if kind == "linked best":
            best.rename(other)
            best.symlink_to(other)
        elif kind == "linked folder":
            other.symlink_to(best)
        elif kind == "linked file":
            other.mkdir()
            for file in best.iterdir():
                (other / file.name).symlink_to(file)
        weights = (start / "model.safetensors").read_bytes()
        model = GFFusionModel.from_pretrained(start)
        with pytest.raises(ValueError, match=f"starts from {start}, .*: choose another `output_dir`"):
            make_trainer(model=model, overwrite_output_dir=True).train()
        assert (start / "model.safetensors").read_bytes() == weights
        make_trainer("another", model=model, num_train_epochs=1, overwrite_output_dir=True).train()

    @pytest.mark.parametrize("name", ["log.jsonl", "best/config.json", "last/model.safetensors", "best"])
    def test_what_no_run_wrote_is_not_overwritten(
        self, make_trainer: Callable[..., FusionTrainer], tmp_path: Path, name: str
    ) -> None:
        file = tmp_path / "run" / name
        file.parent.mkdir(parents=True)
        file.write_text("mine\n")
        with pytest.raises(ValueError, match=f"holds {name} and no sign of a run .* or move these files"):
            make_trainer(overwrite_output_dir=True).train()
        assert file.read_text() == "mine\n"

    def test_other_files_are_no_hindrance_and_stay(
        self, make_trainer: Callable[..., FusionTrainer], tmp_path: Path
    ) -> None:
        """Such as a recipe, or what an overwritten run that was killed before its first record left."""
        files = [tmp_path / "run" / name for name in ("run.yaml", "best/notes.txt", "images/step-00000012.png")]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("mine\n")
        for has_run in (False, True):
            make_trainer(num_train_epochs=1, overwrite_output_dir=True, evaluation=True, num_eval_images=1).train()
            assert [file.read_text() for file in files[:2]] == ["mine\n"] * 2
            assert (tmp_path / "run" / "best" / "model.safetensors").exists()
            assert files[2].exists() == (not has_run)  # named as images of a run are


class Scored(FusionTrainer):
    """Follows a script of evaluation scores."""

    scores: Iterator[float]

    def evaluate(self) -> dict[str, float]:
        return {f"eval_{self.args.metric_for_best_model}": next(self.scores)}


class TestBest:
    @pytest.fixture
    def make(self, make_trainer: Callable[..., Scored]) -> Callable[..., Scored]:
        def trainer(scores: list[float], **options: Any) -> Scored:
            made = make_trainer(evaluation=True, kind=Scored, **options)
            made.scores = iter(scores)
            return made

        return trainer

    def saved_steps(self, trainer: FusionTrainer) -> list[int]:
        """Steps in which the best weights were written."""
        steps: list[int] = []
        write = trainer.folder.write_weights

        def noted(name: str, *arguments: Any) -> None:
            steps.extend([trainer.progress.step] if name == "best" else [])
            write(name, *arguments)

        trainer.folder.write_weights = noted  # type: ignore[method-assign]
        trainer.train()
        return steps

    @pytest.mark.parametrize(
        ("metric", "scores", "steps"),
        [
            ("SSIM", [0.5, 0.7, 0.7, 0.6], [2, 4]),
            ("mIoU", [0.5, 0.4, 0.6, 0.3], [2, 6]),
            ("loss_ssim", [0.5, 0.7, 0.4, 0.4], [2, 6]),
            ("SSIM", [math.nan, 0.1, math.nan, 0.2], [2, 4, 8]),
            ("SSIM", [math.nan, math.nan, math.nan, math.nan], [2, 4, 6, 8]),
        ],
    )
    def test_by_the_direction_of_the_metric(
        self, make: Callable[..., Scored], metric: str, scores: list[float], steps: list[int]
    ) -> None:
        """Where no score is a number, the newest weights are the best there are."""
        assert self.saved_steps(make(scores, metric_for_best_model=metric, num_train_epochs=4)) == steps

    def test_each_n_steps(self, make: Callable[..., Scored]) -> None:
        trainer = make([3.0, 1.0, 2.0], num_train_epochs=4, eval_strategy="steps", eval_steps=3)
        assert self.saved_steps(trainer) == [3, 6]
        log = trainer.folder.read_log()
        evaluated = [record["step"] for record in log if "eval_loss_structural" in record]
        assert evaluated == [3, 6, 8]
        assert [record["step"] for record in log if "loss" in record] == [2, 4, 6, 8]

    def test_state_says_whether_a_run_is_finished(self, make: Callable[..., Scored]) -> None:
        trainer = make([1.0, 2.0], num_train_epochs=2)
        states = []
        save = trainer._save_checkpoint

        def look() -> None:
            save()
            states.append(json.loads((trainer.output_dir / "last" / "training_state.json").read_text()))

        trainer._save_checkpoint = look  # type: ignore[method-assign]
        trainer.train()
        assert states[0] == {"finished": False, "step": 2, "total_steps": 4}
        for name, step in (("best", 2), ("last", 4)):
            state = json.loads((trainer.output_dir / name / "training_state.json").read_text())
            assert state == {"finished": True, "step": step, "total_steps": 4}

    def test_resumed_as_a_shorter_run(self, make: Callable[..., Scored]) -> None:
        """The evaluation of its last step comes first; a run that is too long already is refused."""
        options = {"head_start_epoch": 9, "eval_epochs": 3}
        stopped = make([], num_train_epochs=6, **options)
        save = stopped._save_checkpoint

        def stop() -> None:
            save()
            if stopped.progress.step == 4:
                raise KeyboardInterrupt

        stopped._save_checkpoint = stop  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            stopped.train()
        with pytest.raises(ValueError, match="num_train_epochs is 1, and 2 epochs were trained"):
            make([], num_train_epochs=1, **options).train(resume_from_checkpoint=True)
        for scores in ([3.0], []):  # once
            short = make(scores, num_train_epochs=2, **options)
            short.train(resume_from_checkpoint=True)
            assert short.progress.best == 3.0
        state = json.loads((short.output_dir / "best" / "training_state.json").read_text())
        assert state == {"finished": True, "step": 4, "total_steps": 4}

    @pytest.mark.parametrize(
        ("dies_in", "options", "scores", "best"),
        [
            ("", {}, [0.3], 3),
            ("write_weights", {}, [0.3], 3),
            ("save", {}, [0.4999, 0.3], 2),  # on a GPU, repeated scores differ in the last digits
            ("", {"eval_strategy": "epoch"}, [0.4], 3),
            ("write_weights", {"eval_strategy": "epoch"}, [0.4], 3),
            ("save", {"eval_strategy": "epoch"}, [0.4], 2),
        ],
    )
    def test_killed_after_an_improvement(
        self, make: Callable[..., Scored], dies_in: str, options: dict[str, Any], scores: list[float], best: int
    ) -> None:
        """Best weights, card and log are of one step, whatever is evaluated after the kill."""
        defaults = {"num_train_epochs": 2, "metric_for_best_model": "SSIM", "eval_strategy": "steps", "eval_steps": 1}
        killed, kept = make([0.1, 0.5, 0.5001, 0.0], **defaults), {}
        write, save = killed.folder.write_weights, killed.checkpoints.save

        def run_or_die(name: str, run: Callable[..., None], *arguments: Any) -> None:
            kept[killed.progress.step] = copy.deepcopy(killed.model.state_dict())
            if (killed.progress.step, name) == (3, dies_in):
                raise KeyboardInterrupt
            run(*arguments)
            if (killed.progress.step, name, dies_in) == (3, "write_weights", ""):
                raise KeyboardInterrupt

        killed.folder.write_weights = partial(run_or_die, "write_weights", write)  # type: ignore[method-assign]
        killed.checkpoints.save = partial(run_or_die, "save", save)  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            killed.train()
        resumed = make(scores, **defaults | options)
        resumed.train(resume_from_checkpoint=True)
        folder = resumed.output_dir / "best"
        assert json.loads((folder / "training_state.json").read_text())["step"] == best
        score = {record["step"]: record.get("eval_SSIM") for record in resumed.folder.read_log()}[best]
        assert resumed.progress.best == score
        card = (folder / "README.md").read_text()
        assert f"| `step` | {best} |" in card and f"| `eval_SSIM` | {score} |" in card
        weights = load_file(folder / "model.safetensors")
        assert all(torch.equal(value, kept[best][name]) for name, value in weights.items())

    def test_killed_between_the_last_checkpoint_and_its_weights(self, make_trainer: Callable[..., Scored]) -> None:
        killed = make_trainer(num_train_epochs=2)
        write = killed.folder.write_weights

        def die_or_write(*arguments: Any) -> None:
            if killed.progress.step == 4:
                raise KeyboardInterrupt
            write(*arguments)

        killed.folder.write_weights = die_or_write  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            killed.train()
        make_trainer(num_train_epochs=2).train(resume_from_checkpoint=True)
        for name in ("best", "last"):
            state = json.loads((killed.output_dir / name / "training_state.json").read_text())
            assert state == {"finished": True, "step": 4, "total_steps": 4}


class TestSameTrainerAgain:
    def test_resumes_after_a_second_ctrl_c(self, make_trainer: Callable[..., FusionTrainer]) -> None:
        """In a notebook the trainer still holds half a step's gradients and pending losses."""
        options = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 2}
        whole, stopped = (make_trainer(name, **options) for name in ("whole", "stopped"))
        whole.train()
        backward, calls = stopped.accelerator.backward, []

        def interrupted(loss: torch.Tensor) -> None:
            backward(loss)
            calls.append(loss)
            if len(calls) == 7:  # the first half of the fourth step
                raise KeyboardInterrupt

        stopped.accelerator.backward = interrupted
        with pytest.raises(KeyboardInterrupt):
            stopped.train()
        stopped.train(resume_from_checkpoint=True)
        assert stopped.folder.read_log() == whole.folder.read_log()
        weights = whole.model.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in stopped.model.state_dict().items())

    def test_does_not_silently_train_on(self, make_trainer: Callable[..., FusionTrainer]) -> None:
        trainer = make_trainer(num_train_epochs=1, overwrite_output_dir=True)
        trainer.train()
        with pytest.raises(ValueError, match="`train` was already called"):
            trainer.train()


def test_one_training_at_a_time(make_trainer: Callable[..., FusionTrainer]) -> None:
    """The second process is refused before it changes anything; the lock ends with the training."""
    trainer = make_trainer(num_train_epochs=1)
    with trainer.folder.lock(), pytest.raises(ValueError, match=r"Another process trains into .*: wait for it"):
        trainer.train()
    assert not (trainer.output_dir / "log.jsonl").exists()
    trainer.train()
    trainer.folder.lock().release()
