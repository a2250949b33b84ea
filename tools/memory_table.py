"""Write the tables of memory in docs/benchmarks/reliability.md from docs/benchmarks/memory.json; measure them with --measure. Linux only.

    python tools/memory_table.py                                           # the tables only
    python tools/memory_table.py --measure peaks --models gffusion-tiny    # replaces these rows
    python tools/memory_table.py --measure pairs frames

`peaks`: the largest memory of a process that fuses one pair of 0.3 to 100 megapixels, with Python and torch. `pairs` and
`frames`: the memory of a process that fuses a folder of 5,000 pairs of two small sizes in turn, or a video of 10,000 frames. Growth
is that of a line through the memory, measured twice a second, over the second half of the run.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from page_tables import RECORDS, format_table, import_benchmark, update
from PIL import Image

from gffusion import list_models
from gffusion.synthetic.rendering import render_scene

TOOL, RECORD, PAGE = "memory_table", "memory.json", RECORDS / "reliability.md"
MEGAPIXELS = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
SIZES = ((48, 64), (240, 320))
MEBIBYTE = 2**20


def measure_growth(memory: Sequence[float]) -> float:
    """Return the slope of a line through the second half of equally spaced values, times the length of that half."""
    half = np.asarray(memory[len(memory) // 2 :], dtype=float)
    return float(np.polyfit(np.linspace(0, 1, len(half)), half, 1)[0]) if len(half) > 1 else 0.0


def watch(words: Sequence[str], threads: int) -> list[float]:
    """Run gffusion, and return its resident memory in MiB, twice a second from the first quarter of a second on."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "gffusion", *words]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    found = []
    while process.poll() is None:
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        found.append(pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE)
        time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"gffusion {' '.join(words)} failed")
    return [value for value in found if value]  # 0 while the process ends


def write_pairs(folder: Path, count: int) -> None:
    """Write pairs of two sizes in turn; scenes repeat."""
    scenes = [render_scene(seed, *SIZES[seed % 2]) for seed in range(20)]
    for kind in ("visible", "infrared"):
        (folder / kind).mkdir()
        for index in range(count):
            Image.fromarray(getattr(scenes[index % 20], kind)).save(folder / kind / f"{index:05}.png")


def write_videos(folder: Path, count: int) -> None:
    """Write two videos of 64 x 96 pixels in which a scene moves."""
    import av

    scene = render_scene(0, 64, 192)
    for kind in ("visible", "infrared"):
        with av.open(str(folder / f"{kind}.mp4"), "w") as container:
            stream = container.add_stream("h264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
            for index in range(count):
                image = getattr(scene, kind)[:, index % 96 : index % 96 + 96]
                image = np.ascontiguousarray(image if image.ndim == 3 else np.repeat(image[..., None], 3, 2))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))


def measure_long(kind: str, model: str, count: int, threads: int) -> dict[str, float]:
    """Return memory at the middle and the end of a long run, in MiB, and its growth in between."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (write_pairs if kind == "pairs" else write_videos)(folder, count)
        suffix = ".mp4" if kind == "frames" else ""
        sources = [str(folder / f"{part}{suffix}") for part in ("visible", "infrared")]
        words = ["fuse", *sources, "-o", str(folder / f"fused{suffix}"), "--model", model, "--device", "cpu"]
        memory = watch(words, threads)
    half = memory[len(memory) // 2 :]
    return {"count": count, "middle": half[0], "end": half[-1], "peak": max(memory), "growth": measure_growth(memory)}


def measure_peaks(model: str, megapixels: Sequence[float], threads: int) -> dict[str, float]:
    """Return the peak of a process in MiB by megapixels."""
    large, peaks = import_benchmark("large"), {}
    with tempfile.TemporaryDirectory() as name:
        for size in megapixels:
            pair = large.write_pair(Path(name), size)
            peaks[f"{size:g}"] = 1024 * large.fuse(pair, Path(name, "fused.png"), model, threads)["peak_gib"]
            print(f"{model}, {size:g} megapixels: {peaks[f'{size:g}']:.0f} MiB", flush=True)
    return peaks


def make_tables(record: dict[str, Any]) -> str:
    """Return the tables in Markdown."""
    sizes = list(next(iter(record["peaks"].values()), {}))
    rows = [[f"`{model}`", *(f"{row[size]:,.0f}" for size in sizes)] for model, row in record["peaks"].items()]
    peaks = format_table(["peak in MiB, megapixels", *sizes], rows)
    header = ["one run of", "in the middle", "at the end", "growth of the second half"]
    rows = [
        [f"{row['count']:,} {kind}, `{model}`", *(f"{row[name]:,.0f} MiB" for name in ("middle", "end"))]
        + [f"{row['growth']:+.1f} MiB"]
        for kind in ("pairs", "frames")
        for model, row in record[kind].items()
    ]
    return f"{peaks}\n\n{format_table(header, rows)}"


def main(words: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", choices=("peaks", "pairs", "frames"), default=[])
    parser.add_argument("--models", nargs="+", default=list_models(status="bundled"))
    parser.add_argument("--megapixels", type=float, nargs="+", default=list(MEGAPIXELS))
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--pairs", type=int, default=5000)
    parser.add_argument("--frames", type=int, default=10000)
    options = parser.parse_args(words)
    record = json.loads((RECORDS / RECORD).read_text(encoding="utf-8"))
    for kind in options.measure:
        for model in options.models:
            name = f"{kind}, {model}"
            machine = import_benchmark("environment").describe_machine()
            record["machines"][name] = {**machine, "threads": options.threads}
            if kind == "peaks":
                record[kind][model] = measure_peaks(model, sorted(options.megapixels), options.threads)
            else:
                record[kind][model] = measure_long(kind, model, getattr(options, kind), options.threads)
            update(TOOL, RECORD, PAGE, make_tables, record)
    update(TOOL, RECORD, PAGE, make_tables, record)


if __name__ == "__main__":
    main()
