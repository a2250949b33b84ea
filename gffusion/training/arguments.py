"""FusionTrainingArguments: everything that a training run can be told."""

from dataclasses import dataclass, field
from typing import Literal

from .checked import at_least, checked, fraction


@checked
@dataclass
class FusionTrainingArguments:
    """Options of a training run; the defaults are the paper's (Algorithm 1), or ours where it is silent.

    Args:
        output_dir: Folder of checkpoints, logs, images and weights.
        overwrite_output_dir: Start anew where the folder holds another run, whose checkpoints are lost then.
        resume_from_checkpoint: Go on from the newest checkpoint in `output_dir`, if there is one.
        num_train_epochs: Epochs in all (paper: 150).
        head_start_epoch: q. From this epoch on the head learns too, lambda rises and the rates decay (paper: 100).
        per_device_train_batch_size: Pairs per process and forward pass (ours).
        gradient_accumulation_steps: Forward passes per step. The gradient of a step is that of one batch of
            `per_device_train_batch_size * gradient_accumulation_steps * processes` pairs.
        learning_rate: Adam's rate for FuNet and FINet (paper: 1e-3). Constant before q, then a cosine down to 0 (ours).
        warmup_steps: Steps over which both rates rise linearly from 0, as in transformers (paper: 0).
        head_learning_rate: Adam's rate for the segmentation head (paper: 1e-4).
        head_decay_factor: Factor on the head's rate every `head_decay_epochs` epochs after q (paper: 0.1).
        head_decay_epochs: Epochs between two decays of the head's rate (paper: 10).
        segmentation_weight_end: Where the cosine rise of lambda from `config.segmentation_weight` ends (ours).
        max_grad_norm: Gradients are clipped to this norm (ours); 0 switches clipping off.
        batch_normalization: Statistics of the training steps: each process's own batch ("local"), that of all
            processes ("synchronized", on GPUs), or the running ones, which then stay what they are: those of the weights
            that the training starts from ("running"), or measured anew on the first batches, before the first step
            ("calibrated"). "auto" is "running" for weights that were trained before, and "local" for new ones.
        bf16: Compute the forward pass in bfloat16.
        fp16: Compute the forward pass in float16, on GPUs.
        gradient_checkpointing: Compute activations again in the backward pass rather than keep them.
        torch_compile: Compile the model with `torch.compile`.
        token_cache: Folder in which CLIP's tokens are kept, so that each pair is encoded once. Needs the hybrid
            paradigm and a transform with few different results, see [`TokenCache`].
        eval_strategy: When to evaluate: "epoch" (every `eval_epochs` epochs), "steps" (every `eval_steps` steps), both also
            after the last step, or "no".
        eval_epochs: Epochs between two evaluations (ours: recipes cannot know how many steps an epoch of your data has).
        eval_steps: Steps between two evaluations.
        eval_metrics: Fusion metrics of the evaluation, names of `list_metrics()`. mIoU joins them where there are labels.
        metric_for_best_model: What chooses the best weights: "loss_structural" or another loss, "mIoU", or one of `eval_metrics`.
        num_eval_images: Evaluation pairs that are shown in `images/`, before the first step and at each evaluation.
        save_steps: Write a checkpoint every so many steps, besides that of each epoch; 0 keeps to epochs.
        logging_steps: Steps between two looks at the losses: progress bar, `report_to`, and the check that they are finite.
        report_to: Where losses go besides `log.jsonl`: "tensorboard", "trackio", "wandb" or another that Accelerate knows.
        push_to_hub: Upload the best weights at the end. The repository is created before the first step.
        hub_model_id: Repository they go to, as "name" or "organisation/name".
        dataloader_num_workers: Processes that load data; 0 loads in the main process.
        seed: Fixes initial weights, order and augmentation.

    Raises:
        ValueError: If a value has the wrong type or is out of range, also on later assignment.
    """

    output_dir: str
    overwrite_output_dir: bool = False
    resume_from_checkpoint: bool = False
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
    bf16: bool = False
    fp16: bool = False
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    token_cache: str | None = None
    eval_strategy: Literal["no", "steps", "epoch"] = "epoch"
    eval_epochs: int = at_least(1, default=1)
    eval_steps: int = at_least(1, default=500)
    eval_metrics: list[str] = field(default_factory=lambda: ["EN", "SCD", "VIF", "Qabf", "SSIM"])
    metric_for_best_model: str = "loss_structural"
    num_eval_images: int = at_least(0, default=4)
    save_steps: int = at_least(0, default=0)
    logging_steps: int = at_least(1, default=10)
    report_to: list[str] = field(default_factory=list)
    push_to_hub: bool = False
    hub_model_id: str | None = None
    dataloader_num_workers: int = at_least(0, default=0)
    seed: int = at_least(0, default=0)

    @property
    def mixed_precision(self) -> Literal["no", "bf16", "fp16"]:
        """Precision of the forward pass as Accelerate names it."""
        if self.fp16:
            return "fp16"
        return "bf16" if self.bf16 else "no"

    def validate_precision(self) -> None:
        """Raise ValueError if both half precisions are asked for."""
        if self.bf16 and self.fp16:
            raise ValueError("`bf16` and `fp16` exclude each other: set one of them.")

    def validate_repository(self) -> None:
        """Raise ValueError if the weights shall be uploaded to no repository."""
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("`push_to_hub` needs the name of the repository: set `hub_model_id`.")
