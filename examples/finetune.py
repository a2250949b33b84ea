"""Train on thermal images with boxes: `python examples/finetune.py DATA OUTPUT`.

DATA contains `visible/`, `infrared/`, `boxes/` (YOLO, VOC or COCO) and, unless COCO names the classes, `classes.txt`. The script
makes label maps from the boxes in `DATA/labels`, then trains FuNet, FINet and the head with the paper's frozen encoders.
"""

import argparse
from pathlib import Path

from gffusion import FusionTrainer, FusionTrainingArguments, GFFusionModel
from gffusion.data import FusionDataset, find_pairs, read_size
from gffusion.data.transforms import Compose, RandomCrop, RandomFlip
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import ThresholdMasks

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", type=Path)
parser.add_argument("output")
parser.add_argument("--clip", default="openai/clip-vit-base-patch16", help="folder or Hub id")
parser.add_argument("--dinov2", default="facebook/dinov2-base", help="folder or Hub id")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--crop", type=int, default=128, help="side of the training crops in pixels")
options = parser.parse_args()


def check_data(folder: Path) -> None:
    """Check what the training needs, before label maps are made."""
    found = find_pairs(folder)
    if not found.check_class_names():
        raise ValueError(
            f"the classes have no names: list them, in the order of their ids, in {folder / 'classes.txt'}"
        )
    size = min(min(read_size(pair.visible)) for pair in found.pairs)
    if options.crop > size:
        raise ValueError(f"--crop {options.crop} is larger than the smallest image: pass at most --crop {size}")


def make_labels(folder: Path) -> None:
    """Make the label maps that are missing, so that a box file can be corrected and the script be started again."""
    found = find_pairs(folder)
    pairs = [pair for pair in found.pairs if pair.labels is None]
    results = write_labels(pairs, folder / "labels", ThresholdMasks(), found.check_class_names())
    failed = [f"{result.pair.name}: {result.error}" for result in results if result.error]
    if failed:
        raise ValueError(f"{len(failed)} label maps could not be made; {'; '.join(failed)}")


def main() -> None:
    """Make label maps, and train."""
    check_data(options.data)
    make_labels(options.data)
    train_data = FusionDataset(options.data, Compose([RandomCrop(options.crop), RandomFlip()]))
    classes = dict(enumerate(["background", *train_data.class_names]))
    model = GFFusionModel.from_backbones(options.clip, options.dinov2, id2label=classes)
    arguments = FusionTrainingArguments(
        options.output, num_train_epochs=options.epochs, head_start_epoch=options.epochs // 2
    )
    FusionTrainer(model, arguments, train_data).train()


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, FloatingPointError) as error:
        raise SystemExit(f"finetune.py: error: {error}") from None
