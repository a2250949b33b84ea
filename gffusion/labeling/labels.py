"""Makes the label maps of pairs with boxes, and goes on where a single pair is bad."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from gffusion.data.boxes import read_boxes
from gffusion.data.io import write_image
from gffusion.data.pairs import ImagePair, read_pair
from gffusion.models.gffusion.image_processing_gffusion import to_infrared_values, to_visible_values

from .masks import Fallback, MaskMethod, MaskReport, draw_labels


@dataclass(frozen=True)
class LabelResult:
    """What became of a pair; `error` is `None` if its label map was written."""

    pair: ImagePair
    report: MaskReport = field(default_factory=MaskReport)
    error: str | None = None


def write_labels(
    pairs: Iterable[ImagePair],
    folder: Path,
    method: MaskMethod,
    class_names: Sequence[str] | None = None,
    fallback: Fallback = "ellipse",
    ignore_doubtful: bool = True,
) -> Iterator[LabelResult]:
    """Write label maps, `folder/<name>.png`, of the objects in boxes.

    A pair that cannot be read, or a map that cannot be written, is reported in its result, and the rest goes on.

    Args:
        pairs: Pairs with boxes.
        folder: Where the maps go; created if needed. Files of the same names are replaced.
        method: What finds the objects.
        class_names: Classes of the boxes, see [`read_boxes`].
        fallback: See [`draw_labels`].
        ignore_doubtful: See [`draw_labels`].

    Yields:
        A result for every pair, as it is done.
    """
    for pair in pairs:
        try:
            if pair.boxes is None:
                raise ValueError(f"{pair.visible} has no boxes")
            visible, infrared = read_pair(pair.visible, pair.infrared)
            size = visible.shape[:2]
            boxes = read_boxes(pair.boxes, size, class_names)
            masks = method(to_visible_values(visible), to_infrared_values(infrared), boxes)
            labels, report = draw_labels(masks, boxes, size, fallback, ignore_doubtful)
            folder.mkdir(
                parents=True, exist_ok=True
            )  # not before there is a map: an empty folder is no folder of labels
            write_image(folder / f"{pair.name}.png", labels)
            yield LabelResult(pair, report)
        except (OSError, ValueError, MemoryError, torch.OutOfMemoryError) as error:
            yield LabelResult(pair, error=str(error))
