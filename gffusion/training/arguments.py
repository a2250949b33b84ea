"""FusionTrainingArguments: everything that a training run can be told."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass
class FusionTrainingArguments:
    """Options of a training run; the defaults are the paper's (Algorithm 1), or ours where it is silent.

    Args:
        output_dir: Folder of checkpoints, logs, pictures and weights.
        overwrite_output_dir: Start anew where the folder holds another run, whose checkpoints are lost then.
        num_epochs: Epochs in all (paper: 150).
        head_start_epoch: q. From this epoch on the head learns too, lambda rises and the rates decay (paper: 100).
        batch_size: Pairs per process and forward pass (ours).
        gradient_accumulation_steps: Forward passes per step. The gradient of a step is that of one batch of
            `batch_size * gradient_accumulation_steps * processes` pairs.
        learning_rate: Adam's rate for FuNet and FINet (paper: 1e-3). Constant before q, then a cosine down to 0 (ours).
        head_learning_rate: Adam's rate for the segmentation head (paper: 1e-4).
        head_decay_factor: Factor on the head's rate every `head_decay_epochs` epochs after q (paper: 0.1).
        head_decay_epochs: Epochs between two decays of the head's rate (paper: 10).
        segmentation_weight_end: Where the cosine rise of lambda from `config.segmentation_weight` ends (ours).
        max_gradient_norm: Gradients are clipped to this norm (ours); 0 switches clipping off.
        batch_normalization: Statistics of the training steps: each process's own batch ("local"), that of all
            processes ("synchronized", on GPUs), or the running ones, which then stay what they are: those of the weights
            that the training starts from ("running"), or measured anew on the first batches, before the first step
            ("calibrated"). "auto" is "running" for weights that were trained before, and "local" for new ones.
        mixed_precision: Precision of the forward pass, "no", "bf16" or "fp16".
        gradient_checkpointing: Compute activations again in the backward pass rather than keep them.
        compile: Compile the model with `torch.compile`.
        token_cache: Folder in which CLIP's tokens are kept, so that each pair is encoded once. Needs the hybrid
            paradigm and a transform with few different results, see [`TokenCache`].
        eval_epochs: Evaluate every so many epochs, and after the last.
        eval_steps: Evaluate every so many steps instead; 0 goes by epochs.
        eval_metrics: Fusion metrics of the evaluation, names of `list_metrics()`. mIoU joins them where there are labels.
        best_metric: What chooses the best weights: "loss_structural" or another loss, "mIoU", or one of `eval_metrics`.
        num_pictures: Evaluation pairs that are shown in `pictures/`, before the first step and at each evaluation.
        checkpoint_steps: Write a checkpoint every so many steps, besides that of each epoch; 0 keeps to epochs.
        logging_steps: Steps between two looks at the losses: progress bar, trackers, and the check that they are finite.
        trackers: Where losses go besides `log.jsonl`: "tensorboard", "trackio", "wandb" or another that Accelerate knows.
        push_to_hub: Upload the best weights at the end. The repository is created before the first step.
        hub_model_id: Repository they go to, as "name" or "organisation/name".
        num_workers: Processes that load data; 0 loads in the main process.
        seed: Fixes initial weights, order and augmentation.

    Raises:
        ValueError: If a value is out of range.
    """

    output_dir: str
    overwrite_output_dir: bool = False
    num_epochs: int = 150
    head_start_epoch: int = 100
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-4
    head_decay_factor: float = 0.1
    head_decay_epochs: int = 10
    segmentation_weight_end: float = 1.0
    max_gradient_norm: float = 1.0
    batch_normalization: Literal["auto", "local", "synchronized", "running", "calibrated"] = "auto"
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    gradient_checkpointing: bool = False
    compile: bool = False
    token_cache: str | None = None
    eval_epochs: int = 1
    eval_steps: int = 0
    eval_metrics: list[str] = field(default_factory=lambda: ["EN", "SCD", "VIF", "Qabf", "SSIM"])
    best_metric: str = "loss_structural"
    num_pictures: int = 4
    checkpoint_steps: int = 0
    logging_steps: int = 10
    trackers: list[str] = field(default_factory=list)
    push_to_hub: bool = False
    hub_model_id: str | None = None
    num_workers: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in (
            "num_epochs",
            "batch_size",
            "gradient_accumulation_steps",
            "head_decay_epochs",
            "eval_epochs",
            "logging_steps",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        for name in (
            "head_start_epoch",
            "max_gradient_norm",
            "eval_steps",
            "num_pictures",
            "checkpoint_steps",
            "num_workers",
            "seed",
            "segmentation_weight_end",
        ):
            if not getattr(self, name) >= 0:  # NaN fails this, too
                raise ValueError(f"`{name}` must not be negative, got {getattr(self, name)}.")
        for name in ("learning_rate", "head_learning_rate", "head_decay_factor"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"`{name}` must lie in (0, 1], got {getattr(self, name)}.")
        for name, allowed in (
            ("mixed_precision", ("no", "bf16", "fp16")),
            ("batch_normalization", ("auto", "local", "synchronized", "running", "calibrated")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"`{name}` must be one of {', '.join(allowed)}, got {getattr(self, name)!r}.")
        if self.push_to_hub and not self.hub_model_id:
            raise ValueError("`push_to_hub` needs the name of the repository: set `hub_model_id`.")
