"""Measure how much time a video saves by reusing CLIP's tokens (`gffusion fuse --semantic-every N`), and what it changes.

Run from the root of the repository: python benchmarks/semantic.py --threads 2 --json semantic.json

Frames are windows that move over a rendered scene, with noise. They are fused as videos and live streams fuse them, with the
preparation and the restored color, but without reading and writing. The numbers of frames per refresh take turns every eight
frames, and times are means. Differences are from tokens of every frame, in gray levels of 255.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from environment import describe_machine, read_count, write_json
from numpy.typing import NDArray

from gffusion import create_model
from gffusion.synthetic.rendering import render_scene
from gffusion.video.fuser import FrameFuser
from gffusion.zoo import load_image_processor

UNTIMED = 8  # frames that prepare operations, and are left out of all numbers
Frame = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def make_frames(count: int, size: tuple[int, int]) -> list[Frame]:
    """Return frames of a camera that pans by one pixel per frame, with noise of 2 %."""
    rng, (height, width) = np.random.default_rng(0), size
    scene = render_scene(0, height, width + count)
    return [
        (
            _add_noise(scene.visible[:, left : left + width], rng),
            _add_noise(scene.infrared[:, left : left + width], rng),
        )
        for left in range(count)
    ]


def _add_noise(image: NDArray[Any], rng: np.random.Generator) -> NDArray[np.uint8]:
    return np.clip(np.rint(image + rng.normal(0, 5, image.shape)), 0, 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="gffusion-tiny", help="a model of the hybrid paradigm")
    parser.add_argument("--every", type=int, nargs="+", default=[1, 4, 8], help="frames that share tokens")
    parser.add_argument("--frames", type=read_count, default=48)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--threads", type=int, default=2, help="threads of torch")
    parser.add_argument("--device", default="cpu", help='"cpu" or "cuda"')
    parser.add_argument("--json", type=Path, help="JSON file of the result")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = torch.float16 if options.device.startswith("cuda") else torch.float32
    model = create_model(options.model, use_segmenter=False, dtype=dtype).to(options.device)
    processor = load_image_processor(options.model)
    frames = make_frames(options.frames + UNTIMED, tuple(options.size))
    fusers = {every: FrameFuser(model, processor, semantic_every=every) for every in [1, *options.every]}
    times: dict[int, list[float]] = {every: [] for every in fusers}
    images: dict[int, list[NDArray[Any]]] = {every: [] for every in fusers}
    before: dict[int, int | None] = {}
    for start in range(0, len(frames), 8):
        for every, fuser in fusers.items():
            if start == UNTIMED:
                before[every] = fuser.refreshed
            for frame in frames[start : start + 8]:
                begin = time.perf_counter()
                fused = fuser.fuse([fuser.prepare(*frame)])[0].fused
                times[every].append(time.perf_counter() - begin)
                images[every].append(fused.astype(np.int16))
    rows = {}
    print(f"{options.model}, {options.size[1]}x{options.size[0]}, {options.frames} frames, {options.device}")
    for every in options.every:
        # Frames with new tokens take longer, so a mean is what counts for a video.
        milliseconds = 1000 * statistics.mean(times[every][UNTIMED:])
        changed = [np.abs(one - other) for one, other in zip(images[every], images[1], strict=True)][UNTIMED:]
        rows[every] = row = {
            "milliseconds": milliseconds,
            "frames_per_second": 1000 / milliseconds,
            "mean_difference": float(np.mean(changed)),
            "largest_difference": int(np.max(changed)),
            "refreshed": (fusers[every].refreshed or len(frames)) - (before[every] or UNTIMED),
        }
        print(
            f"every {every:3}: {milliseconds:8.2f} ms per frame, {row['frames_per_second']:6.1f} frames per second, "
            f"tokens of {row['refreshed']} frames, difference {row['mean_difference']:.3f} on average, "
            f"{row['largest_difference']} at most",
            flush=True,
        )
    settings = {name: getattr(options, name) for name in ("model", "frames", "size", "threads", "device")}
    write_json(options.json, {**settings, "every": rows, **describe_machine(options.device)})


if __name__ == "__main__":
    main()
