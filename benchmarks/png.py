"""Compare the encoder of PNG files with libpng: time and size of the files, as medians over images.

Run from the root of the repository: python benchmarks/png.py IMAGES... --json png.json

libpng runs with its fastest settings that compress well (level 1, runs, Paeth). Without images, pairs are rendered. The two
encoders take turns on every image.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import imagecodecs
import numpy as np
from environment import describe_machine, read_count, write_json

from gffusion.data import read_image
from gffusion.data.png_writing import encode_png
from gffusion.synthetic.samples import write_scenes

LIBPNG = {"level": 1, "strategy": 3, "filter": 128}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("images", type=Path, nargs="*", help="image files of 8 or 16 bits")
    parser.add_argument("--repeats", type=read_count, default=7, help="runs of each encoder on every image")
    parser.add_argument("--json", type=Path, metavar="FILE", help="JSON file of the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.images:
            write_scenes(Path(folder), 4)
        rendered = [path for kind in ("visible", "infrared") for path in sorted(Path(folder, kind).glob("*.png"))]
        images = [read_image(path) for path in options.images or rendered]
    speeds, sizes = [], []
    for image in map(np.ascontiguousarray, images):
        times: dict[str, list[float]] = {"libpng": [], "gffusion": []}
        for _ in range(options.repeats):
            start = time.perf_counter()
            reference = imagecodecs.png_encode(image, **LIBPNG)
            middle = time.perf_counter()
            content = encode_png(image)
            times["libpng"].append(middle - start)
            times["gffusion"].append(time.perf_counter() - middle)
        speeds.append(statistics.median(times["libpng"]) / statistics.median(times["gffusion"]))
        sizes.append(len(content) / len(reference))
    result = {
        "images": len(images),
        "times_as_fast": statistics.median(speeds),
        "size": {"median": statistics.median(sizes), "smallest": min(sizes), "largest": max(sizes)},
        **describe_machine(),
    }
    print(
        f"{len(images)} images: {statistics.median(speeds):.1f} times as fast as libpng, files {statistics.median(sizes):.2f} times "
        f"as large ({min(sizes):.2f} to {max(sizes):.2f})"
    )
    write_json(options.json, result)


if __name__ == "__main__":
    main()
