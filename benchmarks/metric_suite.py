"""Measure the time of the metric suite per pair, relative to the same definitions in plain NumPy and SciPy.

Run from the root of the repository: python benchmarks/metric_suite.py --repeats 5 --threads 2
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from environment import describe_machine, read_count, write_json
from plain_metrics import PLAIN, WINDOWED, Image, WindowMean, separable_windows, whole_windows
from torch import Tensor

from gffusion.metrics import compute_metrics, to_luma8
from gffusion.synthetic.rendering import render_scene

SIZES = ((240, 320), (480, 640), (960, 1280))
TIMED_SIZE = (480, 640)
TOLERANCE = 1e-6


class Pair:
    """A rendered pair and its fused image, the sum of both minus the mean of the infrared image, as gray levels."""

    def __init__(self, height: int, width: int) -> None:
        scene = render_scene(seed=0, height=height, width=width)
        visible, infrared = to_luma8(scene.visible), to_luma8(scene.infrared)
        fused = (visible + infrared - infrared.mean()).round().clamp(0, 255)
        self.tensors: tuple[Tensor, Tensor, Tensor] = (fused, visible, infrared)
        self.arrays: tuple[Image, Image, Image] = (fused.numpy(), visible.numpy(), infrared.numpy())

    def suite(self, *names: str) -> dict[str, float]:
        """Compute the named metrics, or all, by gffusion."""
        return {name: value.item() for name, value in compute_metrics(*self.tensors, metrics=names or None).items()}

    def plain(self, mean: WindowMean, *names: str) -> dict[str, float]:
        """Compute the named metrics, or all, by NumPy and SciPy."""
        chosen = names or (*PLAIN, *WINDOWED)
        return {
            name: PLAIN[name](*self.arrays) if name in PLAIN else WINDOWED[name](*self.arrays, mean) for name in chosen
        }


def check_agreement(pair: Pair) -> float:
    """Return the largest relative difference between gffusion and both plain versions.

    Raises:
        SystemExit: If a metric is missing on one side or differs by more than `TOLERANCE`.
    """
    ours, largest = pair.suite(), 0.0
    for mean in (separable_windows, whole_windows):
        plain = pair.plain(mean)
        if plain.keys() != ours.keys():
            raise SystemExit(f"Only one side has these metrics: {sorted(plain.keys() ^ ours.keys())}.")
        for name, value in ours.items():
            difference = abs(value - plain[name]) / abs(plain[name])
            if difference > TOLERANCE:
                raise SystemExit(f"{name} is {value!r} by gffusion and {plain[name]!r} by {mean.__name__}.")
            largest = max(largest, difference)
    return largest


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(pair: Pair, repeats: int, *names: str) -> dict[str, float]:
    """Return times and ratios, medians of interleaved runs."""
    runs = [
        (
            seconds(lambda: pair.suite(*names)),
            seconds(lambda: pair.plain(separable_windows, *names)),
            seconds(lambda: pair.plain(whole_windows, *names)),
        )
        for _ in range(repeats)
    ]
    ours, separable, whole = (statistics.median(times) for times in zip(*runs, strict=True))
    to_separable = statistics.median(run[1] / run[0] for run in runs)
    to_whole = statistics.median(run[2] / run[0] for run in runs)
    return {
        "gffusion": ours,
        "separable": separable,
        "ratio": to_separable,
        "convolve2d": whole,
        "ratio_to_convolve2d": to_whole,
    }


def show(name: str, row: dict[str, float]) -> None:
    ours, separable, to_separable, whole, to_whole = row.values()
    print(f"{name:10}{ours:10.4f} {separable:11.4f} {to_separable:7.1f} {whole:12.4f} {to_whole:7.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=read_count, default=5, help="runs of which the medians are reported")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch; NumPy and SciPy use one")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file of the result")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    pairs = {size: Pair(*size) for size in SIZES}
    print(f"Both sides agree on every metric; largest relative difference {check_agreement(pairs[TIMED_SIZE]):.1e}")

    height, width = TIMED_SIZE
    print(f"\nSeconds per pair of {width}x{height}, {arguments.threads} threads; each metric on its own, then all")
    header = f"{'gffusion':>10} {'separable':>11} {'ratio':>7} {'convolve2d':>12} {'ratio':>7}"
    print(f"{'metric':10}{header}")
    rows = {}
    for name in (*pairs[TIMED_SIZE].suite(), "all"):
        rows[name] = compare(pairs[TIMED_SIZE], arguments.repeats, *(() if name == "all" else (name,)))
        show(name, rows[name])

    print("\nAll metrics, seconds per megapixel of a pair")
    costs = {}
    for height, width in SIZES:
        pair, megapixels = pairs[height, width], height * width / 1e6
        cost = statistics.median(seconds(pair.suite) / megapixels for _ in range(arguments.repeats))
        costs[f"{width}x{height}"] = cost
        print(f"{f'{width}x{height}':10}{cost:10.3f}")
    result = {"seconds": rows, "seconds_per_megapixel": costs, "threads": arguments.threads, **describe_machine()}
    write_json(arguments.json, result)


if __name__ == "__main__":
    main()
