"""The trainer: that it learns, what it moves, what it writes, and that an interruption leaves no trace."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionImageProcessor, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, ThermalGain, VisiblePhotometric
from gffusion.synthetic.samples import write_scenes
from gffusion.zoo import load_image_processor

AUGMENTATION = Compose(RandomCrop(40, (0.8, 1.2)), RandomFlip(0.5), VisiblePhotometric(0.2, 0.2, 0.2), ThermalGain(0.2))
State = dict[str, Tensor]


class Watched(FusionTrainer):
    """Keeps the weights after every epoch, and follows a script of evaluation scores if there is one."""

    def __init__(self, *arguments: Any, scores: list[float] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.scores = scores
        self.states: list[State] = []

    def evaluate(self) -> dict[str, float]:
        self.states.append(copy_of(self.model))
        return {"eval_loss_structural": self.scores.pop(0)} if self.scores else super().evaluate()


class Interrupted(FusionTrainer):
    """Stops as by Ctrl-C at the end of the third epoch, before that is saved."""

    evaluations = 0

    def evaluate(self) -> dict[str, float]:
        self.evaluations += 1
        if self.evaluations == 3:
            raise KeyboardInterrupt
        return super().evaluate()


def copy_of(model: torch.nn.Module) -> State:
    return {name: value.clone() for name, value in model.state_dict().items()}


def moved(before: State, after: State) -> set[str]:
    """Parts of the model whose weights changed."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """What users read: weights, configurations and the log. Optimiser states are compared by what comes of them."""
    files = [path for path in folder.rglob("*") if path.is_file() and "checkpoints" not in path.parts]
    files = [path for path in files if path.name != "README.md"]  # which bears the name of the run
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def labeled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labeled")
    write_scenes(folder, count=4, height=64, width=96)
    return folder


@pytest.fixture(scope="module")
def unlabeled(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unlabeled")
    for kind in ("visible", "infrared"):
        (folder / kind).symlink_to(labeled / kind)
    return folder


@pytest.fixture
def arguments(tmp_path: Path) -> Callable[..., FusionTrainingArguments]:
    def make(name: str = "run", **options: Any) -> FusionTrainingArguments:
        defaults = {
            "num_train_epochs": 3,
            "head_start_epoch": 1,
            "per_device_train_batch_size": 2,
            "learning_rate": 2e-3,
            "num_eval_images": 0,
        }
        defaults |= {"eval_metrics": ["SSIM"], "overwrite_output_dir": True}
        return FusionTrainingArguments(str(tmp_path / name), **defaults | options)

    return make


class TestLearning:
    def test_loss_falls(self, tiny_config: Callable, unlabeled: Path, arguments: Callable) -> None:
        torch.manual_seed(0)
        model = GFFusionModel(tiny_config(paradigm="cascading", use_segmenter=False))
        training, evaluation = FusionDataset(unlabeled, RandomCrop(48)), FusionDataset(unlabeled)
        options = arguments(num_train_epochs=10, head_start_epoch=8, learning_rate=1e-2)
        trainer = FusionTrainer(model, options, training, evaluation)
        before = trainer.evaluate()
        assert trainer.train() is model
        after = trainer.evaluate()
        assert after["eval_loss_structural"] < 0.9 * before["eval_loss_structural"]
        assert after["eval_SSIM"] > before["eval_SSIM"]
        losses = [record["loss"] for record in read_log(trainer.output_dir)]
        assert losses[-1] < 0.9 * losses[0]

    def test_evaluation_is_the_mean_over_whole_pictures_of_any_size(
        self, tiny_model: Callable, unlabeled: Path, make_inputs: Callable, arguments: Callable
    ) -> None:
        model = tiny_model(paradigm="cascading", use_segmenter=False)
        items = [{name: value[0] for name, value in make_inputs(1, *size).items()} for size in ((40, 48), (64, 33))]
        result = FusionTrainer(model, arguments(), FusionDataset(unlabeled), items).evaluate()
        model.eval()
        with torch.no_grad():
            outputs = [
                model(item["visible_values"][None], item["infrared_values"][None], return_loss=True) for item in items
            ]
        for name in ("loss_structural", "loss_ssim", "loss_gradient", "loss_intensity"):
            assert result[f"eval_{name}"] == pytest.approx(sum(output[name].item() for output in outputs) / 2, rel=1e-5)

    def test_log_follows_algorithm_1(self, tiny_model: Callable, labeled: Path, arguments: Callable) -> None:
        """Constant rate and lambda before q, and L_total = L_st + lambda L_ss with the lambda of the epoch."""
        options = arguments(num_train_epochs=5, head_start_epoch=1, segmentation_weight_end=1.2)
        model = tiny_model(paradigm="cascading", segmentation_weight=0.2)
        FusionTrainer(model, options, FusionDataset(labeled, RandomCrop(40))).train()
        log = read_log(Path(options.output_dir))
        assert [record["epoch"] for record in log] == [0, 1, 2, 3, 4]
        share = [0, 0, (1 - 2**-0.5) / 2, 1 / 2, (1 + 2**-0.5) / 2]
        assert [record["learning_rate"] for record in log] == pytest.approx([2e-3 * (1 - part) for part in share])
        assert [record["segmentation_weight"] for record in log] == pytest.approx([0.2 + part for part in share])
        for record in log:
            total = record["loss_structural"] + record["segmentation_weight"] * record["loss_segmentation"]
            assert record["loss"] == pytest.approx(total, rel=1e-5)

    @pytest.mark.parametrize("use_segmenter", [True, False])
    def test_unlabeled_data_trains_with_the_structural_loss_and_says_so(
        self, tiny_model: Callable, unlabeled: Path, arguments: Callable, caplog: pytest.LogCaptureFixture,
        use_segmenter: bool,
    ) -> None:  # fmt: skip
        model = tiny_model(paradigm="cascading", use_segmenter=use_segmenter)
        before = copy_of(model)
        with caplog.at_level(logging.WARNING, "gffusion"):
            trainer = FusionTrainer(model, arguments(head_start_epoch=0), FusionDataset(unlabeled, RandomCrop(40)))
        assert "structural loss" in caplog.text
        trainer.train()
        assert moved(before, copy_of(model)) == {"funet"}
        for record in read_log(trainer.output_dir):
            assert record["loss"] == record["loss_structural"]
            assert not {"loss_segmentation", "segmentation_weight"} & set(record)

    def test_labels_teach_the_fusion_network_too(
        self, tiny_model: Callable, labeled: Path, unlabeled: Path, arguments: Callable
    ) -> None:
        models = []
        for name, folder in (("labeled", labeled), ("unlabeled", unlabeled)):
            model = tiny_model(paradigm="cascading")
            options = arguments(name, num_train_epochs=1)
            models.append(FusionTrainer(model, options, FusionDataset(folder, RandomCrop(40))).train())
        assert "funet" in moved(*map(copy_of, models))

    def test_any_dataset_without_epochs_smaller_than_a_batch(
        self, tiny_model: Callable, make_inputs: Callable, arguments: Callable
    ) -> None:
        inputs = make_inputs(3, labels=True)
        items = [{name: value[index] for name, value in inputs.items()} for index in range(3)]
        trainer = FusionTrainer(tiny_model(paradigm="cascading"), arguments(per_device_train_batch_size=8), items)
        trainer.train()
        assert len(read_log(trainer.output_dir)) == 3


class TestWhatMoves:
    @pytest.mark.parametrize("paradigm", ["cascading", "parallel", "hybrid"])
    def test_head_waits_for_q_and_backbones_never_move(
        self, tiny_model: Callable, labeled: Path, arguments: Callable, paradigm: str
    ) -> None:
        model = tiny_model(paradigm=paradigm)
        states = [copy_of(model)]
        dataset = FusionDataset(labeled, RandomCrop(40))
        trainer = Watched(model, arguments(num_train_epochs=4, head_start_epoch=2), dataset, dataset)
        trainer.train()
        states += trainer.states
        body = {"funet"} if paradigm == "cascading" else {"funet", "finet"}
        changes = [moved(*states[epoch : epoch + 2]) for epoch in range(4)]
        assert changes == [body, body, body | {"ssnet"}, body | {"ssnet"}]
        model.train()
        assert not any(backbone.training for backbone in model.backbones.values())

    def test_first_steps_are_as_long_as_the_learning_rates(
        self, tiny_model: Callable, labeled: Path, arguments: Callable
    ) -> None:
        """Adam's very first step moves a weight by the learning rate: so it does in the head at q, without a past."""
        model = tiny_model(paradigm="cascading")
        states = [copy_of(model)]
        options = arguments(
            num_train_epochs=3,
            head_start_epoch=2,
            per_device_train_batch_size=4,
            learning_rate=3e-3,
            head_learning_rate=5e-4,
        )
        dataset = FusionDataset(labeled, RandomCrop(40))
        trainer = Watched(model, options, dataset, dataset)
        trainer.train()
        states += trainer.states
        for name, epoch, rate in (("funet", 0, 3e-3), ("ssnet", 2, 5e-4)):
            keys = [key for key in states[0] if key.startswith(name) and key.endswith("weight")]
            steps = torch.cat([(states[epoch + 1][key] - states[epoch][key]).abs().flatten() for key in keys])
            assert steps.median().item() == pytest.approx(rate, rel=0.01)

    def test_warmup_scales_the_rates_of_the_first_steps(
        self, tiny_model: Callable, labeled: Path, arguments: Callable
    ) -> None:
        """Steps of a resumed run, too; there are 2 steps per epoch."""
        rates = []

        class Rated(FusionTrainer):
            def _after_step(self, *arguments: Any) -> None:
                rates.append([group["lr"] for group in self._step.optimizer.param_groups])
                super()._after_step(*arguments)

        for epochs in (1, 3):
            options = arguments(num_train_epochs=epochs, head_start_epoch=9, warmup_steps=4)
            model = tiny_model(paradigm="cascading")
            trainer = Rated(model, options, FusionDataset(labeled, RandomCrop(40)))
            trainer.train(resume_from_checkpoint=True)
        assert rates == [[2e-3 * factor, 0.0] for factor in (0, 0.25, 0.5, 0.75, 1, 1)]
        assert [record["learning_rate"] for record in read_log(trainer.output_dir)] == [5e-4, 1.5e-3, 2e-3]

    @pytest.mark.parametrize(("max_grad_norm", "moves"), [(1e-12, False), (1.0, True), (0.0, True)])
    def test_gradients_are_clipped(
        self, tiny_model: Callable, unlabeled: Path, arguments: Callable, max_grad_norm: float, moves: bool
    ) -> None:
        """Adam takes no notice of the scale of gradients, until they vanish beside its epsilon of 1e-8."""
        model = tiny_model(paradigm="cascading", use_segmenter=False)
        before = copy_of(model)
        options = arguments(num_train_epochs=1, max_grad_norm=max_grad_norm)
        after = copy_of(FusionTrainer(model, options, FusionDataset(unlabeled, RandomCrop(40))).train())
        steps = [(after[name] - before[name]).abs().max() for name in before if name.endswith("weight")]
        assert (max(steps) > 1e-3) == moves
        assert (max(steps) < 1e-5) != moves


