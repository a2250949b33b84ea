"""Write label maps for the boxes of many pairs."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gffusion.cameras.frozen_images import FrozenImages
from gffusion.data.aligned_boxes import read_aligned_boxes
from gffusion.data.boxes.checks import check_boxes
from gffusion.data.infrared_notes import measure_range
from gffusion.data.infrared_range import PairRanges
from gffusion.data.io import write_image
from gffusion.data.pairs import ImagePair
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import to_infrared_values, to_visible_values
from gffusion.utils.atomic import describe_error, prevents_writing
from gffusion.utils.memory import memory_errors

from .files import choose_label_files
from .masks import MaskMethod, MaskReport, draw_labels
from .options import Fallback


@dataclass(frozen=True)
class LabelResult:
    """The outcome for one pair.

    Attributes:
        pair: The pair.
        report: Counts of its objects; all 0 if it failed.
        error: Reason why no label map was written, or `None` on success.
        notes: What was changed or assumed while reading the pair.
        range_width: Kind of the infrared image and width of its range, for [`note_narrow`]; `None` if it failed.
    """

    pair: ImagePair
    report: MaskReport = field(default_factory=MaskReport)
    error: str | None = None
    notes: tuple[str, ...] = ()
    range_width: tuple[str, float] | None = None


def write_labels(
    pairs: Iterable[ImagePair],
    folder: str | os.PathLike[str],
    method: MaskMethod,
    class_names: Sequence[str] | None = None,
    fallback: Fallback = "ellipse",
    ignore_doubtful: bool = True,
    ranges: PairRanges | None = None,
    is_checked: bool = False,
) -> Iterator[LabelResult]:
    """Write a label map for every pair to the file of [`choose_label_files`].

    A pair that cannot be read, or whose map cannot be written, is reported in its result; the other pairs are still labeled,
    unless no file can be written, such as on a full disk.

    Args:
        pairs: Pairs with boxes.
        folder: Output folder, created with the first map. Existing label maps of the pairs there are replaced.
        method: Finds the objects in the boxes.
        class_names: Classes of the boxes, see [`read_boxes`].
        fallback: See [`draw_labels`].
        ignore_doubtful: See [`draw_labels`].
        ranges: How the values of infrared images are mapped, see [`measure_pairs`]. Defaults to `"auto"`.
        is_checked: Whether [`check_boxes`] has accepted the boxes. By default, they are checked before the first map is written.

    Yields:
        One result per pair, in order, as soon as the pair is done.

    Raises:
        ValueError: If the ids in YOLO files seem to start at 1, boxes to be in another format, or [`choose_label_files`] refuses a
            file, or all boxes are of groups with a mask in COCO files, before the first map is written.

    Examples:
        >>> import tempfile
        >>> from gffusion.data import find_pairs
        >>> from gffusion.labeling.masks import ThresholdMasks
        >>> from gffusion.synthetic.samples import write_scenes
        >>> with tempfile.TemporaryDirectory() as root:
        ...     names = write_scenes(Path(root), height=32, width=48)
        ...     results = list(write_labels(find_pairs(Path(root)).match.pairs, Path(root, "labels"), ThresholdMasks()))
        >>> results[0].pair.name, results[0].error
        ('rendered_0000', None)
    """
    ranges, pairs = ranges or PairRanges(InfraredOptions()), list(pairs)
    if not is_checked:
        check_boxes({pair.visible: pair.boxes for pair in pairs}, class_names, for_labels=True)
    frozen = FrozenImages()
    for pair, file in zip(pairs, choose_label_files(pairs, Path(folder)), strict=True):
        try:
            with memory_errors():
                images = ranges.read(pair)
                sample = images.visible[::8, ::8].copy()  # enough to see a change
                notes = images.notes + frozen.add(pair.infrared, images.infrared, sample.view)
                infrared_values = to_infrared_values(
                    images.infrared, images.adapt(ranges.options_of(pair)), images.missing
                )
                size = images.visible.shape[:2]
                boxes = read_aligned_boxes(pair, images, class_names, ranges.read_options.align)
                masks = method(to_visible_values(images.visible), infrared_values, boxes)
                labels, report = draw_labels(masks, boxes, size, fallback, ignore_doubtful)
                # Created late: datasets reject a labels folder without files.
                file.parent.mkdir(parents=True, exist_ok=True)
                write_image(file, labels)
            yield LabelResult(pair, report, notes=notes, range_width=measure_range(images, pair.infrared))
        except (OSError, ValueError, MemoryError) as error:
            yield LabelResult(pair, error=describe_error(error))
            if prevents_writing(error):
                return
