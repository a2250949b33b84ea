"""Steps: gradients that are shared out, recomputed, compiled, in half precision, or not finite."""

import copy
import dataclasses
import functools
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import training_runs as runs
from accelerate import Accelerator
from model_tester import copy_tensors
from read_back import read_log
from torch import Tensor, nn

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.training.step import TrainingStep
from gffusion.training.validation import evaluate

Batch = dict[str, Tensor]


@pytest.fixture
def inputs(make_inputs: Callable[..., Batch]) -> Batch:
    """4 labeled pairs; the number of ignored pixels differs, and the last is ignored altogether."""
    inputs = make_inputs(4, labels=True)
    for number, labels in enumerate(inputs["labels"]):
        labels[: (0, 3, 20, 40)[number]] = 255
    return inputs


def make_step(model: GFFusionModel, tmp_path: Path, labeled: bool = True, **options: Any) -> TrainingStep:
    arguments = FusionTrainingArguments(str(tmp_path), **{"batch_normalization": "running"} | options)
    step = TrainingStep(model, arguments, Accelerator(), labeled, None)
    step.train()
    return step


def gradients(model: GFFusionModel, step: TrainingStep, batches: list[Batch], weight: float = 0.7) -> dict[str, Tensor]:
    """What the optimizer is given."""
    seen: dict[str, Tensor] = {}
    step.optimizer.step = lambda: seen.update(  # type: ignore[method-assign]
        {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    )
    step(batches, weight, head_learns=True)
    return seen


class TestGradients:
    def test_are_those_of_the_total_loss(self, tiny_model: Callable, inputs: Batch, tmp_path: Path) -> None:
        """Eq. (12), with Eq. (11) over all labeled pixels, computed again from the logits."""
        model = tiny_model()
        reference = copy.deepcopy(model)
        found = gradients(model, make_step(model, tmp_path, max_grad_norm=0), [inputs])
        reference.eval()
        output = reference(**inputs, return_loss=True)
        counted = inputs["labels"] != 255
        scores = output.logits.log_softmax(1).gather(1, inputs["labels"].where(counted, 0)[:, None])[:, 0]
        (output.loss_structural - 0.7 * scores[counted].mean()).backward()
        expected = {name: value.grad for name, value in reference.named_parameters() if value.grad is not None}
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())

    @pytest.mark.parametrize(("limit", "is_clipped"), [(0.01, True), (1e6, False)])
    def test_are_clipped_to_a_common_norm(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, limit: float, is_clipped: bool
    ) -> None:
        free, found = (
            nn.utils.parameters_to_vector(
                gradients(model, make_step(model, tmp_path, max_grad_norm=norm), [inputs]).values()
            )
            for norm in (0, limit)
            for model in [tiny_model(paradigm="cascading")]
        )
        norm = free.norm().item()
        torch.testing.assert_close(found, free * (limit / norm if is_clipped else 1), rtol=1e-3, atol=1e-6 * norm)

    @pytest.mark.parametrize(("size", "class_weights"), [(1, None), (2, None), (1, [0.1, 0, 5, 1])])
    def test_do_not_depend_on_how_a_step_is_shared_out(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, size: int, class_weights: list[float] | None
    ) -> None:
        models = [tiny_model(paradigm="cascading", class_weights=class_weights) for _ in range(2)]
        parts = [{name: value[at : at + size] for name, value in inputs.items()} for at in range(0, 4, size)]
        steps = [make_step(model, tmp_path, max_grad_norm=0) for model in models]
        found, expected = (gradients(*pair) for pair in zip(models, steps, [parts, [inputs]], strict=True))
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())

    def test_losses_do_not_either(self, tiny_model: Callable, inputs: Batch, tmp_path: Path) -> None:
        parts = [{name: value[at : at + 1] for name, value in inputs.items()} for at in range(4)]
        losses = []
        for batches in (parts, [inputs]):
            step = make_step(tiny_model(paradigm="cascading"), tmp_path)
            losses.append(dict(zip(step.loss_names, step(batches, 0.7, True).tolist(), strict=True)))
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        total = losses[0]["loss_structural"] + 0.7 * losses[0]["loss_segmentation"]
        assert losses[0]["loss"] == pytest.approx(total, rel=1e-5)

    @pytest.mark.parametrize("labeled", [True, False])
    def test_have_the_terms_that_a_subclass_adds(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, labeled: bool
    ) -> None:
        class Darker(GFFusionModel):
            def forward(self, *values: Any, **options: Any) -> Any:
                outputs = super().forward(*values, **options)
                outputs.loss = outputs.loss + 10 * outputs.fused_values.mean()
                return outputs

        model = tiny_model(paradigm="cascading")
        inputs = inputs if labeled else {name: value for name, value in inputs.items() if name != "labels"}
        plain, step = copy.deepcopy(model), make_step(model, tmp_path, labeled, max_grad_norm=0)
        found = gradients(model, step, [inputs])
        model.__class__ = Darker
        added = {name: value - found[name] for name, value in gradients(model, step, [inputs]).items()}
        (10 * plain.eval()(**inputs).fused_values.mean()).backward()
        weight = "funet.visible_encoder.stem.weight"
        torch.testing.assert_close(added[weight], plain.get_parameter(weight).grad, rtol=1e-3, atol=1e-5)
        items = [{name: value[index] for name, value in inputs.items()} for index in range(4)]
        scores = [evaluate(each, items, [], Accelerator()) for each in (model, plain)]  # type: ignore[arg-type]
        assert scores[0]["loss"] > scores[1]["loss"] + 1
        assert scores[0]["loss_structural"] == pytest.approx(scores[1]["loss_structural"])

    def test_without_a_labeled_pixel(self, tiny_model: Callable, inputs: Batch, tmp_path: Path) -> None:
        inputs["labels"][:] = 255
        step = make_step(tiny_model(paradigm="cascading"), tmp_path)
        losses = dict(zip(step.loss_names, step([inputs], 0.7, True).tolist(), strict=True))
        assert math.isnan(losses["loss_segmentation"])  # not computed
        assert losses["loss"] == losses["loss_structural"] > 0

    @pytest.mark.parametrize("labeled", [True, False])
    def test_reach_every_weight_that_is_waited_for(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, paradigm: str, labeled: bool
    ) -> None:
        """Several processes would wait in vain for a gradient that never comes."""
        model = tiny_model(paradigm=paradigm)
        inputs = inputs if labeled else {name: value for name, value in inputs.items() if name != "labels"}
        found = gradients(model, make_step(model, tmp_path, labeled), [inputs])
        waited = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        assert found.keys() == waited
        assert any(name.startswith("ssnet") for name in waited) == labeled

    @pytest.mark.filterwarnings("error::FutureWarning")  # of deprecated functions
    def test_checkpointing_changes_no_weight(self, tiny_model: Callable, inputs: Batch, tmp_path: Path) -> None:
        states = []
        for checkpointing in (False, True):
            model = tiny_model()
            step = make_step(model, tmp_path, gradient_checkpointing=checkpointing)
            assert model.gradient_checkpointing == checkpointing
            for _ in range(2):
                step([inputs], 0.7, True)
            states.append(copy_tensors(model))
        for name, value in states[0].items():
            torch.testing.assert_close(states[1][name], value, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("mode", "trained", "moves"),
        [("running", False, False), ("local", True, True), ("auto", False, True), ("auto", True, False)],
    )
    def test_running_statistics_stay_if_asked_for_or_trained(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, mode: str, trained: bool, moves: bool
    ) -> None:
        model = tiny_model(paradigm="cascading")
        if trained:
            model.train()(**inputs)
        before = copy_tensors(model)
        make_step(model, tmp_path, batch_normalization=mode)([inputs], 0.7, True)
        after = copy_tensors(model)
        changed = {name for name in before if "running" in name and not torch.equal(before[name], after[name])}
        assert bool(changed) == moves

    @pytest.mark.parametrize("mode", ["auto", "local", "calibrated"])
    @pytest.mark.parametrize("part", ["funet", "finet"])
    def test_frozen_parts_stay_as_they_are(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, mode: Any, part: str
    ) -> None:
        model = tiny_model(merging="group_conv")  # with batch normalization in both parts
        model.get_submodule(part).requires_grad_(False)
        before = copy_tensors(model)
        step = make_step(model, tmp_path, batch_normalization=mode)
        step.calibrate([inputs])
        step.train()
        step([inputs], 0.7, True)
        after = copy_tensors(model)
        changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
        assert changed == {"funet", "finet", "ssnet"} - {part}
        names = {name for name in before if "running_mean" in name and not torch.equal(before[name], after[name])}
        assert names and not any(name.startswith(part) for name in names)

    @pytest.mark.parametrize("mode", ["auto", "local", "calibrated"])
    def test_statistics_that_the_model_keeps(
        self, tiny_model: Callable, inputs: Batch, tmp_path: Path, mode: Any
    ) -> None:
        """By `freeze_batch_norm`, which leaves scale and shift to the training."""
        model = tiny_model(merging="group_conv")
        model.freeze_batch_norm()
        before = copy_tensors(model)
        step = make_step(model, tmp_path, batch_normalization=mode)
        step.calibrate([inputs])
        step.train()
        step([inputs], 0.7, True)
        after = copy_tensors(model)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert "funet.decoder.1.weight" in changed and not any("running" in name for name in changed)

    def test_calibration_measures_the_batches_and_then_stays(
        self, tiny_model: Callable, inputs: Batch, make_inputs: Callable[..., Batch], tmp_path: Path
    ) -> None:
        """The first normalization of the decoder, against the convolution before it; of two batches the mean."""
        model = tiny_model(paradigm="cascading")
        step = make_step(model, tmp_path, batch_normalization="calibrated")
        batches = [inputs, make_inputs(4, labels=True)]
        batches[1]["visible_values"] = batches[1]["visible_values"] / 3
        momentum, losses = model.funet.decoder[1].momentum, []
        hook = model.register_forward_hook(lambda *values: losses.append(values[-1].loss))
        step.calibrate(batches)
        hook.remove()
        assert losses == [None, None]
        with torch.no_grad():
            z_f = [
                model.funet.encode(rgb_to_luma(batch["visible_values"]), batch["infrared_values"]) for batch in batches
            ]
            before = [model.funet.decoder[0](features) for features in z_f]
        means = torch.stack([features.mean(dim=(0, 2, 3)) for features in before]).mean(0)
        variances = torch.stack([features.var(dim=(0, 2, 3)) for features in before]).mean(0)
        torch.testing.assert_close(model.funet.decoder[1].running_mean, means)
        torch.testing.assert_close(model.funet.decoder[1].running_var, variances)
        assert model.funet.decoder[1].momentum == momentum
        calibrated = copy_tensors(model)
        step.train()
        step([inputs], 0.7, True)
        assert all(
            torch.equal(value, calibrated[name]) for name, value in copy_tensors(model).items() if "running" in name
        )


