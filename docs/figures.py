"""Make the pictures of README and docs: `python docs/figures.py teaser` and `python docs/figures.py training LOG`.

Needs matplotlib: `pip install ".[docs]"`.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gffusion import create_model
from gffusion.data import write_image
from gffusion.data.rendering import render_scene
from gffusion.zoo import load_image_processor

IMAGES = Path(__file__).parent / "images"


def teaser(seed: int = 0, width: int = 480) -> None:
    """Write a rendered pair and what `gffusion-funet` makes of it, side by side."""
    scene = render_scene(seed)
    model, processor = create_model("gffusion-funet"), load_image_processor("gffusion-funet")
    pair = scene.visible, scene.infrared
    with torch.inference_mode():
        outputs = model(**processor(pair, return_tensors="pt"))
    fused = processor.post_process_fusion(outputs, pair, output_type="np")[0]
    pictures = [scene.visible, np.repeat(scene.infrared[..., None], 3, axis=-1), fused]
    height = round(width * scene.infrared.shape[0] / scene.infrared.shape[1])
    resized = [
        np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)) for picture in pictures
    ]
    write_image(IMAGES / "teaser.png", np.concatenate(resized, axis=1))


def training(log: Path) -> None:
    """Plot the losses and the validation SSIM of a training log, and write the picture beside the log."""
    import matplotlib.pyplot as plt

    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    epochs = [record["epoch"] + 1 for record in records]
    evaluated = [record for record in records if "eval_ssim" in record]
    left.plot(epochs, [record["loss_structural"] for record in records], label="training crops")
    left.plot(
        [record["epoch"] + 1 for record in evaluated],
        [record["eval_loss_structural"] for record in evaluated],
        marker="o",
        label="validation pairs",
    )
    left.set(xlabel="epoch", ylabel="L_st (Eq. 10) with intensity term", yscale="log")
    left.legend()
    right.plot([record["epoch"] + 1 for record in evaluated], [record["eval_ssim"] for record in evaluated], marker="o")
    right.set(xlabel="epoch", ylabel="validation SSIM, mean of both sources")
    figure.savefig(log.with_suffix(".png"), dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("teaser")
    commands.add_parser("training").add_argument("log", type=Path)
    arguments = parser.parse_args()
    teaser() if arguments.command == "teaser" else training(arguments.log)
