"""Torch dataset of visible/infrared pairs, with optional labels and boxes."""

import copy
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from gffusion.cameras.running_range import Frame, find_odd_ranges, measure_with_own_ranges
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.models.gffusion.infrared_options import OPTION_NAMES, Agc, InfraredOptions, InfraredRange, Limits
from gffusion.models.gffusion.infrared_values import measured_counts, to_infrared_values, to_visible_values
from gffusion.utils.notes import name_first, name_in_errors
from gffusion.utils.progress import show_progress

from .decoded_image import ImageReadError
from .indices import find_index
from .infrared_notes import note_infrared
from .infrared_range import MEASURING, check_counts, describe_range
from .label_colors import LabelColors
from .pairs import ImagePair
from .reading import ReadOptions
from .sources import DatasetRows, DecodedPair, FolderPairs, PairSource, SelectedPairs
from .transforms import Sample, Transform
from .transforms.base import apply_transform, describe_transform
from .value_types import check_same_types
from .visible_range import VisibleRange

logger = logging.getLogger(__name__)


class FusionDataset(Dataset[dict[str, Any]]):
    """Dataset of aligned pairs from `root/visible` and `root/infrared`, or from a known dataset as downloaded.

    Class index maps in `root/labels` and boxes in `root/boxes` are read if they exist; the other layouts in [`LAYOUTS`]
    have other folders. Files are matched by name (see [`match_pairs`]); files without a partner are reported once
    through `logging`. An item is a dict of

    - `"visible_values"`: (3, H, W) float32 in [0, 1]; a gray image is repeated,
    - `"infrared_values"`: (1, H, W) float32 in [0, 1]; false colors are mapped back to intensities. Where nothing was
      measured, it is the luma of the visible image, so that losses ask for the visible image there,
    - `"infrared_targets"`: like `"infrared_values"`, only if `transform` degrades the infrared image: the clean one,
    - `"labels"`: (H, W) int64, only if the dataset has labels or `transform` creates them; 0 is the background.
      Of several folders, those without labels get 255 (ignored), with a warning,
    - `"boxes"` and `"box_classes"`: (N, 4) float32 left, top, right, bottom in pixels and (N,) int64 indices into
      `class_names`, only if every pair has boxes,
    - `"name"`: the stem of the visible file.

    8-bit images are divided by 255 and 16-bit images by 65535; float images must be in [0, 1]. Raw 14- or 16-bit
    thermal data and temperatures need another `infrared_range`.

    Args:
        root: A folder, or a CSV file of pairs as `gffusion match` writes it; several of them, whose pairs are joined in that
            order; or a [`PairSource`], for which `layout`, `split` and `class_names` are ignored.
        transform: Called with the sample (see `transforms.Sample`) and a generator that depends only on `seed`, the
            epoch and the index, so that items do not depend on the number of workers.
        seed: Seed of the generator, at least 0.
        cache_in_memory: Decode all images at once and keep them in their dtype. Forked workers share this memory.
        layout: Arrangement of the folders, a name in [`LAYOUTS`].
        split: Split of the dataset, if the layout has splits.
        infrared_range: Range of infrared images that maps to [0, 1]: `"type"`, the range of their type; `"percentile"`,
            the 0.1st to 99.9th percentile of each image; `"auto"`, `"percentile"` for radiometric files, else `"type"`;
            `"folder"`, the percentiles of all images together, which are read once; or `(low, high)` in the unit of the
            image, such as counts or kelvin; `(high, low)` inverts.
        invert: See [`InfraredOptions`], as the following options.
        agc: Automatic gain control.
        plateau_limit: Limit of `agc="plateau"`.
        smooth_range: Number of frames of a running range, of each root and folder in names. All images are read once, in order.
        class_names: Names of the classes of boxes, and of label maps after the background: box class k is label k + 1.
            Defaults to the names in the layout or in `classes.txt`.
        read_options: How the files are read: alignment, raw frames and false colors.
        with_boxes: Whether to read boxes. Without, damaged box files do not matter.

    Raises:
        FileNotFoundError, NotADirectoryError: If a folder is missing or a file.
        ValueError: If no root, a negative seed, an unknown layout or an unknown range is given, a folder contains no
            pairs, files match ambiguously, only some pairs of a folder have labels, joined folders have different classes, or an id of a box is
            not a class.

    Examples:
        >>> import tempfile
        >>> from gffusion.data import write_image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for kind in ("visible", "infrared"):
        ...         os.mkdir(f"{root}/{kind}")
        ...         write_image(f"{root}/{kind}/street.png", np.zeros((4, 6), np.uint8))
        ...     FusionDataset(root)[0]["visible_values"].shape
        torch.Size([3, 4, 6])
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | PairSource,
        transform: Transform | None = None,
        seed: int = 0,
        cache_in_memory: bool = False,
        *,
        layout: str = "folders",
        split: str | None = None,
        infrared_range: InfraredRange = "auto",
        invert: bool = False,
        agc: Agc = "linear",
        plateau_limit: float | None = None,
        smooth_range: float = 0,
        class_names: Sequence[str] | None = None,
        read_options: ReadOptions | None = None,
        with_boxes: bool = True,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        self.infrared_options = InfraredOptions(infrared_range, invert, agc, plateau_limit, smooth_range)
        roots = [root] if isinstance(root, str | os.PathLike) else root
        if isinstance(roots, PairSource):
            self._source: PairSource = roots
        else:
            _check_roots(roots)
            self._source = FolderPairs(roots, layout, split, class_names, read_options, with_boxes)
        self.transform = transform
        self._seed = seed
        self._epoch = _make_epoch()
        self._decoded = [self._source.read(index) for index in range(len(self))] if cache_in_memory else None
        self._ranges = self._measure_ranges() if self.infrared_options.needs_measuring else None

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        transform: Transform | None = None,
        seed: int = 0,
        cache_in_memory: bool = False,
        *,
        visible: str = "visible",
        infrared: str = "infrared",
        labels: str | None = None,
        boxes: str | None = None,
        names: str | None = None,
        class_names: Sequence[str] | None = None,
        infrared_luma: bool = False,
        visible_range: VisibleRange | None = None,
        **infrared_options: Any,
    ) -> "FusionDataset":
        """Create a dataset from the rows of a `datasets.Dataset`, or from a list of dicts.

        Args:
            dataset: A `datasets.Dataset` (not a stream or a dict of splits), a list of dicts, or an object with `column_names`,
                a length and rows.
            transform: As for the class.
            seed: As for the class.
            cache_in_memory: As for the class.
            visible: Column of visible images: an `Image` feature, decoded or not, paths of files, arrays, or tensors.
            infrared: Column of infrared images.
            labels: Column of label maps, (H, W) class indices as an image, the path of one, or an array.
            boxes: Column of boxes: "bbox", `[left, top, width, height]` in pixels, and "category", indices from 0 or
                names, as a dict of lists or a list of dicts.
            names: Column of item names. Defaults to row numbers.
            class_names: Defaults to the names of a `ClassLabel` feature under "category".
            infrared_luma: Whether to take the luma of infrared images in color, see [`ReadOptions`].
            visible_range: Values of visible images that become black and white, see [`ReadOptions`].
            infrared_options: `infrared_range`, `invert`, `agc`, `plateau_limit` and `smooth_range`, as for the class.

        Raises:
            ValueError: If a column is missing, another option is given, visible and infrared images are swapped, boxes seem to
                be `[x1, y1, x2, y2]` or relative, or as for the class.
        """
        if unknown := infrared_options.keys() - set(OPTION_NAMES):
            raise ValueError(
                f"from_dataset does not take {', '.join(sorted(unknown))}: leave it out. Besides columns, class_names, infrared_luma and "
                f"visible_range, rows take {', '.join(OPTION_NAMES)}; other options are for folders."
            )
        columns = {"visible": visible, "infrared": infrared, "labels": labels, "boxes": boxes, "names": names}
        given = {name: column for name, column in columns.items() if column is not None}
        rows = DatasetRows(dataset, given, class_names, infrared_luma, visible_range)
        return cls(rows, transform, seed, cache_in_memory, **infrared_options)

    @property
    def pairs(self) -> tuple[ImagePair, ...]:
        """Files of every item, in order; empty if items are not read from folders."""
        return self._source.pairs

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every item, in order."""
        return self._source.names

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes of boxes, and of label maps after the background, or None if unknown."""
        return self._source.class_names

    @property
    def has_labels(self) -> bool:
        """Whether items have label maps."""
        return self._source.has_labels

    @property
    def has_boxes(self) -> bool:
        """Whether every pair has boxes."""
        return self._source.has_boxes

    @property
    def range_description(self) -> str | None:
        """The range of all infrared images in words, or `None` unless `infrared_range="folder"`."""
        return describe_range(self.infrared_options, self._ranges or [])

    @property
    def settings(self) -> dict[str, Any]:
        """Options that change the items, to compare two runs: infrared options, how files are read, transform and seed."""
        return {
            "infrared options": self.infrared_options.to_dict(),
            "reading": self._source.settings,
            "transform": describe_transform(self.transform),
            "seed of the transform": self._seed,
        }

    def __len__(self) -> int:
        return len(self._source.names)

    def select(self, indices: Sequence[int]) -> "FusionDataset":
        """Return a dataset of the pairs with some indices, in their order, with epochs of its own.

        Ranges of several images, such as `infrared_range="folder"`, stay those of this dataset.

        Raises:
            IndexError: If there is no pair with one of the indices.

        Examples:
            >>> import tempfile
            >>> from pathlib import Path
            >>> from gffusion.synthetic.samples import write_scenes
            >>> with tempfile.TemporaryDirectory() as root:
            ...     _ = write_scenes(Path(root), count=3, height=32, width=32)
            ...     FusionDataset(root).select([2, 0]).names
            ('rendered_0002', 'rendered_0000')
        """
        chosen, indices = copy.copy(self), [find_index(int(index), len(self)) for index in indices]
        chosen._source, chosen._epoch = SelectedPairs(self._source, indices), _make_epoch()
        chosen._decoded = [self._decoded[index] for index in indices] if self._decoded else None
        chosen._ranges = [self._ranges[index] for index in indices] if self._ranges else None
        return chosen

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, at least 0, which changes the random numbers of `transform`, also in running workers."""
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        self._epoch[0] = epoch

    def identify(self) -> list[str]:
        """Return a text for every item that is the same for the same visible image: its path, or a digest if it has none."""
        return [self._source.identify(index) for index in range(len(self))]

    def read_label_values(self) -> dict[int, str]:
        """Read all label maps, before `transform`, and return their class indices, each with the first pair that has it.

        Raises:
            ValueError: If a color of the palettes has different indices.
        """
        values: dict[int, str] = {}
        colors = LabelColors()
        for index in self._iterate("labels") if self.has_labels else ():
            labels = self._decoded[index]["labels"] if self._decoded else self._source.read_labels(index)
            found = [*map(int, np.unique(labels))]
            colors.add(self.pairs[index].labels if self.pairs else None, found)
            values = dict.fromkeys(found, self.names[index]) | values
        for note in colors.describe():
            logger.warning("%s.", note)
        return values

    def read_sizes(self) -> list[tuple[int, int]]:
        """Read the height and width of every pair, before `transform`, from the headers of its files.

        Raises:
            ImageReadError: If files end early or are no images. All files are looked at before.
            OSError, ValueError: If a file is missing, or the images of a pair differ in size.
        """
        check_same_types([pair.infrared for pair in self.pairs])
        sizes, errors = [], {}
        for index in self._iterate("sizes"):
            try:
                sizes.append(self._source.read_size(index))
            except ImageReadError as error:
                errors[self.names[index]] = error
        if errors:
            first = next(iter(errors.values()))
            raise ImageReadError(
                f"{first}. {len(errors)} of {len(self)} pairs cannot be read ({name_first([*errors], 20)}): replace or remove "
                "their files"
            ) from first
        return sizes

    def note_infrared(self, limit: int | None = None) -> list[tuple[str, str]]:
        """Read all infrared images or the first ones, and return notes on those of no use, each after its file or row.

        They have one value, show the noise behind a closed shutter, or repeat the image of the pair before.
        """
        return note_infrared(self._source, self._iterate("infrared images", limit))

    def check_infrared_range(self) -> None:
        """Raise ValueError if infrared images of 16 bits become nearly constant by the default range. Reads up to 20 pairs."""

        def read_frame(index: int) -> tuple[Any, Any] | None:
            decoded = self._read(index)
            return None if "is_raw" in decoded else (decoded["infrared"], decoded.get("missing"))

        check_counts(self.infrared_options, len(self), read_frame)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Read, transform and convert one pair.

        Raises:
            ImageReadError: If an image cannot be read.
            IndexError: If there is no pair with this index.
            TypeError: If the index is no whole number, such as a slice.
            ValueError: If the images of the pair differ in size, float values are outside [0, 1] and no range is given,
                a box file is malformed, or `transform` does not return a sample.
        """
        index = find_index(index, len(self))
        sample = self._to_sample(index, self._read(index))
        if self.transform is not None:
            rng = np.random.default_rng((self._seed, int(self._epoch), index))
            sample = apply_transform(self.transform, sample, rng)
        item: dict[str, Any] = {
            "visible_values": _to_tensor(sample["visible"]),
            "infrared_values": _to_tensor(sample["infrared"]),
            "name": self.names[index],
        }
        if "infrared_target" in sample:
            item["infrared_targets"] = _to_tensor(sample["infrared_target"])
        if "missing" in sample:  # the target of every loss on luma is then the luma of the visible image
            is_missing = _to_tensor(sample["missing"]) > 0
            luma = rgb_to_luma(item["visible_values"])
            for name in {"infrared_values", "infrared_targets"} & item.keys():
                item[name] = luma.where(is_missing, item[name])
        optional = [name for name in ("labels", "boxes", "box_classes") if name in sample]
        return item | {name: torch.from_numpy(np.ascontiguousarray(sample[name])) for name in optional}

    def _read(self, index: int) -> DecodedPair:
        return self._decoded[index] if self._decoded else self._source.read(index)

    def _iterate(self, what: str, limit: int | None = None) -> Iterable[int]:
        return show_progress(range(len(self))[:limit], description=f"Reading {what}", unit="pair")

    def _measure_ranges(self) -> list[Limits]:
        def read_frames() -> Iterator[Frame]:
            recordings = self._source.recordings
            for index in show_progress(range(len(self)), description=MEASURING, unit="pair"):
                decoded = self._read(index)
                frame = Frame(decoded["infrared"], decoded.get("missing"), recordings[index])
                with name_in_errors(self._source.describe(index)):
                    measured_counts(frame.values, frame.missing)  # raises if it cannot be measured
                yield frame

        ranges, own = measure_with_own_ranges(read_frames(), self.infrared_options)
        odd, warning = find_odd_ranges(own)
        if odd:
            logger.warning("%s: %s", name_first([self._source.describe(index) for index in odd]), warning)
        return ranges

    def _to_sample(self, index: int, decoded: DecodedPair) -> Sample:
        options = self.infrared_options
        with name_in_errors(self._source.describe(index)):
            options = options.with_limits(self._ranges[index]) if self._ranges else options
            options = options.for_counts() if "is_raw" in decoded else options
            visible = np.moveaxis(to_visible_values(decoded["visible"]), 0, -1)
            infrared = np.moveaxis(to_infrared_values(decoded["infrared"], options, decoded.get("missing")), 0, -1)
        sample = {"visible": visible, "infrared": infrared}
        if "missing" in decoded:
            sample["missing"] = decoded["missing"][..., None].astype(np.float32)
        if "labels" in decoded:
            sample["labels"] = decoded["labels"].astype(np.int64)
        # Copied so that in-place transforms do not change the cache.
        return sample | {name: decoded[name].copy() for name in ("boxes", "box_classes") if name in decoded}


def _check_roots(roots: Any) -> None:
    if hasattr(roots, "column_names") or not all(isinstance(root, str | os.PathLike) for root in roots):
        raise ValueError(
            f"`root` must be a folder or a list of folders, got {type(roots).__name__}: read the rows of a dataset with "
            "`FusionDataset.from_dataset`."
        )


def _make_epoch() -> torch.Tensor:
    """Return epoch 0 in shared memory, which also updates the copies of a dataset that persistent workers have."""
    epoch = torch.zeros(1, dtype=torch.int64, device="cpu")
    epoch.share_memory_()  # type: ignore[no-untyped-call]
    return epoch


def _to_tensor(image: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))