class TestNotFinite:
    """The run stops, and no checkpoint and no weights that are kept have seen it."""

    @pytest.fixture
    def make(self, make_trainer: Callable[..., FusionTrainer]) -> Callable[..., FusionTrainer]:
        return functools.partial(make_trainer, save_steps=1)

    def check_good(self, folder: Path, step: int, error: BaseException) -> None:
        (checkpoint,) = (folder / "checkpoints").iterdir()
        assert checkpoint.name == f"step-{step:08d}"
        assert str(checkpoint) in str(error)
        assert str(error).endswith(f"start a new run from the weights in {folder / 'last'}.")
        loaded = GFFusionModel.from_pretrained(folder / "last")
        assert all(value.isfinite().all() for value in loaded.state_dict().values())

    @pytest.mark.parametrize(("accumulated", "last_good"), [(1, 4), (2, 2)])
    def test_loss(self, make: Callable[..., FusionTrainer], accumulated: int, last_good: int) -> None:
        trainer = make(gradient_accumulation_steps=accumulated)

        def damage(_: Any, inputs: Any, outputs: Any) -> None:
            outputs.loss = outputs.loss * (torch.nan if trainer.progress.step == last_good else 1)

        trainer.model.register_forward_hook(damage)
        with pytest.raises(FloatingPointError, match=rf"loss is nan at step {last_good + 1} \(epoch 3\)") as error:
            trainer.train()
        self.check_good(trainer.output_dir, last_good, error.value)

    @pytest.mark.parametrize("max_grad_norm", [0.0, 1.0])
    def test_gradient_of_a_finite_loss(self, make: Callable[..., FusionTrainer], max_grad_norm: float) -> None:
        trainer = make(max_grad_norm=max_grad_norm)
        weight = trainer.model.funet.visible_encoder.stem.weight
        weight.register_hook(lambda gradient: gradient * (torch.nan if trainer.progress.step == 3 else 1))
        with pytest.raises(FloatingPointError, match=r"A weight is not finite at step 4 \(epoch 2\)") as error:
            trainer.train()
        self.check_good(trainer.output_dir, 3, error.value)
        resumed = make(max_grad_norm=max_grad_norm)
        resumed.train(resume_from_checkpoint=True)
        assert resumed.progress.step == 6

    def test_before_any_checkpoint(self, make: Callable[..., FusionTrainer]) -> None:
        trainer = make()
        trainer.model.funet.visible_encoder.stem.weight.data[:] = torch.nan
        with pytest.raises(FloatingPointError, match=r"step 1 \(epoch 1\).* checkpoint: none yet.* start a new run\.$"):
            trainer.train()
        assert not (trainer.output_dir / "last").exists()


