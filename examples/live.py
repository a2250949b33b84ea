"""Fuse two cameras live: `python examples/live.py visible.mp4 infrared.mp4`.

Two video files stand for the cameras: each frame is handed over at its time, whether the model is ready or not. A model that
is slower than the cameras therefore drops frames, but never lags behind. Needs PyAV: `pip install "gffusion[video]"`.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gffusion import create_model, load_image_processor
from gffusion.cli.device import choose_device
from gffusion.cli.infrared_options import parse_infrared_options
from gffusion.cli.outputs import check_writable
from gffusion.data import IMAGE_SUFFIXES, ReadOptions, write_image
from gffusion.data.rigs import parse_align
from gffusion.video.matching import VideoPair
from gffusion.video.reading import VideoFile, to_infrared, to_visible
from gffusion.video.stream import FusionStream

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("visible", type=Path)
parser.add_argument("infrared", type=Path)
parser.add_argument("--model", default="gffusion-tiny")
parser.add_argument("--device", default="cpu")
parser.add_argument("--align", default="none", help="none, resize or the file of a rig")
parser.add_argument("--infrared-range", help="as of gffusion fuse; percentile or LOW,HIGH for 16-bit videos")
parser.add_argument("--smooth-range", type=float, help="frames over which the range follows, with percentile")
parser.add_argument("--semantic-every", type=int, default=1)
parser.add_argument("--last", type=Path, help="file for the last fused frame")
options = parser.parse_args()
if options.last is not None and options.last.suffix.lower() not in IMAGE_SUFFIXES:
    parser.error(f"--last must be one of {', '.join(IMAGE_SUFFIXES)}, got {options.last}")
if options.last is not None and not options.last.parent.is_dir():
    parser.error(f"--last {options.last}: the folder {options.last.parent} does not exist: create it")


def play(stream: FusionStream, pair: VideoPair) -> None:
    """Push the frames of two videos at their times, as cameras do, and close the stream, also if a frame cannot be read."""
    start = None
    try:
        for frames in pair.read():
            start = time.monotonic() - float(frames.time) if start is None else start
            time.sleep(max(0.0, start + float(frames.time) - time.monotonic()))
            stream.push(to_visible(frames.visible.frame), to_infrared(frames.infrared.frame), float(frames.time))
    finally:
        stream.close()


def show(stream: FusionStream) -> None:
    """Print a line for each result, and for each pair that cannot be fused, such as while a camera starts."""
    results = iter(stream)
    while True:
        try:
            for result in results:  # a viewer would show `result.fused` here
                print(f"{result.time:7.3f} s  latency {1000 * result.latency:5.0f} ms  dropped {result.dropped}")
            return
        except (ValueError, MemoryError) as error:  # the stream goes on
            print(f"pair left out: {error}", file=sys.stderr)


def main() -> None:
    """Fuse both videos, and write the last frame, also if reading ends early."""
    if options.last is not None:
        check_writable(options.last, "--last")
    device = choose_device(options.device)
    read_options = ReadOptions(align=parse_align(options.align), keep_borders=True)
    infrared = parse_infrared_options(options.infrared_range, None, None, None, options.smooth_range)
    pair = VideoPair(VideoFile(options.visible), VideoFile(options.infrared))
    model = create_model(options.model, use_segmenter=False).to(device)
    processor = load_image_processor(options.model, **infrared)
    largest = pair.infrared.largest_count
    if largest is not None and processor.infrared_options.infrared_range in ("auto", "type"):  # arrays do not show it
        processor = load_image_processor(options.model, **infrared | {"infrared_range": [0, largest]})
    stream = FusionStream(model, processor, read_options, semantic_every=options.semantic_every)
    with ThreadPoolExecutor(1) as cameras, stream:
        reading = cameras.submit(play, stream, pair)
        show(stream)
    counts = stream.statistics
    print(
        f"{counts.fused} of {counts.pushed} frames fused, {counts.dropped} dropped, {counts.failed} failed, "
        f"mean latency {counts.latency:.3f} s"
    )
    if options.last is not None and (last := stream.latest()) is not None:
        write_image(options.last, last.fused)
    reading.result()  # raises the error of reading
    if not counts.fused:
        raise ValueError("no pair could be fused")


if __name__ == "__main__":
    try:
        main()
    except (ImportError, OSError, ValueError) as error:
        raise SystemExit(f"live.py: error: {error}") from None
