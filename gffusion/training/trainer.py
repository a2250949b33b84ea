"""FusionTrainer: Algorithm 1 on Accelerate."""

import json
import logging
import math
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, Dataset, RandomSampler
from tqdm.auto import tqdm

from ..image_processing_gffusion import GFFusionImageProcessor
from ..losses import total_loss
from ..modeling_gffusion import GFFusionModel
from .arguments import FusionTrainingArguments
from .schedules import head_learning_rate, learning_rate, segmentation_weight

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint"
LOG = "log.jsonl"
PROGRESS = "progress.json"


class FusionTrainer:
    """Trains a [`GFFusionModel`] on pairs, labelled or not.

    Writes `log.jsonl` (a line an epoch), `best` and `last` (loadable with `from_pretrained`), and `checkpoint`, the state
    after the last whole epoch, from which `train(resume=True)` goes on as if nothing had happened.

    Args:
        model: The model to train.
        arguments: Options of the run.
        train_dataset: Items `visible_values` (3, H, W), `infrared_values` (1, H, W) and, optionally, `labels` (H, W), all
            of one size. Its `set_epoch(epoch)`, if it has one, is called before every epoch.
        eval_dataset: Items of any size, to choose the best weights by L_st. Without it the last weights are the best.
    """

    def __init__(
        self,
        model: GFFusionModel,
        arguments: FusionTrainingArguments,
        train_dataset: Dataset[dict[str, Any]],
        eval_dataset: Dataset[dict[str, Any]] | None = None,
    ):
        self.arguments = arguments
        self.output_dir = Path(arguments.output_dir)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        self.accelerator = Accelerator(mixed_precision=arguments.mixed_precision)
        set_seed(arguments.seed)
        self.train_dataset = train_dataset
        self.labelled = model.config.use_segmenter and "labels" in train_dataset[0]
        if not self.labelled:
            reason = "The data have no labels" if model.config.use_segmenter else "The model has no segmenter"
            logger.warning("%s: training with the structural loss L_st alone.", reason)
        # Batches drawn by our own generator, which depends on seed and epoch alone: an epoch can be repeated exactly.
        self._order = torch.Generator()
        loader: DataLoader[dict[str, Any]] = DataLoader(
            train_dataset,
            batch_size=arguments.batch_size,
            sampler=RandomSampler(train_dataset, generator=self._order),  # type: ignore[arg-type]
            drop_last=len(train_dataset) >= arguments.batch_size,  # type: ignore[arg-type]
            num_workers=arguments.num_workers,
            persistent_workers=arguments.num_workers > 0,
            collate_fn=_collate,
        )
        self.eval_loader = None
        if eval_dataset is not None:
            self.eval_loader = self.accelerator.prepare(DataLoader(eval_dataset, collate_fn=_collate))
        head = list(model.ssnet.parameters()) if model.config.use_segmenter else []
        head_ids = {id(parameter) for parameter in head}
        body = [p for p in model.parameters() if p.requires_grad and id(p) not in head_ids]
        optimizer = torch.optim.Adam([{"params": body}, {"params": head}] if head else [{"params": body}])
        self.model, self.optimizer, self.loader = self.accelerator.prepare(model, optimizer, loader)
        self.epoch = 0
        self.best = math.inf

    def train(self, resume: bool = False) -> GFFusionModel:
        """Run the epochs that are left.

        Args:
            resume: Whether to go on from the checkpoint in `output_dir`, if there is one.

        Returns:
            The trained model, with the last weights.

        Raises:
            FloatingPointError: If the loss is not finite; `checkpoint` and `best` still hold the last good weights.
        """
        if resume and (self.output_dir / CHECKPOINT).is_dir():
            self._load()
        elif self.accelerator.is_main_process:
            (self.output_dir / LOG).unlink(missing_ok=True)
        for epoch in range(self.epoch, self.arguments.num_epochs):
            record = {"epoch": epoch, **self._train_epoch(epoch)}
            self.epoch = epoch + 1
            if self.eval_loader is not None and self._evaluates(epoch):
                record |= self.evaluate()
            # Without an evaluation set the last weights are the best; without an evaluation the best stay what they are.
            score = record.get("eval_loss_structural", math.inf)
            improved = score < self.best or self.eval_loader is None
            self.best = min(self.best, score)
            self._save(record, improved)
            self.accelerator.print(_summary(record, self.arguments.num_epochs))
        return self.accelerator.unwrap_model(self.model)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Return the mean L_st, its terms and the mean SSIM over the evaluation set, on whole images."""
        self.model.eval()
        sums: dict[str, torch.Tensor] = {}
        count = 0
        for batch in self.eval_loader or ():
            output = self.model(batch["visible_values"], batch["infrared_values"], return_loss=True)
            terms = {name: output[name] for name in ("loss_structural", "loss_ssim", "loss_gradient", "loss_intensity")}
            terms["ssim"] = 1 - terms["loss_ssim"]  # mean of both sources: the loss is the sum of two halves
            for name, value in self.accelerator.gather_for_metrics({k: v[None] for k, v in terms.items()}).items():
                sums[name] = sums.get(name, 0) + value.sum()
            count += len(value)
        return {f"eval_{name}": (value / count).item() for name, value in sums.items()}

    def _train_epoch(self, epoch: int) -> dict[str, float]:
        arguments = self.arguments
        self.model.train()
        self._order.manual_seed(arguments.seed + epoch)
        self.loader.set_epoch(epoch)  # and with it the data set's; left alone, accelerate counts from 0 after a resume
        rates = [learning_rate(arguments, epoch), head_learning_rate(arguments, epoch)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=False):
            group["lr"] = rate
        weight = segmentation_weight(
            arguments, epoch, self.accelerator.unwrap_model(self.model).config.segmentation_weight
        )
        sums: dict[str, float] = {}
        progress = tqdm(
            self.loader,
            desc=f"epoch {epoch + 1}/{arguments.num_epochs}",
            disable=not self.accelerator.is_main_process,
            leave=False,
        )
        for batch in progress:
            losses = self._step(batch, weight, head_learns=epoch >= arguments.head_start_epoch)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value / len(self.loader)
            progress.set_postfix(loss=f"{losses['loss']:.4f}")
        return {**sums, "learning_rate": rates[0], **({"segmentation_weight": weight} if self.labelled else {})}

    def _step(self, batch: dict[str, Any], weight: float, head_learns: bool) -> dict[str, float]:
        labels = batch.get("labels") if self.labelled else None
        output = self.model(batch["visible_values"], batch["infrared_values"], labels=labels)
        loss = total_loss(output.loss_structural, output.loss_segmentation, weight)  # Eq. (12) with this epoch's lambda
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"The loss is {loss.item()} in epoch {self.epoch + 1}. The last good weights are in {self.output_dir}."
            )
        self.accelerator.backward(loss)
        if not head_learns:
            for group in self.optimizer.param_groups[1:]:
                for parameter in group["params"]:
                    parameter.grad = None  # Adam leaves it alone, and keeps no memory of it
        if self.arguments.max_gradient_norm:
            self.accelerator.clip_grad_norm_(self.model.parameters(), self.arguments.max_gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        terms = {name: value for name, value in output.items() if name.startswith("loss_") and value is not None}
        return {"loss": loss.item(), **{name: value.item() for name, value in terms.items()}}

    def _evaluates(self, epoch: int) -> bool:
        return (epoch + 1) % self.arguments.eval_epochs == 0 or epoch + 1 == self.arguments.num_epochs

    def _save(self, record: dict[str, Any], improved: bool) -> None:
        """Write weights, checkpoint and log line, each folder whole or not at all."""
        temporary = self.output_dir / f".{CHECKPOINT}"
        self.accelerator.save_state(str(temporary))  # every process has random states of its own to add
        if not self.accelerator.is_main_process:
            return
        model = self.accelerator.unwrap_model(self.model)
        for name in ("best", "last") if improved else ("last",):
            weights = self.output_dir / f".{name}"
            model.save_pretrained(weights)
            GFFusionImageProcessor().save_pretrained(weights)
            _replace_folder(weights, self.output_dir / name)
        (temporary / PROGRESS).write_text(json.dumps({"epoch": self.epoch, "best": self.best}))
        with open(self.output_dir / LOG, "a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        _replace_folder(temporary, self.output_dir / CHECKPOINT)

    def _load(self) -> None:
        folder = self.output_dir / CHECKPOINT
        self.accelerator.load_state(str(folder))
        progress = json.loads((folder / PROGRESS).read_text())
        self.epoch, self.best = progress["epoch"], progress["best"]
        if self.accelerator.is_main_process:  # a line may stand there for an epoch that is about to be repeated
            log = self.output_dir / LOG
            log.write_text("".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[: self.epoch]))


def _summary(record: dict[str, Any], num_epochs: int) -> str:
    names = {"loss": "loss", "eval_loss_structural": "validation L_st", "eval_ssim": "validation SSIM"}
    figures = ", ".join(f"{text} {record[name]:.4f}" for name, text in names.items() if name in record)
    return f"epoch {record['epoch'] + 1}/{num_epochs}: {figures}"


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Stack the tensors of a batch; names stay behind."""
    names = [name for name, value in items[0].items() if isinstance(value, torch.Tensor)]
    return {name: torch.stack([item[name] for item in items]) for name in names}


def _replace_folder(temporary: Path, final: Path) -> None:
    """Put a freshly written folder in the place of an older one."""
    outdated = final.with_name(f".outdated-{final.name}")
    shutil.rmtree(outdated, ignore_errors=True)
    if final.exists():
        os.rename(final, outdated)
    os.rename(temporary, final)
    shutil.rmtree(outdated, ignore_errors=True)