@pytest.mark.processes
@pytest.mark.slow
class TestMixedPrecision:
    """In processes of their own: Accelerate fixes the precision of a process once and for all."""

    @pytest.fixture(scope="class")
    def job(
        self, tiny_model: Callable[..., GFFusionModel], pairs: Path, tmp_path_factory: pytest.TempPathFactory
    ) -> runs.Job:
        folder = tmp_path_factory.mktemp("computed")
        tiny_model(paradigm="cascading", use_segmenter=False).save_pretrained(folder / "model")
        arguments = {
            "output_dir": str(folder / "plain"),
            "num_train_epochs": 3,
            "head_start_epoch": 2,
            "per_device_train_batch_size": 2,
        }
        arguments |= {"eval_metrics": [], "num_eval_images": 1}
        job = runs.Job(str(folder / "model"), str(pairs), arguments, str(pairs))
        assert runs.run(job) == 0
        return job

    def test_half_precision(self, job: runs.Job) -> None:
        """Close to a plain run, stopped and resumed on the way."""
        arguments = job.arguments | {"bf16": True, "output_dir": str(job.output.with_name("bf16"))}
        half = dataclasses.replace(job, arguments=arguments, signal_at=3, signal_number=signal.SIGTERM)
        assert runs.run(half) == 143, half.report.read_text()
        assert runs.run(dataclasses.replace(half, signal_at=0, resume=True)) == 0, half.report.read_text()
        states = [GFFusionModel.from_pretrained(part.output / "last").state_dict() for part in (job, half)]
        assert 1e-5 < max((states[0][name] - states[1][name]).abs().max().item() for name in states[0]) < 2e-2
        losses = [[record["loss"] for record in read_log(part.output)] for part in (job, half)]
        assert losses[1] == pytest.approx(losses[0], rel=0.05)
        assert losses[1] != losses[0]


