"""Make the figures of README and docs: `python tools/training_figures.py teaser` and `python tools/training_figures.py training LOG`.

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
from gffusion.zoo import load_image_processor

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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("teaser")
    commands.add_parser("training").add_argument("log", type=Path)
    arguments = parser.parse_args()
    teaser() if arguments.command == "teaser" else training(arguments.log)
