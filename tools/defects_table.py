"""Measure defects of fused images that metrics hardly show, on rendered pairs: `python tools/defects_table.py MODEL ...`.

MODEL is a name or a folder. Prints the tables of docs/models/tiny.md and projects/gffusion_tiny/HISTORY.md, in gray levels (0 to 255);
0 is perfect. With `--figure FILE`, also writes crops: a column for each image of the sources and each model.

- gray sky: 255 minus the mean of a white sky over which the infrared image shows cold clouds
- clouds: standard deviation in that sky
- grid: standard deviation of the means of its pixels by their place in blocks of 4 x 4
- dark rim: how much darker than the wall behind it the image becomes around something hot, by day, at 1 to 12 pixels
- blocks: how much larger differences across blocks of 8 pixels are than within them, on a dark road, with an infrared JPEG of quality 25
- noise: standard deviation of the change by noise of 8 gray levels in the infrared image of a dark road
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter, shift

from gffusion import create_model
from gffusion.data import write_image
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor

Gray = NDArray[np.float64]
Fuse = Callable[[Gray, Gray], Gray]

SIZE = HEIGHT, WIDTH = 480, 640
SKYLINE = 200
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
HOT = (((COLUMNS - 320) / 45) ** 2 + ((ROWS - 330) / 90) ** 2) < 1


def texture(seed: int, sigma: float, amplitude: float) -> Gray:
    """Return smooth noise with a standard deviation: (480, 640)."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(SIZE), sigma)
    return amplitude * noise / noise.std()


def day() -> tuple[Gray, Gray]:
    """Return the visible and infrared image of a street by day: white sky, cold clouds, something hot in front of a wall."""
    visible = 120 + texture(0, 1.5, 12) + texture(1, 30, 10)
    visible[ROWS < SKYLINE] = 255
    visible[HOT] = 90
    infrared = 70 + texture(2, 2, 4) + texture(3, 30, 8)
    clouds = 30 + texture(4, 12, 12)
    infrared[ROWS < SKYLINE] = clouds[ROWS < SKYLINE]
    infrared[HOT] = 235
    return visible.clip(0, 255), gaussian_filter(infrared, 1.0).clip(0, 255)


def road() -> tuple[Gray, Gray]:
    """Return both images of a dark road at night."""
    return (14 + texture(5, 20, 4)).clip(0, 255), 60 + texture(6, 3, 3) + texture(7, 40, 8)


def compress(image: Gray, quality: int) -> Gray:
    """Write an image as JPEG, and read it."""
    file = io.BytesIO()
    Image.fromarray(image.round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)).astype(float)


def excess_at_blocks(image: Gray) -> float:
    """Return the mean difference across the borders of blocks, minus that within blocks."""
    steps = np.abs(np.diff(image, axis=1))
    is_border = np.arange(1, WIDTH) % 8 == 0
    return float(steps[:, is_border].mean() - steps[:, ~is_border].mean())


def measure(fuse: Fuse) -> dict[str, float]:
    """Return the defects of a model."""
    visible, infrared = day()
    fused = fuse(visible, infrared)
    sky = fused[: SKYLINE - 20]
    places = [sky[row::4, column::4].mean() for row in range(4) for column in range(4)]
    distance = distance_transform_edt(~HOT)
    wall = fused[(distance > 25) & (distance < 80) & (ROWS > SKYLINE + 30)].mean()
    rings = [fused[(distance > reach) & (distance <= reach + 1)].mean() for reach in range(1, 12)]
    dark, warm = road()
    still = fuse(dark, warm)
    noise = np.random.default_rng(8).normal(0, 8, SIZE)
    return {
        "gray sky": float(255 - sky.mean()),
        "clouds": float(sky.std()),
        "grid": float(np.std(places)),
        "dark rim": max(0.0, float(wall - min(rings))),
        "blocks": max(0.0, excess_at_blocks(fuse(dark, compress(warm, 25)))),
        "noise": float((fuse(dark, (warm + noise).clip(0, 255)) - still).std()),
    }


def load(name: str) -> Fuse:
    """Return a function that fuses gray images (H, W) from 0 to 255."""
    model, processor = create_model(name, use_segmenter=False).eval(), load_image_processor(name)

    def fuse(visible: Gray, infrared: Gray) -> Gray:
        color = np.repeat(visible.round().astype(np.uint8)[..., None], 3, axis=-1)
        fused = predict(model, processor, [(color, infrared.round().astype(np.uint8))])[0].fused
        return fused.mean(axis=-1)

    return fuse


def draw(models: dict[str, Fuse]) -> NDArray[np.uint8]:
    """Return crops of day, of a shifted pair, of a compressed one, and of a rendered night: a row each."""
    visible, infrared = day()
    dark, warm = road()
    night = render_scene(3, *SIZE)
    luma = night.visible @ np.array([0.299, 0.587, 0.114])
    pairs = [
        (visible, infrared),
        (visible, shift(infrared, (3, 3), order=1, mode="nearest")),
        (dark, compress(warm, 25)),
        (luma, night.infrared.astype(float)),
    ]
    crop = slice(120, 440), slice(180, 460)
    rows = [
        np.concatenate([image[crop] for image in (*pair, *(fuse(*pair) for fuse in models.values()))], axis=1)
        for pair in pairs
    ]
    rows[2] = rows[2] * 2  # the road is dark
    figure = Image.fromarray(np.concatenate(rows).clip(0, 255).round().astype(np.uint8))
    return np.asarray(figure.reduce(2))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="names or folders")
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args(arguments)
    models = {name: load(name) for name in options.models}
    results = {name: measure(fuse) for name, fuse in models.items()}
    names = list(next(iter(results.values())))
    print(f"| model | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for name, values in results.items():
        print(f"| {Path(name).name} | {' | '.join(f'{value:.1f}' for value in values.values())} |")
    if options.figure:
        write_image(options.figure, draw(models))


if __name__ == "__main__":
    main()
