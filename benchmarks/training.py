"""Measure the time of a training step in float32 and bfloat16, plain and compiled.

Run from the root of the repository: python benchmarks/training.py --batch 16 --json training.json

The model has the architecture of a bundled model and new weights. The batch is in memory already, so that nothing but the
step is measured: forward pass, losses, backward pass and optimizer, on the GPU if there is one. Compiling is not included.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from accelerate.state import AcceleratorState
from environment import describe_machine, read_count, write_json

from gffusion import FusionTrainer, FusionTrainingArguments, create_model
from gffusion.training.sampling import collate

VARIANTS = {
    "float32": {},
    "float32, compiled": {"torch_compile": True},
    "bfloat16": {"bf16": True},
    "bfloat16, compiled": {"bf16": True, "torch_compile": True},
}


def measure(name: str, options: dict[str, bool], size: tuple[int, int], batch: int, steps: int) -> dict[str, float]:
    """Return the median milliseconds of a step, the seconds until the first steps were done, and the last loss."""
    AcceleratorState._reset_state(reset_partial_state=True)  # its precision holds for the process
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    pairs = [
        {
            "visible_values": torch.rand(3, *size, generator=generator),
            "infrared_values": torch.rand(1, *size, generator=generator),
        }
        for _ in range(batch)
    ]
    model = create_model(name, pretrained=False, use_segmenter=False)
    with tempfile.TemporaryDirectory() as folder:
        arguments = FusionTrainingArguments(folder, per_device_train_batch_size=batch, **options)
        trainer = FusionTrainer(model, arguments, pairs)
        step, batches = trainer._step, [collate(pairs)]
        step.train()
        times, losses = [], []
        start = time.perf_counter()
        for number in range(steps + 3):
            begin = time.perf_counter()
            losses.append(step(batches, weight=0.2, head_learns=False)[0].item())  # waits for the GPU
            if number == 2:
                first = time.perf_counter() - start
            elif number > 2:
                times.append(time.perf_counter() - begin)
    return {"milliseconds": statistics.median(times) * 1000, "seconds_of_first_steps": first, "loss": losses[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["gffusion-tiny"])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--size", type=int, nargs=2, default=(224, 224), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=read_count, default=16)
    parser.add_argument(
        "--steps", type=read_count, default=20, help="steps of which the medians are reported, after three others"
    )
    parser.add_argument("--json", type=Path, help="JSON file of the result")
    arguments = parser.parse_args()
    settings = {name: getattr(arguments, name) for name in ("size", "batch", "steps")}
    result: dict[str, object] = {**settings, **describe_machine("auto")}
    for name in arguments.models:
        rows = {}
        for variant in arguments.variants:
            rows[variant] = row = measure(
                name, VARIANTS[variant], tuple(arguments.size), arguments.batch, arguments.steps
            )
            first = f"{row['seconds_of_first_steps']:.1f} s for the first three"
            print(
                f"{name:16} {variant:20} {row['milliseconds']:9.2f} ms per step, {first}, loss {row['loss']:.4f}",
                flush=True,
            )
            write_json(arguments.json, {**result, name: rows})  # compiling takes long, and may be stopped
        result[name] = rows


if __name__ == "__main__":
    main()
