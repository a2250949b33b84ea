"""Draw contact sheets of label maps next to the images and boxes that they were made from."""

import itertools
from collections.abc import Sequence

import numpy as np
from PIL import Image

from gffusion.data import ImagePair, read_labels
from gffusion.data.aligned_boxes import read_aligned_boxes
from gffusion.data.bounds import DEFAULT_MAX_PIXELS
from gffusion.data.infrared_range import PairRanges
from gffusion.models.gffusion.image_sizes import check_same_size
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import to_infrared_values, to_visible_values
from gffusion.utils.notes import format_count
from gffusion.visualization.drawing import stack
from gffusion.visualization.label_sheet import draw_labeled_pair, draw_legend


def choose_pairs(pairs: Sequence[ImagePair], count: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> list[ImagePair]:
    """Choose evenly spread pairs whose label maps contain objects.

    Args:
        pairs: Pairs with label maps.
        count: Maximum number of pairs: the pairs are divided into as many runs, and each run gives at most one.
        max_pixels: Largest number of pixels of a label map.

    Raises:
        OSError: If a label map cannot be read.
    """
    ends = [round(index * len(pairs) / count) for index in range(count + 1)]
    runs = (pairs[start:end] for start, end in itertools.pairwise(ends))

    def has_objects(pair: ImagePair) -> bool:
        return pair.labels is not None and bool(read_labels(pair.labels, max_pixels).any())

    firsts = (next(filter(has_objects, run), None) for run in runs)
    return [pair for pair in firsts if pair is not None]


def draw_contact_sheet(
    pairs: Sequence[ImagePair], class_names: Sequence[str] | None = None, ranges: PairRanges | None = None
) -> Image.Image:
    """Draw the images of every pair with the boxes, and the label map over both.

    Args:
        pairs: At least one, all with boxes and label maps.
        class_names: Classes of the boxes, see [`read_boxes`]; the heading names them.
        ranges: How the values of infrared images are mapped, see [`measure_pairs`]. Defaults to `"auto"`.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If a pair has no boxes or label map, or boxes or label map do not fit their image.
    """
    ranges = ranges or PairRanges(InfraredOptions())
    return stack([draw_legend(class_names or ()), *(_draw_pair(pair, class_names, ranges) for pair in pairs)])


def _draw_pair(pair: ImagePair, class_names: Sequence[str] | None, ranges: PairRanges) -> Image.Image:
    if pair.boxes is None or pair.labels is None:
        raise ValueError(f"the pair {pair.name} has {'no boxes' if pair.boxes is None else 'no label map'} to show")
    images = ranges.read(pair)
    visible = np.moveaxis(to_visible_values(images.visible), 0, -1)  # (3, H, W) -> (H, W, 3)
    infrared_values = to_infrared_values(images.infrared, images.adapt(ranges.options_of(pair)), images.missing)
    infrared = np.moveaxis(infrared_values, 0, -1)  # (1, H, W) -> (H, W, 1)
    boxes = read_aligned_boxes(pair, images, class_names, ranges.read_options.align)
    heading = f"{pair.name}: {format_count(len(boxes.classes), 'object')}"
    labels, size = read_labels(pair.labels, ranges.read_options.max_pixels), visible.shape[:2]
    check_same_size({str(pair.visible): size, str(pair.infrared): infrared.shape[:2], str(pair.labels): labels.shape})
    return draw_labeled_pair(heading, visible, infrared, labels, boxes.coordinates, boxes.classes + 1)