class TestFiles:
    def test_best_and_last_can_be_loaded_and_nothing_else_is_left(
        self, tiny_model: Callable, labeled: Path, arguments: Callable
    ) -> None:
        model = tiny_model()
        dataset = FusionDataset(labeled, RandomCrop(40))
        trainer = Watched(model, arguments(num_train_epochs=4), dataset, dataset, scores=[3.0, 1.0, 2.0, 1.5])
        trainer.train()
        folder = trainer.output_dir
        assert {path.name for path in folder.iterdir()} == {"best", "last", "checkpoints", "log.jsonl"}
        for name, epoch in (("best", 1), ("last", 3)):
            loaded = GFFusionModel.from_pretrained(folder / name)
            assert not moved(trainer.states[epoch], copy_of(loaded))
            assert load_image_processor(folder / name).to_dict() == GFFusionImageProcessor().to_dict()

    def test_best_is_chosen_among_the_evaluated_epochs(
        self, tiny_model: Callable, unlabeled: Path, arguments: Callable
    ) -> None:
        dataset = FusionDataset(unlabeled, RandomCrop(40))
        options = arguments(num_train_epochs=7, eval_epochs=2)
        model = tiny_model(paradigm="cascading", use_segmenter=False)
        trainer = Watched(model, options, dataset, dataset, scores=[4.0, 2.0, 3.0, 2.5])
        trainer.train()
        log = read_log(trainer.output_dir)
        assert [record.get("eval_loss_structural") for record in log] == [None, 4.0, None, 2.0, None, 3.0, 2.5]
        assert not moved(trainer.states[1], copy_of(GFFusionModel.from_pretrained(trainer.output_dir / "best")))

    def test_resumed_run_remembers_the_best(self, tiny_model: Callable, unlabeled: Path, arguments: Callable) -> None:
        dataset, trainers = FusionDataset(unlabeled, RandomCrop(40)), []
        for num_train_epochs, scores in ((2, [2.0, 1.0]), (4, [1.5, 1.2])):
            options = arguments(num_train_epochs=num_train_epochs, head_start_epoch=9)
            model = tiny_model(paradigm="cascading", use_segmenter=False)
            trainers.append(Watched(model, options, dataset, dataset, scores=scores))
            trainers[-1].train(resume_from_checkpoint=True)
        best = GFFusionModel.from_pretrained(trainers[0].output_dir / "best")
        assert not moved(trainers[0].states[1], copy_of(best))

    @pytest.mark.parametrize("given", [True, False])
    def test_without_evaluation_the_last_is_the_best(
        self, tiny_model: Callable, unlabeled: Path, arguments: Callable, given: bool
    ) -> None:
        model, dataset = tiny_model(paradigm="cascading", use_segmenter=False), FusionDataset(unlabeled, RandomCrop(40))
        options = arguments(num_eval_images=1, eval_strategy="no" if given else "epoch")
        trainer = Watched(model, options, dataset, dataset if given else None)
        trainer.train()
        assert not trainer.states  # never evaluated
        assert not (trainer.output_dir / "images").exists()
        files = contents(trainer.output_dir)
        assert files["best/model.safetensors"] == files["last/model.safetensors"]

    def test_new_run_starts_a_new_log(self, tiny_model: Callable, unlabeled: Path, arguments: Callable) -> None:
        dataset = FusionDataset(unlabeled, RandomCrop(40))
        for _ in range(2):
            model = tiny_model(paradigm="cascading", use_segmenter=False)
            trainer = FusionTrainer(model, arguments(num_train_epochs=2), dataset)
            trainer.train()
        assert [record["epoch"] for record in read_log(trainer.output_dir)] == [0, 1]

    def test_not_finite_loss_stops_and_spares_the_good_weights(
        self, tiny_model: Callable, unlabeled: Path, arguments: Callable
    ) -> None:
        class Damaged(FusionDataset):
            def __getitem__(self, index: int) -> dict[str, Any]:
                item = super().__getitem__(index)
                return item | {"visible_values": item["visible_values"] * (torch.nan if self.damaged else 1)}

            def set_epoch(self, epoch: int) -> None:
                super().set_epoch(epoch)
                self.damaged = epoch == 2

            damaged = False

        model = tiny_model(paradigm="cascading", use_segmenter=False)
        evaluation = FusionDataset(unlabeled)
        trainer = Watched(model, arguments(), Damaged(unlabeled, RandomCrop(40)), evaluation)
        with pytest.raises(FloatingPointError, match=r"nan at step 5 \(epoch 3\)") as error:
            trainer.train()
        assert str(trainer.output_dir) in str(error.value)
        assert len(read_log(trainer.output_dir)) == 2
        last = GFFusionModel.from_pretrained(trainer.output_dir / "last")
        assert not moved(trainer.states[-1], copy_of(last))
        assert all(torch.isfinite(value).all() for value in last.state_dict().values())


