"""FusionTrainer: Algorithm 1 on Accelerate."""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from gffusion.data import FusionDataset
from gffusion.hub.publishing import push
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.utils.notes import format_count
from gffusion.utils.progress import hidden_progress, show_progress

from . import preflight
from .argument_types import check_argument_types
from .arguments import FusionTrainingArguments
from .card import add_digests, write_card
from .checked_dataset import CheckedDataset, read_item
from .checkpoints import Checkpoints
from .given_data import drop_random_transforms, unwrap_subset, warn_about_data
from .interruption import Interruption, ignore_interrupts
from .own_image import warn_about_own_image
from .processes import check_equal, check_shared_folder, lost_peers, raised_together, seed_process
from .progress import Progress
from .push_to_hub import check_publishable, push_finished
from .run_folder import CHECKPOINTS, RunFolder, summarize
from .same_run import DIGESTS, check_same_run, describe_run, select_shared, warn_about_changed_files
from .sampling import StepSampler, collate, keep_random_state
from .schedules import head_learning_rate, learning_rate, segmentation_weight, warmup_factor
from .step import TrainingStep, raise_on_non_finite
from .token_cache import CachedTokens, TokenCache
from .trackers import Trackers
from .unknown_options import refuse_unknown
from .validation import draw_pairs, evaluate, warn_if_worse

CALIBRATION_BATCHES = 16


