"""Write the table of numerical differences in docs/benchmarks/reliability.md from docs/benchmarks/numbers.json; measure it with --measure.

    python tools/numbers_table.py                                   # the table only
    python tools/numbers_table.py --measure                         # on the CPU, and on an NVIDIA GPU if there is one
    python tools/numbers_table.py --measure --devices cuda          # replaces these rows

Rendered scenes are fused in every way in which gffusion computes a model, and compared with the plain network: in float32, on the
CPU, by one thread, one pair at a time. "fused" is what `gffusion fuse` does: with FuNet's form for CPUs in tiles, and
with kernels and CUDA graphs on GPUs; "large" reads tiles from the arrays of files, as for images of 8 megapixels or more. A row is
the largest difference with batches of 1 and 8, and on CPUs with 1 and 2 threads.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from page_tables import RECORDS, format_table, import_benchmark, update

from gffusion import GFFusionModel, create_model, list_models
from gffusion.inference import large_images
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.synthetic.samples import write_scenes
from gffusion.zoo import load_image_processor

TOOL, RECORD, PAGE = "numbers_table", "numbers.json", RECORDS / "reliability.md"
DTYPES = ("float32", "bfloat16", "float16")
SIZE, SCENES = (192, 256), 8

Pair = tuple[NDArray[Any], NDArray[Any]]


class Way(NamedTuple):
    """A way to compute a model."""

    device: str = "cpu"
    dtype: str = "float32"
    form: str = "plain"
    threads: int = 1
    batch_size: int = 1

    @property
    def name(self) -> str:
        """The rows of the table: all numbers of threads and sizes of batches together."""
        return f"{self.device}, {self.dtype}, {self.form}"


def list_ways(devices: Sequence[str]) -> Iterator[Way]:
    """Yield all ways on these devices; large images are fused in float32 on CPUs, one by one."""
    for device in devices:
        for dtype in DTYPES:
            for form in ("plain", "fused", "large"):
                if form == "large" and (device != "cpu" or dtype != "float32"):
                    continue
                for threads in (1, 2) if device == "cpu" else (1,):
                    for batch_size in (1, 8) if form != "large" else (1,):
                        yield Way(device, dtype, form, threads, batch_size)


@lru_cache(maxsize=1)
def load(name: str, dtype: str, device: str) -> GFFusionModel:
    """Return a model without segmenter."""
    return create_model(name, dtype=getattr(torch, dtype), use_segmenter=False).to(device)


def fuse(name: str, pairs: Sequence[Pair], way: Way) -> list[NDArray[np.float32]]:
    """Return the fused images of pairs of one size, (H, W, 3) float32 in gray levels, not rounded."""
    model = load(name, way.dtype, way.device)
    processor, threads = load_image_processor(name), torch.get_num_threads()
    values = [((visible / np.float32(255)), infrared) for visible, infrared in pairs]  # float images are not rounded
    torch.set_num_threads(way.threads)
    try:
        with mock.patch.object(large_images, "LARGE_PIXELS", 0 if way.form == "large" else 2**62):
            found = []
            for start in range(0, len(values), way.batch_size):
                batch = values[start : start + way.batch_size]
                found += predict(model, processor, batch, row_bands=False if way.form == "plain" else None)
    finally:
        torch.set_num_threads(threads)
    return [255 * np.asarray(part.fused) for part in found]


def compare(images: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]]) -> dict[str, float]:
    """Return the largest difference in gray levels, and the share of 8-bit values that differ after rounding."""
    pairs = list(zip(images, expected, strict=True))
    share = np.mean([np.mean(np.rint(first) != np.rint(second)) for first, second in pairs])
    return {"levels": max(float(np.abs(first - second).max()) for first, second in pairs), "share": float(share)}


def measure(name: str, pairs: Sequence[Pair], ways: Sequence[Way]) -> dict[str, dict[str, float]]:
    """Compare all ways with the plain one, and return the largest differences by name."""
    expected, found = fuse(name, pairs, Way()), dict[str, dict[str, float]]()
    for way in ways:
        row, former = compare(fuse(name, pairs, way), expected), found.get(way.name, {})
        found[way.name] = {key: max(value, former.get(key, 0)) for key, value in row.items()}
    return found


def is_repeatable(name: str, device: str) -> bool:
    """Return whether two processes of one command write the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_scenes(root, 4, 0, *SIZE)
        for output in ("first", "second"):
            words = ["fuse", root / "visible", root / "infrared", "-o", root / output, "-m", name, "--device", device]
            subprocess.run([sys.executable, "-m", "gffusion", *map(str, words)], check=True, capture_output=True)
        files = sorted((root / "first").iterdir())
        return all(file.read_bytes() == (root / "second" / file.name).read_bytes() for file in files)


def make_tables(record: dict[str, Any]) -> str:
    """Return the table in Markdown: for every model, the largest difference and the share of values that differ."""
    models = list(record["models"])
    ways = list(dict.fromkeys(way for model in models for way in record["models"][model]))
    rows = []
    for way in ways:
        cells = (record["models"][model].get(way) for model in models)
        rows.append([way, *("-" if cell is None else f"{cell['levels']:.2g}; {cell['share']:.2%}" for cell in cells)])
    for device in record["repeatable"]:
        found = record["repeatable"][device]
        answers = ("-" if model not in found else "yes" if found[model] else "no" for model in models)
        rows.append([f"{device}: the same command twice gives the same bytes", *answers])
    header = ["largest difference in gray levels; 8-bit values that differ", *(f"`{model}`" for model in models)]
    return format_table(header, rows)


def main(words: Sequence[str] | None = None) -> None:
    """Measure if asked for, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--models", nargs="+", default=list_models(status="bundled"))
    available = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    parser.add_argument("--devices", nargs="+", default=available)
    options = parser.parse_args(words)
    record = json.loads((RECORDS / RECORD).read_text(encoding="utf-8"))
    if options.measure:
        scenes = [render_scene(seed, *SIZE) for seed in range(SCENES)]
        pairs = [(scene.visible, scene.infrared) for scene in scenes]
        for name in options.models:
            found = measure(name, pairs, list(list_ways(options.devices)))
            record["models"].setdefault(name, {}).update(found)
            for device in options.devices:
                record["repeatable"].setdefault(device, {})[name] = is_repeatable(name, device)
                record["machines"][device] = import_benchmark("environment").describe_machine(device)
            print(name, json.dumps(found, indent=1), flush=True)
            update(TOOL, RECORD, PAGE, make_tables, record)
    update(TOOL, RECORD, PAGE, make_tables, record)


if __name__ == "__main__":
    main()
