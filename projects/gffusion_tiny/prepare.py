"""Arrange folders of pairs for gffusion-tiny: label maps out of boxes, and for pairs without boxes maps that count nothing.

    python -m projects.gffusion_tiny.prepare data/train/msrs data/train/roadscene --output runs/tiny/data

A data set of which only some pairs have labels is refused, since most often that is a mistake. Here it is not: pairs
without boxes get maps of 255, which the segmentation loss ignores, and teach fusion alone. OUTPUT gets a folder a data set,
with links to its images; what is in DATA stays as it is.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gffusion.data import read_image, write_image
from gffusion.data.layouts import find_pairs
from gffusion.data.pairs import ImagePair
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import ThresholdMasks

CLASS_NAMES = ("person", "bicycle", "car")
IGNORED = 255


def prepare(source: Path, target: Path) -> None:
    """Arrange one data set.

    Raises:
        OSError: If the data set or a picture cannot be read, or something lies in the way.
        ValueError: If a pair's boxes are wrong.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in ("visible", "infrared"):
        if not (target / name).exists():
            (target / name).symlink_to((source / name).resolve(), target_is_directory=True)
    (target / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    labels = target / "labels"
    pairs = find_pairs(source).match.pairs
    boxed = [pair for pair in pairs if pair.boxes]
    for result in tqdm(
        write_labels(boxed, labels, ThresholdMasks(), CLASS_NAMES), source.name, len(boxed), disable=None
    ):
        if result.error:
            raise ValueError(f"{result.pair.name}: {result.error}")
    for pair in pairs:
        if not pair.boxes:
            ignore(pair, labels)


def ignore(pair: ImagePair, folder: Path) -> None:
    """Write a label map that counts nowhere."""
    folder.mkdir(exist_ok=True)
    size = read_image(pair.infrared).shape[:2]
    write_image(folder / f"{pair.name}.png", np.full(size, IGNORED, np.uint8))


def main(arguments: Sequence[str] | None = None) -> None:
    """Arrange all data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", nargs="+", type=Path, help="folders of pairs; boxes name person, bicycle and car by 0, 1, 2"
    )
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    for source in options.data:
        prepare(source, options.output / source.name)


if __name__ == "__main__":
    main()
