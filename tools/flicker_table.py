"""Measure whether fused videos are stable: `python tools/flicker_table.py` prints the tables of docs/benchmarks/video.md.

Values are mean absolute changes of a pixel from one frame to the next, and the metric `Flicker`, in gray levels, for

- still: a rendered street at night with noise of both cameras, which is new in every frame
- pan: the same street, moved by one pixel per frame. Frames are moved back before they are compared, which leaves noise
- hot object: an exhaust passes through the frames of tools/range_figures.py, in a fixed infrared range
- M3SVD: every fifth frame of the clips in val/m3svd of `$GFFUSION_DATA` (default `../shared/data`), if it is there

Rendered frames have color only in the visible image; changes are those of its luma.
"""

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from page_tables import format_table
from range_figures import render_sequence
from torch import Tensor

from gffusion import create_model, list_models
from gffusion.data import match_pairs, read_pair
from gffusion.evaluation.baselines import BASELINES, fuse_luma
from gffusion.inference.predict import predict
from gffusion.metrics import Flicker, to_luma8
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor

Image = NDArray[np.uint8]
Pair = tuple[Image, Image]
Fuse = Callable[[Image, Image], Tensor]

DATA = Path(os.environ.get("GFFUSION_DATA", "../shared/data")) / "val" / "m3svd"
METHODS = (*reversed(list_models(status="bundled")), "maximum", "average")
HEIGHT, WIDTH, FRAMES = 480, 640, 12
NOISE = 2.0  # standard deviation of both cameras, in gray levels


def render_pan(step: int) -> tuple[list[Pair], list[slice]]:
    """Return noisy frames of a street, moved by `step` pixels per frame, and the columns of a frame that all frames show."""
    way = step * (FRAMES - 1)
    scene, rng = render_scene(0, HEIGHT, WIDTH + way), np.random.default_rng(0)
    pairs = []
    for left in range(0, step * FRAMES, step) if step else [0] * FRAMES:
        visible, infrared = (image[:, left : left + WIDTH] for image in (scene.visible, scene.infrared))
        noise = rng.normal(0, NOISE, (2, HEIGHT, WIDTH))
        pairs.append((add(visible, noise[0][..., None]), add(infrared, noise[1])))
    return pairs, [slice(way - step * index, WIDTH - step * index) for index in range(FRAMES)]


def add(image: Image, noise: NDArray[np.float64]) -> Image:
    """Return an image with noise."""
    return (image + noise).clip(0, 255).round().astype(np.uint8)


def list_videos() -> Iterator[tuple[str, list[Pair], list[slice]]]:
    """Yield names, frames, and the columns of each frame to compare."""
    yield "still", *render_pan(0)
    yield "pan", *render_pan(1)
    visible, counts, _ = render_sequence()
    low, high = np.min(counts), np.max(counts)
    frames = [(255.0 * (frame - low) / (high - low)).round().astype(np.uint8) for frame in counts]
    yield "hot object", [(visible, frame) for frame in frames], [slice(None)] * len(frames)
    if DATA.exists():
        pairs = match_pairs(DATA / "visible", DATA / "infrared").pairs
        for clip, members in groupby(pairs, key=lambda pair: pair.name.rpartition("_")[0]):
            images = [read_pair(pair.visible, pair.infrared)[:2] for pair in members]
            yield f"M3SVD {clip}", images, [slice(None)] * len(images)


def load(name: str) -> Fuse:
    """Return a function that fuses a pair and returns the luma (H, W)."""
    if name in BASELINES:
        return lambda visible, infrared: to_luma8(
            fuse_luma(name, to_luma8(visible).numpy(), to_luma8(infrared).numpy())
        )
    model, processor = create_model(name, use_segmenter=False), load_image_processor(name)
    return lambda visible, infrared: to_luma8(predict(model, processor, [(visible, infrared)])[0].fused)


def measure(pairs: Sequence[Pair], columns: Sequence[slice], methods: dict[str, Fuse]) -> dict[str, tuple[float, ...]]:
    """Return the mean change of each image, and the flicker of fused ones."""
    metrics = {name: Flicker() for name in methods}
    changes: dict[str, list[float]] = {}
    last: dict[str, Tensor] = {}
    for pair, part in zip(pairs, columns, strict=True):
        frames = dict(zip(("visible", "infrared"), (to_luma8(image)[:, part] for image in pair), strict=True))
        for name, fuse in methods.items():
            frames[name] = fuse(*pair)[:, part]
            metrics[name].update(frames[name], frames["visible"], frames["infrared"])
        if last:
            steps = {name: (frame - last[name]).abs() for name, frame in frames.items()}
            steps["larger of both"] = steps["visible"].maximum(steps["infrared"])
            for name, step in steps.items():
                changes.setdefault(name, []).append(float(step.mean()))
        last = frames
    flicker = {name: (metric.compute(),) for name, metric in metrics.items()}
    return {name: (float(np.mean(values)), *flicker.get(name, ())) for name, values in changes.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("methods", nargs="*", default=METHODS, help="names or folders of models, or baselines")
    names = parser.parse_args(arguments).methods
    methods = {name: load(name) for name in names}
    results = {video: measure(pairs, columns, methods) for video, pairs, columns in list_videos()}
    inputs = ["visible", "infrared", "larger of both"]
    for place, header in enumerate(([*inputs, *names], names)):
        rows = [[video, *(f"{found[name][place]:.2f}" for name in header)] for video, found in results.items()]
        print(f"{format_table([('change', 'flicker')[place], *header], rows)}\n")


if __name__ == "__main__":
    main()
