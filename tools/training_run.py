"""Run the training of docs/guides/training-research.md: `python tools/training_run.py DATA OUTPUT [--resume_from_checkpoint]`.

DATA contains `train/msrs` and `val/msrs` with `visible/`, `infrared/`, `boxes/` and `classes.txt`. Small encoders with random
weights (seed 0) replace CLIP and DINOv2, so that all of Algorithm 1 runs on a laptop.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, Dinov2Config, Dinov2Model

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionImageProcessor, GFFusionModel
from gffusion.data import FusionDataset, find_pairs, write_image
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip, ThermalGain, Transform, VisiblePhotometric
from gffusion.inference.predict import predict
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import ThresholdMasks
from gffusion.synthetic.rendering import render_scene

SIZES = {"hidden_size": 128, "num_hidden_layers": 12, "num_attention_heads": 4}
EPOCHS = 24


def labeled(source: Path, target: Path, transform: Transform | None = None) -> FusionDataset:
    """Link the pairs of `source` into `target`, and make label maps from their boxes there."""
    target.mkdir(parents=True, exist_ok=True)
    for name in ("visible", "infrared", "boxes", "classes.txt"):
        if not (target / name).exists():
            (target / name).symlink_to((source / name).resolve())
    found = find_pairs(target)
    todo = [pair for pair in found.match.pairs if pair.labels is None]
    for result in write_labels(todo, target / "labels", ThresholdMasks(), found.class_names):
        if result.error:
            raise SystemExit(f"{result.pair.name}: {result.error}")
    return FusionDataset(target, transform, cache_in_memory=True)


def build_model(names: list[str]) -> GFFusionModel:
    """Build the untrained model from a fixed seed."""
    torch.manual_seed(0)
    return GFFusionModel.from_backbones(
        CLIPVisionModel(CLIPVisionConfig(patch_size=16, intermediate_size=256, **SIZES)),
        Dinov2Model(Dinov2Config(mlp_ratio=2, **SIZES)),
        id2label=dict(enumerate(names)),
        stem_channels=8,
        feature_channels=24,
        decoder_channels=[16, 8],
        intensity_weight=20.0,
    )


def draw_before_and_after(before: GFFusionModel, after: GFFusionModel) -> np.ndarray:
    """Draw a rendered pair (free of third-party data): source images, then fused images before and after training."""
    scene = render_scene(seed=0)
    images = [scene.visible, np.repeat(scene.infrared[..., None], 3, axis=-1)]
    for model in (before, after):
        prediction = predict(model.eval(), GFFusionImageProcessor(), [(scene.visible, scene.infrared)])[0]
        images.append(prediction.fused)
    rows = [np.concatenate(images[first : first + 2], axis=1) for first in (0, 2)]
    return np.concatenate(rows)


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--resume_from_checkpoint", action="store_true")
    options = parser.parse_args()
    augmentation = Compose(
        [RandomCrop(128, scale=(0.7, 1.1)), RandomFlip(), VisiblePhotometric(0.2, 0.2, 0.2), ThermalGain(0.2, 0.1)]
    )
    train = labeled(options.data / "train" / "msrs", options.output / "data" / "train", augmentation)
    evaluation = labeled(options.data / "val" / "msrs", options.output / "data" / "val")
    names = ["background", *(train.class_names or ())]
    model = build_model(names)
    arguments = FusionTrainingArguments(
        str(options.output / "run"),
        num_train_epochs=EPOCHS,
        head_start_epoch=EPOCHS // 2,
        head_learning_rate=3e-3,  # high, to train a head on random tokens in few epochs
        head_decay_epochs=8,
        learning_rate=2e-3,
        eval_epochs=4,
        eval_metrics=["EN", "SCD", "SSIM"],
        num_eval_images=3,
    )
    trained = FusionTrainer(model, arguments, train, evaluation).train(
        resume_from_checkpoint=options.resume_from_checkpoint
    )
    write_image(options.output / "before-after.png", draw_before_and_after(build_model(names), trained))


if __name__ == "__main__":
    main()
