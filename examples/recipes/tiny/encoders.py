"""Train the frozen encoders of gffusion-tiny, small networks of the architectures of CLIP and DINOv2, not those models.

    python examples/recipes/tiny/encoders.py clip --data DIR [DIR ...] --teacher efficientnet-lite0-57934424.pth \
        --targets runs/tiny/targets.pt --output runs/tiny/clip

and the same with `dinov2`. From either modality of a pair they learn to tell what an ImageNet classifier sees in both
(`teacher.py`), and, where the data have boxes, what lies in them. OUTPUT gets `log.jsonl`, `checkpoint.pt`, from which
`--resume` goes on, and at the end `encoder`, for `CLIPVisionModel.from_pretrained` or `Dinov2Model.from_pretrained`.
"""

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from teacher import EfficientNetLite0, joint_targets
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, DataLoader
from tqdm import tqdm
from transformers import CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model, PreTrainedModel
from views import IMAGE_SIZE, NUM_CLASSES, Views, load_pairs

from gffusion.modeling_gffusion import CLIP_MEAN, CLIP_STD, DINOV2_MEAN, DINOV2_STD, prepare_images

COMMON = {"hidden_size": 160, "num_hidden_layers": 12, "num_attention_heads": 4, "image_size": IMAGE_SIZE}
SUPERVISED_LEVELS = (3, 6, 9, 12)
TARGET_CHANNELS = 32  # what comes later is mostly what no student can predict

# Background covers most patches, people and bicycles few; about the square root of that.
CLASS_WEIGHTS = (1.0, 8.0, 16.0, 4.0)
BOX_WEIGHT, AGREEMENT_WEIGHT = 0.5, 0.2

PEAK_RATE, WEIGHT_DECAY, WARMUP_SHARE = 3e-4, 0.05, 0.05
LOG_STEPS, CHECKPOINT_STEPS = 50, 200


def build_encoder(kind: str) -> PreTrainedModel:
    """Return a `"clip"` or `"dinov2"` encoder before training."""
    # For so few tokens, the backward pass of plain attention is quicker on CPUs than that of the fused kernel.
    options = COMMON | {"attn_implementation": "eager"}
    if kind == "clip":
        encoder = CLIPVisionModel(CLIPVisionConfig(**options, patch_size=16, intermediate_size=320))
    else:
        encoder = Dinov2Model(Dinov2Config(**options, patch_size=14, mlp_ratio=2))
    initialise(encoder)
    return encoder


@torch.no_grad()
def initialise(encoder: PreTrainedModel) -> None:
    """Start from where few pictures suffice: with the libraries' small weights, dark ones look the same for long.

    Linear layers are wider, filters of patches see contrast rather than brightness, and positions are told by waves of
    several lengths, as in "Attention Is All You Need", along both axes.
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
    embedding.view(-1, waves.shape[1])[1:] = waves  # the first is the class token's


def to_pixel_values(images: Tensor, encoder: PreTrainedModel) -> Tensor:
    """Resize and normalise images (B, 1 or 3, H, W) in [0, 1] as `GFFusionModel` does for such an encoder."""
    mean, std = (CLIP_MEAN, CLIP_STD) if isinstance(encoder, CLIPVisionModel) else (DINOV2_MEAN, DINOV2_STD)
    return prepare_images(images, [encoder.config.image_size] * 2, mean, std, encoder.dtype)


class Student(nn.Module):
    """An encoder, and the linear heads that are thrown away: at several levels, they read targets and classes off a token."""

    def __init__(self, encoder: PreTrainedModel, target_channels: int):
        super().__init__()
        self.encoder = encoder
        width = encoder.config.hidden_size
        self.heads = nn.ModuleList(nn.Linear(width, target_channels + NUM_CLASSES) for _ in SUPERVISED_LEVELS)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (B, 3, H, W) in [0, 1] to normed tokens (L, B, N, D) and to what is read off them, (L, B, N, C + 4)."""
        pixel_values = to_pixel_values(images, self.encoder)
        states = self.encoder(pixel_values, output_hidden_states=list(SUPERVISED_LEVELS)).hidden_states
        tokens = [F.layer_norm(states[level][:, 1:].float(), states[level].shape[-1:]) for level in SUPERVISED_LEVELS]
        read = [head(level) for head, level in zip(self.heads, tokens, strict=True)]
        return torch.stack(tokens), torch.stack(read).float()


