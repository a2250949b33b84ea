"""Show how a running range removes flicker: `python tools/range_figures.py` writes docs/images/flicker.png and prints a table.

The frames are rendered: a street at night as raw counts, through which a hot exhaust passes. The table has the mean change
of the mean gray level of the street, which itself does not change, from one frame to the next, its largest value, and the
metric `Flicker`, for which the infrared frames are shown in one range.

Needs matplotlib: `pip install ".[plots]"`.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion import create_model
from gffusion.cameras.running_range import measure_ranges
from gffusion.inference.predict import predict
from gffusion.metrics import to_luma8
from gffusion.metrics.flicker import flicker
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import to_infrared_values
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor

FIGURE = Path(__file__).parents[1] / "docs" / "images" / "flicker.png"
HEIGHT, WIDTH, FRAMES = 192, 256, 60
ENTERS, LEAVES = 20, 45  # frames in which the hot object is in the image
SHOWN = ENTERS - 1, ENTERS, ENTERS + 1
CHOICES = {
    "percentile": InfraredOptions("percentile"),
    "percentile, smooth_range=20": InfraredOptions("percentile", smooth_range=20),
    "folder": InfraredOptions("folder"),
}


def render_sequence(seed: int = 0) -> tuple[NDArray[np.uint8], list[NDArray[np.uint16]], NDArray[np.bool_]]:
    """Return the visible image, the raw infrared frames, and the pixels that the hot object never covers."""
    scene, rng = render_scene(seed, HEIGHT, WIDTH), np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    street, frames = np.ones((HEIGHT, WIDTH), bool), []
    for index in range(FRAMES):
        counts = 7000 + 4.0 * scene.infrared + rng.normal(0, 2, (HEIGHT, WIDTH))
        if ENTERS <= index < LEAVES:
            x = 30 + (WIDTH - 60) * (index - ENTERS) / (LEAVES - ENTERS)
            hot = np.hypot(rows - 0.75 * HEIGHT, columns - x) < 9
            counts[hot] = 10500
            street &= ~hot
        frames.append(counts.astype(np.uint16))
    return scene.visible, frames, street


def fuse_sequence(
    visible: NDArray[np.uint8], frames: list[NDArray[np.uint16]], options: InfraredOptions
) -> list[NDArray[Any]]:
    """Return the fused frames by `gffusion-tiny`."""
    model, processor = create_model(), load_image_processor()
    if options.needs_measuring:
        ranges = measure_ranges(((frame, None) for frame in frames), options)
        choices = [options.with_limits(limits) for limits in ranges]
    else:
        choices = [options] * len(frames)
    pairs = zip(frames, choices, strict=True)
    return [
        predict(model, processor, [(visible, frame)], infrared_options=[choice])[0].fused for frame, choice in pairs
    ]


def measure_levels(fused: list[NDArray[Any]], street: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean gray level of the street in every frame."""
    return np.array([image[street].mean() for image in fused])


def main() -> None:
    """Print the table, and write the figure."""
    import matplotlib.pyplot as plt

    visible, frames, street = render_sequence()
    figure, axes = plt.subplot_mosaic(
        [["a0", "a1", "a2", "curve"], ["b0", "b1", "b2", "curve"]],
        figsize=(13, 4.4),
        width_ratios=[1, 1, 1, 1.4],
        layout="constrained",
    )
    print("| infrared_range | mean change per frame | largest change | flicker |\n| --- | ---: | ---: | ---: |")
    limits = [float(limit) for limit in (np.min(frames), np.max(frames))]
    shown = [to_luma8(to_infrared_values(frame, InfraredOptions(limits))[0]) for frame in frames]
    for row, (name, options) in zip("abc", CHOICES.items(), strict=True):
        fused = fuse_sequence(visible, frames, options)
        levels = measure_levels(fused, street)
        changes = np.abs(np.diff(levels))
        measured = flicker(map(to_luma8, fused), [to_luma8(visible)] * len(frames), shown)
        print(f"| {name} | {changes.mean():.2f} | {changes.max():.1f} | {measured:.2f} |")
        axes["curve"].plot(levels, label=name)
        for column, frame in enumerate(SHOWN if row != "c" else ()):
            axes[f"{row}{column}"].imshow(fused[frame])
            axes[f"{row}{column}"].set(title=f"{name}\nframe {frame}", xticks=[], yticks=[])
            axes[f"{row}{column}"].title.set_fontsize(8)
    axes["curve"].set(xlabel="frame", ylabel="mean gray level of the fused street")
    axes["curve"].axvspan(ENTERS, LEAVES - 1, color="0.9", label="hot object in the image")
    axes["curve"].legend(fontsize=8)
    figure.savefig(FIGURE, dpi=70, metadata={"Software": None})


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    main()
