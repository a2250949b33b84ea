"""`early_stopping_patience` ends a run at the end of an epoch, also of a run that was interrupted."""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gffusion import FusionTrainer
from gffusion.training.run_folder import RunFolder

Make = Callable[..., FusionTrainer]

LOSSES = [3.0, 2.0, 2.5, 2.2, 1.0, 4.0, 4.0, 4.0]  # of the evaluations, one after another


class Scripted(FusionTrainer):
    """Measures known losses. There are 2 steps per epoch."""

    interrupted_at = trained_steps = 0

    def evaluate(self) -> dict[str, float]:
        every = self.args.eval_steps if self.args.eval_strategy == "steps" else 2
        return {"eval_loss_structural": LOSSES[self.progress.step // every - 1]}

    def _after_step(self, *arguments: Any) -> None:
        super()._after_step(*arguments)
        self.trained_steps += 1
        if self.progress.step == self.interrupted_at:
            raise KeyboardInterrupt


@pytest.fixture
def train(make_trainer: Make) -> Callable[..., FusionTrainer]:
    def train(interrupted_at: int = 0, **options: Any) -> FusionTrainer:
        defaults = {"evaluation": True, "num_train_epochs": 8, "head_start_epoch": 8, "resume_from_checkpoint": True}
        trainer = make_trainer(kind=Scripted, **defaults | options)
        trainer.interrupted_at = interrupted_at
        trainer.train()
        return trainer

    return train


def read_state(trainer: FusionTrainer, name: str) -> dict[str, Any]:
    return json.loads((Path(trainer.output_dir) / name / "training_state.json").read_text())  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("strategy", "patience", "last", "best", "told"),
    [
        ("epoch", 0, 16, 10, ""),
        ("epoch", 1, 6, 4, "stopped early after 1 evaluation without better weights"),
        ("epoch", 2, 8, 4, "after 2 evaluations"),
        ("epoch", 3, 16, 10, ""),
        ("steps", 1, 4, 2, "after 2 evaluations"),
        ("steps", 2, 4, 2, "after 2 evaluations"),
    ],
)
def test_ends_after_evaluations_without_better_weights(
    train: Any, capsys: pytest.CaptureFixture[str], strategy: str, patience: int, last: int, best: int, told: str
) -> None:
    trainer = train(eval_strategy=strategy, eval_steps=1, early_stopping_patience=patience)
    total = {"finished": True, "total_steps": 16}
    assert read_state(trainer, "last") == {"step": last, **total}
    assert read_state(trainer, "best") == {"step": best, **total}
    assert trainer.folder.read_log()[-1]["epoch"] == last // 2 - 1
    out = capsys.readouterr().out
    assert told in out and ("stopped early" in out) == bool(told)


def test_interrupted_finished_and_more_patient_runs(train: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(interrupted_at=6, early_stopping_patience=2)
    steps = [read_state(train(early_stopping_patience=patience), "last")["step"] for patience in (2, 2, 3)]
    assert steps == [8, 8, 16]
    assert capsys.readouterr().out.count("nothing to train") == 1


class TestLastWeightsAreTheBest:
    """They are evaluated when the run ends."""

    @pytest.fixture(autouse=True)
    def losses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        losses = {3: 2.0, 6: 1.5, 9: 3.0, 10: 1.0, 12: 4.0, 15: 4.0, 16: 4.0}
        monkeypatch.setattr(Scripted, "evaluate", lambda self: {"eval_loss_structural": losses[self.progress.step]})

    def test_the_run_is_over(self, train: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """A more patient run counts from there."""
        for patience, last in ((1, 10), (1, 10), (2, 16)):
            trainer = train(eval_strategy="steps", eval_steps=3, early_stopping_patience=patience)
            assert [read_state(trainer, name)["step"] for name in ("best", "last")] == [10, last]
        assert capsys.readouterr().out.count("stopped early after 1 evaluation without") == 2
        records = [record for record in trainer.folder.read_log() if record["step"] == 10]
        assert len(records) == 1 and {"loss", "eval_loss_structural"} <= records[0].keys()

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("interrupted_at", "ending", "steps"),
        [
            (9, {"early_stopping_patience": 1}, 2),  # continues at step 8, the end of an epoch
            (10, {"early_stopping_patience": 1}, 0),
            (10, {"num_train_epochs": 5}, 0),
        ],
    )
    def test_killed_at_the_end(
        self, train: Any, tmp_path: Path, interrupted_at: int, ending: dict[str, int], steps: int
    ) -> None:
        """Before each rename and after each line of the log: no checkpoint is lost, and the best weights are found."""
        options = {"eval_strategy": "steps", "eval_steps": 3}
        with pytest.raises(KeyboardInterrupt):
            train(interrupted_at, **options)
        run, interrupted = tmp_path / "run", tmp_path / "interrupted"
        run.rename(interrupted)
        for number in itertools.count(1):
            shutil.copytree(interrupted, run)
            is_killed = killed_at(number, lambda: train(**options | ending))
            trainer = train(**options | ending)
            assert [read_state(trainer, name)["step"] for name in ("best", "last")] == [10, 10], number
            assert trainer.progress.best == 1.0 and trainer.trained_steps <= steps, number
            if not is_killed:
                break
            shutil.rmtree(run)
        assert number > 4


def killed_at(number: int, train: Callable[[], Any]) -> bool:
    """Return whether a training was killed before a rename, or after it wrote a line of the log, by the number of these writes."""
    rename, append_log, writes = os.rename, RunFolder.append_log, itertools.count(1)

    def kill_or_rename(*arguments: Any) -> None:
        if next(writes) == number:
            raise KeyboardInterrupt
        rename(*arguments)

    def append_and_kill(*arguments: Any) -> None:
        append_log(*arguments)
        if next(writes) == number:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", kill_or_rename)
        patch.setattr(RunFolder, "append_log", append_and_kill)
        try:
            train()
        except KeyboardInterrupt:
            return True
    return False


def test_needs_evaluations(make_trainer: Make) -> None:
    with pytest.raises(ValueError, match=r"for which `eval_dataset` \(--eval_data\) is missing"):
        make_trainer(early_stopping_patience=1)
    with pytest.raises(ValueError, match="set `eval_strategy` to"):
        make_trainer(evaluation=True, early_stopping_patience=1, eval_strategy="no")
