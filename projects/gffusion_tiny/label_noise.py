"""Measure how far label maps made from boxes can be trusted, and compare the segmenter with the boxes, which people drew.

    python -m projects.gffusion_tiny.label_noise gffusion-tiny --data data/val/msrs --with_class bicycle

Prints a row for each measure and a column for each class:

- share of its box that the label map marks, median over objects; the same on rendered scenes, where it is compared with the
  true share and the IoU with the true masks
- IoU of two label maps, one made from the visible images alone and one from the infrared images alone
- IoU of the model with the label maps, and the same where both of these agree; the other pixels are ignored
- share of the pixels marked by the model that are in a box of the class, and share of boxes of which it marks 30 % or more
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from gffusion import create_model
from gffusion.data import read_pair
from gffusion.data.boxes import Boxes, read_boxes
from gffusion.data.label_values import IGNORED
from gffusion.data.layouts import find_pairs
from gffusion.inference.predict import predict
from gffusion.labeling.masks import ThresholdMasks, draw_labels, find_window
from gffusion.synthetic.rendering import render_scene
from gffusion.zoo import load_image_processor

from .prepare import CLASS_NAMES

Image = NDArray[np.uint8]
FOUND = 0.3  # share of a box that is marked if its object counts as found
RENDERED = 5  # scenes


@dataclass
class Overlap:
    """Pixels of every class that two label maps have in common, and in total."""

    common: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASS_NAMES), np.int64))
    total: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(CLASS_NAMES), np.int64))

    def add(self, labels: Image, others: Image, ignored: NDArray[np.bool_]) -> None:
        """Count the pixels of an image that are not ignored."""
        for index in range(len(CLASS_NAMES)):
            first, second = ((image == index + 1) & ~ignored for image in (labels, others))
            self.common[index] += (first & second).sum()
            self.total[index] += (first | second).sum()

    def compute(self) -> list[float]:
        """Return the IoU of every class."""
        return list(self.common / self.total)


def label(visible: Image, infrared: Image, boxes: Boxes, source: str = "both") -> Image:
    """Return the label map that `prepare.py` makes; `source` is the image that the masks are made from."""
    masks = ThresholdMasks(source)(np.moveaxis(visible, -1, 0) / 255, infrared[None] / 255, boxes)
    return draw_labels(masks, boxes, visible.shape[:2])[0]


def measure_fill(labels: Image, boxes: Boxes) -> Iterator[tuple[int, float]]:
    """Yield the class of every box, and the share of the box that has this class."""
    for box, index in zip(boxes.coordinates, boxes.classes, strict=True):
        yield int(index), float((labels[find_window(box, labels.shape)] == index + 1).mean())


def median_by_class(shares: list[tuple[int, float]]) -> list[float]:
    """Return the median share of every class."""
    return [float(np.median([share for found, share in shares if found == index])) for index in range(len(CLASS_NAMES))]


def measure_rendered() -> dict[str, list[float]]:
    """Return shares of boxes, and the IoU with true masks, on rendered scenes."""
    true, made, overlap = [], [], Overlap()
    for seed in range(RENDERED):
        scene = render_scene(seed)
        corners = np.array([(box.left, box.top, box.right, box.bottom) for box in scene.boxes], np.float32)
        boxes = Boxes(corners, np.array([box.class_id - 1 for box in scene.boxes]))
        labels = label(scene.visible, scene.infrared, boxes)
        true += measure_fill(scene.labels, boxes)
        made += measure_fill(labels, boxes)
        overlap.add(labels, scene.labels, labels == IGNORED)
    return {
        "rendered: share of the box that is the object": median_by_class(true),
        "rendered: share of the box that is marked": median_by_class(made),
        "rendered: IoU with the true masks": overlap.compute(),
    }


def measure_pairs(name: str, data: Path, wanted: str | None) -> dict[str, list[float]]:
    """Return all measures of a model on pairs with boxes, of the wanted class if one is named."""
    model, processor = create_model(name), load_image_processor(name)
    made, found, boxed, marked = [], [], np.zeros(len(CLASS_NAMES)), np.zeros(len(CLASS_NAMES))
    overlaps = {name: Overlap() for name in ("both", "model", "agreed")}
    for pair in tqdm(find_pairs(data).pairs, unit="pair", disable=None):
        visible, infrared = read_pair(pair.visible, pair.infrared)[:2]
        boxes = read_boxes(pair.boxes, visible.shape[:2], CLASS_NAMES)
        if wanted and CLASS_NAMES.index(wanted) not in boxes.classes:
            continue
        labels, first, second = (label(visible, infrared, boxes, source) for source in ("both", "visible", "infrared"))
        predicted = predict(model, processor, [(visible, infrared)], segment=True)[0].labels
        made += measure_fill(labels, boxes)
        found += [(index, float(share >= FOUND)) for index, share in measure_fill(predicted, boxes)]
        overlaps["both"].add(first, second, (first == IGNORED) | (second == IGNORED))
        overlaps["model"].add(predicted, labels, labels == IGNORED)
        overlaps["agreed"].add(predicted, labels, (labels == IGNORED) | (first != second))
        for index in range(len(CLASS_NAMES)):
            inside = np.zeros(labels.shape, bool)
            for box in boxes.coordinates[boxes.classes == index]:
                inside[find_window(box, labels.shape)] = True
            boxed[index] += (inside & (predicted == index + 1)).sum()
            marked[index] += (predicted == index + 1).sum()
    shares = [float(np.mean([share for of, share in found if of == index])) for index in range(len(CLASS_NAMES))]
    return {
        "share of the box that the label map marks": median_by_class(made),
        "IoU of label maps from either image alone": overlaps["both"].compute(),
        "IoU of the model with the label maps": overlaps["model"].compute(),
        "the same, where label maps from either image agree": overlaps["agreed"].compute(),
        "marked pixels in a box of the class": list(boxed / marked.clip(1)),
        "boxes that are found": shares,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or folder of a model with the classes of MSRS")
    parser.add_argument("--data", type=Path, required=True, help="folder of pairs with boxes")
    parser.add_argument("--with_class", choices=CLASS_NAMES, help="measure only pairs with a box of this class")
    options = parser.parse_args(arguments)
    print(f"| | {' | '.join(CLASS_NAMES)} |\n| --- |{' ---: |' * len(CLASS_NAMES)}")
    for name, values in (measure_rendered() | measure_pairs(options.model, options.data, options.with_class)).items():
        print(f"| {name} | {' | '.join(f'{100 * value:.0f} %' for value in values)} |")


if __name__ == "__main__":
    main()
