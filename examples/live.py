"""Fuse two cameras live: `python examples/live.py visible.mp4 infrared.mp4`.

Two video files stand for the cameras: each frame is handed over at its time, whether the model is ready or not. A model that
is slower than the cameras therefore drops frames, but never lags behind. Needs PyAV: `pip install "gffusion[video]"`.
"""

import argparse
import threading
import time
from pathlib import Path

from gffusion import create_model
from gffusion.data import ReadOptions, write_image
from gffusion.video.matching import VideoPair
from gffusion.video.reading import VideoFile, to_infrared, to_visible
from gffusion.video.stream import FusionStream
from gffusion.zoo import load_image_processor

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("visible", type=Path)
parser.add_argument("infrared", type=Path)
parser.add_argument("--model", default="gffusion-tiny")
parser.add_argument("--device", default="cpu")
parser.add_argument("--align", default="none", choices=["none", "resize"])
parser.add_argument("--semantic-every", type=int, default=1)
parser.add_argument("--last", type=Path, help="file for the last fused frame")
options = parser.parse_args()


def play(stream: FusionStream, pair: VideoPair) -> None:
    """Push the frames of two videos at their times, as cameras do, and close the stream."""
    start = None
    for frames in pair.read():
        start = time.monotonic() - float(frames.time) if start is None else start
        time.sleep(max(0.0, start + float(frames.time) - time.monotonic()))
        stream.push(to_visible(frames.visible.frame), to_infrared(frames.infrared.frame), float(frames.time))
    stream.close()


try:
    pair = VideoPair(VideoFile(options.visible), VideoFile(options.infrared))
    model = create_model(options.model, use_segmenter=False).to(options.device)
    processor, read_options = load_image_processor(options.model), ReadOptions(align=options.align, keep_borders=True)
    with FusionStream(model, processor, read_options, semantic_every=options.semantic_every) as stream:
        cameras = threading.Thread(target=play, args=(stream, pair), daemon=True)
        cameras.start()
        for result in stream:  # a viewer would show `result.fused` here
            print(f"{result.time:7.3f} s  latency {1000 * result.latency:5.0f} ms  dropped {result.dropped}")
        cameras.join()
except (ImportError, OSError, ValueError) as error:
    raise SystemExit(f"live.py: error: {error}") from None
counts = stream.statistics
print(f"{counts.fused} of {counts.pushed} frames fused, {counts.dropped} dropped, mean latency {counts.latency:.3f} s")
if options.last is not None and (last := stream.latest()) is not None:
    write_image(options.last, last.fused)