@pytest.mark.slow
def test_compiled(make_trainer: Callable[..., FusionTrainer], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights, in the same files, and no other trainer of the process is compiled, too.

    Traced as ever, but run by PyTorch: to compile forward and backward pass in C++ takes minutes.
    """
    compiled: list[Any] = []
    compile_model = torch.compile

    def trace(model: Any) -> Any:
        compiled.append(model)
        return compile_model(model, backend="aot_eager")

    monkeypatch.setattr(torch, "compile", trace)
    trainers = []
    options: dict[str, Any] = {"head_start_epoch": 2, "eval_metrics": [], "max_grad_norm": 0, "evaluation": True}
    for name, epochs in (("compiled", 1), ("plain", 2), ("compiled", 2)):
        trainers.append(make_trainer(name, num_train_epochs=epochs, torch_compile=name == "compiled", **options))
        trainers[-1].train(resume_from_checkpoint=True)
    assert [model in compiled for model in (trainer.model for trainer in trainers)] == [True, False, True]
    states = [GFFusionModel.from_pretrained(trainer.output_dir / "last").state_dict() for trainer in trainers[1:]]
    # The gradient of a bias before batch normalization is rounding noise, which Adam amplifies; the mean follows the bias.
    noise = ("decoder.0.bias", "decoder.3.bias", "running_mean")
    for name, value in states[0].items():
        if not name.endswith(noise):
            torch.testing.assert_close(states[1][name], value, rtol=0, atol=2e-4)
    assert not hasattr(trainers[2].model, "_orig_mod")


def test_compiled_parts(make_trainer: Callable[..., FusionTrainer], tiny_model: Callable[..., GFFusionModel]) -> None:
    """A run of a model whose parts are compiled writes files as any other, and can be resumed."""
    states = []
    for name, epochs in (("compiled", 1), ("plain", 2), ("compiled", 2)):
        model: Any = tiny_model()
        if name == "compiled":
            model.clip, model.funet = (torch.compile(part, backend="eager") for part in (model.clip, model.funet))
        trainer = make_trainer(name, model=model, num_train_epochs=epochs, eval_metrics=[], evaluation=True)
        trainer.train(resume_from_checkpoint=True)
        states.append(
            [GFFusionModel.from_pretrained(trainer.output_dir / part).state_dict() for part in ("best", "last")]
        )
    torch.testing.assert_close(states[2], states[1], rtol=0, atol=0)


@pytest.mark.parametrize("first_is_labeled", [True, False])
def test_labels_of_some_items(
    make_trainer: Callable[..., FusionTrainer], inputs: Batch, first_is_labeled: bool
) -> None:
    """In batches of one item, whose labels would be dropped otherwise."""
    labeled = {name: value[0] for name, value in inputs.items()}
    items = [labeled, {name: value for name, value in labeled.items() if name != "labels"}]
    trainer = make_trainer(training=items if first_is_labeled else items[::-1], per_device_train_batch_size=1)
    with pytest.raises(ValueError, match="Only some pairs of the training data have 'labels'"):
        trainer.train()


def test_unused_labels_of_some_items(make_trainer: Callable[..., FusionTrainer], inputs: Batch) -> None:
    labeled = {name: value[0] for name, value in inputs.items()}
    items = [{name: value for name, value in labeled.items() if name != "labels"}, labeled]
    make_trainer(training=items, per_device_train_batch_size=1, model={"use_segmenter": False}).train()
