"""Write a trained gffusion-tiny for shipping: one folder with its encoders that `from_pretrained` loads offline.

python -m projects.gffusion_tiny.bundle runs/tiny/segmentation/last --output gffusion-tiny \
    --segmenter runs/tiny/segmenter --logits person=0.5 car=0.5

The encoders are stored in half precision, which halves the file; they are computed in the precision of the model as before.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import Dinov2Config, Dinov2Model

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.training import load_head
from gffusion.zoo import load_image_processor

from .scenes import MODEL_CONFIG

EARLIER_SHARE = 0.25


def adjust_logits(model: GFFusionModel, words: Sequence[str]) -> None:
    """Add constants to the logits of classes through the biases of the head.

    Class weights make rare classes too frequent, which can be corrected without another training run (logit adjustment,
    Menon et al., 2021).

    Args:
        model: A model with a segmenter.
        words: Classes and offsets, such as "bicycle=-1.5".

    Raises:
        ValueError: If a class is unknown, or its offset is not a number.
    """
    for word in words:
        name, _, number = word.partition("=")
        if name not in model.config.label2id:
            raise ValueError(f"--logits needs one of the classes {', '.join(model.config.label2id)}, got {word!r}")
        with torch.no_grad():
            model.ssnet.classifier.bias[model.config.label2id[name]] += float(number)


def load(weights: Path, segmenter: Path | None) -> GFFusionModel:
    """Load weights without encoders, with the encoder and head of `segmenter` if given; fusion does not depend on them."""
    if segmenter is None:
        return GFFusionModel.from_pretrained(weights)
    reading = {name: value for name, value in MODEL_CONFIG.items() if name.startswith(("segmenter_", "id2label"))}
    encoder = str(segmenter / "encoder")
    has_encoders = GFFusionConfig.from_pretrained(weights).backbone_weights == "included"
    model = GFFusionModel.from_pretrained(
        weights,
        use_segmenter=True,
        ignore_mismatched_sizes=True,  # weights without a head get a new one, which is replaced
        **({} if has_encoders else {"dinov2_name_or_path": encoder}),
        dinov2_config=Dinov2Config.from_pretrained(encoder),
        class_weights=MODEL_CONFIG["class_weights"],
        **reading,
    )
    # Not the encoder that bundled weights may include.
    model.dinov2.load_state_dict(Dinov2Model.from_pretrained(encoder, dtype=torch.float32).state_dict())
    load_head(model, segmenter / "head.safetensors")
    return model


@torch.no_grad()
def mix(model: GFFusionModel, earlier: GFFusionModel) -> None:
    """Average the segmenter with that of an earlier run, which is more accurate than either (Wortsman et al., 2022)."""
    for name in ("dinov2", "ssnet"):
        parts = (part.get_submodule(name).parameters() for part in (model, earlier))
        for weight, before in zip(*parts, strict=True):
            weight.lerp_(before, EARLIER_SHARE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load weights and their encoders, and write both to one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="folder of the weights of the last stage")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument(
        "--segmenter", type=Path, help="output of segmenter.py, whose encoder and head replace those of the weights"
    )
    parser.add_argument(
        "--earlier", type=Path, help="output of an earlier run of segmenter.py, averaged in with a share of 0.25"
    )
    parser.add_argument(
        "--logits", nargs="*", default=[], metavar="CLASS=NUMBER", help="constants added to the logits of classes"
    )
    options = parser.parse_args(arguments)
    if options.earlier and not options.segmenter:
        parser.error("--earlier needs --segmenter")
    model = load(options.weights, options.segmenter)
    if options.earlier:
        mix(model, load(options.weights, options.earlier))
    adjust_logits(model, options.logits)
    for name in model.backbones:  # saved with the weights, because local paths do not exist elsewhere
        setattr(model.config, f"{name}_name_or_path", None)
    for encoder in model.backbones.values():
        encoder.half()
    model.save_pretrained(options.output, include_backbones=True)
    load_image_processor(options.weights).save_pretrained(options.output)


if __name__ == "__main__":
    main()
