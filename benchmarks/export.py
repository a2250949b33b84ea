"""Measure exported files against PyTorch: largest difference, size, and time on ONNX Runtime relative to the model in PyTorch.

Run from the root of the repository: python benchmarks/export.py --threads 2 --json export.json

"torch" is the model as `gffusion fuse` runs it on CPUs, "eager" is a plain call of the model. Differences are in gray levels of
255, on four rendered pairs; times are medians, and passes are interleaved.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from environment import describe_machine, read_count, write_json

from gffusion import create_model, list_models
from gffusion.export.exporting import export_model
from gffusion.export.running import OnnxModel
from gffusion.inference.predict import run_model
from gffusion.zoo import load_image_processor


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--repeats", type=read_count, default=7, help="passes of each, after one that is not timed")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch; ONNX Runtime chooses its own number")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write results and machine to a file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    pair = torch.rand(1, 3, *options.size), torch.rand(1, 1, *options.size)
    result: dict[str, object] = {"size": options.size, "repeats": options.repeats, "models": {}}
    print("| model | file | largest, mean difference | MB | time / torch | time / eager |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory() as folder:
        for name in list_models(status="bundled"):
            rows = compare(name, pair, Path(folder), options.repeats)
            result["models"][name] = rows  # type: ignore[index]
            for dtype, row in rows.items():
                difference = f"{row['largest']:.4f}, {row['mean']:.5f}"
                ratios = f"{row['to_torch']:.2f} | {row['to_eager']:.2f}"
                print(f"| {name} | {dtype} | {difference} | {row['megabytes']:.1f} | {ratios} |", flush=True)
    write_json(options.json, result | describe_machine())


def compare(
    name: str, pair: tuple[torch.Tensor, torch.Tensor], folder: Path, repeats: int
) -> dict[str, dict[str, float]]:
    """Export a model in every type it allows, and return differences, sizes and relative times by type."""
    model, image_processor = create_model(name, use_segmenter=False), load_image_processor(name)
    passes: dict[str, Callable[[], object]] = {
        "torch": lambda: run_model(model, *pair, row_bands=True),
        "eager": lambda: model(*pair),
    }
    rows: dict[str, dict[str, float]] = {}
    for dtype in ("fp32", "fp16", "int8"):
        path = folder / f"{name}-{dtype}.onnx"
        try:
            parity = export_model(model, image_processor, path, name=name, dtype=dtype)
        except ValueError:  # a type that this model does not have
            continue
        rows[dtype] = {"largest": parity.largest, "mean": parity.mean, "megabytes": path.stat().st_size / 1e6}
        passes[dtype] = partial(OnnxModel(path, "cpu"), *pair)
    times: dict[str, list[float]] = {label: [] for label in passes}
    for repeat in range(repeats + 1):
        for label, run in passes.items():
            start = time.perf_counter()
            run()
            if repeat:
                times[label].append(time.perf_counter() - start)
    medians = {label: statistics.median(values) for label, values in times.items()}
    for dtype, row in rows.items():
        row |= {f"to_{label}": medians[dtype] / medians[label] for label in ("torch", "eager")}
    return rows


if __name__ == "__main__":
    main()
