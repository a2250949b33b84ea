"""Train the encoders of gffusion-tiny: small networks with the architectures, but not the weights, of CLIP and DINOv2.

    python -m projects.gffusion_tiny.encoders clip --data DIR [DIR ...] --teacher efficientnet-lite0-57934424.pth \
        --targets runs/tiny/targets.pt --output runs/tiny/clip

and the same with `dinov2`. From either image of a pair, they learn to predict the features of an ImageNet classifier for both
(`teacher.py`) and, if the data has boxes, their classes. OUTPUT gets `log.jsonl`, `checkpoint.pt` for `--resume` and, at the
end, `encoder` for `CLIPVisionModel.from_pretrained` or `Dinov2Model.from_pretrained`.
"""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import ConcatDataset, DataLoader, Dataset
from tqdm import tqdm
from transformers import AutoModel, CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model, PreTrainedModel

from gffusion.models.gffusion.image_ops import CLIP_MEAN, CLIP_STD, DINOV2_MEAN, DINOV2_STD, prepare_images

from .teacher import EfficientNetLite0, joint_targets
from .views import IMAGE_SIZE, NUM_CLASSES, Views, load_pairs

Losses = Callable[[Any, dict[str, Any]], dict[str, Tensor]]

COMMON = {"hidden_size": 160, "num_hidden_layers": 12, "num_attention_heads": 4, "image_size": IMAGE_SIZE}
SUPERVISED_LEVELS = (3, 6, 9, 12)
TARGET_CHANNELS = 32  # later components are mostly unpredictable for a student

# About the square root of the inverse frequencies: background covers most patches, people and bicycles few.
CLASS_WEIGHTS = (1.0, 8.0, 16.0, 4.0)
BOX_WEIGHT, AGREEMENT_WEIGHT = 1.0, 0.2

# Peak learning rates of Muon for matrices, and of AdamW for the other weights.
MUON_RATE, ADAMW_RATE, WARMUP_SHARE, DECAY_SHARE = 5e-3, 1e-3, 0.03, 0.5
LOG_STEPS, CHECKPOINT_STEPS, RESCALING_VIEWS = 50, 200, 32


def build_encoder(kind: str) -> PreTrainedModel:
    """Return an untrained `"clip"` or `"dinov2"` encoder."""
    # For so few tokens, the backward pass of eager attention is faster on CPUs than that of the fused kernel.
    options = COMMON | {"attn_implementation": "eager"}
    if kind == "clip":
        encoder = CLIPVisionModel(
            CLIPVisionConfig(**options, patch_size=16, intermediate_size=2 * COMMON["hidden_size"])
        )
    else:
        encoder = Dinov2Model(Dinov2Config(**options, patch_size=14, mlp_ratio=2))
    initialize(encoder)
    return encoder


