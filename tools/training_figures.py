"""Make the figures of README and docs: `python tools/training_figures.py teaser`, `... training LOG` and `... quality TIMES`.

`quality` also writes the table of times in docs/models/tiny.md.

Needs matplotlib: `pip install ".[plots]"`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from page_tables import ROOT, format_table, replace_part
from PIL import Image

from gffusion import create_model
from gffusion.data import write_image
from gffusion.inference.predict import predict
from gffusion.synthetic.rendering import render_scene
from gffusion.training.run_folder import read_log
from gffusion.visualization.features import draw_training
from gffusion.zoo import find_entries, load_image_processor

IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "models" / "tiny.md"
DESCRIPTIONS = {
    "reference": "a network of SeAFusion's shape",
    "paper's size": "the model of the paper, random weights, CLIP included",
    "gffusion-tiny": "gffusion-tiny, clip encoder included",
}


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
    figure = draw_training(read_log(log), title=log.stem)
    figure.savefig(log.with_suffix(".png"), dpi=110, metadata={"Software": None})


def format_times(record: dict[str, Any]) -> str:
    """Return the text and the table of times of a record of `benchmarks/forward.py`, the slowest network first."""
    height, width = record["size"]
    milliseconds = sorted(record["milliseconds"].items(), key=lambda item: -item[1])
    rows = [
        [
            DESCRIPTIONS.get(name, name),
            f"{record['parameters'][name]:,}",
            f"{value:.0f}",
            "1" if name == "reference" else f"1/{record['milliseconds']['reference'] / value:.1f}",
        ]
        for name, value in milliseconds
    ]
    return (
        f"Speed for {height} x {width} pixels, medians of {record['repeats']} passes with {record['threads']} threads on a server "
        f"CPU ({record['processor']}):\n\n"
        + format_table(["", "parameters", "milliseconds", "relative to SeAFusion's shape"], rows)
    )


def quality(times: Path) -> None:
    """Plot metrics of the bundled models on MSRS against their times in a JSON file of `benchmarks/forward.py`, next to it."""
    import matplotlib.pyplot as plt

    record = json.loads(times.read_text(encoding="utf-8"))
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(replace_part(page, "training_figures", format_times(record)), encoding="utf-8")
    milliseconds = record["milliseconds"]
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
