"""Pairs from image files in folders."""

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.data.aligned_boxes import read_aligned_boxes
from gffusion.data.boxes.checks import check_boxes
from gffusion.data.class_names import check_typed_names
from gffusion.data.decoded_image import DecodeOptions
from gffusion.data.decoding import check_end
from gffusion.data.georeference import check_same_place
from gffusion.data.io import read_bytes, read_labels, read_size
from gffusion.data.label_values import IGNORED
from gffusion.data.layouts import FoundPairs, find_pairs
from gffusion.data.layouts.unread import describe_unread
from gffusion.data.pairs import ImagePair
from gffusion.data.reading import ReadOptions, decode_infrared, read_pair, read_pair_size
from gffusion.data.rigs import find_rig
from gffusion.data.wrong_pairs import check_different_files, check_not_swapped
from gffusion.models.gffusion.image_sizes import check_same_size

from .base import DecodedPair, PairSource, log_new_kinds, to_arrays

logger = logging.getLogger(__name__)


class FolderPairs(PairSource):
    """Pairs of one or several folders, joined in that order.

    Label maps of folders without any are 255 (ignored) if other folders have label maps. See [`FusionDataset`] for the
    arguments and errors.
    """

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]],
        layout: str,
        split: str | None,
        class_names: Sequence[str] | None,
        read_options: ReadOptions | None = None,
        with_boxes: bool = True,
    ) -> None:
        if not roots:
            raise ValueError("no dataset folder was given: pass at least one (`roots`; `--train_data`)")
        options = read_options or ReadOptions()
        found = [find_pairs(Path(root), layout, split, with_boxes) for root in roots]
        self.pairs = tuple(pair for part in found for pair in part.pairs)
        check_different_files(self.pairs, every=True, options=options)
        for part in found:
            check_not_swapped(part.pairs, options)
        self.names = tuple(pair.name for pair in self.pairs)
        self._roots = [number for number, part in enumerate(found) for _ in part.pairs]
        self._logged: set[str] = set()
        self.has_labels = any(map(_is_labeled, found))
        datasets = list(zip(roots, found, strict=True))
        for root, part in datasets if self.has_labels else ():
            _check_labels(root, part)
        self.has_boxes = with_boxes and _all_have_boxes(self.pairs)
        self._read_options = self._find_rigs([part.pairs for part in found], options)
        self.class_names = None
        notes: list[tuple[str | os.PathLike[str], str | None]] = []
        if class_names is not None:
            self.class_names = check_typed_names(class_names, "class_names", self.has_labels)
            notes = [(root, part.find_moved_names(self.class_names)) for root, part in datasets]
        elif self.has_labels or self.has_boxes:
            named = {root: part for root, part in datasets if self.has_boxes or _is_labeled(part)}
            self.class_names = _join_class_names({root: part.check_class_names() for root, part in named.items()})
            notes = [
                (root, part.find_assumed_numbers() or part.find_other_names(Path(root)))
                for root, part in named.items()
                if _is_labeled(part)
            ]
        for root, note in notes:
            if note:
                logger.warning("%s", note if str(Path(root)) in note else f"{root}: {note}")
        boxes = {pair.visible: pair.boxes for pair in self.pairs if self.has_boxes}
        if note := check_boxes(boxes, self.class_names):
            logger.warning("%s: %s", ", ".join(map(str, roots)), note)

    @property
    def settings(self) -> str:
        """How the files are read, the rigs included."""
        return ", ".join(dict.fromkeys(map(repr, self._read_options)))

    @property
    def recordings(self) -> Sequence[Hashable]:
        """The recording of every pair; those of two folders are never the same."""
        return list(zip(self._roots, super().recordings, strict=True))

    def _find_rigs(self, roots: Sequence[Sequence[ImagePair]], options: ReadOptions) -> list[ReadOptions]:
        """Return how every pair is read; each folder has its own rig."""
        if (options.crop or options.reference != "visible") and (self.has_labels or self.has_boxes):
            raise ValueError(
                "`crop` and `reference` (--crop and --reference infrared) cannot be used with labels or boxes, which lie in the "
                "frame of the visible image: leave them out, or use a folder without labels and boxes"
            )
        read_options = []
        for pairs in roots:
            with_rig, text = find_rig(pairs, options)
            if text:
                logger.warning("%s: %s", pairs[0].visible.parent, text)
            read_options += [with_rig] * len(pairs)
        return read_options

    def describe(self, index: int) -> str:
        """Return the image files of a pair."""
        return f"{self.pairs[index].visible}, {self.pairs[index].infrared}"

    def read(self, index: int) -> DecodedPair:
        """Read the files of a pair."""
        pair, options = self.pairs[index], self._read_options[index]
        images = read_pair(pair.visible, pair.infrared, options)
        log_new_kinds(images.notes, self.describe(index), self._logged)
        decoded: DecodedPair = {"visible": images.visible, "infrared": images.infrared}
        if images.missing is not None:
            decoded["missing"] = images.missing
        if images.is_raw:
            decoded["is_raw"] = np.array(True)
        size = images.visible.shape[0], images.visible.shape[1]
        if pair.labels is not None:
            decoded["labels"] = read_labels(pair.labels, options.max_pixels)
            _check_labels_size(pair, size, decoded["labels"].shape, options)
        elif self.has_labels:
            decoded["labels"] = np.full(size, IGNORED, np.uint8)
        if self.has_boxes:
            decoded |= to_arrays(read_aligned_boxes(pair, images, self.class_names, options.align))
        return decoded

    def read_infrared(self, index: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Read only the infrared image of a pair and its missing pixels, as measured by the camera."""
        pair, options = self.pairs[index], replace(self._read_options[index], keep_borders=True)
        if pair.visible == pair.infrared:
            return super().read_infrared(index)
        frame = decode_infrared(read_bytes(pair.infrared, options.max_pixels), str(pair.infrared), options)
        return frame.values, frame.missing

    def read_labels(self, index: int) -> NDArray[Any]:
        """Read the label map of a pair."""
        labels = self.pairs[index].labels
        if labels is None and self.has_labels:
            return np.full(self.read_size(index), IGNORED, np.uint8)
        if labels is None:
            raise ValueError(f"{self.describe(index)}: the pair has no label map")
        return read_labels(labels, self._read_options[index].max_pixels)

    def read_size(self, index: int) -> tuple[int, int]:
        """Read the size of a pair from the headers of its files, and check that none ends early."""
        pair, options = self.pairs[index], self._read_options[index]
        size = read_pair_size(pair.visible, pair.infrared, options)
        if pair.labels is not None:
            max_pixels = options.max_pixels
            check_end(read_bytes(pair.labels, max_pixels), f"label map {pair.labels}", DecodeOptions(max_pixels))
            _check_labels_size(pair, size, read_size(pair.labels, max_pixels), options)
        return size


def _check_labels_size(
    pair: ImagePair, size: tuple[int, int], labels_size: tuple[int, ...], options: ReadOptions
) -> None:
    """Raise ValueError if a label map has not the size or the place of its pair; resizing one drawn on an infrared image would misplace it."""
    is_moved = options.align not in ("none", "resize")
    if labels_size != size and is_moved and labels_size == _read_stored_size(pair.infrared, options):
        raise ValueError(
            f"{pair.labels} measures {labels_size[1]} x {labels_size[0]} pixels (width x height), as {pair.infrared}: it seems to be "
            f"drawn on the infrared image, which is moved into the frame of the visible image, {size[1]} x {size[0]}. Move the label "
            "map with the same rig by gffusion.cameras.align_labels, or, if both are georeferenced, by gdalwarp onto the grid of the "
            "visible image; or draw it on the visible image: resizing would misplace it"
        )
    check_same_size({str(pair.visible): size, str(pair.infrared): size, str(pair.labels): labels_size})
    if pair.labels is not None:
        frames = [pair.visible, pair.infrared] if options.align == "none" else [pair.visible]
        check_same_place(pair.labels, frames, size)


def _read_stored_size(infrared: Path, options: ReadOptions) -> tuple[int, int] | None:
    """Return the size of an infrared image before it is moved, or `None` if its header does not tell it."""
    try:
        return read_size(infrared, options.max_pixels, options.truncated)
    except (OSError, ValueError):  # such as raw frames
        return None


def _is_labeled(part: FoundPairs) -> bool:
    return any(pair.labels is not None for pair in part.pairs)


def _check_labels(root: str | os.PathLike[str], part: FoundPairs) -> None:
    """Warn about a folder without label maps beside others that have them; raise ValueError if it lacks some."""
    unlabeled = [pair for pair in part.pairs if pair.labels is None]
    if unlabeled and _is_labeled(part):
        raise ValueError(
            f"{len(unlabeled)} of {len(part.pairs)} pairs of {root} have no label map (first: {unlabeled[0].visible}): "
            f"add maps of {IGNORED} (ignored) for them, or remove these pairs"
        )
    if unlabeled:
        logger.warning(
            "%s: its %d pairs have no label maps, which are taken as %d (ignored): they train the fusion, and do not count in "
            "the segmentation loss and mIoU%s",
            root,
            len(unlabeled),
            IGNORED,
            describe_unread(part.pairs, "labels"),
        )


def _all_have_boxes(pairs: Sequence[ImagePair]) -> bool:
    missing = [pair for pair in pairs if pair.boxes is None]
    if missing and len(missing) < len(pairs):
        logger.warning(
            "boxes are left out: %d of %d pairs have no box file (first: %s); add empty files for images without objects",
            len(missing),
            len(pairs),
            missing[0].visible,
        )
    return not missing


def _join_class_names(named: Mapping[str | os.PathLike[str], tuple[str, ...] | None]) -> tuple[str, ...] | None:
    known = {names: root for root, names in named.items()}
    if len(known) > 1:
        first, second, *_ = (
            f"those of {root} are {', '.join(names) if names else 'not named'}" for names, root in known.items()
        )
        raise ValueError(
            f"joined datasets must have the same classes: {first}, {second}; pass class_names= if the indices agree"
        )
    return next(iter(known))
