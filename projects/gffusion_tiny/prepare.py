"""Prepare datasets for gffusion-tiny: label maps from boxes, and ignored label maps for pairs without boxes.

    python -m projects.gffusion_tiny.prepare data/train/msrs data/train/roadscene --output runs/tiny/data

`FusionDataset` rejects datasets in which only some pairs have labels. Here, pairs without boxes get label maps of 255, which the
segmentation loss ignores, so that they only train fusion. OUTPUT gets a folder per dataset with links to its images; DATA is not
changed. With `--webp_quality`, OUTPUT is a small copy for training on another machine: images are stored as WebP, except JPEG
files, which are copied, as are boxes.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from gffusion.data import read_image, write_image
from gffusion.data.label_values import IGNORED
from gffusion.data.layouts import find_pairs
from gffusion.data.pairs import ImagePair
from gffusion.labeling.labels import write_labels
from gffusion.labeling.masks import ThresholdMasks

CLASS_NAMES = ("person", "bicycle", "car")


def prepare(source: Path, target: Path, webp_quality: int | None = None) -> None:
    """Prepare one dataset.

    Args:
        source: Folder of pairs.
        target: Folder of the result.
        webp_quality: Quality (1 to 100) of copies of the images; `None` links to the images instead.

    Raises:
        OSError: If the dataset or an image cannot be read, or a file cannot be written.
        ValueError: If the boxes of a pair are invalid, or see [`check_target`].
    """
    check_target(source, target, webp_quality is not None)
    target.mkdir(parents=True, exist_ok=True)
    for name in ("visible", "infrared"):
        if webp_quality is not None:
            copy_images(source / name, target / name, webp_quality)
        elif not (target / name).exists():
            (target / name).symlink_to((source / name).resolve(), target_is_directory=True)
    if webp_quality is not None and (source / "boxes").exists():
        shutil.copytree(source / "boxes", target / "boxes", dirs_exist_ok=True, copy_function=shutil.copyfile)
    (target / "classes.txt").write_text("".join(f"{name}\n" for name in CLASS_NAMES))
    labels = target / "labels"
    pairs = find_pairs(source).pairs
    boxed = [pair for pair in pairs if pair.boxes]
    for result in tqdm(
        write_labels(boxed, labels, ThresholdMasks(), CLASS_NAMES), source.name, len(boxed), disable=None
    ):
        if result.error:
            raise ValueError(f"{result.pair.name}: {result.error}")
    for pair in pairs:
        if not pair.boxes:
            write_ignored(pair, labels)


def check_target(source: Path, target: Path, copies: bool) -> None:
    """Raise ValueError if the result would be written to the source, or mixed with another one."""
    if target.resolve() == source.resolve():
        raise ValueError(f"{target} is the dataset itself: choose another --output")
    for name in ("visible", "infrared"):
        path = target / name
        if copies and path.is_symlink():
            raise ValueError(f"{path} is a link, through which --webp_quality would write: choose another --output")
        if not copies and path.exists() and path.resolve() != (source / name).resolve():
            raise ValueError(f"{path} exists, and is no link to {source / name}: choose another --output")


def copy_images(source: Path, target: Path, quality: int) -> None:
    """Copy the images of a folder as WebP files; JPEG files, which are small already, as they are."""
    target.mkdir(exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.suffix.lower() in (".jpg", ".jpeg"):
            shutil.copyfile(path, target / path.name)
        else:
            Image.open(path).convert("RGB").save(target / f"{path.stem}.webp", quality=quality, method=6)


def write_ignored(pair: ImagePair, folder: Path) -> None:
    """Write a label map in which every pixel is ignored."""
    folder.mkdir(exist_ok=True)
    size = read_image(pair.infrared).shape[:2]
    write_image(folder / f"{pair.name}.png", np.full(size, IGNORED, np.uint8))


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare all datasets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", nargs="+", type=Path, help="folders of pairs; box classes 0, 1, 2 are person, bicycle, car"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--webp_quality", type=int, help="copy the images as WebP of this quality (1 to 100)")
    options = parser.parse_args(arguments)
    targets = [options.output / source.resolve().name for source in options.data]
    if len(set(targets)) < len(targets):
        parser.error("two folders of data have one name: give each an --output of its own")
    try:
        for source, target in zip(options.data, targets, strict=True):
            check_target(source, target, options.webp_quality is not None)
    except ValueError as error:
        parser.error(str(error))
    for source, target in zip(options.data, targets, strict=True):
        prepare(source, target, options.webp_quality)


if __name__ == "__main__":
    main()
