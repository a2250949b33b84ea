"""Write a trained gffusion-tiny as it ships: one folder with its encoders, for `from_pretrained` without a network.

python examples/recipes/tiny/bundle.py runs/tiny/segmentation/last --output gffusion-tiny
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from gffusion import GFFusionModel
from gffusion.zoo import load_image_processor


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the slim weights and their encoders, and write the full ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="folder of the last stage's weights")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    model = GFFusionModel.from_pretrained(options.weights)
    for name in model.backbones:  # they travel with the weights: where they came from means nothing elsewhere
        setattr(model.config, f"{name}_name_or_path", None)
    model.save_pretrained(options.output, include_backbones=True)
    load_image_processor(options.weights).save_pretrained(options.output)


if __name__ == "__main__":
    main()
