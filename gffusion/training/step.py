"""One step of Algorithm 1: forward and backward passes of its batches, then a step of Adam."""

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn
from transformers.utils import ModelOutput

from gffusion.models.gffusion.configuration_gffusion import OUR_TERMS, GFFusionConfig
from gffusion.models.gffusion.losses import label_mass
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel

from .arguments import FusionTrainingArguments
from .sampling import mix_pairs, move_inputs
from .token_cache import TokenCache

_PARTS = ("loss_structural", "loss_ssim", "loss_gradient", "loss_intensity")


def list_parts(config: GFFusionConfig) -> tuple[str, ...]:
    """Return the names of L_st and its terms, of ours those that have a weight.

    Examples:
        >>> list_parts(GFFusionConfig(vif_weight=1.0))
        ('loss_structural', 'loss_ssim', 'loss_gradient', 'loss_intensity', 'loss_vif')
    """
    return tuple(dict.fromkeys((*_PARTS, *(f"loss_{name}" for name in OUR_TERMS if getattr(config, f"{name}_weight")))))


class TrainingStep:
    """Make the training steps of a run; without labels, the head is frozen and L_ss is not part of the loss.

    `running_statistics` tells whether batch normalization uses them. "auto" depends on the initial weights, which a resumed run
    does not have: then set this attribute to the value in the checkpoint.
    """

    def __init__(
        self,
        model: GFFusionModel,
        arguments: FusionTrainingArguments,
        accelerator: Accelerator,
        labeled: bool,
        token_cache: TokenCache | None,
    ) -> None:
        self._model, self._accelerator, self._labeled = model, accelerator, labeled
        self._token_cache, self._max_grad_norm = token_cache, arguments.max_grad_norm
        self._mixed_share = arguments.mixed_pairs
        self.running_statistics = arguments.batch_normalization in ("running", "calibrated")
        if arguments.batch_normalization == "auto":
            self.running_statistics = any(layer.num_batches_tracked for layer in self._batch_normalizations())
        self.loss_names = ("loss", *list_parts(model.config), *(["loss_segmentation"] if labeled else []))
        if arguments.gradient_checkpointing:
            if hasattr(model, "activation_checkpointing_enable"):  # after transformers 5.22
                model.activation_checkpointing_enable()
            else:
                model.gradient_checkpointing_enable()
        if arguments.batch_normalization == "synchronized":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        head = list(model.ssnet.parameters()) if model.config.use_segmenter else []
        for parameter in head:
            parameter.requires_grad_(labeled)  # distributed training would wait for gradients that do not exist
        head_ids = {id(parameter) for parameter in head}
        body = [p for p in model.parameters() if p.requires_grad and id(p) not in head_ids]
        groups = [{"params": body}, *([{"params": head}] if labeled else [])]
        self._wrapped, self.optimizer = accelerator.prepare(model, torch.optim.Adam(groups, lr=arguments.learning_rate))
        if arguments.torch_compile:
            self._wrapped = torch.compile(self._wrapped)

    def __call__(self, batches: Sequence[dict[str, Any]], weight: float, head_learns: bool) -> Tensor:
        """Make one step of the optimizer with the batches of this process, one for each accumulated gradient.

        `weight` is lambda of Eq. (12). Returns the mean losses over the batches, a tensor of shape (len(loss_names),), in
        which L_ss is NaN if no process has a labeled pixel in this step.
        """
        inputs = [self._to_device(batch) for batch in batches]
        losses = []
        for number, (batch, factor) in enumerate(zip(inputs, self._label_factors(inputs), strict=True), start=1):
            # Processes synchronize gradients only with the last batch.
            is_last = number == len(inputs)
            with contextlib.nullcontext() if is_last else self._accelerator.no_sync(self._wrapped):
                losses.append(self._backward(batch, factor, weight, len(inputs)))
        if not head_learns and self._labeled:
            self._model.ssnet.zero_grad()  # Adam skips parameters without gradients, moments included
        if self._max_grad_norm:
            self._accelerator.clip_grad_norm_(self._model.parameters(), self._max_grad_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return torch.stack(losses).mean(0)

    def set_rates(self, rates: Sequence[float], factor: float) -> float:
        """Set the rates of FuNet with FINet and of the head, times a factor, and return the first one."""
        groups = self.optimizer.param_groups  # without labels, the head has no group
        for group, rate in zip(groups, rates, strict=False):
            group["lr"] = rate * factor
        return rates[0] * factor

    def train(self) -> None:
        """Set the model to training mode, with batch normalization as in `batch_normalization`, or constant if frozen."""
        for layer in self._train_unfrozen():
            layer.train(not self.running_statistics)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[dict[str, Any]]) -> None:
        """Replace the running statistics of batch normalization that is not frozen with their means over some batches."""
        layers = self._train_unfrozen()
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # cumulative mean over all batches
        for batch in batches:
            inputs = self._to_device(batch)
            inputs.pop("labels", None)
            with self._accelerator.autocast():
                self._model(**inputs, return_loss=False)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum

    def share_statistics(self) -> None:
        """Broadcast the batch normalization statistics of the main process, which are the ones saved."""
        if self._accelerator.num_processes > 1:
            for layer in self._batch_normalizations():
                for statistics in layer.buffers():
                    broadcast(statistics)

    def _train_unfrozen(self) -> list[nn.modules.batchnorm._BatchNorm]:
        """Set the model to training mode, except for frozen batch normalization, and return the other layers of that kind."""
        self._wrapped.train()
        layers = self._batch_normalizations()
        for layer in layers:
            trained = [parameter.requires_grad for parameter in layer.parameters()]
            if trained and not any(trained):
                layer.eval()
        return [layer for layer in layers if layer.training]

    def _batch_normalizations(self) -> list[nn.modules.batchnorm._BatchNorm]:
        return [module for module in self._model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]

    def unwrap(self) -> None:
        """Remove Accelerate's wrapper around the model's `forward`."""
        self._accelerator.unwrap_model(self._wrapped, keep_fp32_wrapper=False, keep_torch_compile=False)

    def _backward(self, batch: dict[str, Tensor], factor: Tensor | None, weight: float, num_batches: int) -> Tensor:
        """Accumulate the gradients of one batch, and return its losses."""
        output = self._wrapped(**batch, return_loss=True)
        if not isinstance(output, ModelOutput):
            raise ValueError(
                f"The `forward` of {type(self._model).__name__} must return a GFFusionOutput (`return_dict`), got a {type(output).__name__}."
            )
        if missing := [name for name in self.loss_names if output.get(name) is None]:
            raise ValueError(
                f"The `forward` of {type(self._model).__name__} must return {', '.join(missing)}, too: call `super().forward`, and add "
                "your own term to `outputs.loss`."
            )
        losses = {name: output[name] for name in self.loss_names}
        if factor is not None:  # Eq. (12) with this epoch's lambda; a subclass may have added terms
            share = weight * factor.nan_to_num() - self._model.config.segmentation_weight
            losses["loss"] = output.loss + share * output.loss_segmentation
            losses["loss_segmentation"] = output.loss_segmentation * factor
        self._accelerator.backward(losses["loss"] / num_batches)
        return torch.stack([value.detach().float() for value in losses.values()])

    def _label_factors(self, batches: Sequence[dict[str, Tensor]]) -> list[Tensor | None]:
        """Return a factor on the L_ss of each batch, so that all labeled pixels of the step have the same weight.

        Without it, the loss would depend on how the pairs of a step are distributed over batches and processes. It is NaN if
        the step has no labeled pixel.
        """
        if not self._labeled:
            return [None] * len(batches)
        config = self._model.config
        masses = [label_mass(batch["labels"], config.ignore_index, config.class_weights) for batch in batches]
        mass = torch.stack(masses).float()
        mean = self._accelerator.reduce(mass.mean(), "mean")
        return list((mass / mean).unbind())

    def _to_device(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        inputs = move_inputs(batch, self._accelerator.device)
        if ("labels" in batch) != self._labeled:  # the first item decided
            raise ValueError("Only some pairs of the training data have 'labels': give them to all items, or to none.")
        if self._token_cache:
            tokens = {name: batch[name] for name in ("token_key", "semantic_tokens")}
            with self._accelerator.autocast():
                inputs["semantic_tokens"] = self._token_cache.complete(inputs | tokens)
        return mix_pairs(inputs, self._mixed_share, self._model.config.ignore_index)


def raise_on_non_finite(
    losses: Tensor, model: nn.Module, step: int, steps_per_epoch: int, checkpoint: Path | None
) -> None:
    """Raise FloatingPointError if the total losses (steps,) of the steps up to `step`, or the weights, are not finite."""
    problem, finite = None, losses.isfinite()
    if not finite.all():
        first = int(finite.int().argmin())
        step, problem = step - len(losses) + first + 1, f"The loss is {losses[first].item()}"
    # A finite loss can have non-finite gradients, which the next loss would reveal only after the weights were saved.
    elif not all(bool(p.isfinite().all()) for p in model.parameters() if p.requires_grad):
        problem = "A weight is not finite"
    if problem:
        last = None if checkpoint is None else checkpoint.parent.parent / "last"
        start = f" from the weights in {last}" if last and last.is_dir() else ""
        raise FloatingPointError(
            f"{problem} at step {step} (epoch {(step - 1) // steps_per_epoch + 1}). The last good checkpoint: "
            f"{checkpoint or 'none yet'}. A lower `learning_rate` may help, which a resumed run cannot change: start a new run{start}."
        )
