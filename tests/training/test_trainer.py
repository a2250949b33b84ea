"""The trainer: what it learns, changes and writes, and that an interrupted run ends like an uninterrupted one."""

import functools
import logging
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_tester import copy_tensors
from torch import Tensor
from training_runs import contents

from gffusion import FusionTrainer, GFFusionImageProcessor, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, ThermalGain, VisiblePhotometric
from gffusion.training.checkpoints import CheckpointError
from gffusion.training.validation import evaluate
from gffusion.zoo import load_image_processor

AUGMENTATION = Compose(
    [RandomCrop(40, (0.8, 1.2)), RandomFlip(0.5), VisiblePhotometric(0.2, 0.2, 0.2), ThermalGain(0.2)]
)
FUNET = {"use_segmenter": False}
State = dict[str, Tensor]
Make = Callable[..., Any]


class RandomItems(list[int]):
    """A dataset whose images depend on the global random states."""

    def __getitem__(self, index: Any) -> Any:
        level = (torch.rand(()).item() + np.random.rand() + random.random()) / 3
        image = torch.linspace(0, level, 32 * 32).view(1, 32, 32)
        return {"visible_values": image.expand(3, -1, -1), "infrared_values": 1 - image}


class Watched(FusionTrainer):
    """Keeps the weights at every evaluation, and returns prepared scores if there are any."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.scores: list[float] = []
        self.states: list[State] = [copy_tensors(self.model)]

    def evaluate(self) -> dict[str, float]:
        self.states.append(copy_tensors(self.model))
        return {"eval_loss_structural": self.scores.pop(0)} if self.scores else super().evaluate()


class Interrupted(FusionTrainer):
    """Is interrupted at the end of the third epoch, before it is saved."""

    evaluations = 0

    def evaluate(self) -> dict[str, float]:
        self.evaluations += 1
        if self.evaluations == 3:
            raise KeyboardInterrupt
        return super().evaluate()


def find_changes(before: State, after: State) -> set[str]:
    """Parts of the model whose weights differ."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


@pytest.fixture
def make(make_trainer: Make) -> Make:
    return functools.partial(make_trainer, learning_rate=2e-3, overwrite_output_dir=True)


