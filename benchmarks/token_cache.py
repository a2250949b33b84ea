"""Training throughput with CLIP's tokens from disk, against encoding them at every step, in one run on one machine.

Run from the root of the repository: python benchmarks/token_cache.py --steps 5 --threads 2

The encoders have the paper's size (ViT-B) and random weights, which cost the same as trained ones; the fusion network is
the paper's. Reading, hashing and loading count, for they are part of a step; evaluation and checkpoints are not.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
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
    """Seconds and loss of each step."""
    times, losses = [], []
    trainer._step.train()
    for epoch in range(steps):  # an epoch is a step here: all pairs are one batch
        trainer.sampler.start_at(epoch, 0)
        start = time.perf_counter()
        for batches in trainer._steps():
            losses.append(trainer._step(batches, weight=0.2, head_learns=False)[0].item())
        times.append(time.perf_counter() - start)
    return times, losses


def compare(folder: Path, size: tuple[int, int], batch: int, segmenter: bool, steps: int) -> str:
    """A row of the table. The first step of each run, in which the cache is filled, is not timed."""
    uncached, expected = train(make_trainer(folder, size, batch, segmenter, cache=None), steps + 1)
    cached, losses = train(make_trainer(folder, size, batch, segmenter, cache=str(folder / "cache")), steps + 1)
    slow, quick = (statistics.median(times[1:]) for times in (uncached, cached))
    deviation = max(abs(a - b) / b for a, b in zip(losses, expected, strict=True))
    return f"{slow:12.2f} {quick:12.2f} {slow / quick:8.2f} {deviation:12.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=5, help="steps that the medians are taken over")
    parser.add_argument("--batch", type=int, default=2, help="pairs per step")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    disable_progress_bar()

    print(
        f"Seconds per step of {arguments.batch} pairs on {arguments.threads} threads, and the largest relative difference of the losses"
    )
    print(f"{'training':34}{'uncached':>12} {'cached':>12} {'ratio':>8} {'losses':>12}")
    for size in ((128, 128), (224, 224)):
        for segmenter in (False, True):
            with tempfile.TemporaryDirectory() as name:
                write_scenes(Path(name), count=arguments.batch, height=240, width=320)
                row = compare(Path(name), size, arguments.batch, segmenter, arguments.steps)
            loss = "L_st + lambda L_ss" if segmenter else "L_st"
            print(f"{f'{size[1]}x{size[0]}, {loss}':34}{row}", flush=True)


if __name__ == "__main__":
    main()
