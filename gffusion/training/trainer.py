"""FusionTrainer: Algorithm 1 on Accelerate."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from gffusion.data import FusionDataset, write_image
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from . import preflight
from .arguments import FusionTrainingArguments
from .card import write_card
from .checkpoints import Checkpoints
from .interruption import Interruption
from .publication import check_publishable, push_finished, push_weights
from .run_folder import CHECKPOINTS, IMAGES, TRACKERS, RunFolder, check_same_run, describe_run, summarise
from .sampling import StepSampler, collate
from .schedules import head_learning_rate, learning_rate, segmentation_weight, warmup_factor
from .step import TrainingStep
from .token_cache import CachedTokens, TokenCache
from .validation import draw, evaluate

CALIBRATION_BATCHES = 16


@dataclasses.dataclass
class _Progress:
    """Where a run is: what a checkpoint holds besides weights, optimiser and random states."""

    step: int = 0
    best: float | None = None
    sums: dict[str, float] = dataclasses.field(default_factory=dict)  # of the losses of this epoch's steps


class FusionTrainer:
    """Trains a [`GFFusionModel`] on pairs, labelled or not, by Algorithm 1.

    Writes to `output_dir`: `log.jsonl` (a line an epoch and an evaluation), `images/`, `best` and `last` (loadable with
    `from_pretrained`, with a model card at the end), and `checkpoints/`, from which `train(resume_from_checkpoint=True)` goes on as if
    nothing had happened: killed at any moment, a run comes out the same to the last bit.

    Args:
        model: The model to train.
        arguments: Options of the run.
        train_dataset: Items `visible_values` (3, H, W), `infrared_values` (1, H, W) and, optionally, `labels` (H, W), all
            of one size, see [`FusionDataset`]. Its `set_epoch(epoch)`, if it has one, is called before every epoch.
        eval_dataset: Items of any size, to choose the best weights. Without it, or with `eval_strategy="no"`, the last weights are the best.
        card_facts: What the model card shall say besides: arguments of [`FusionCard`], such as `training_data`.

    Raises:
        OSError: If `output_dir` cannot be written to, an image is missing, or the Hub would refuse what `push_to_hub` asks.
        ValueError: If something would go wrong later: pictures smaller than the crop or of several sizes, labels that are
            no class of the model, fewer pairs than a step takes, unknown metrics or trackers, options that do not go
            together.
    """

    def __init__(
        self,
        model: GFFusionModel,
        arguments: FusionTrainingArguments,
        train_dataset: Dataset[dict[str, Any]],
        eval_dataset: Dataset[dict[str, Any]] | None = None,
        card_facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.model, self.arguments = model, arguments
        self.train_dataset, self.eval_dataset, self.card_facts = train_dataset, eval_dataset, card_facts or {}
        self._validation_dataset = None if arguments.eval_strategy == "no" else eval_dataset  # evaluated while training
        self.output_dir = Path(arguments.output_dir)
        self.labelled = model.config.use_segmenter and "labels" in train_dataset[0]
        self._check()
        self.folder = RunFolder(self.output_dir)
        self.accelerator = Accelerator(
            mixed_precision=arguments.mixed_precision,
            dynamo_backend="no",  # all accelerators of a process share what the first one was told
            log_with=arguments.report_to or None,  # type: ignore[arg-type]
            project_dir=str(self.output_dir / TRACKERS),
        )
        preflight.check_device(arguments, self.accelerator.device)
        if arguments.push_to_hub and self.accelerator.is_main_process:
            check_publishable(arguments, model)
        set_seed(arguments.seed)
        self.sampler = StepSampler(
            len(train_dataset),  # type: ignore[arg-type]
            arguments.per_device_train_batch_size,
            arguments.gradient_accumulation_steps,
            arguments.seed,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        )
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.total_steps = arguments.num_train_epochs * self.steps_per_epoch
        self.token_cache = (
            TokenCache(arguments.token_cache, model, arguments.mixed_precision) if arguments.token_cache else None
        )
        self._step = TrainingStep(model, arguments, self.accelerator, self.labelled, self.token_cache)
        self._loader: DataLoader[dict[str, Any]] = DataLoader(
            CachedTokens(train_dataset, self.token_cache) if self.token_cache else train_dataset,
            batch_sampler=self.sampler,
            num_workers=arguments.dataloader_num_workers,
            # Workers that outlive an epoch hold copies of the data set, which only ours tells of the next one.
            persistent_workers=arguments.dataloader_num_workers > 0 and isinstance(train_dataset, FusionDataset),
            pin_memory=self.accelerator.device.type == "cuda",
            generator=torch.Generator(),  # or each iteration would draw from the global one
            collate_fn=collate,
        )
        self.checkpoints = Checkpoints(self.output_dir / CHECKPOINTS, self.accelerator, model)
        self.progress = _Progress()
        self._window: list[Tensor] = []  # losses of the steps that nobody has looked at yet

    def train(self, resume_from_checkpoint: bool | None = None) -> GFFusionModel:
        """Run the steps that are left.

        After Ctrl-C or SIGTERM the step in progress is finished and a checkpoint written first; a second Ctrl-C does not
        wait for that.

        Args:
            resume_from_checkpoint: Go on from the newest checkpoint in `output_dir`, if there is one. Default: the option of
                that name.

        Returns:
            The trained model, with the last weights.

        Raises:
            FloatingPointError: If a loss is not finite; the message names the last good checkpoint.
            OSError: If the disk is full or a picture cannot be read (the last checkpoint is still whole), or the Hub refuses.
            ValueError: If `output_dir` holds another run, or the run to resume had other options or data.
        """
        self._begin(self.arguments.resume_from_checkpoint if resume_from_checkpoint is None else resume_from_checkpoint)
        with Interruption(self.accelerator) as interruption, self._bar() as bar:
            while self.progress.step < self.total_steps:
                self._train_epoch(*divmod(self.progress.step, self.steps_per_epoch), interruption, bar)
        self._finish()
        return self.model

    def evaluate(self) -> dict[str, float]:
        """Return losses, `eval_metrics` and mIoU over the evaluation set, on whole images, as `eval_` and the name.

        Raises:
            ValueError: If there is no evaluation set.
        """
        if self.eval_dataset is None:
            raise ValueError("There is no evaluation set: give the trainer an `eval_dataset`.")
        means = evaluate(self.model, self.eval_dataset, self.arguments.eval_metrics, self.accelerator)
        return {f"eval_{name}": value for name, value in means.items()}

    def push_to_hub(self, repo_id: str | None = None, **options: Any) -> str:
        """Upload the best weights and their model card.

        Args:
            repo_id: "name" or "organisation/name". Default: `hub_model_id`.
            options: Options of [`push`]; `full` defaults to whether the weights were saved with their encoders.

        Returns:
            Address of the commit.

        Raises:
            OSError: If the Hub refuses, see [`push`].
            ValueError: If no repository is named, or the weights must not be published.
        """
        repo_id = repo_id or self.arguments.hub_model_id
        if not repo_id:
            raise ValueError('Name a repository: `push_to_hub("organisation/name")`, or set `hub_model_id`.')
        return push_weights(self.output_dir / "best", repo_id, **options)

    def _check(self) -> None:
        """Look for what would go wrong later."""
        preflight.check_evaluation(self.eval_dataset, self.model, self.arguments)
        preflight.check_training_data(self.train_dataset, self.model, self.labelled)
        preflight.warn_of_what_does_not_learn(self.model, self.arguments, self.labelled)

    def _begin(self, resume: bool) -> None:
        """Go back to the newest checkpoint, or start anew."""
        if self.accelerator.is_main_process:
            self.folder.recover()
            self.checkpoints.discard_unfinished()
        self.accelerator.wait_for_everyone()
        newest = self.checkpoints.newest
        self._description = describe_run(self.arguments, self.model, self.train_dataset, self.accelerator.num_processes)
        if newest and resume:
            state = self.checkpoints.load(self._check_same_run)
            self.progress = _Progress(**state["progress"])
        elif newest and not self.arguments.overwrite_output_dir:
            raise ValueError(
                f"{self.output_dir} holds a run, at {newest.name}. Go on with it (`resume_from_checkpoint`), choose another `output_dir`, or "
                "set `overwrite_output_dir` to lose it."
            )
        elif self.progress.step:
            raise ValueError("This trainer has trained already. Make a new one, or set `resume_from_checkpoint`.")
        self._window.clear()  # of a step that Ctrl-C has cut off, as its gradients
        self._step.optimizer.zero_grad()
        if self.accelerator.is_main_process:
            if self.progress.step:
                self.folder.cut_log(self.progress.step)
            else:
                self.checkpoints.clear()
                self.folder.start_log()
        options = dataclasses.asdict(self.arguments)
        plain = {name: value if isinstance(value, int | float | str) else str(value) for name, value in options.items()}
        self.accelerator.init_trackers("gffusion", config=plain)
        if not self.progress.step:
            if self.arguments.batch_normalization == "calibrated":
                self.sampler.start_at(0, 0)
                self._step.calibrate(itertools.islice(self._loader, CALIBRATION_BATCHES))
            self._draw_pictures()

    def _check_same_run(self, state: dict[str, Any]) -> None:
        epoch = state["progress"]["step"] // self.steps_per_epoch
        check_same_run(state["run"], self._description, state["num_train_epochs"], self.arguments, epoch)

    def _train_epoch(self, epoch: int, first_step: int, interruption: Interruption, bar: "tqdm[Any]") -> None:
        arguments = self.arguments
        self.sampler.start_at(epoch, first_step)
        if hasattr(self.train_dataset, "set_epoch"):
            self.train_dataset.set_epoch(epoch)
        rates = learning_rate(arguments, epoch), head_learning_rate(arguments, epoch)
        weight = segmentation_weight(arguments, epoch, self.model.config.segmentation_weight)
        settings = {"segmentation_weight": weight} if self.labelled else {}
        bar.set_description(f"epoch {epoch + 1}/{arguments.num_train_epochs}")
        self._step.train()
        for batches in self._steps():
            settings["learning_rate"] = self._step.set_rates(rates, warmup_factor(arguments, self.progress.step))
            self._window.append(self._step(batches, weight, head_learns=epoch >= arguments.head_start_epoch))
            self.progress.step += 1
            bar.update()
            interrupted = interruption.requested()
            self._after_step(epoch, settings, interrupted, bar)
            if interrupted:
                self.accelerator.print(
                    f"interrupted: {self.checkpoints.newest} is written, `resume_from_checkpoint` goes on from it"
                )
                interruption.obey()

    def _steps(self) -> Iterator[tuple[dict[str, Any], ...]]:
        """Yield the batches of each step, on the device."""
        batches = iter(self._loader)
        return zip(*[batches] * self.arguments.gradient_accumulation_steps, strict=False)

    def _after_step(self, epoch: int, settings: dict[str, float], interrupted: bool, bar: "tqdm[Any]") -> None:
        """Do what is due: look at the losses, evaluate, write weights, log and checkpoint."""
        arguments, step = self.arguments, self.progress.step
        ends_epoch = step % self.steps_per_epoch == 0
        evaluates = self._evaluation_is_due(epoch, ends_epoch)
        saves = ends_epoch or interrupted or (arguments.save_steps and step % arguments.save_steps == 0)
        if saves or evaluates or step % arguments.logging_steps == 0:
            self._look_at_losses(settings, bar)
        record: dict[str, Any] = {}
        if ends_epoch:
            record |= {name: value / self.steps_per_epoch for name, value in self.progress.sums.items()} | settings
            self.progress.sums = {}
        if evaluates:
            record |= self.evaluate()
            self._step.train()
            self.accelerator.log({name: record[name] for name in record if name.startswith("eval_")}, step=step)
            self._draw_pictures()
            self._step.train()
        if record:
            self._keep({"epoch": epoch, "step": step, **record}, evaluates, ends_epoch)
            bar.write(
                summarise(epoch, arguments.num_train_epochs, record)
            ) if self.accelerator.is_main_process else None
        if saves:
            self._save_checkpoint()

    def _evaluation_is_due(self, epoch: int, ends_epoch: bool) -> bool:
        if self._validation_dataset is None:
            return False
        if self.progress.step == self.total_steps:
            return True
        if self.arguments.eval_strategy == "steps":
            return self.progress.step % self.arguments.eval_steps == 0
        return ends_epoch and (epoch + 1) % self.arguments.eval_epochs == 0

    def _look_at_losses(self, settings: dict[str, float], bar: "tqdm[Any]") -> None:
        """Add up the losses of all processes since the last look, and show them.

        Raises:
            FloatingPointError: If one, or a weight, is not finite.
        """
        if not self._window:
            return
        rows = self.accelerator.reduce(torch.stack(self._window), "mean").tolist()
        self._window = []
        for number, row in enumerate(rows):
            if not all(map(math.isfinite, row)):
                step = self.progress.step - len(rows) + number
                self._give_up(f"The loss is {row[0]}", step)
            for name, value in zip(self._step.loss_names, row, strict=True):
                self.progress.sums[name] = self.progress.sums.get(name, 0.0) + value
        # A finite loss can have gradients that are not: the weights would show in the next loss, after they were kept.
        if not all(bool(p.isfinite().all()) for p in self.model.parameters() if p.requires_grad):
            self._give_up("A weight is not finite any more", self.progress.step - 1)
        means = {
            name: sum(values) / len(rows)
            for name, values in zip(self._step.loss_names, zip(*rows, strict=True), strict=True)
        }
        self.accelerator.log(means | settings, step=self.progress.step)
        shown = {
            "loss": means["loss"],
            "L_ss": means.get("loss_segmentation"),
            "lambda": settings.get("segmentation_weight"),
        }
        bar.set_postfix({name: f"{value:.4g}" for name, value in shown.items() if value is not None})

    def _give_up(self, what: str, step: int) -> NoReturn:
        raise FloatingPointError(
            f"{what} at step {step + 1} (epoch {step // self.steps_per_epoch + 1}). The last good checkpoint: "
            f"{self.checkpoints.newest or 'none yet'}. A lower `learning_rate` may help."
        )

    def _keep(self, record: dict[str, Any], evaluated: bool, ends_epoch: bool) -> None:
        """Write a log line, and the weights where they are the best so far or an epoch ends."""
        score = record.get(f"eval_{self.arguments.metric_for_best_model}")
        better = max if preflight.is_better_higher(self.arguments.metric_for_best_model) else min
        # Without evaluation the last weights are the best.
        improved = ends_epoch and self._validation_dataset is None
        if evaluated and score is not None and not math.isfinite(score):
            improved = self.progress.best is None  # some weights must be there at the end
        elif evaluated and score is not None:
            improved = self.progress.best is None or better(score, self.progress.best) == score != self.progress.best
            self.progress.best = score if improved else self.progress.best
        if not self.accelerator.is_main_process:
            return
        with self.checkpoints.explained(f"write weights and log of step {self.progress.step}"):
            for name in [name for name, due in (("best", improved), ("last", ends_epoch)) if due]:
                self.folder.write_weights(name, self.model, self._processor, self._training_state(finished=False))
            self.folder.append_log(record)

    def _save_checkpoint(self) -> None:
        self.checkpoints.save(
            self.progress.step,
            {
                "progress": dataclasses.asdict(self.progress),
                "num_train_epochs": self.arguments.num_train_epochs,
                "run": self._description,
            },
        )

    def _draw_pictures(self) -> None:
        """Write and track the pictures of the first evaluation pairs."""
        dataset, wanted = self._validation_dataset, self.arguments.num_eval_images
        if dataset is None or not wanted or not self.accelerator.is_main_process:
            return
        items = [dataset[index] for index in range(min(wanted, len(dataset)))]  # type: ignore[arg-type]
        picture = draw(self.model, items, self.accelerator.device)
        with self.checkpoints.explained(f"write the pictures of step {self.progress.step}"):
            (self.output_dir / IMAGES).mkdir(exist_ok=True)
            write_image(self.output_dir / IMAGES / f"step-{self.progress.step:08d}.png", picture)
        for tracker in self.accelerator.trackers:
            if hasattr(tracker, "log_images"):
                layout = {"dataformats": "NHWC"} if tracker.name == "tensorboard" else {}  # the others know no other
                tracker.log_images({"evaluation pairs": picture[None]}, step=self.progress.step, **layout)

    def _finish(self) -> None:
        """Write the model cards, and publish."""
        for tracker in self.accelerator.trackers:  # `end_training` would take the processes apart, too
            tracker.finish()
        self._step.unwrap()
        if self.accelerator.is_main_process:
            for name in ("best", "last"):
                self.folder.write_state(name, self._training_state(finished=True))
                write_card(
                    self.output_dir / name,
                    self.model,
                    self.arguments,
                    self.card_facts,
                    self.folder.read_log(),
                    len(self.eval_dataset) if self.eval_dataset else 0,  # type: ignore[arg-type]
                )
        self.accelerator.wait_for_everyone()
        if self.arguments.push_to_hub and self.accelerator.is_main_process:
            address = push_finished(self.output_dir / "best", str(self.arguments.hub_model_id))
            self.accelerator.print(f"published -> {address}")

    def _training_state(self, finished: bool) -> dict[str, Any]:
        return {"finished": finished, "step": self.progress.step, "total_steps": self.total_steps}

    @property
    def _processor(self) -> GFFusionImageProcessor:
        return GFFusionImageProcessor(infrared_range=getattr(self.train_dataset, "infrared_range", "dtype"))

    def _bar(self) -> "tqdm[Any]":
        return tqdm(
            total=self.total_steps,
            initial=self.progress.step,
            disable=not self.accelerator.is_main_process,
            unit="step",
        )
