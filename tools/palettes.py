"""Write the table of false-color palettes: gffusion/cameras/palettes.json.

    python tools/palettes.py                                   # needs matplotlib and opencv-python-headless
    python tools/palettes.py --check                           # return 1 if the file differs

Every palette is a polyline through few colors, which differs from the palette by at most one level per channel:
`[[position from 0 to 255, red, green, blue], ...]`. The maps of matplotlib and OpenCV are data in the public domain (CC0:
viridis, magma, inferno, plasma) or under their BSD-like and Apache 2.0 licenses. The palettes of cameras are our own control
points in the order of colors that the cameras show. Left out are maps of separate colors, which do not show a scale
(`tab10`), maps that repeat colors (`flag`, `prism`), and gray maps.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).parent.parent / "gffusion" / "cameras" / "palettes.json"
TOLERANCE = 1  # levels per channel
# Diverging maps of matplotlib that begin with red: thermal images show heat in red, and use them reversed.
RED_FIRST = ("RdBu", "RdGy", "RdYlBu", "RdYlGn", "Spectral")
LEFT_OUT = {"flag", "prism"}
# Evenly spaced colors from cold to hot.
CAMERAS = {
    "iron": "00000a 0f0050 46008c 82009b b4148c d2324b e65a14 f58700 fab400 ffe13c fffae6",
    "iron (2)": "000000 28008c c8007d ffd20a ffffff",
    "iron (3)": "000000 800080 ff0000 ff8000 ffff00 ffffff",
    "rainbow of cameras": "000080 0000ff 00ffff 00ff00 ffff00 ff8000 ff0000",
    "rainbow of cameras (2)": "00008c 0000ff 0096ff 00ffb4 50ff00 ffff00 ffa000 ff3200 aa0000",
    "rainbow of cameras (3)": "000000 0000ff 00ffff 00ff00 ffff00 ff0000 ffffff",
    "rainbow of cameras (4)": "000000 0000ff 00ffff 00ff00 ffff00 ff0000",
    "rainbow high contrast": "000000 320082 0000f0 00b4ff 00f000 fff000 ff7d00 f50000 ff00e6 ffffff",
    "rainbow high contrast (2)": "000000 500078 0000ff 00ffff 00ff00 ffff00 ff0000 ff80ff ffffff",
    "rainbow high contrast (3)": "000000 800080 0000ff 00ffff 00ff00 ffff00 ff0000 ffffff",
    "lava": "000000 320046 780050 be2318 eb5f00 ffa50a ffe66e ffffff",
    "lava (2)": "000000 141e50 005a78 780028 d21e14 ff8200 ffdc5a ffffff",
    "arctic": "00002d 0f2882 1e64c8 64b4eb d2e6f0 ffe18c ffa523 ff690a",
    "arctic (2)": "140078 0000ff 00a0ff 00ffff a0a0a0 c87832 ffc828 ffffb4",
    "arctic (3)": "000080 0000ff 00ffff ffffff",
    "medical": "000000 0000be 00a0ff 00be00 fff500 ff7d00 e10000 ffffff",
    "green": "000000 00ff00",
    "green (2)": "000000 005f00 28c832 c8ffc8",
    "amber": "000000 ffb400",
    "red": "000000 ff0000",
    "sepia": "000000 704214 c8a078 fff0dc",
}


def to_knots(table: NDArray[np.uint8]) -> list[list[int]]:
    """Return the fewest entries of a table (256, 3), each with its index, between which linear interpolation is enough."""
    colors = table.astype(float)
    kept = [0]
    while kept[-1] < len(table) - 1:
        start = kept[-1]
        for end in range(len(table) - 1, start, -1):
            share = np.linspace(0, 1, end - start + 1)[:, None]
            between = colors[start] + (colors[end] - colors[start]) * share
            if np.abs(np.rint(between) - colors[start : end + 1]).max() <= TOLERANCE:
                break
        kept.append(end)
    return [[index, *map(int, table[index])] for index in kept]


def read_matplotlib() -> dict[str, NDArray[np.uint8]]:
    """Return the continuous color maps of matplotlib that are not gray, red as the hot end where they have one."""
    import matplotlib

    tables = {}
    for name, colormap in matplotlib.colormaps.items():
        table = colormap(np.linspace(0, 1, 256), bytes=True)[:, :3]
        is_gray = np.ptp(table.astype(int), axis=1).max() <= 2
        if name.endswith("_r") or name in LEFT_OUT or is_gray or len(np.unique(table, axis=0)) < 100:
            continue
        tables[f"{name}_r" if name in RED_FIRST else name] = table[::-1] if name in RED_FIRST else table
    return tables


def read_opencv(known: dict[str, NDArray[np.uint8]]) -> dict[str, NDArray[np.uint8]]:
    """Return the color maps of OpenCV that differ from those of matplotlib of the same name."""
    import cv2

    tables = {}
    for constant in sorted(name for name in dir(cv2) if name.startswith("COLORMAP_")):
        name = constant.removeprefix("COLORMAP_").lower()
        table = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], getattr(cv2, constant))[:, 0, ::-1]
        if name not in known or np.abs(table.astype(int) - known[name]).max() > 2:
            tables[f"{name} of OpenCV"] = table
    return tables


def read_cameras() -> dict[str, list[list[int]]]:
    """Return the knots of the palettes of cameras."""
    knots = {}
    for name, text in CAMERAS.items():
        colors = [list(bytes.fromhex(word)) for word in text.split()]
        knots[name] = [[round(255 * i / (len(colors) - 1)), *color] for i, color in enumerate(colors)]
    return knots


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    tables = read_matplotlib()
    knots = {name: to_knots(table) for name, table in {**tables, **read_opencv(tables)}.items()} | read_cameras()
    lines = ",\n".join(f'"{name}": {json.dumps(points, separators=(",", ":"))}' for name, points in knots.items())
    content = f"{{\n{lines}\n}}\n"
    if options.check:
        return int(FILE.read_text(encoding="utf-8") != content)
    FILE.write_text(content, encoding="utf-8")
    print(f"{len(knots)} palettes, {len(content)} bytes -> {FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