class TestReproduction:
    def train(
        self, model: GFFusionModel, options: FusionTrainingArguments, data: Path, kind: Any = FusionTrainer
    ) -> Path:
        training = FusionDataset(data, AUGMENTATION, seed=options.seed)
        trainer = kind(model, options, training, FusionDataset(data))
        trainer.train(resume_from_checkpoint=True)  # if there is something to resume
        return trainer.output_dir

    def test_seed_decides_everything(self, tiny_model: Callable, labeled: Path, arguments: Callable) -> None:
        runs = []
        for name, seed in (("once", 0), ("again", 0), ("other", 1)):
            runs.append(contents(self.train(tiny_model(paradigm="cascading"), arguments(name, seed=seed), labeled)))
            torch.rand(5)  # whatever draws between the runs
        assert runs[0] == runs[1]
        assert runs[0]["last/model.safetensors"] != runs[2]["last/model.safetensors"]

    @pytest.mark.parametrize(("paradigm", "dataloader_num_workers"), [("hybrid", 0), ("cascading", 1)])
    def test_interrupted_and_resumed_equals_uninterrupted(
        self, tiny_model: Callable, labeled: Path, arguments: Callable, paradigm: str, dataloader_num_workers: int
    ) -> None:
        """To the last bit, augmentation included; the head has begun to learn when the run is interrupted."""
        whole = arguments("whole", num_train_epochs=4)
        expected = contents(self.train(tiny_model(paradigm=paradigm), whole, labeled))

        options = arguments(
            "halves", num_train_epochs=4, dataloader_num_workers=dataloader_num_workers
        )  # workers change nothing either
        with pytest.raises(KeyboardInterrupt):
            self.train(tiny_model(paradigm=paradigm), options, labeled, Interrupted)
        folder = Path(options.output_dir)
        assert len(read_log(folder)) == 2
        with open(folder / "log.jsonl", "a") as log:  # as if it had been interrupted while the next epoch was saved
            log.write(json.dumps({"epoch": 2, "step": 6}) + "\n")

        torch.manual_seed(99)
        fresh = tiny_model(paradigm=paradigm)
        for name, parameter in fresh.named_parameters():
            parameter.data += 0.1 * (not name.startswith(("clip.", "dinov2.")))  # what counts is in the checkpoint
        self.train(fresh, options, labeled)
        assert read_log(folder) == read_log(Path(whole.output_dir))
        assert contents(folder) == expected

    def test_resume_without_checkpoint_starts(self, tiny_model: Callable, unlabeled: Path, arguments: Callable) -> None:
        model = tiny_model(paradigm="cascading", use_segmenter=False)
        trainer = FusionTrainer(model, arguments(num_train_epochs=1), FusionDataset(unlabeled, RandomCrop(40)))
        trainer.train(resume_from_checkpoint=True)
        assert len(read_log(trainer.output_dir)) == 1

    def test_resume_of_a_finished_run_changes_nothing(
        self, tiny_model: Callable, unlabeled: Path, arguments: Callable
    ) -> None:
        dataset = FusionDataset(unlabeled, RandomCrop(40))
        states = []
        for resume in (False, True):
            model = tiny_model(paradigm="cascading", use_segmenter=False)
            trainer = FusionTrainer(model, arguments(num_train_epochs=2), dataset)
            states.append(copy_of(trainer.train(resume_from_checkpoint=resume)))
        assert not moved(*states)
        assert len(read_log(trainer.output_dir)) == 2
