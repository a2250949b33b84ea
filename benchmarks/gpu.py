"""Measure the bundled models on an NVIDIA GPU: plain, and as `gffusion fuse` runs them, beside a network of SeAFusion's shape.

Run from the root of the repository: python benchmarks/gpu.py --json docs/benchmarks/h100.json, and then tools/gpu_table.py.

Images are on the GPU already, in batches of one pair. Times are medians of passes of one network in a row, as in a folder of
images. "float32" and "float16" are plain calls of the model; "as fuse runs it" is the fast path in float16, of which "GPU" is the
CUDA graph alone; "host to host" includes the preparation of 8-bit images, and the result as an array. The reference has the same
treatment as the fast path: float16 and a CUDA graph. "gray levels" is the largest difference of the fast path from float32.
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe_machine, read_count, write_json
from forward import Reference, capture, measure

from gffusion import GFFusionModel, create_model, list_models
from gffusion.inference import cuda_graphs
from gffusion.inference.predict import predict, run_model
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor

SIZES = ((480, 640), (1080, 1920))


def find_median(run: Callable[[], object], repeats: int, clock: str = "cuda") -> float:
    """Return the median milliseconds of a pass by the clock of a device, after passes that are not timed."""
    for _ in range(5):
        run()
    return statistics.median(measure(run, clock) for _ in range(repeats))


def measure_model(name: str, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    """Return the times of a model at one size."""
    scene = render_scene(0, *size)
    pair, processor = (scene.visible, scene.infrared), load_image_processor(name)
    images = processor([pair], return_tensors="pt").to("cuda")
    model = create_model(name, use_segmenter=False).cuda()
    row: dict[str, Any] = {"network": name, "size": f"{size[1]}x{size[0]}"}
    row["float32"] = find_median(lambda: model(**images), repeats)
    expected = run_model(model, **images, row_bands=False).fused_values
    model = model.half()
    row["float16"] = find_median(lambda: model(**images), repeats)
    row["as fuse runs it"] = find_median(lambda: run_model(model, **images, graphs=True), repeats)
    row["GPU"] = find_median(_find_replay(model), repeats)
    row["host to host"] = find_median(lambda: predict(model, processor, [pair]), repeats, "cpu")
    fused = run_model(model, **images, graphs=True).fused_values
    row["gray levels"] = 255 * (fused - expected).abs().max().item()
    return row


def _find_replay(model: GFFusionModel) -> Callable[[], None]:
    """Return the function that replays the graph of the size that was used last."""
    graphs = cuda_graphs._PREPARED[model]._graphs
    replay: Callable[[], None] = next(reversed(graphs.values()))._graph.replay
    return replay


def measure_reference(size: tuple[int, int], repeats: int) -> float:
    """Return the milliseconds of SeAFusion's shape in float16 with a CUDA graph."""
    images = [torch.rand(1, 1, *size, device="cuda", dtype=torch.float16) for _ in range(2)]
    return find_median(capture(Reference().eval().to("cuda", torch.float16), *images), repeats)


def measure_copy() -> float:
    """Return the terabytes per second that a copy on the GPU reads and writes."""
    source = torch.rand(2**28, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / find_median(lambda: target.copy_(source), 20) / 1e9


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=list_models(status="bundled"))
    parser.add_argument("--repeats", type=read_count, default=40)
    parser.add_argument("--json", type=Path, help="JSON file of the result")
    options = parser.parse_args()
    torch.manual_seed(0)
    np.random.seed(0)
    rows = []
    result: dict[str, Any] = {**describe_machine("cuda"), "repeats": options.repeats}
    result["copy"] = {"terabytes per second": measure_copy()}
    for size in SIZES:
        reference = measure_reference(size, options.repeats)
        for name in options.models:
            row = {**measure_model(name, size, options.repeats), "reference": reference}
            rows.append({key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()})
            print(", ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
            write_json(options.json, {**result, "forward": rows})


if __name__ == "__main__":
    main()