class TestLearning:
    def test_loss_falls(self, make: Make, tiny_config: Callable[..., Any]) -> None:
        torch.manual_seed(0)
        model = GFFusionModel(tiny_config(paradigm="cascading", use_segmenter=False))
        trainer = make(
            training=RandomCrop(48),
            evaluation=True,
            model=model,
            num_train_epochs=10,
            head_start_epoch=8,
            learning_rate=1e-2,
        )
        before = trainer.evaluate()
        assert trainer.train() is model
        after = trainer.evaluate()
        assert after["eval_loss_structural"] < 0.9 * before["eval_loss_structural"]
        assert after["eval_SSIM"] > before["eval_SSIM"]
        losses = [record["loss"] for record in trainer.folder.read_log()]
        assert losses[-1] < 0.9 * losses[0]

    def test_log_follows_algorithm_1(self, make: Make) -> None:
        """Constant rate and lambda before q, and L_total = L_st + lambda L_ss with the lambda of the epoch."""
        trainer = make(model={"segmentation_weight": 0.2}, num_train_epochs=5, segmentation_weight_end=1.2)
        trainer.train()
        log = trainer.folder.read_log()
        assert [record["epoch"] for record in log] == [0, 1, 2, 3, 4]
        share = [0, 0, (1 - 2**-0.5) / 2, 1 / 2, (1 + 2**-0.5) / 2]
        assert [record["learning_rate"] for record in log] == pytest.approx([2e-3 * (1 - part) for part in share])
        assert [record["segmentation_weight"] for record in log] == pytest.approx([0.2 + part for part in share])
        for record in log:
            total = record["loss_structural"] + record["segmentation_weight"] * record["loss_segmentation"]
            assert record["loss"] == pytest.approx(total, rel=1e-5)

    @pytest.mark.parametrize("use_segmenter", [True, False])
    def test_unlabeled_data_trains_with_the_structural_loss_and_a_warning(
        self, make: Make, pairs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, use_segmenter: bool
    ) -> None:
        (tmp_path / "data").mkdir()
        for name, kind in (("visible", "visible"), ("infrared", "infrared"), ("GT", "labels")):
            (tmp_path / "data" / name).symlink_to(pairs / kind)
        data = FusionDataset(tmp_path / "data", RandomCrop(40))
        with caplog.at_level(logging.WARNING, "gffusion"):
            trainer = make(training=data, model={"use_segmenter": use_segmenter}, kind=Watched, head_start_epoch=0)
        assert "structural loss" in caplog.text and ("GT is not read" in caplog.text) == use_segmenter
        assert find_changes(trainer.states[0], copy_tensors(trainer.train())) == {"funet"}
        for record in trainer.folder.read_log():
            assert record["loss"] == record["loss_structural"]
            assert not {"loss_segmentation", "segmentation_weight"} & set(record)

    @pytest.mark.parametrize("labeled", [1, 0])
    def test_steps_without_a_labeled_pixel_do_not_count_for_the_mean(
        self, make: Make, make_inputs: Callable[..., Any], labeled: int
    ) -> None:
        """The weights stay nearly the same, so that the mean of L_ss over an epoch is that of the only labeled item."""
        inputs = make_inputs(3, labels=True)
        inputs["labels"][labeled:] = 255
        items = [{name: value[index] for name, value in inputs.items()} for index in range(3)]
        options = {"per_device_train_batch_size": 1, "num_train_epochs": 1, "batch_normalization": "running"}
        trainer = make(training=items, learning_rate=1e-12, head_learning_rate=1e-12, logging_steps=1, **options)
        trainer.train()
        expected = evaluate(trainer.model, items[:1], [], trainer.accelerator)["loss_segmentation"]
        (record,) = trainer.folder.read_log()
        assert record.get("loss_segmentation") == (pytest.approx(expected, rel=1e-4) if labeled else None)

    def test_any_dataset_without_epochs_smaller_than_a_batch(
        self, make: Make, make_inputs: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Arrays in double precision train as the same tensors."""
        inputs = make_inputs(3, labels=True)
        items = [{name: value[index] for name, value in inputs.items()} for index in range(3)]
        arrays = [
            {name: value.numpy().astype(np.uint16 if name == "labels" else float) for name, value in item.items()}
            for item in items
        ]
        with caplog.at_level(logging.WARNING, "gffusion"):
            trainers = [
                make(name, data, data, per_device_train_batch_size=8) for name, data in (("a", items), ("b", arrays))
            ]
        assert "`per_device_train_batch_size` is 8, but the training dataset has 3 pairs" in caplog.text
        states = [copy_tensors(trainer.train()) for trainer in trainers]
        assert not find_changes(*states)
        assert len(trainers[0].folder.read_log()) == 3


class TestUpdates:
    def test_head_waits_for_q_and_encoders_stay_frozen(self, make: Make, paradigm: str) -> None:
        trainer = make(
            evaluation=True, kind=Watched, model={"paradigm": paradigm}, num_train_epochs=4, head_start_epoch=2
        )
        trainer.train()
        body = {"funet"} if paradigm == "cascading" else {"funet", "finet"}
        changes = [find_changes(*trainer.states[epoch : epoch + 2]) for epoch in range(4)]
        assert changes == [body, body, body | {"ssnet"}, body | {"ssnet"}]
        trainer.model.train()
        assert not any(backbone.training for backbone in trainer.model.backbones.values())

    def test_first_steps_are_as_long_as_the_learning_rates(self, make: Make) -> None:
        """Adam's first step moves a weight by the learning rate; that of the head comes at q, without earlier moments."""
        rates = {"learning_rate": 3e-3, "head_learning_rate": 5e-4}
        trainer = make(evaluation=True, kind=Watched, head_start_epoch=2, per_device_train_batch_size=4, **rates)
        trainer.train()
        for name, epoch, rate in (("funet", 0, 3e-3), ("ssnet", 2, 5e-4)):
            before, after = trainer.states[epoch : epoch + 2]
            keys = [key for key in before if key.startswith(name) and key.endswith("weight")]
            steps = torch.cat([(after[key] - before[key]).abs().flatten() for key in keys])
            assert steps.median().item() == pytest.approx(rate, rel=0.01)

    def test_evaluation_inside_an_epoch_changes_no_step(self, make: Make) -> None:
        is_training, states = [], []

        class Looking(FusionTrainer):
            def _after_step(self, *arguments: Any) -> None:
                is_training.append(self.model.training)
                super()._after_step(*arguments)

        for strategy in ("steps", "no"):
            trainer = make(evaluation=True, kind=Looking, num_train_epochs=2, eval_strategy=strategy, eval_steps=1)
            states.append(copy_tensors(trainer.train()))
        assert is_training == [True] * 8
        assert not find_changes(*states)

    def test_warmup_scales_the_rates_of_the_first_steps(
        self, make: Make, pairs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also those of a resumed run, whose dataset gets the epochs that were left; there are 2 steps per epoch."""
        data, epochs, rates = FusionDataset(pairs, RandomCrop(32)), [], []
        monkeypatch.setattr(data, "set_epoch", epochs.append)

        class Rated(FusionTrainer):
            def _after_step(self, *arguments: Any) -> None:
                rates.append([group["lr"] for group in self._step.optimizer.param_groups])
                super()._after_step(*arguments)

        for count in (1, 3):
            trainer = make(training=data, kind=Rated, num_train_epochs=count, head_start_epoch=9, warmup_steps=4)
            trainer.train(resume_from_checkpoint=True)
        assert rates == [[2e-3 * factor, 0.0] for factor in (0, 0.25, 0.5, 0.75, 1, 1)]
        assert [record["learning_rate"] for record in trainer.folder.read_log()] == [5e-4, 1.5e-3, 2e-3]
        assert epochs == [0, 1, 2]


class TestFiles:
    def test_best_and_last_can_be_loaded_and_nothing_else_is_left(self, make: Make) -> None:
        trainer = make(evaluation=True, kind=Watched, model={"paradigm": "hybrid"}, num_train_epochs=4)
        trainer.scores = [3.0, 1.0, 2.0, 1.5]
        trainer.train()
        folder = trainer.output_dir
        assert {path.name for path in folder.iterdir()} == {"best", "last", "checkpoints", "log.jsonl"}
        for name, evaluation in (("best", 2), ("last", 4)):
            loaded = GFFusionModel.from_pretrained(folder / name)
            assert not find_changes(trainer.states[evaluation], copy_tensors(loaded))
            assert load_image_processor(folder / name).to_dict() == GFFusionImageProcessor().to_dict()

    def test_best_is_chosen_among_the_evaluated_epochs(self, make: Make) -> None:
        trainer = make(evaluation=True, kind=Watched, model=FUNET, num_train_epochs=7, eval_epochs=2)
        trainer.scores = [4.0, 2.0, 3.0, 2.5]
        trainer.train()
        scores = [record.get("eval_loss_structural") for record in trainer.folder.read_log()]
        assert scores == [None, 4.0, None, 2.0, None, 3.0, 2.5]
        best = GFFusionModel.from_pretrained(trainer.output_dir / "best")
        assert not find_changes(trainer.states[2], copy_tensors(best))

    def test_evaluation_of_the_initial_weights_is_logged_only(
        self, make: Make, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        trainer = make(evaluation=True, kind=Watched, model=FUNET, num_train_epochs=2, eval_on_start=True)
        trainer.scores = [0.5, 2.0, 3.0]
        trainer.train()
        log = [(r["epoch"], r["step"], r["eval_loss_structural"]) for r in trainer.folder.read_log()]
        assert [(epoch, score) for epoch, _, score in log] == [(-1, 0.5), (0, 2.0), (1, 3.0)]
        assert log[0][1] == 0
        assert "loss_structural of the best weights is 2, but was better before training, 0.5: lower" in caplog.text
        assert "before training: validation L_st 0.5000\nepoch 1/2: loss" in capsys.readouterr().out
        assert not find_changes(trainer.states[0], trainer.states[1])  # evaluated before the first step
        best = GFFusionModel.from_pretrained(trainer.output_dir / "best")
        assert not find_changes(trainer.states[2], copy_tensors(best))

    def test_resumed_run_remembers_the_best(self, make: Make) -> None:
        trainers = []
        for epochs, scores in ((2, [2.0, 1.0]), (4, [1.5, 1.2])):
            trainers.append(
                make(evaluation=True, kind=Watched, model=FUNET, num_train_epochs=epochs, head_start_epoch=9)
            )
            trainers[-1].scores = scores
            trainers[-1].train(resume_from_checkpoint=True)
        best = GFFusionModel.from_pretrained(trainers[0].output_dir / "best")
        assert not find_changes(trainers[0].states[2], copy_tensors(best))

    @pytest.mark.parametrize(("evaluation", "eval_strategy"), [(True, "no"), (None, "epoch")])
    def test_without_evaluation_the_last_is_the_best(
        self, make: Make, evaluation: bool | None, eval_strategy: str
    ) -> None:
        trainer = make(evaluation=evaluation, kind=Watched, model=FUNET, num_eval_images=1, eval_strategy=eval_strategy)
        trainer.train()
        assert len(trainer.states) == 1  # never evaluated
        assert not (trainer.output_dir / "images").exists()
        files = contents(trainer.output_dir)
        assert files["best/model.safetensors"] == files["last/model.safetensors"]


class TestReproduction:
    def test_seed_decides_everything(self, make: Make) -> None:
        runs = []
        for name, seed in (("once", 0), ("again", 0), ("other", 1)):
            trainer = make(name, AUGMENTATION, evaluation=True, seed=seed)
            trainer.train()
            runs.append(contents(trainer.output_dir))
            torch.rand(5)  # other use of the global random state
        assert runs[0] == runs[1]
        assert runs[0]["last/model.safetensors"] != runs[2]["last/model.safetensors"]

    @pytest.mark.filterwarnings("ignore")
    def test_other_random_numbers_do_not_change_the_weights(self, make: Make) -> None:
        """Of a program around the training, and of evaluation data of ones own."""
        weights = []
        for name, evaluation, images in (("alone", None, 0), ("evaluated", RandomItems(range(3)), 2)):
            trainer = make(name, RandomItems(range(4)), evaluation, model=FUNET, num_eval_images=images)
            torch.rand(1), np.random.rand(), random.random()
            trainer.train()
            weights.append(contents(trainer.output_dir)["last/model.safetensors"])
        assert weights[0] == weights[1]

    @pytest.mark.parametrize(
        ("paradigm", "dataloader_num_workers", "start"), [("hybrid", 0, "fresh"), ("cascading", 1, "last")]
    )
    def test_interrupted_and_resumed_equals_uninterrupted(
        self,
        make: Make,
        tiny_model: Callable[..., GFFusionModel],
        paradigm: str,
        dataloader_num_workers: int,
        start: str,
    ) -> None:
        """To the last bit, augmentation included, with the head in training, any number of workers and any initial weights."""
        make = functools.partial(make, training=AUGMENTATION, evaluation=True, num_train_epochs=4)
        whole = make("whole", model={"paradigm": paradigm})
        whole.train()

        make = functools.partial(make, "halves", dataloader_num_workers=dataloader_num_workers)
        stopped = make(kind=Interrupted, model={"paradigm": paradigm})
        with pytest.raises(KeyboardInterrupt):
            stopped.train()
        assert len(stopped.folder.read_log()) == 2
        stopped.folder.append_log({"epoch": 2, "step": 6})  # as if interrupted while the next epoch was saved

        torch.manual_seed(99)
        model = tiny_model(paradigm=paradigm)
        if start == "last":  # whose batch normalization has statistics
            model = GFFusionModel.from_pretrained(stopped.output_dir / "last").train()
        for name, parameter in model.named_parameters():
            parameter.data += 0.1 * (not name.startswith(("clip.", "dinov2.")))  # the checkpoint replaces these
        resumed = make(model=model)
        resumed.train(resume_from_checkpoint=True)
        assert resumed.folder.read_log() == whole.folder.read_log()
        assert contents(resumed.output_dir) == contents(whole.output_dir)

    @pytest.mark.parametrize("has_run", [False, True])
    def test_resume_of_another_checkpoint(self, make: Make, has_run: bool) -> None:
        """Older checkpoints are deleted, and those of other runs lie in other folders."""
        if has_run:
            make(model=FUNET, num_train_epochs=1).train()
        trainer = make(model=FUNET, num_train_epochs=2)
        newest = "step-0" if has_run else "none yet"
        with pytest.raises(ValueError, match=rf"`resume_from_checkpoint` must be .*{newest}.*got 'other/step-1'"):
            trainer.train(resume_from_checkpoint="other/step-1")
        with pytest.raises(ValueError, match="got 'other/step-1'"):
            trainer.train(resume_from_checkpoint=Path("other/step-1"))

    def test_a_refused_checkpoint_costs_no_other_one(self, make: Make) -> None:
        trainer = make(model=FUNET, num_train_epochs=1)
        trainer.train()
        newest = next((trainer.folder.path / "checkpoints").iterdir())
        shutil.copytree(newest, newest.with_name("step-00000099"))  # whose state is of another step
        with pytest.raises(CheckpointError, match=r"its state\.json is of step"):
            make(model=FUNET, num_train_epochs=2).train(resume_from_checkpoint=True)
        assert newest.is_dir()

    def test_workers_of_other_datasets(self, make: Make, make_inputs: Callable[..., Any]) -> None:
        """Their random numbers depend on the seed and the epoch, also after an interruption."""
        inputs = make_inputs(batch=4)
        items = [{name: values[index] for name, values in inputs.items() if name != "labels"} for index in range(4)]

        class Noisy(list[dict[str, Tensor]]):
            def __getitem__(self, index: Any) -> Any:
                item = super().__getitem__(index)
                return item | {"visible_values": (item["visible_values"] + 0.1 * torch.rand(1)).clamp(0, 1)}

        make = functools.partial(make, training=Noisy(items), model=FUNET, dataloader_num_workers=1, head_start_epoch=2)
        whole = [make(f"whole-{seed}", seed=seed).train().state_dict() for seed in (0, 1)]
        assert find_changes(*whole)
        make("halves", num_train_epochs=2).train()
        resumed = make("halves", num_train_epochs=3).train(resume_from_checkpoint=True)
        assert not find_changes(whole[0], resumed.state_dict())

    def test_resume_of_a_finished_run_changes_nothing(self, make: Make) -> None:
        weights, files = [], []
        for resume in (False, True):
            options = {"overwrite_output_dir": not resume, "resume_from_checkpoint": resume}
            trainer = make(model=FUNET, num_train_epochs=2, **options)
            weights.append(copy_tensors(trainer.train()))
            states = [(trainer.output_dir / name / "model.safetensors").stat() for name in ("best", "last")]
            files.append([(state.st_ino, state.st_mtime_ns) for state in states])
        assert not find_changes(*weights)
        assert files[0] == files[1]  # not written again
        assert len(trainer.folder.read_log()) == 2