@torch.no_grad()
def initialize(encoder: PreTrainedModel) -> None:
    """Initialize the weights for training on few images; the defaults barely distinguish dark images for many steps.

    Linear layers get a larger standard deviation, patch filters respond to contrast rather than brightness, and position
    embeddings are sines and cosines of several wavelengths along both axes, as in "Attention Is All You Need".
    """
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.06)
        elif isinstance(module, nn.Conv2d):
            module.weight -= 0.9 * module.weight.mean(dim=(2, 3), keepdim=True)
    grid = encoder.config.image_size // encoder.config.patch_size
    places = torch.arange(grid) + 0.5
    rates = torch.pi / grid * 2 ** torch.linspace(0, 3, encoder.config.hidden_size // 4)
    rows, columns = (axis.reshape(-1, 1) * rates for axis in torch.meshgrid(places, places, indexing="ij"))
    waves = 0.3 * torch.cat([columns.sin(), columns.cos(), rows.sin(), rows.cos()], dim=1)
    name = "position_embedding.weight" if isinstance(encoder, CLIPVisionModel) else "position_embeddings"
    (embedding,) = (parameter for path, parameter in encoder.named_parameters() if path.endswith(name))
    embedding.view(-1, waves.shape[1])[1:] = waves  # the first row is that of the class token


@torch.no_grad()
def start_from(encoder: PreTrainedModel, folder: Path) -> None:
    """Copy the weights of a trained `"clip"` encoder to a `"dinov2"` encoder: all but the norms around the layers."""
    trained = AutoModel.from_pretrained(folder).state_dict()
    renamed = {
        name.replace("encoder.layers.", "encoder.layer.")
        .replace("self_attn.", "attention.")
        .replace("out_proj", "o_proj")
        .replace("layer_norm", "norm"): weight
        for name, weight in trained.items()
        if name.startswith("encoder.")
    }
    patches = encoder.embeddings.patch_embeddings.projection.weight
    places = encoder.embeddings.position_embeddings
    grid = round((places.shape[1] - 1) ** 0.5)
    table = trained["embeddings.position_embedding.weight"]  # (1 + N, D), the class token first
    old_grid = round((len(table) - 1) ** 0.5)
    maps = rearrange(table[1:], "(h w) d -> 1 d h w", h=old_grid)
    patches.copy_(F.interpolate(trained["embeddings.patch_embedding.weight"], patches.shape[-2:], mode="bicubic"))
    places[:, 1:] = rearrange(F.interpolate(maps, [grid, grid], mode="bicubic"), "1 d h w -> 1 (h w) d")
    encoder.load_state_dict({**encoder.state_dict(), **renamed})


def to_pixel_values(images: Tensor, encoder: PreTrainedModel, size: Sequence[int] | None = None) -> Tensor:
    """Resize and normalize images (B, 1 or 3, H, W) in [0, 1] as `GFFusionModel` does; `size` defaults to the native one."""
    mean, std = (CLIP_MEAN, CLIP_STD) if isinstance(encoder, CLIPVisionModel) else (DINOV2_MEAN, DINOV2_STD)
    return prepare_images(images, size or [encoder.config.image_size] * 2, mean, std, encoder.dtype)


class Student(nn.Module):
    """An encoder with linear heads that predict targets and classes from the tokens of several layers, for training only."""

    def __init__(self, encoder: PreTrainedModel, target_channels: int) -> None:
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.heads = nn.ModuleList(nn.Linear(width, target_channels + NUM_CLASSES) for _ in SUPERVISED_LEVELS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) in [0, 1] to normalized tokens (L, B, N, D) and predictions (L, B, N, C + 4)."""
        pixel_values = to_pixel_values(images, self.encoder)
        # Not a list of layers, whose indices mean other layers before transformers 5.23.
        states = self.encoder(pixel_values, output_hidden_states=True).hidden_states
        tokens = [F.layer_norm(states[level][:, 1:].float(), states[level].shape[-1:]) for level in SUPERVISED_LEVELS]
        read = [head(level) for head, level in zip(self.heads, tokens, strict=True)]
        return torch.stack(tokens), torch.stack(read).float()


@torch.no_grad()
def rescale(encoder: PreTrainedModel, images: Tensor) -> None:
    """Scale the hidden states that FINet reads to a standard deviation of 1 over images (B, 3, H, W).

    All layers normalize the residual stream before reading it, so training leaves its scale undetermined. Dividing all layers
    that write to it by one number does not change the encoder's function.
    """
    hidden = encoder(to_pixel_values(images, encoder), output_hidden_states=True).hidden_states[-2]
    if isinstance(encoder, CLIPVisionModel):
        written = [
            encoder.pre_layrnorm,
            *(layer for block in encoder.encoder.layers for layer in (block.self_attn.out_proj, block.mlp.fc2)),
        ]
    else:
        written = [encoder.embeddings, *(part for name, part in encoder.named_modules() if "layer_scale" in name)]
    for parameter in {parameter for module in written for parameter in module.parameters()}:
        parameter /= hidden[:, 1:].std()


def losses(student: Student, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the minimized "loss" and its parts.

    "unexplained" is the mean squared error of the targets, which have variance 1; "boxes" is the weighted cross-entropy of
    the classes by coverage; "disagreement" is 1 minus the cosine between the tokens of both images at the same place. The mean
    over the batch is subtracted first, so that constant tokens do not agree.
    """
    tokens, read = student(torch.cat([batch["visible"], batch["infrared"]]))
    target = batch["target"].flatten(2).transpose(1, 2).repeat(2, 1, 1)  # (2 B, N, C), one for both modalities
    coverage = batch["coverage"].flatten(2).transpose(1, 2).repeat(2, 1, 1)
    predicted, logits = read.split([target.shape[-1], NUM_CLASSES], dim=-1)
    weighted = coverage * coverage.new_tensor(CLASS_WEIGHTS)
    particular = tokens - tokens.mean(dim=1, keepdim=True)
    cross_entropy = -(weighted * logits.log_softmax(dim=-1)).sum() / len(logits)
    parts = {
        "unexplained": F.mse_loss(predicted, target.expand_as(predicted)),
        "boxes": cross_entropy / weighted.sum().clamp(min=1),
        "disagreement": 1 - F.cosine_similarity(*particular.chunk(2, dim=1), dim=-1).mean(),
    }
    total = parts["unexplained"] + BOX_WEIGHT * parts["boxes"] + AGREEMENT_WEIGHT * parts["disagreement"]
    return {"loss": total, **parts}


def rate_factor(step: int, steps: int) -> float:
    """Return the factor of the peak learning rates: linear warm-up, plateau, and linear decay to 0."""
    return min(1.0, (step + 1) / max(1, WARMUP_SHARE * steps), (steps - step) / max(1, DECAY_SHARE * steps))


def build_optimizers(student: nn.Module, encoder_share: float = 1.0) -> list[torch.optim.Optimizer]:
    """Return Muon (Jordan et al., 2024) for the matrices of the encoder's layers, and AdamW for all other weights.

    AdamW alone learned little in the first hundreds of steps. `encoder_share` scales the peak learning rates of the encoder,
    not those of heads.
    """
    matrices, tables, vectors, heads = [], [], [], []
    for name, parameter in student.named_parameters():
        is_matrix = parameter.dim() == 2 and "embed" not in name
        encoder_part = matrices if is_matrix else tables if parameter.dim() > 1 else vectors
        (encoder_part if name.startswith("encoder.") else heads).append(parameter)
    muon = torch.optim.Muon(matrices, lr=encoder_share * MUON_RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    groups = [
        {"params": tables, "weight_decay": 0.05, "lr": encoder_share * ADAMW_RATE},
        {"params": vectors, "weight_decay": 0.0, "lr": encoder_share * ADAMW_RATE},
        {"params": heads, "weight_decay": 0.05},
    ]
    return [muon, torch.optim.AdamW(groups, lr=ADAMW_RATE)]


def add_training_options(parser: argparse.ArgumentParser, steps: int, batch_size: int) -> None:
    """Add the options of `train`."""
    parser.add_argument("--steps", type=int, default=steps, help="number of optimizer steps")
    parser.add_argument("--batch_size", type=int, default=batch_size, help="number of pairs per step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help='"cpu", "cuda", ...')
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="number of processes that load views")
    parser.add_argument("--bf16", action="store_true", help="use bfloat16, twice as fast on hardware that supports it")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint, if any")


def train(
    student: nn.Module,
    losses: Losses,
    views: Dataset[dict[str, Tensor]],
    options: argparse.Namespace,
    optimizers: Sequence[torch.optim.Optimizer],
) -> None:
    """Train `student`, from the last checkpoint with `--resume`, and move it to the CPU.

    `losses` gets the student and the batch.
    """
    student.to(options.device)
    schedules = [LambdaLR(optimizer, partial(rate_factor, steps=options.steps)) for optimizer in optimizers]
    resumed = {
        "student": student,
        **{f"{type(part).__name__} {n}": part for n, part in enumerate([*optimizers, *schedules])},
    }
    checkpoint, log = options.output / "checkpoint.pt", options.output / "log.jsonl"
    start = restore(checkpoint, log, resumed) if options.resume else 0
    if not start:
        log.unlink(missing_ok=True)
    draws = range(start * options.batch_size, options.steps * options.batch_size)
    loader = DataLoader(views, options.batch_size, sampler=draws, num_workers=options.workers)
    batches = ({name: value.to(options.device) for name, value in batch.items()} for batch in loader)
    recent: list[dict[str, float]] = []
    progress = tqdm(batches, initial=start, total=options.steps, unit="step", disable=None, desc=options.output.name)
    for step, batch in enumerate(progress, start=start):
        with torch.autocast(torch.device(options.device).type, torch.bfloat16, enabled=options.bf16):
            parts = losses(student, batch)
        if not parts["loss"].isfinite():
            raise FloatingPointError(f"the loss of step {step} is {parts['loss'].item()}")
        student.zero_grad()
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        recent.append({name: part.item() for name, part in parts.items()})
        done = step + 1
        if done % LOG_STEPS == 0 or done == options.steps:
            means = {name: sum(record[name] for record in recent) / len(recent) for name in recent[0]}
            progress.set_postfix(means)
            with log.open("a") as file:
                file.write(json.dumps({"step": done, **{name: round(mean, 5) for name, mean in means.items()}}) + "\n")
            recent.clear()
        if done % CHECKPOINT_STEPS == 0 or done == options.steps:
            save_atomically({"step": done, **{name: part.state_dict() for name, part in resumed.items()}}, checkpoint)
    student.to("cpu")


def restore(checkpoint: Path, log: Path, resumed: dict[str, Any]) -> int:
    """Load the last checkpoint, drop later lines of the log, and return its step; 0 if there is no checkpoint."""
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    for name, part in resumed.items():
        part.load_state_dict(state[name])
    lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= state["step"]]
    log.write_text("".join(f"{line}\n" for line in lines))
    return state["step"]


def save_atomically(content: Any, path: Path) -> None:
    """Write a file atomically."""
    unfinished = path.with_suffix(".partial")
    torch.save(content, unfinished)
    os.replace(unfinished, path)


def load_targets(options: argparse.Namespace, pairs: ConcatDataset[dict[str, Tensor]]) -> Tensor:
    """Return the targets of the teacher, which are computed once for both encoders."""
    if not options.targets.exists():
        progress = tqdm(pairs, unit="pair", disable=None, desc="teacher")
        targets = joint_targets(EfficientNetLite0.from_file(options.teacher), progress, TARGET_CHANNELS)
        options.targets.parent.mkdir(parents=True, exist_ok=True)
        save_atomically(targets, options.targets)
    return torch.load(options.targets, weights_only=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train one encoder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("clip", "dinov2"))
    parser.add_argument("--data", nargs="+", required=True, help="folders of training pairs, with or without boxes")
    parser.add_argument("--teacher", type=Path, required=True, help="file of the weights of the teacher")
    parser.add_argument(
        "--targets", type=Path, required=True, help="file of the targets of the teacher; computed if missing"
    )
    parser.add_argument("--output", type=Path, required=True)
    add_training_options(parser, steps=3000, batch_size=8)
    parser.add_argument("--start", type=Path, help="folder of the trained clip encoder from which dinov2 starts")
    options = parser.parse_args(arguments)
    if options.start and options.kind != "dinov2":
        parser.error("--start can only be used with dinov2")

    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    pairs = load_pairs(options.data)
    targets = load_targets(options, pairs)
    torch.manual_seed(options.seed)  # after the targets, so that computing them changes nothing
    student = Student(build_encoder(options.kind), targets.shape[1])
    if options.start:
        start_from(student.encoder, options.start)
    grid = IMAGE_SIZE // student.encoder.config.patch_size
    length = options.steps * options.batch_size
    views = Views(pairs, targets, grid, length, options.seed, fuse=options.kind == "dinov2")
    train(student, losses, views, options, build_optimizers(student))
    rescale(student.encoder, torch.stack([views[draw]["visible"] for draw in range(RESCALING_VIEWS)]))
    student.encoder.save_pretrained(options.output / "encoder")


if __name__ == "__main__":
    main()
