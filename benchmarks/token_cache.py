"""Measure the time of a training step with CLIP's tokens from disk, relative to a step that computes them.

Run from the root of the repository: python benchmarks/token_cache.py --steps 5 --threads 2

The encoders have the paper's size (ViT-B) and random weights, which take the same time as trained ones; the fusion network
is the paper's. Times include reading, hashing and loading, but no evaluation and no checkpoints. Steps are on the GPU if
there is one.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from environment import describe_machine, read_count, write_json
from transformers import CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model
from transformers.utils.logging import disable_progress_bar

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset
from gffusion.data.transforms import Resize
from gffusion.synthetic.samples import write_scenes


def make_trainer(folder: Path, size: tuple[int, int], batch: int, segmenter: bool, cache: str | None) -> FusionTrainer:
    torch.manual_seed(0)
    clip = CLIPVisionModel(CLIPVisionConfig(patch_size=16))
    dinov2 = Dinov2Model(Dinov2Config()) if segmenter else None
    model = GFFusionModel.from_backbones(clip, dinov2, use_segmenter=segmenter)
    arguments = FusionTrainingArguments(str(folder / "run"), per_device_train_batch_size=batch, token_cache=cache)
    return FusionTrainer(model, arguments, FusionDataset(folder, Resize(size)))


def train(trainer: FusionTrainer, steps: int) -> tuple[list[float], list[float]]:
    """Return the seconds and the loss of each step."""
    times, losses = [], []
    trainer._step.train()
    for epoch in range(steps):  # one step per epoch: all pairs are one batch
        trainer.sampler.start_at(epoch, 0)
        start = time.perf_counter()
        for batches in trainer._steps():
            losses.append(trainer._step(batches, weight=0.2, head_learns=False)[0].item())
        times.append(time.perf_counter() - start)
    return times, losses


def compare(folder: Path, size: tuple[int, int], batch: int, segmenter: bool, steps: int) -> dict[str, float]:
    """Return seconds, their ratio, and the largest relative difference of losses, without the first step of each run."""
    uncached, expected = train(make_trainer(folder, size, batch, segmenter, cache=None), steps + 1)
    cached, losses = train(make_trainer(folder, size, batch, segmenter, cache=str(folder / "cache")), steps + 1)
    uncached_time, cached_time = (statistics.median(times[1:]) for times in (uncached, cached))
    deviation = max(abs(a - b) / b for a, b in zip(losses, expected, strict=True))
    ratio = uncached_time / cached_time
    return {"uncached": uncached_time, "cached": cached_time, "ratio": ratio, "losses": deviation}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=read_count, default=5, help="steps of which the medians are reported")
    parser.add_argument("--batch", type=read_count, default=2, help="pairs per step")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file of the result")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    disable_progress_bar()

    print(
        f"Seconds per step of {arguments.batch} pairs on {arguments.threads} threads; largest relative difference of losses"
    )
    print(f"{'training':34}{'uncached':>12} {'cached':>12} {'ratio':>8} {'losses':>12}")
    rows = {}
    for size in ((128, 128), (224, 224)):
        for segmenter in (False, True):
            with tempfile.TemporaryDirectory() as name:
                write_scenes(Path(name), count=arguments.batch, height=240, width=320)
                row = compare(Path(name), size, arguments.batch, segmenter, arguments.steps)
            training = f"{size[1]}x{size[0]}, {'L_st + lambda L_ss' if segmenter else 'L_st'}"
            rows[training] = row
            uncached, cached, ratio, deviation = row.values()
            print(f"{training:34}{uncached:12.2f} {cached:12.2f} {ratio:8.2f} {deviation:12.1e}", flush=True)
            settings = {name: getattr(arguments, name) for name in ("steps", "batch", "threads")}
            write_json(arguments.json, {**settings, "seconds": rows, **describe_machine("auto")})


if __name__ == "__main__":
    main()
