"""Write a trained gffusion-tiny as it ships: one folder with its encoders, for `from_pretrained` without a network.

python -m projects.gffusion_tiny.bundle runs/tiny/segmentation/last --output gffusion-tiny \
    --segmenter runs/tiny/segmenter-4 --earlier runs/tiny/segmenter-3 --logits bicycle=-2 car=0.5
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from gffusion import GFFusionModel
from gffusion.training import load_head
from gffusion.zoo import load_image_processor

from .scenes import MODEL_CONFIG

EARLIER_SHARE = 0.25


def adjust_logits(model: GFFusionModel, words: Sequence[str]) -> None:
    """Add to logits of classes, by the biases of the head.

    Class weights make a rare class frequent; how much of that is too much can be told without training anew (logit
    adjustment, Menon et al., 2021).

    Args:
        model: A model with a segmenter.
        words: Classes and what is added, such as "bicycle=-1.5".

    Raises:
        ValueError: If a class is unknown, or what follows it is no number.
    """
    for word in words:
        name, _, number = word.partition("=")
        if name not in model.config.label2id:
            raise ValueError(f"{word!r} names none of the classes {', '.join(model.config.label2id)}.")
        with torch.no_grad():
            model.ssnet.classifier.bias[model.config.label2id[name]] += float(number)


def load(weights: Path, segmenter: Path | None) -> GFFusionModel:
    """Load slim weights; the dinov2 encoder of a hybrid model changes nothing of its fusion, and may have learned on since."""
    if segmenter is None:
        return GFFusionModel.from_pretrained(weights)
    reading = {name: MODEL_CONFIG[name] for name in ("segmenter_windows", "segmenter_scales", "segmenter_refinement")}
    model = GFFusionModel.from_pretrained(weights, dinov2_name_or_path=str(segmenter / "encoder"), **reading)
    load_head(model, segmenter / "head.safetensors")
    return model


@torch.no_grad()
def mix(model: GFFusionModel, earlier: GFFusionModel) -> None:
    """Move what segments towards an earlier run's: means of such weights err less than either (Wortsman et al., 2022)."""
    for name in ("dinov2", "ssnet"):
        parts = (part.get_submodule(name).parameters() for part in (model, earlier))
        for weight, before in zip(*parts, strict=True):
            weight.lerp_(before, EARLIER_SHARE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the slim weights and their encoders, and write the full ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="folder of the last stage's weights")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--segmenter", type=Path, help="output of segmenter.py, whose encoder and head take the places of those"
    )
    parser.add_argument(
        "--earlier", type=Path, help="output of the run before that of --segmenter, of which a quarter is mixed in"
    )
    parser.add_argument("--logits", nargs="*", default=[], metavar="CLASS=NUMBER", help="what is added to logits")
    options = parser.parse_args(arguments)
    if options.earlier and not options.segmenter:
        parser.error("--earlier needs --segmenter")
    model = load(options.weights, options.segmenter)
    if options.earlier:
        mix(model, load(options.weights, options.earlier))
    adjust_logits(model, options.logits)
    for name in model.backbones:  # they travel with the weights: where they came from means nothing elsewhere
        setattr(model.config, f"{name}_name_or_path", None)
    model.save_pretrained(options.output, include_backbones=True)
    load_image_processor(options.weights).save_pretrained(options.output)


if __name__ == "__main__":
    main()
