"""Measure how many pairs a second `gffusion fuse` reads, fuses and writes, and how long a run takes in all.

Run from the root of the repository: python benchmarks/fuse.py --pairs 500 --device cuda --json fuse.json

The pairs are rendered; some scenes are rendered once and used under several names. The rate is that of the last nine tenths of
the files, by the times at which they were written; the first ones wait for kernels and processes. "pairs_per_second_printed" is
what the command prints, after the model was loaded, and the time of the command includes its start.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from environment import describe_machine, write_json

from gffusion.synthetic.samples import write_scenes
from gffusion.utils.cores import count_cores

FEWEST = 20  # pairs of a rate: the first tenth of them is left out
KINDS = ("visible", "infrared")


def render(folder: Path, pairs: int, scenes: int, size: tuple[int, int]) -> None:
    """Write folders of visible and infrared images, of as many pairs as asked for."""
    with ProcessPoolExecutor() as executor:
        jobs = [executor.submit(write_scenes, folder / "scenes", 1, seed, *size) for seed in range(scenes)]
        names = [job.result()[0] for job in jobs]
    for kind in KINDS:
        (folder / kind).mkdir()
        for number in range(pairs):
            source = folder / "scenes" / kind / names[number % scenes]
            shutil.copyfile(source, folder / kind / f"{number:05d}.png")


def measure(folder: Path, model: str, options: list[str], processes: int) -> dict[str, object]:
    """Fuse all pairs once, and return the pairs per second and the seconds of the command."""
    output = folder / f"fused-{model}"
    launcher = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"] if processes > 1 else []
    sources = [str(folder / kind) for kind in KINDS]
    words = ["-m", "gffusion", "fuse", *sources, "-o", str(output), "--model", model, *options]
    start = time.perf_counter()
    run = subprocess.run([sys.executable, *launcher, *words], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    written = sorted(path.stat().st_mtime for path in output.glob("*.png"))
    shutil.rmtree(output, ignore_errors=True)
    found = re.search(r"fused (\d+) pairs? in ([0-9.]+) s", run.stdout)
    if found is None:
        raise SystemExit(f"gffusion fuse failed: {run.stderr}")
    pairs, fusing = int(found[1]), float(found[2])
    last = written[len(written) // 10 :]
    rate = (len(last) - 1) / max(last[-1] - last[0], 1e-9)
    return {
        "pairs": pairs,
        "pairs_per_second": rate,
        "pairs_per_second_printed": pairs / fusing,
        "seconds_of_command": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["gffusion-funet", "gffusion-tiny"])
    parser.add_argument("--pairs", type=int, default=500, help=f"at least {FEWEST}")
    parser.add_argument("--scenes", type=int, default=50, help="rendered scenes")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the pairs, started by torchrun")
    parser.add_argument("--options", default="", help='further options of `gffusion fuse`, such as "--batch-size 4"')
    parser.add_argument("--json", type=Path, help="JSON file of the result")
    arguments = parser.parse_args()
    if arguments.pairs < FEWEST:
        parser.error(f"--pairs {arguments.pairs}: a rate needs at least {FEWEST}")
    options = ["--device", arguments.device, *arguments.options.split()]
    result: dict[str, object] = {"size": list(arguments.size), "options": options, **describe_machine(arguments.device)}
    result["processes"] = arguments.processes
    result["cores"] = count_cores()
    with tempfile.TemporaryDirectory() as name:
        render(Path(name), arguments.pairs, min(arguments.scenes, arguments.pairs), tuple(arguments.size))
        for model in arguments.models:
            result[model] = rates = measure(Path(name), model, options, arguments.processes)
            print(
                f"{model:20} {rates['pairs_per_second']:8.1f} pairs per second, "
                f"{rates['pairs_per_second_printed']:8.1f} with the first ones, "
                f"{rates['seconds_of_command']:8.1f} s for {rates['pairs']} pairs with the start",
                flush=True,
            )
    write_json(arguments.json, result)


if __name__ == "__main__":
    main()
