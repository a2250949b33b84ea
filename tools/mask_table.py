"""Print the table of docs/guides/masks.md: the IoU of masks from boxes with the true masks of rendered scenes.

`python tools/mask_table.py`; ignored pixels are left out.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from page_tables import format_table

from gffusion.data.boxes import Boxes
from gffusion.data.label_values import IGNORED
from gffusion.labeling.masks import ThresholdMasks, draw_labels
from gffusion.synthetic.rendering import CLASS_NAMES, RenderedScene, render_scene

SOURCES = ("visible", "infrared", "both")


def label(scene: RenderedScene) -> dict[str, NDArray[np.uint8]]:
    """Return the label map of every method."""
    corners = [(box.left, box.top, box.right, box.bottom) for box in scene.boxes]
    boxes = Boxes(np.array(corners, np.float32), np.array([box.class_id - 1 for box in scene.boxes]))
    images = np.moveaxis(scene.visible, -1, 0) / np.float32(255), scene.infrared[None] / np.float32(255)
    size, nothing = scene.infrared.shape, [None] * len(corners)
    maps = {
        "whole box": draw_labels(nothing, boxes, size, fallback="box")[0],
        "inscribed ellipse": draw_labels(nothing, boxes, size)[0],
    }
    for source in SOURCES:
        maps[f"threshold, {source}"] = draw_labels(ThresholdMasks(source)(*images, boxes), boxes, size)[0]
    return maps


def main(scenes: int) -> None:
    """Print the table."""
    counts: dict[str, NDArray[np.int64]] = {}  # intersections and unions of every class
    objects = 0
    for seed in range(scenes):
        scene = render_scene(seed)
        objects += len(scene.boxes)
        for name, labels in label(scene).items():
            known, row = labels != IGNORED, counts.setdefault(name, np.zeros((2, len(CLASS_NAMES) - 1), np.int64))
            for class_id in range(1, len(CLASS_NAMES)):
                found, true = ((image == class_id) & known for image in (labels, scene.labels))
                row[:, class_id - 1] += (found & true).sum(), (found | true).sum()
    print(f"{scenes} scenes, {objects} objects")
    rows = [[name, *(f"{part:.2f}" for part in row[0] / row[1])] for name, row in counts.items()]
    print(format_table(["", *CLASS_NAMES[1:]], rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=20)
    main(parser.parse_args().scenes)
