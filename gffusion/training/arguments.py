"""FusionTrainingArguments: the options of a training run."""

from dataclasses import dataclass, field
from typing import Literal

from .strict_options import at_least, between, fraction, strict_options


@strict_options
@dataclass
class FusionTrainingArguments:
    """Options of a training run, named as in transformers. Defaults are from the paper (Algorithm 1) or marked as ours.

    Args:
        output_dir: Folder of checkpoints, logs, images and weights.
        overwrite_output_dir: Start over if the folder contains another run, and delete its checkpoints, log, images and weights,
            but no other files in these folders and no edited model cards. A folder whose files no run wrote is refused. Excludes
            `resume_from_checkpoint`.
        resume_from_checkpoint: Continue from the newest checkpoint in `output_dir`, or start if there is none. A path does the
            same, and must be that of the newest checkpoint; older ones are deleted.
        num_train_epochs: Total number of epochs (paper: 150).
        head_start_epoch: q, the epoch from which the head is trained, lambda rises and the rates decay (ours; the paper contradicts itself).
        per_device_train_batch_size: Pairs per process and forward pass (ours).
        gradient_accumulation_steps: Forward passes per step. A step has the gradient of one batch of
            `per_device_train_batch_size * gradient_accumulation_steps * processes` pairs.
        learning_rate: Adam's rate for FuNet and FINet (paper: 1e-3), constant before q, then a cosine down to 0 (ours).
        warmup_steps: Steps in which both rates rise linearly from 0, as in transformers (paper: none).
        head_learning_rate: Adam's rate for the segmentation head (paper: 1e-4).
        head_decay_factor: Factor on the head's rate every `head_decay_epochs` epochs after q (paper: 0.1).
        head_decay_epochs: Epochs between two decays of the head's rate (paper: 10).
        segmentation_weight_end: Value of lambda after the last epoch, to which it rises on a cosine from
            `config.segmentation_weight` (ours).
        max_grad_norm: Common norm to which all gradients are clipped (ours); 0 disables clipping.
        batch_normalization: Statistics in training steps. "local": of the process's batch. "synchronized": of the batches
            of all processes, on GPUs. "running": the constant running statistics of the initial weights.
            "calibrated": like "running", but measured on the first batches before the first step. "auto": "running" for
            pretrained weights, else "local". Frozen layers, also those of `freeze_batch_norm()`, always use their
            running statistics.
        mixed_pairs: Share of each batch, at least two pairs, that is trained on the infrared images of other pairs, and without
            labels (ours). Pixels that were not measured keep the brightness of the visible image of their own pair, so that the
            option suits only complete infrared images. A batch of labeled data must be larger than the pairs that are mixed.
        bf16: Compute the forward pass in bfloat16, in evaluations as well. The trained weights are float32.
        fp16: Compute the forward pass in float16, on GPUs.
        gradient_checkpointing: Recompute activations in the backward pass, to save memory.
        torch_compile: Compile the model with `torch.compile`.
        token_cache: Folder for CLIP's tokens, so that each pair is encoded once. Needs the hybrid paradigm and a transform
            with few different results, see [`TokenCache`].
        eval_strategy: When to evaluate: "epoch" (every `eval_epochs` epochs), "steps" (every `eval_steps` steps) or "no".
            The first two also evaluate after the last step.
        eval_on_start: Evaluate before the first step as well, to compare the result with the initial weights. Does not affect
            which weights are the best.
        eval_epochs: Epochs between two evaluations (ours, because recipes cannot know the number of steps per epoch).
        eval_steps: Steps between two evaluations.
        eval_metrics: Fusion metrics of the evaluation: EN, SD, SF, AG, MI, NMI, CC, SCD, MSE, PSNR, VIF, VIFF, Qabf, Nabf, SSIM or
            MS-SSIM, or of `register_metric` in Python. Labeled data adds mIoU.
        metric_for_best_model: Criterion of the best weights: "loss_structural" or another loss, "mIoU", or one of
            `eval_metrics`.
        early_stopping_patience: Number of evaluations without better weights after which the run ends, with its epoch; 0 trains all
            epochs.
        num_eval_images: Evaluation pairs drawn in `images/` before the first step and at each evaluation.
        save_steps: Steps between two checkpoints, in addition to one per epoch and per new best weights; 0 adds none.
        logging_steps: Steps between two updates of the progress bar and the trackers, which also check for non-finite losses.
        report_to: Trackers in addition to `log.jsonl`: "tensorboard", "trackio", "wandb" or others of Accelerate; "none" is none.
        push_to_hub: Upload the best weights at the end. The repository is created before the first step.
        hub_model_id: Repository of the upload, "name" or "organization/name".
        dataloader_num_workers: Processes that load data; 0 loads in the main process. Those of a recipe are lowered to the
            usable cores, with a note.
        disable_tqdm: Show no progress bars, nor lines about the progress where standard error is no terminal. A line tells when an
            evaluation begins.
        seed: Seed of order and augmentation, and of weights that `gffusion train` initializes. In Python,
            seed before you create the model.

    Raises:
        TypeError: If there is no option of a name.
        ValueError: If a value has the wrong type or is out of range, also on later assignment.
    """

    output_dir: str
    overwrite_output_dir: bool = False
    resume_from_checkpoint: bool | str = False
    num_train_epochs: int = at_least(1, default=150)
    head_start_epoch: int = at_least(0, default=100)
    per_device_train_batch_size: int = at_least(1, default=8)
    gradient_accumulation_steps: int = at_least(1, default=1)
    learning_rate: float | int = fraction(default=1e-3)
    warmup_steps: int = at_least(0, default=0)
    head_learning_rate: float | int = fraction(default=1e-4)
    head_decay_factor: float | int = fraction(default=0.1)
    head_decay_epochs: int = at_least(1, default=10)
    segmentation_weight_end: float | int = at_least(0, default=1.0)
    max_grad_norm: float | int = at_least(0, default=1.0)
    batch_normalization: Literal["auto", "local", "synchronized", "running", "calibrated"] = "auto"
    mixed_pairs: float | int = at_least(0, default=0.0)
    bf16: bool = False
    fp16: bool = False
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    token_cache: str | None = None
    eval_strategy: Literal["no", "steps", "epoch"] = "epoch"
    eval_on_start: bool = False
    eval_epochs: int = at_least(1, default=1)
    eval_steps: int = at_least(1, default=500)
    eval_metrics: list[str] = field(default_factory=lambda: ["EN", "SCD", "VIF", "Qabf", "SSIM"])
    metric_for_best_model: str = "loss_structural"
    early_stopping_patience: int = at_least(0, default=0)
    num_eval_images: int = at_least(0, default=4)
    save_steps: int = at_least(0, default=0)
    logging_steps: int = at_least(1, default=10)
    report_to: list[str] | str = field(default_factory=list)
    push_to_hub: bool = False
    hub_model_id: str | None = None
    dataloader_num_workers: int = at_least(0, default=0)
    disable_tqdm: bool = False
    seed: int = between(0, 2**32 - 1, default=0)  # which NumPy takes

    @property
    def mixed_precision(self) -> Literal["no", "bf16", "fp16"]:
        """Precision of the forward pass as Accelerate names it."""
        return "fp16" if self.fp16 else "bf16" if self.bf16 else "no"

    @property
    def trackers(self) -> list[str]:
        """Names of the trackers in `report_to`, without "none"."""
        names = [self.report_to] if isinstance(self.report_to, str) else self.report_to
        return [name for name in names if name != "none"]

    def validate_combinations(self) -> None:
        """Raise ValueError if options exclude each other, or one lacks another that it needs."""
        if self.overwrite_output_dir and self.resume_from_checkpoint:
            raise ValueError(
                "`overwrite_output_dir` deletes the run that `resume_from_checkpoint` continues: set one of them."
            )
        if self.early_stopping_patience and self.eval_strategy == "no":
            raise ValueError('`early_stopping_patience` counts evaluations: set `eval_strategy` to "epoch" or "steps".')
        if self.bf16 and self.fp16:
            raise ValueError("`bf16` and `fp16` exclude each other: set one of them.")
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("`push_to_hub` needs a repository: set `hub_model_id`.")

    def validate_mixed_pairs(self) -> None:
        """Raise ValueError if the share exceeds 1, a batch has one pair, or tokens of pairs are cached that are then mixed."""
        if self.mixed_pairs > 1:
            raise ValueError(f"`mixed_pairs` must lie in [0, 1], got {self.mixed_pairs}.")
        if self.mixed_pairs and self.per_device_train_batch_size < 2:
            raise ValueError(
                "`mixed_pairs` mixes the pairs of a batch: set `per_device_train_batch_size` to 2 or more."
            )
        if self.mixed_pairs and self.token_cache:
            raise ValueError("`token_cache` has the tokens of whole pairs: set `mixed_pairs` to 0, or omit the cache.")
