"""Measure time and peak memory of `gffusion fuse` for images of 0.3 to 100 megapixels. Linux and macOS only.

Run from the root of the repository: python benchmarks/large.py --threads 2 --json large.json

With --part, the infrared images have 640 x 480 pixels and cover the middle of the visible ones, a quarter of their area.
Every pair is fused by a process of its own; its peak memory includes Python and torch, and its CPU time that of the start,
which the smallest pair shows. Linux reports the peak of a process with that of the program that it ran before, here the one
that starts it, so that the process reads its own. The exponent is that of CPU time as a power of the number of pixels, without the start,
between the smallest and the largest of the pairs from 3 megapixels on; 1 means that time is linear.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from environment import describe_machine, write_json
from PIL import Image

from gffusion.cameras import Rig
from gffusion.synthetic.rendering import render_scene

MODELS = ("gffusion-funet", "gffusion-tiny")
MEGAPIXELS = (0.3, 1, 3, 10, 30, 100)
ASPECT = 4 / 3
FITTED = 3  # megapixels from which on start-up does not decide
# Runs gffusion, and writes CPU seconds and peak memory in bytes to the file that its first argument names.
MEASURE = """
import pathlib, resource, sys
from gffusion.cli import main
try:
    main(sys.argv[2:])
finally:
    usage, status = resource.getrusage(resource.RUSAGE_SELF), pathlib.Path("/proc/self/status")
    peak = usage.ru_maxrss  # bytes on macOS
    if status.exists():
        peak = 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    pathlib.Path(sys.argv[1]).write_text(f"{usage.ru_utime + usage.ru_stime} {peak}")
"""


def write_pair(folder: Path, megapixels: float, part: bool = False) -> list[Path]:
    """Write a rendered pair, enlarged to as many pixels, with noise as of cameras."""
    height = round((megapixels * 1e6 / ASPECT) ** 0.5)
    size = round(height * ASPECT), height
    scene, rng, paths = render_scene(0, 960, 1280), np.random.default_rng(0), []
    for kind in ("visible", "infrared"):
        sides = (640, 480) if part and kind == "infrared" else size
        image = np.asarray(Image.fromarray(getattr(scene, kind)).resize(sides, Image.Resampling.BILINEAR))
        noise = rng.integers(0, 3, size=image.shape, dtype=np.uint8)
        paths.append(folder / f"{kind}-{megapixels:g}.png")
        Image.fromarray(np.minimum(image, 252) + noise).save(paths[-1], compress_level=1)
    return paths


def fuse(pair: list[Path], output: Path, model: str, threads: int, align: str = "none") -> dict[str, float]:
    """Fuse a pair, and return the CPU seconds and the peak memory in GiB of the process."""
    words = ["fuse", *map(str, pair), "-o", str(output), "--model", model, "--overwrite", "--device", "cpu"]
    words += ["--align", align]
    measured = output.with_suffix(".txt")
    command = [sys.executable, "-c", MEASURE, str(measured), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if subprocess.run(command, stdout=subprocess.DEVNULL, env=environment, check=False).returncode:
        raise SystemExit(f"gffusion fuse failed on {pair[0].name}")
    seconds, peak = map(float, measured.read_text().split())
    return {"cpu_seconds": seconds, "peak_gib": peak / 2**30}


def find_exponent(rows: dict[float, dict[str, float]]) -> float | None:
    """Return the exponent of CPU time, or `None` if the smallest pair does not show the start, or noise hides it."""
    smallest, large = min(rows), [megapixels for megapixels in sorted(rows) if megapixels >= FITTED]
    if len(large) < 2 or large[0] == smallest:
        return None
    seconds = [rows[megapixels]["cpu_seconds"] - rows[smallest]["cpu_seconds"] for megapixels in (large[0], large[-1])]
    if min(seconds) <= 0:
        return None
    return math.log(seconds[1] / seconds[0]) / math.log((large[-1] - smallest) / (large[0] - smallest))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--megapixels", type=float, nargs="+", default=list(MEGAPIXELS))
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--part", action="store_true", help="infrared images that cover only a part")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file of the result")
    options = parser.parse_args()

    sizes = sorted(set(options.megapixels))
    result: dict[str, object] = {**describe_machine(), "threads": options.threads, "part": options.part}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        align = str(folder / "rig.json") if options.part else "none"
        Rig(np.array([[2, 0, -0.5], [0, 2, -0.5], [0, 0, 1]])).save(folder / "rig.json")
        for model in options.models:
            rows: dict[float, dict[str, float]] = {}
            print(f"{model}\n{'megapixels':>12}{'CPU seconds':>13}{'peak GiB':>10}")
            for megapixels in sizes:
                pair = write_pair(folder, megapixels, options.part)
                rows[megapixels] = row = fuse(pair, folder / "fused.png", model, options.threads, align)
                print(f"{megapixels:12g}{row['cpu_seconds']:13.1f}{row['peak_gib']:10.2f}", flush=True)
                for path in pair:
                    path.unlink()
                exponent = find_exponent(rows)
                named = {str(megapixels): row for megapixels, row in rows.items()}
                write_json(options.json, result := {**result, model: {"exponent": exponent, "sizes": named}})
            if exponent is not None:
                print(f"exponent {exponent:.2f}")


if __name__ == "__main__":
    main()
