"""Measure how many infrared images in false colors are mapped back to intensity, refused, scaled, or wrong.

    python tools/palette_table.py                              # needs matplotlib
    python tools/palette_table.py --qualities 75 --palettes jet,iron

Rendered scenes are colored by every map of matplotlib that shows a scale, and by our palettes of cameras, stored as PNG and as
JPEG, and given to `gffusion.cameras.palettes.recognize_palette`. An image is not recovered if its intensities differ from
the true ones by more than 8 levels of 255 on average: "scaled" if the order is right (correlation above 0.97), as happens when two
palettes share their colors at other intensities, else "wrong".
"""

import argparse
import io
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from gffusion.cameras.palettes import load_palettes, recognize_palette
from gffusion.synthetic.rendering import render_scene

OUTCOMES = ("recovered", "refused", "scaled", "wrong")
LIMIT = 8.0  # levels
SCENES = (3, 4, 5)


def make_intensity(seed: int) -> NDArray[np.uint8]:
    """Return a scene (240, 320) with the histogram stretched half way to a flat one, as cameras do."""
    infrared = ndimage.uniform_filter(render_scene(seed, 240, 320).infrared, 3)  # cameras reduce noise first
    shares = np.cumsum(np.bincount(infrared.ravel(), minlength=256)) / infrared.size
    levels = (shares[infrared] + infrared / 255) / 2
    return np.rint(255 * (levels - levels.min()) / np.ptp(levels)).astype(np.uint8)


def load_tables() -> dict[str, NDArray[np.uint8]]:
    """Return the colors (256, 3) by name: the maps of matplotlib, and otherwise our own."""
    import matplotlib

    return {
        name: (255 * matplotlib.colormaps[name](np.arange(256))[:, :3]).round().astype(np.uint8)
        if name in matplotlib.colormaps
        else colors.astype(np.uint8)
        for name, colors in load_palettes().items()
    }


def judge(intensity: NDArray[np.uint8], table: NDArray[np.uint8], quality: int | None) -> str:
    """Return the outcome for a scene in the colors of a table, as JPEG of a quality with 4:2:0, or without loss."""
    image = table[intensity]
    if quality is not None:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "JPEG", quality=quality, subsampling=2)
        image = np.asarray(Image.open(content))
    found = recognize_palette(image)
    if found is None:
        return "refused"
    if np.abs(found.values.astype(int) - intensity).mean() <= LIMIT:
        return "recovered"
    return "scaled" if np.corrcoef(found.values.ravel(), intensity.ravel())[0, 1] > 0.97 else "wrong"


def main(words: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if an image is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qualities", default="png,95,85,75", help="comma-separated: qualities of JPEG, or png")
    parser.add_argument("--palettes", help="comma-separated names; all by default")
    arguments = parser.parse_args(words)
    tables = load_tables()
    names = arguments.palettes.split(",") if arguments.palettes else list(tables)
    scenes = [make_intensity(seed) for seed in SCENES]
    print(f"| stored as | {' | '.join(OUTCOMES)} |\n| --- | ---: | ---: | ---: | ---: |")
    others, wrong = [], 0
    for word in arguments.qualities.split(","):
        quality, total = None if word == "png" else int(word), Counter[str]()
        for name in names:
            counts = Counter(judge(scene, tables[name], quality) for scene in scenes)
            total += counts
            if counts["recovered"] < len(scenes):
                kinds = ", ".join(f"{counts[kind]} {kind}" for kind in OUTCOMES[1:] if counts[kind])
                others.append(f"{word}: {name}: {kinds}")
        label = "PNG" if quality is None else f"JPEG, quality {quality}"
        print(f"| {label} | {' | '.join(str(total[kind]) for kind in OUTCOMES)} |", flush=True)
        wrong += total["wrong"]
    print(f"\nNot recovered in all {len(scenes)} scenes:", *others, sep="\n")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
