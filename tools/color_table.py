"""Compare ways to color a fused image: `python tools/color_table.py` prints the table of projects/gffusion_tiny/STUDIES.md.

Measured are pixels of the day and night pairs in val/msrs of `$GFFUSION_DATA` (default `../shared/data`) whose luma becomes at
least 20 gray levels brighter in the image fused by gffusion-tiny. Colors are compared in OKLab (Ottosson, 2020), in which hue
does not change with brightness:

- hue: mean change of the hue, in degrees, of colors with a chroma of 0.04 or more
- chroma, saturation: mean ratio of chroma, and of chroma divided by lightness, to those of the visible image, of the same colors
- limited: share of these colors that already are the most saturated ones of their luma and hue
- gray: mean ratio of the chroma of pixels with less than 0.02, which is mostly noise of the camera and of compression

With `--figure FILE`, also draws colors as they become brighter, a row for each way.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion import create_model
from gffusion.data import match_pairs, read_pair, write_image
from gffusion.inference.predict import predict
from gffusion.models.gffusion.image_ops import LUMA_WEIGHTS, replace_luma, to_uint8
from gffusion.zoo import load_image_processor

Colors = NDArray[np.float64]  # (N, 3), RGB from 0 to 1
Luma = NDArray[np.float64]  # (N,)

DATA = Path(os.environ.get("GFFUSION_DATA", "../shared/data")) / "val" / "msrs"
BRIGHTER, COLORED, GRAY = 20 / 255, 0.04, 0.02
MAX_GAIN = 2.0
# OKLab: linear RGB to cone responses, and their cube roots to lightness and two axes of color.
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
AXES = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def to_oklab(colors: Colors) -> Colors:
    """Return lightness and both axes of color: (N, 3)."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ CONES.T) @ AXES.T


def from_oklab(colors: Colors) -> Colors:
    """Return RGB, beyond 0 to 1 where a screen has no such color: (N, 3)."""
    linear = (colors @ np.linalg.inv(AXES).T) ** 3 @ np.linalg.inv(CONES).T
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clip(0.0031308) ** (1 / 2.4) - 0.055)


def keep_chroma(colors: Colors, luma: Luma, gain: Luma | float = 1.0) -> Colors:
    """Return colors with another luma and their chroma times `gain`, as far as that is possible."""
    own = (colors @ LUMA_WEIGHTS)[:, None]
    amplified = own + np.reshape(gain, (-1, 1)) * (colors - own)
    tensors = (torch.from_numpy(values.T[..., None]) for values in (amplified, luma[:, None]))
    return replace_luma(*tensors)[..., 0].T.numpy()


def keep_saturation(colors: Colors, luma: Luma) -> Colors:
    """Amplify chroma like luma, but at most twice."""
    return keep_chroma(colors, luma, (luma / np.maximum(colors @ LUMA_WEIGHTS, 1e-3)).clip(1, MAX_GAIN))


def saturate(colors: Colors, luma: Luma) -> Colors:
    """Return the most saturated colors of that luma."""
    return keep_chroma(colors, luma, 1e3)


def keep_hue(colors: Colors, luma: Luma) -> Colors:
    """Keep hue and, as far as that is possible, chroma of OKLab, and find the lightness that has the luma."""
    _, a, b = to_oklab(colors).T
    lowest, highest = np.zeros(len(a)), np.ones(len(a))
    found = np.repeat(luma[:, None], 3, axis=1)
    for _ in range(12):  # the share of chroma
        share = (lowest + highest) / 2
        dark, light = np.zeros(len(a)), np.ones(len(a))
        for _ in range(14):  # the lightness
            lightness = (dark + light) / 2
            tried = from_oklab(np.stack([lightness, share * a, share * b], axis=1))
            is_dark = tried.clip(0, 1) @ LUMA_WEIGHTS < luma
            dark, light = np.where(is_dark, lightness, dark), np.where(is_dark, light, lightness)
        is_possible = (tried > -0.004).all(axis=1) & (tried < 1.004).all(axis=1)
        found[is_possible] = tried[is_possible]
        lowest, highest = np.where(is_possible, share, lowest), np.where(is_possible, highest, share)
    return found.clip(0, 1)


