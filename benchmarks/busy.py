"""Measure how much slower the bundled models are on CPUs beside busy processes.

Run from the root of the repository: python benchmarks/busy.py --threads 2 --processes 2 --json busy.json

Passes alone and beside the busy processes alternate: the processes are stopped and continued by signals (not on Windows).
With as many processes as cores, every thread has half of a core, so that the smallest possible ratio is about 2. The ratio
is only meaningful if nothing else runs: the load average at the start is part of the result.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from environment import describe_machine, read_count, write_json

from gffusion import create_model, list_models
from gffusion.inference.predict import run_model


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument(
        "--repeats", type=read_count, default=11, help="passes of each kind, after one that is not timed"
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--processes", type=int, default=2, help="busy processes")
    parser.add_argument("--segment", action="store_true", help="also segment, by the models that can")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file of the result")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    result: dict[str, object] = {
        "size": list(options.size),
        "threads": options.threads,
        "processes": options.processes,
        "segment": options.segment,
        **describe_machine(),
    }
    pair = torch.rand(1, 3, *options.size), torch.rand(1, 1, *options.size)
    arguments = {} if options.segment else {"use_segmenter": False}
    models = {name: create_model(name, **arguments) for name in list_models(status="bundled")}
    times: dict[str, dict[str, list[float]]] = {name: {"alone": [], "busy": []} for name in models}
    command = [sys.executable, "-S", "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(options.processes)]
    try:
        for repeat in range(options.repeats + 1):
            for kind, order in (("alone", signal.SIGSTOP), ("busy", signal.SIGCONT)):
                for process in processes:
                    process.send_signal(order)
                time.sleep(0.1)
                for name, model in models.items():
                    start = time.perf_counter()
                    run_model(model, *pair, segment=model.config.use_segmenter, row_bands=True)
                    if repeat:
                        times[name][kind].append(time.perf_counter() - start)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    for name, seconds in times.items():
        alone, busy = statistics.median(seconds["alone"]), statistics.median(seconds["busy"])
        result[name] = {"alone_seconds": alone, "busy_seconds": busy, "ratio": busy / alone}
        print(f"{name:20} alone {alone:8.3f} s   busy {busy:8.3f} s   ratio {busy / alone:.1f}")
    write_json(options.json, result)


if __name__ == "__main__":
    main()