class FusionTrainer:
    """Train a [`GFFusionModel`] on pairs, labeled or not, by Algorithm 1.

    Writes to `output_dir`: `log.jsonl` (a record per epoch and per evaluation), `images/`, `best` and `last` (loadable
    with `from_pretrained`, with a model card at the end), and `checkpoints/`, from which
    `train(resume_from_checkpoint=True)` continues. On CPUs, a killed and resumed run gives bit-identical weights, except
    after a checkpoint inside an epoch if workers draw random numbers in a dataset other than [`FusionDataset`].

    Args:
        model: The model to train. A subclass whose `forward` adds terms to `outputs.loss` is trained with them.
        args: Options of the run.
        train_dataset: Items `visible_values` (3, H, W), `infrared_values` (1, H, W) and, optionally, `labels` (H, W), all
            of one size, see [`FusionDataset`]. A `Subset` of a `FusionDataset` is supported, a `ConcatDataset` of some is
            not. Its `set_epoch(epoch)`, if it has one, is called before every epoch.
        eval_dataset: Items of any size, for selecting the best weights. Random transforms of a `FusionDataset` are left out.
            Without it, or with `eval_strategy="no"`, the last weights are saved as the best.
        card_facts: Further arguments of [`FusionCard`], such as `training_data`.

    Raises:
        OSError: If `output_dir` cannot be written to, an image is missing, or the Hub would refuse the upload.
        ValueError: If an argument has another type, such as a `DataLoader`, or data, model and options do not fit together, such as
            images of wrong sizes, class names that are not those of the model, or fewer pairs than a step of several batches takes.
        TypeError: If there is no argument of a name.

    Examples:
        >>> import tempfile
        >>> pairs = [{"visible_values": torch.rand(3, 32, 32), "infrared_values": torch.rand(1, 32, 32)}] * 2
        >>> model = GFFusionModel.from_backbones(paradigm="cascading", use_segmenter=False, decoder_channels=[4])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trained = FusionTrainer(model, FusionTrainingArguments(folder, num_train_epochs=1), pairs).train()
        epoch 1/1: loss ...
    """

    def __init__(
        self,
        model: GFFusionModel,
        args: FusionTrainingArguments,
        train_dataset: Dataset[dict[str, Any]],
        eval_dataset: Dataset[dict[str, Any]] | None = None,
        card_facts: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> None:
        refuse_unknown("FusionTrainer", unknown, ("model", "args", "train_dataset", "eval_dataset", "card_facts"))
        check_argument_types(model, args, train_dataset, eval_dataset)
        self.model, self.args = model, args
        train_dataset, given = unwrap_subset(train_dataset), unwrap_subset(eval_dataset)
        eval_dataset = drop_random_transforms(given)
        self.train_dataset, self.eval_dataset, self.card_facts = train_dataset, eval_dataset, card_facts or {}
        self._validation_dataset = None if args.eval_strategy == "no" else eval_dataset  # evaluated while training
        self.output_dir = Path(args.output_dir)
        with raised_together(), hidden_progress(args.disable_tqdm):
            self.labeled = preflight.check_data(train_dataset, eval_dataset, model, args)
            self.folder = RunFolder(self.output_dir)
            self.accelerator = preflight.start_accelerator(args, self.output_dir, model)
            preflight.check_device(args, self.accelerator.device)
            if args.push_to_hub and self.accelerator.is_main_process:
                check_publishable(args, model)
        check_shared_folder(self.output_dir)
        self._has_own_image = warn_about_own_image(model, train_dataset)
        with raised_together():
            options = args.per_device_train_batch_size, args.gradient_accumulation_steps, args.seed
            processes = self.accelerator.process_index, self.accelerator.num_processes
            self.sampler = StepSampler(len(train_dataset), *options, *processes)  # type: ignore[arg-type]
            preflight.check_batch_size(args, self.sampler.batch_size, self.labeled)
            self.steps_per_epoch = self.sampler.steps_per_epoch
            self.total_steps = args.num_train_epochs * self.steps_per_epoch
            if self.accelerator.is_main_process:
                self._evaluated_files = warn_about_data(train_dataset, given, eval_dataset, model, self.labeled)
                preflight.warn_about_untrained_parts(model, args, train_dataset, self.labeled)
                preflight.warn_about_warmup(args, self.total_steps)
            cache = TokenCache(args.token_cache, model, args.mixed_precision) if args.token_cache else None
            self.token_cache, config = cache, model.config
            items = CachedTokens(train_dataset, cache, config) if cache else CheckedDataset(train_dataset, config)
        self._step = TrainingStep(model, args, self.accelerator, self.labeled, self.token_cache)
        self._loader: DataLoader[dict[str, Any]] = DataLoader(
            items,
            batch_sampler=self.sampler,
            num_workers=args.dataloader_num_workers,
            # Persistent workers have copies of the dataset; only FusionDataset passes the epoch on to them.
            persistent_workers=args.dataloader_num_workers > 0 and isinstance(train_dataset, FusionDataset),
            pin_memory=self.accelerator.device.type == "cuda",
            generator=self.sampler.workers_generator,
            worker_init_fn=ignore_interrupts,
            collate_fn=partial(collate, config=model.config),
        )
        self.checkpoints = Checkpoints(self.output_dir / CHECKPOINTS, self.accelerator, model)
        self.trackers, self.progress = Trackers(self.accelerator), Progress()
        self._pending_losses: list[Tensor] = []  # of the steps since the last flush

    @lost_peers()
    def train(self, resume_from_checkpoint: "bool | str | os.PathLike[str] | None" = None) -> GFFusionModel:
        """Run the remaining steps, and return the trained model with the last weights.

        Ctrl-C, SIGTERM or SIGHUP ends the run after the current step, with a checkpoint. A second Ctrl-C ends it at once.

        Args:
            resume_from_checkpoint: Continue from the newest checkpoint in `output_dir`, if any, or from its path. Defaults to
                the option of that name.

        Raises:
            ConnectionError: If another process ended.
            FloatingPointError: If a loss is not finite; the message names the last good checkpoint.
            OSError: If the disk is full, an image cannot be read, or the upload fails. The last checkpoint is kept.
            ValueError: If `output_dir` contains another run or files of that name, another process trains into it, or the run
                to resume had other options or data. Of several processes, one raises an error of reading or writing as OSError, and the
                others raise ValueError with its text.
        """
        if resume_from_checkpoint is None:
            resume_from_checkpoint = self.args.resume_from_checkpoint
        with raised_together():
            lock = self.folder.lock() if self.accelerator.is_main_process else nullcontext()
        with lock, self.trackers:
            self._prepare(resume_from_checkpoint)
            hidden = self.args.disable_tqdm or not self.accelerator.is_main_process
            bar = show_progress(total=self.total_steps, initial=self.progress.step, unit="step", hidden=hidden)
            bar.leave = True
            with Interruption(self.accelerator) as interruption, bar:
                while not self._is_over:
                    self._train_epoch(*divmod(self.progress.step, self.steps_per_epoch), interruption, bar)
            if self.progress.step < self.total_steps:
                evaluations = format_count(self.progress.stop(), "evaluation")
                self.accelerator.print(f"stopped early after {evaluations} without better weights")
            self._evaluate_last_weights()
            self._finish()
        return self.model

    @lost_peers()
    def evaluate(self) -> dict[str, float]:
        """Return losses, `eval_metrics` and mIoU over the evaluation dataset, with the prefix `eval_`.

        Raises:
            ValueError: If there is no evaluation dataset.
        """
        if self.eval_dataset is None:
            raise ValueError("There is no evaluation dataset: give the trainer an `eval_dataset`.")
        self._step.share_statistics()
        options = self.args.eval_metrics, self.accelerator, self.args.disable_tqdm
        means = evaluate(self.model, self.eval_dataset, *options)
        return {f"eval_{name}": value for name, value in means.items()}

    def push_to_hub(self, repo_id: str | None = None, **options: Any) -> str:
        """Upload the best weights and their model card, and return the URL of the commit.

        Args:
            repo_id: "name" or "organization/name". Defaults to `hub_model_id`.
            options: Options of [`push`].

        Raises:
            OSError: If the Hub refuses, see [`push`].
            ValueError: If no repository is named, or the weights have problems.
        """
        repo_id = repo_id or self.args.hub_model_id
        if not repo_id:
            raise ValueError('Name a repository: `push_to_hub("organization/name")`, or set `hub_model_id`.')
        return push(self.output_dir / "best", repo_id, **options)

    def _prepare(self, resume: "bool | str | os.PathLike[str]") -> None:
        """Restore the newest checkpoint or start over, then set up log, trackers and statistics."""
        with raised_together():
            preflight.check_gradients()
            if self.accelerator.is_main_process:
                self.folder.recover()
                self.checkpoints.recover()
            processes = self.accelerator.num_processes, self.accelerator.is_main_process
            data = self.train_dataset, self._validation_dataset
            self._description = describe_run(self.args, self.model, *data, *processes)
        check_equal(select_shared(self._description, self.args))
        seed_process(self.args.seed)
        with raised_together():
            self._restore_progress(resume)
        check_equal({"step to continue from": self.progress.step})  # before one process changes the folder
        self._pending_losses.clear()  # of a step that Ctrl-C interrupted, like its gradients
        self._step.optimizer.zero_grad()
        with raised_together():
            if not self._is_over:
                self.trackers.start(self.args, self.folder.recipe, self.model.config, self.train_dataset)
            if self.accelerator.is_main_process:
                written = self.folder.prepare(self.checkpoints, self.progress.step, self.total_steps, self.args)
                if self.progress.step:  # a run can be killed between checkpoint and weights
                    self._write_weights(**written)
        if not self.progress.step:
            if self.args.batch_normalization == "calibrated":
                self.sampler.start_at(0, 0)
                self._step.calibrate(itertools.islice(self._loader, CALIBRATION_BATCHES))
            self._draw_images()
            if self._validation_dataset is not None and self.args.eval_on_start:
                self._evaluate_between_epochs()

    @property
    def _is_over(self) -> bool:
        stalls = self.progress.stalls(self.args.early_stopping_patience)
        return self.progress.step >= self.total_steps or (stalls and self.progress.step % self.steps_per_epoch == 0)

    def _evaluate_between_epochs(self) -> None:
        """Log an evaluation. That of step 0 does not count for the best weights: a new head is still untrained."""
        step, scores = self.progress.step, self.evaluate()
        self.trackers.log(scores, step=step)
        self._save_record(step // self.steps_per_epoch - 1, scores, evaluated=step > 0)

    def _evaluate_last_weights(self) -> None:
        """Evaluate the weights of the last step if that is missing, as in a run that is resumed with fewer epochs."""
        if self._validation_dataset is not None and self.progress.evaluated_step != self.progress.step:
            self._evaluate_between_epochs()
            self._save_checkpoint()

    def _restore_progress(self, resume: "bool | str | os.PathLike[str]") -> None:
        newest = self.checkpoints.newest
        if isinstance(resume, str | os.PathLike):
            self.checkpoints.check_newest(resume)
        if newest and resume:
            state = self.checkpoints.load(self._check_same_run)
            self.progress = self.checkpoints.read_progress(state)
            self._step.running_statistics = state["running_statistics"]
            if self._is_over:
                self.accelerator.print(f"nothing to train: the run in {self.output_dir} was finished at {newest.name}")
            return
        self.folder.check_start(newest, bool(resume), self.args.overwrite_output_dir, self.model)
        if self.progress.step:
            raise ValueError("`train` was already called. Create a new trainer, or set `resume_from_checkpoint`.")

    def _check_same_run(self, state: dict[str, Any]) -> None:
        epochs = self.checkpoints.read_progress(state).step / self.steps_per_epoch
        check_same_run(state["run"], self._description, state["num_train_epochs"], self.args, epochs)
        if self.accelerator.is_main_process:
            warn_about_changed_files(state["run"], self._description)

    def _train_epoch(self, epoch: int, first_step: int, interruption: Interruption, bar: Any) -> None:
        arguments = self.args
        self.sampler.start_at(epoch, first_step)
        if hasattr(self.train_dataset, "set_epoch"):
            self.train_dataset.set_epoch(epoch)
        rates = learning_rate(arguments, epoch), head_learning_rate(arguments, epoch)
        weight = segmentation_weight(arguments, epoch, self.model.config.segmentation_weight)
        settings = {"segmentation_weight": weight} if self.labeled else {}
        bar.set_description(f"epoch {epoch + 1}/{arguments.num_train_epochs}")
        self._step.train()
        for batches in self._steps():
            settings["learning_rate"] = self._step.set_rates(rates, warmup_factor(arguments, self.progress.step))
            self._pending_losses.append(self._step(batches, weight, head_learns=epoch >= arguments.head_start_epoch))
            self.progress.step += 1
            bar.update()
            interrupted = interruption.is_requested()
            self._after_step(epoch, settings, interrupted, bar)
            if interrupted:
                saved = f"{self.checkpoints.newest} is saved"
                self.accelerator.print(f"interrupted: {saved}; `resume_from_checkpoint` continues from it")
                interruption.raise_signal()

    def _steps(self) -> Iterator[tuple[dict[str, Any], ...]]:
        """Yield the batches of each step."""
        return zip(*[iter(self._loader)] * self.args.gradient_accumulation_steps, strict=False)

    def _after_step(self, epoch: int, settings: dict[str, float], interrupted: bool, bar: Any) -> None:
        """Flush losses, evaluate, and write weights, log and checkpoint, if due."""
        arguments, step = self.args, self.progress.step
        ends_epoch = step % self.steps_per_epoch == 0
        evaluates = self._is_evaluation_due(epoch, ends_epoch)
        saves = ends_epoch or interrupted or (arguments.save_steps and step % arguments.save_steps == 0)
        if saves or evaluates or step % arguments.logging_steps == 0:
            self._flush_losses(settings, bar)
        record = self.progress.end_epoch(self.steps_per_epoch) | settings if ends_epoch else {}
        if ends_epoch and not evaluates and self.progress.stalls(arguments.early_stopping_patience):
            self.progress.stop()  # the run ends here, also if these weights are better
            evaluates = True
        if evaluates:
            record |= self.evaluate()
            self.trackers.log({name: record[name] for name in record if name.startswith("eval_")}, step=step)
            self._draw_images()
            self._step.train()
        if record:
            self._save_record(epoch, record, evaluates)
        if saves or self.progress.best_step == step:
            self._save_checkpoint()

    def _is_evaluation_due(self, epoch: int, ends_epoch: bool) -> bool:
        if self._validation_dataset is None or self.progress.step == self.total_steps:
            return self._validation_dataset is not None
        if self.args.eval_strategy == "steps":
            return self.progress.step % self.args.eval_steps == 0
        return ends_epoch and (epoch + 1) % self.args.eval_epochs == 0

    def _flush_losses(self, settings: dict[str, float], bar: Any) -> None:
        """Add the pending losses of all processes to those of the epoch, and show their means."""
        if not self._pending_losses:
            return
        losses = self.accelerator.reduce(torch.stack(self._pending_losses), "mean").cpu()  # (steps, losses)
        self._pending_losses = []
        raise_on_non_finite(losses[:, 0], self.model, self.progress.step, self.steps_per_epoch, self.checkpoints.newest)
        means = self.progress.add_losses(self._step.loss_names, losses.tolist())
        self.trackers.log(means | settings, step=self.progress.step)
        names, values = {"loss": "loss", "loss_segmentation": "L_ss", "segmentation_weight": "lambda"}, means | settings
        bar.set_postfix({text: f"{values[name]:.4g}" for name, text in names.items() if name in values})

    def _save_record(self, epoch: int, record: dict[str, float], evaluated: bool) -> None:
        """Log and print a record, and note whether the weights are the best so far."""
        name, step = self.args.metric_for_best_model, self.progress.step
        if evaluated:
            self.progress.update_best(record.get(f"eval_{name}"), name)
        elif self._validation_dataset is None:
            self.progress.best_step = step
        if self.accelerator.is_main_process:
            with self.checkpoints.explain_disk_errors(f"write the log of step {step}"):
                self.folder.append_log({"epoch": epoch, "step": step, **record})
            tqdm.write(summarize(epoch, self.args.num_train_epochs, record))

    def _save_checkpoint(self) -> None:
        """Write a checkpoint, then the weights that are due, so that those in the folder are never newer than the checkpoint."""
        state = {"progress": dataclasses.asdict(self.progress), "num_train_epochs": self.args.num_train_epochs}
        state |= {"running_statistics": self._step.running_statistics, "run": self._description}
        self.checkpoints.save(self.progress.step, state)
        if self.accelerator.is_main_process:
            self._write_weights()

    def _write_weights(self, **written: int) -> None:
        """Write weights if they are the best so far or the last of an epoch, unless those `written` are of this step already."""
        step = self.progress.step
        state = {"finished": False, "step": step, "total_steps": self.total_steps}
        with self.checkpoints.explain_disk_errors(f"write the weights of step {step}"):
            for name, due in (("best", step == self.progress.best_step), ("last", step % self.steps_per_epoch == 0)):
                if due and written.get(name) != step:
                    self.folder.write_weights(name, self.model, self._processor, state)

    @keep_random_state()
    def _draw_images(self) -> None:
        """Draw the first evaluation pairs into a file and for the trackers."""
        dataset, wanted = self._validation_dataset, self.args.num_eval_images
        if dataset is None or not wanted or not self.accelerator.is_main_process:
            return
        read = partial(read_item, dataset, config=self.model.config)
        image = draw_pairs(self.model, [*map(read, range(min(wanted, len(dataset))))], self.accelerator.device)  # type: ignore[arg-type]
        with self.checkpoints.explain_disk_errors(f"write the images of step {self.progress.step}"):
            self.folder.write_image(self.progress.step, image)
        self.trackers.log_image(image, self.progress.step)

    def _finish(self) -> None:
        """Write the model cards, and publish the weights."""
        self._step.unwrap()
        if self.accelerator.is_main_process:
            steps, log = self.folder.mark_weights(True, self.total_steps), self.folder.read_log()
            pairs, options = 0 if self._has_own_image else self._evaluated_files, self._processor.infrared_options
            facts = add_digests(self.card_facts, self._description[DIGESTS])
            for name, step in steps.items():
                write_card(self.output_dir / name, self.model, self.args, facts, log, step, pairs, options)
            warn_if_worse(log, self.args.metric_for_best_model, self.progress.best)
        self.accelerator.wait_for_everyone()
        if self.args.push_to_hub and self.accelerator.is_main_process:
            print(f"published -> {push_finished(self.output_dir / 'best', str(self.args.hub_model_id))}")

    @property
    def _processor(self) -> GFFusionImageProcessor:
        options = getattr(self.train_dataset, "infrared_options", None)
        return GFFusionImageProcessor(**(options.to_dict() if options else {}))