WAYS: dict[str, Callable[[Colors, Luma], Colors]] = {
    "chroma is kept (gffusion)": keep_chroma,
    "chroma grows like luma, at most twice": keep_saturation,
    "hue and chroma of OKLab are kept": keep_hue,
    "the most saturated color": saturate,
}


def collect(night: bool, step: int) -> tuple[Colors, Luma]:
    """Return the colors that become brighter, and their luma in fused images."""
    model, processor = create_model(use_segmenter=False), load_image_processor()
    colors, lumas = [], []
    for pair in match_pairs(DATA / "visible", DATA / "infrared").pairs:
        if pair.name.endswith("N") == night:
            visible, infrared = read_pair(pair.visible, pair.infrared)[:2]
            fused = predict(model, processor, [(visible, infrared)])[0].fused
            color, luma = visible.reshape(-1, 3) / 255, fused.reshape(-1, 3) @ LUMA_WEIGHTS / 255
            is_brighter = luma > color @ LUMA_WEIGHTS + BRIGHTER
            colors.append(color[is_brighter][::step])
            lumas.append(luma[is_brighter][::step])
    return np.concatenate(colors), np.concatenate(lumas)


def measure(colors: Colors, luma: Luma, result: Colors) -> list[float]:
    """Return hue, chroma, saturation, limited and gray."""
    before, after = to_oklab(colors), to_oklab(result)
    (chroma, angle), (new_chroma, new_angle) = (
        (np.hypot(*lab[:, 1:].T), np.arctan2(lab[:, 2], lab[:, 1])) for lab in (before, after)
    )
    colored, gray = chroma >= COLORED, chroma < GRAY
    turn = np.abs((new_angle - angle + np.pi) % (2 * np.pi) - np.pi)[colored]
    ratio = (new_chroma / chroma.clip(1e-9))[colored]
    lightness = (after[:, 0] / before[:, 0].clip(1e-9))[colored]
    limited = np.abs(result - saturate(colors, luma)).max(axis=1)[colored] < 1 / 255
    growth = new_chroma[gray].mean() / chroma[gray].mean()
    return [float(np.degrees(turn.mean())), ratio.mean(), (ratio / lightness).mean(), limited.mean(), growth]


def draw() -> NDArray[np.uint8]:
    """Return colors of cars with the luma from 40 to 220 gray levels, a row for each way but the last."""
    cars = np.array([(180, 30, 30), (150, 80, 80), (30, 60, 150), (40, 110, 60), (190, 150, 40)]) / 255
    lumas = np.linspace(40, 220, 10) / 255
    rows = []
    for car in cars:
        for way in list(WAYS.values())[:-1]:
            brighter = way(np.repeat(car[None], len(lumas), axis=0), lumas)
            rows.append(np.concatenate([car[None], np.ones((1, 3)), brighter]))
        rows.append(np.ones_like(rows[-1]))
    return to_uint8(np.repeat(np.repeat(np.array(rows[:-1]), 16, axis=0), 40, axis=1))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step", type=int, default=7, help="measure every n-th pixel")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    if options.figure:
        write_image(options.figure, draw())
    print("| pairs | color | hue | chroma | saturation | limited | gray |\n| --- | --- |" + " ---: |" * 5)
    for night in (False, True):
        colors, luma = collect(night, options.step)
        for name, way in WAYS.items():
            hue, chroma, saturation, limited, gray = measure(colors, luma, way(colors, luma))
            values = f"{hue:.1f} | {chroma:.2f} | {saturation:.2f} | {100 * limited:.0f} % | {gray:.2f}"
            print(f"| {'night' if night else 'day'} | {name} | {values} |")


if __name__ == "__main__":
    main()
