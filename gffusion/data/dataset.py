"""A torch data set of visible/infrared(/labels/boxes) pairs."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from tqdm import tqdm

from gffusion.models.gffusion.image_processing_gffusion import (
    GFFusionImageProcessor,
    InfraredRange,
    to_infrared_values,
    to_visible_values,
)

from .pairs import ImagePair
from .sources import DatasetRows, Decoded, FolderPairs, PairSource
from .transforms import Sample, Transform


class FusionDataset(Dataset[dict[str, Any]]):
    """Aligned pairs of `root/visible` and `root/infrared`, or of a known data set as people download it.

    Class index maps in `root/labels` and boxes in `root/boxes` are taken where they exist (see `layouts.folders`; the
    other layouts of `layouts.LAYOUTS` have folders of their own). Files belong together by name (see `match_pairs`);
    those without a partner are reported once through `logging`. An item is a dict of

    - `"visible_values"`: (3, H, W) float32 in [0, 1]; a grey image is repeated,
    - `"infrared_values"`: (1, H, W) float32 in [0, 1]; a colour image is reduced to its BT.601 luma,
    - `"labels"`: (H, W) int64, only when the set has labels or `transform` makes them; 0 is the background,
    - `"boxes"` and `"box_classes"`: (N, 4) float32 left, top, right, bottom in pixels and (N,) int64 indices into
      `class_names`, only when the boxes of every pair are known,
    - `"name"`: the stem of the visible file.

    8-bit images are divided by 255, 16-bit images by 65535; float images must lie in [0, 1]. For infrared images
    `infrared_range` changes that: raw 14- or 16-bit thermal data and temperatures need another range than their type's.

    Args:
        root: The folder, or several whose pairs are joined in that order; or a source that reads pairs from elsewhere, for
            which `layout`, `split` and `class_names` mean nothing.
        transform: Called with the sample (see `transforms.Sample`) and a generator that depends on `seed`, the epoch
            and the index alone, so that an item is the same in any number of workers.
        seed: Seed of that generator, at least 0.
        cache_in_memory: Decodes every image now and keeps it in its own dtype. Forked workers share this memory.
        layout: How the folders are arranged: a name of `LAYOUTS`.
        split: The part of the data set to take, where the layout has parts.
        infrared_range: What maps to [0, 1] in infrared images: `"dtype"`, the range of their type; `"percentile"`, the
            0.1st to 99.9th percentile of each image; or `(low, high)`, a fixed range in the image's unit, counts or kelvin.
        class_names: The classes of boxes, and of label maps after the background: class k of a box is label k + 1. By
            default those that the layout knows or `classes.txt` names.

    Raises:
        FileNotFoundError: If a folder is missing.
        NotADirectoryError: If a folder is a file.
        ValueError: If no root, a negative seed, an unknown layout or an unknown range is given, a folder holds no pairs, it
            is open which files belong together, only some pairs have labels, or joined folders have different classes.
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
        infrared_range: InfraredRange = "dtype",
        class_names: Sequence[str] | None = None,
    ) -> None:
        if seed < 0:
            raise ValueError(f"seed must be at least 0, got {seed}")
        # The processor knows which ranges there are.
        self.infrared_range = GFFusionImageProcessor(infrared_range=infrared_range).infrared_range
        if isinstance(root, PairSource):
            self._source = root
        else:
            roots = [root] if isinstance(root, str | os.PathLike) else root
            self._source = FolderPairs(roots, layout, split, class_names)
        self.transform = transform
        self._seed = seed
        # Workers that outlive an epoch hold a copy of this object; only shared memory tells them of the next one.
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._decoded = [self._source.read(index) for index in range(len(self))] if cache_in_memory else None

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
        infrared_range: InfraredRange = "dtype",
        class_names: Sequence[str] | None = None,
    ) -> "FusionDataset":
        """Takes the pairs from the rows of a `datasets.Dataset`.

        Args:
            dataset: A `datasets.Dataset`, no stream and no dict of splits; or an object with its `column_names`, its
                length and its rows.
            transform: See the class, as for `seed`, `cache_in_memory` and `infrared_range`.
            seed: See the class.
            cache_in_memory: See the class.
            visible: Column of the visible images: an `Image` feature, decoded or not, arrays, or tensors.
            infrared: Column of the infrared images.
            labels: Column of the label maps, (H, W) class indices as an image or an array.
            boxes: Column of the boxes: "bbox", `[left, top, width, height]` in pixels, and "category", indices from 0 or
                names, as a dict of lists or a list of dicts.
            names: Column of the items' names; by default they are the numbers of the rows.
            infrared_range: See the class.
            class_names: By default the names of a `ClassLabel` feature under "category".

        Raises:
            ValueError: If a column is missing, or as for the class.
        """
        rows = DatasetRows(dataset, visible, infrared, labels, boxes, names, class_names)
        return cls(rows, transform, seed, cache_in_memory, infrared_range=infrared_range)

    @property
    def pairs(self) -> tuple[ImagePair, ...]:
        """The files of every item, in order; none where items are no files."""
        return self._source.pairs if isinstance(self._source, FolderPairs) else ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name of every item, in order."""
        return self._source.names

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The classes of boxes, and of label maps after the background, where they are known."""
        return self._source.class_names

    @property
    def has_labels(self) -> bool:
        """Whether every pair has a label map of its own."""
        return self._source.has_labels

    @property
    def has_boxes(self) -> bool:
        """Whether the boxes of every pair are known."""
        return self._source.has_boxes

    def __len__(self) -> int:
        """Returns the number of pairs."""
        return len(self._source.names)

    def set_epoch(self, epoch: int) -> None:
        """Makes `transform` draw anew, in running workers too.

        Args:
            epoch: Number of the epoch, at least 0.

        Raises:
            ValueError: If `epoch` is negative.
        """
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        self._epoch[0] = epoch

    def label_values(self) -> set[int]:
        """Reads every label map, before `transform`, and returns the class indices that occur; none without labels."""
        values: set[int] = set()
        for index in self._each("labels") if self.has_labels else ():
            labels = self._decoded[index]["labels"] if self._decoded else self._source.read_labels(index)
            values.update(map(int, np.unique(labels)))
        return values

    def sizes(self) -> list[tuple[int, int]]:
        """Reads the height and width of every pair, before `transform`, from the headers of its files alone.

        Raises:
            ImageReadError: If a file cannot be read.
            ValueError: If the images of a pair differ in size.
        """
        return [self._source.read_size(index) for index in self._each("sizes")]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Reads, transforms and converts one pair.

        Raises:
            ImageReadError: If an image cannot be read.
            ValueError: If the images of the pair differ in size, float values lie outside [0, 1] and no range is given,
                or a box file is malformed.
        """
        index = range(len(self))[index]
        sample = self._to_sample(index, self._decoded[index] if self._decoded else self._source.read(index))
        if self.transform is not None:
            rng = np.random.default_rng((self._seed, int(self._epoch), index))
            sample = self.transform(sample, rng)
        item: dict[str, Any] = {
            "visible_values": _channels_first(sample["visible"]),
            "infrared_values": _channels_first(sample["infrared"]),
            "name": self.names[index],
        }
        for name in ("labels", "boxes", "box_classes"):
            if name in sample:
                item[name] = torch.from_numpy(np.ascontiguousarray(sample[name]))
        return item

    def _each(self, what: str) -> "tqdm[int]":
        return tqdm(range(len(self)), desc=f"Reading {what}", unit="pair", disable=None, leave=False)

    def _to_sample(self, index: int, decoded: Decoded) -> Sample:
        try:
            visible = np.moveaxis(to_visible_values(decoded["visible"]), 0, -1)
            infrared = np.moveaxis(to_infrared_values(decoded["infrared"], self.infrared_range), 0, -1)
        except ValueError as error:
            raise ValueError(f"{self._source.origin(index)}: {error}") from error
        sample = {"visible": visible, "infrared": infrared}
        if "labels" in decoded:
            sample["labels"] = decoded["labels"].astype(np.int64)
        # Copies, like the others: a transform that works in place must not reach the cache.
        return sample | {name: decoded[name].copy() for name in ("boxes", "box_classes") if name in decoded}


def _channels_first(image: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