def losses(student: Student, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what is minimised, "loss", and its parts.

    "unexplained" is the mean squared error of the targets, which have variance 1; "boxes" is the weighted cross-entropy of
    the classes by coverage; "disagreement" is 1 - the cosine of both modalities' tokens at the same place, less their mean
    over the batch, so that telling always the same is no agreement.
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


def learning_rate(step: int, steps: int) -> float:
    """Return the rate of a step: a linear rise, then half a cosine to 0."""
    warmup = max(1, round(WARMUP_SHARE * steps))
    if step < warmup:
        return PEAK_RATE * (step + 1) / warmup
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def train(student: Student, views: Views, options: argparse.Namespace) -> None:
    """Train `student` from the last checkpoint, if it is to be resumed, to the end."""
    decayed = [parameter for parameter in student.parameters() if parameter.dim() > 1]
    others = [parameter for parameter in student.parameters() if parameter.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups)
    checkpoint, log = options.output / "checkpoint.pt", options.output / "log.jsonl"
    start = restore(checkpoint, log, student, optimizer) if options.resume else 0
    if not start:
        log.unlink(missing_ok=True)
    draws = range(start * options.batch_size, options.steps * options.batch_size)
    batches = DataLoader(views, options.batch_size, sampler=draws, num_workers=options.workers)
    recent: list[dict[str, float]] = []
    progress = tqdm(batches, initial=start, total=options.steps, unit="step", disable=None, desc=options.kind)
    for step, batch in enumerate(progress, start=start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, options.steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            parts = losses(student, batch)
        if not parts["loss"].isfinite():
            raise FloatingPointError(f"The loss of step {step} is {parts['loss'].item()}.")
        optimizer.zero_grad()
        parts["loss"].backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        recent.append({name: part.item() for name, part in parts.items()})
        done = step + 1
        if done % LOG_STEPS == 0 or done == options.steps:
            means = {name: sum(record[name] for record in recent) / len(recent) for name in recent[0]}
            progress.set_postfix(means)
            with log.open("a") as file:
                file.write(json.dumps({"step": done, **{name: round(mean, 5) for name, mean in means.items()}}) + "\n")
            recent.clear()
        if done % CHECKPOINT_STEPS == 0 or done == options.steps:
            state = {"step": done, "student": student.state_dict(), "optimizer": optimizer.state_dict()}
            save_atomically(state, checkpoint)


def restore(checkpoint: Path, log: Path, student: Student, optimizer: torch.optim.Optimizer) -> int:
    """Load the last checkpoint, drop what was logged after it, and return its step; 0 where there is none."""
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    student.load_state_dict(state["student"])
    optimizer.load_state_dict(state["optimizer"])
    lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= state["step"]]
    log.write_text("".join(f"{line}\n" for line in lines))
    return state["step"]


def save_atomically(content: Any, path: Path) -> None:
    """Write a file that is either whole or not there."""
    partial = path.with_suffix(".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def load_targets(options: argparse.Namespace, pairs: ConcatDataset[dict[str, Tensor]]) -> Tensor:
    """Return the teacher's targets, which are made once for both encoders."""
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
    parser.add_argument("--data", nargs="+", required=True, help="folders of training pairs, with boxes or without")
    parser.add_argument("--teacher", type=Path, required=True, help="the teacher's weights")
    parser.add_argument("--targets", type=Path, required=True, help="file of the teacher's targets, made where missing")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch_size", type=int, default=8, help="pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=0, help="processes that make views")
    parser.add_argument("--bf16", action="store_true", help="half the time on processors with bfloat16 arithmetic")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint, if there is one")
    options = parser.parse_args(arguments)

    torch.set_num_threads(options.threads)
    options.output.mkdir(parents=True, exist_ok=True)
    pairs = load_pairs(options.data)
    targets = load_targets(options, pairs)
    torch.manual_seed(options.seed)  # here: whether the targets had to be made changes nothing
    student = Student(build_encoder(options.kind), targets.shape[1])
    grid = IMAGE_SIZE // student.encoder.config.patch_size
    views = Views(pairs, targets, grid, options.steps * options.batch_size, options.seed)
    train(student, views, options)
    student.encoder.save_pretrained(options.output / "encoder")


if __name__ == "__main__":
    main()
