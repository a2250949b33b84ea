"""Make the figures of README and docs: `python tools/training_figures.py teaser`, `... training LOG` and `... quality TIMES`.

Needs matplotlib: `pip install ".[plots]"`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gffusion import create_model
from gffusion.data import write_image
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import find_entries, load_image_processor

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def teaser(seed: int = 0, width: int = 480) -> None:
    """Write a rendered pair and its fused image by `gffusion-tiny`, side by side."""
    scene = render_scene(seed)
    model, processor = create_model(), load_image_processor()
    fused = predict(model, processor, [(scene.visible, scene.infrared)])[0].fused
    images = [scene.visible, np.repeat(scene.infrared[..., None], 3, axis=-1), fused]
    height = round(width * scene.infrared.shape[0] / scene.infrared.shape[1])
    resized = [Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS) for image in images]
    write_image(IMAGES / "teaser.png", np.concatenate(resized, axis=1))


def training(log: Path) -> None:
    """Plot losses, lambda and validation of a training log, and write the figure next to the log."""
    import matplotlib.pyplot as plt

    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    labeled = "loss_segmentation" in records[0]
    figure, axes = plt.subplots(1, 3 if labeled else 2, figsize=(14 if labeled else 10, 3.5), layout="constrained")

    def plot(axis: "plt.Axes", name: str, label: str, sign: float = 1, offset: float = 0, **style: Any) -> None:
        points = [(record["epoch"] + 1, offset + sign * record[name]) for record in records if name in record]
        axis.plot(*zip(*points, strict=True), label=label, **style)

    plot(axes[0], "loss_structural", "training crops")
    plot(axes[0], "eval_loss_structural", "validation pairs", marker="o")
    axes[0].set(xlabel="epoch", ylabel="L_st (Eq. 10) with intensity term", yscale="log")
    axes[0].legend()
    if labeled:
        plot(axes[1], "loss_segmentation", "L_ss, training crops")
        plot(axes[1], "eval_loss_segmentation", "L_ss, validation pairs", marker="o")
        plot(axes[1], "segmentation_weight", "lambda", color="0.5", linestyle="--")
        axes[1].set(xlabel="epoch", ylabel="L_ss (Eq. 11) and its weight")
        axes[1].legend()
        plot(axes[-1], "eval_mIoU", "mIoU", marker="s")
    plot(axes[-1], "eval_loss_ssim", "SSIM, mean of both sources", sign=-1, offset=1, marker="o")
    axes[-1].set(xlabel="epoch", ylabel="validation pairs")
    axes[-1].legend()
    figure.savefig(log.with_suffix(".png"), dpi=110, metadata={"Software": None})


def quality(times: Path) -> None:
    """Plot metrics of the bundled models on MSRS against their times in a JSON file of `benchmarks/forward.py`, next to it."""
    import matplotlib.pyplot as plt

    milliseconds = json.loads(times.read_text(encoding="utf-8"))["milliseconds"]
    names = ("SCD", "VIF", "Qabf", "SSIM")
    figure, axes = plt.subplots(1, len(names), figsize=(14, 3.2), layout="constrained")
    for axis, name in zip(axes, names, strict=True):
        for entry in find_entries(status="bundled"):
            means = next(iter(entry.measurements.values()))
            axis.plot(milliseconds[entry.name], means[name], "o")
            axis.annotate(
                entry.name.removeprefix("gffusion-"),
                (milliseconds[entry.name], means[name]),
                (5, 5),
                textcoords="offset points",
            )
        for label, style in (("reference", ":"), ("paper's size", "--")):
            axis.axvline(milliseconds[label], color="0.5", linestyle=style, label=label)
        axis.set(xscale="log", xlabel="milliseconds per pair", title=name)
        axis.margins(0.25)
    axes[0].legend()
    figure.savefig(times.with_suffix(".png"), dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("teaser")
    commands.add_parser("training").add_argument("log", type=Path)
    commands.add_parser("quality").add_argument("times", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "teaser":
        teaser()
    elif arguments.command == "training":
        training(arguments.log)
    else:
        quality(arguments.times)
