"""What stands behind the items of a data set: files in folders, or rows of a `datasets.Dataset`."""

import dataclasses
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.image_processing_gffusion import to_array

from .boxes import Boxes, NamedBoxes, clip_boxes, read_boxes
from .io import ImageReadError, read_image, read_labels, read_size
from .layouts import find_pairs
from .pairs import ImagePair, check_same_size, read_pair

logger = logging.getLogger(__name__)

Decoded = dict[str, NDArray[Any]]
"""`"visible"` and `"infrared"` as they are stored, (H, W) or (H, W, 3), and those of `"labels"` (H, W), `"boxes"` (N, 4)
and `"box_classes"` (N,) that the set has."""


class PairSource(ABC):
    """Pairs that can be read one by one, in any order and any process.

    Attributes:
        names: The name of every pair, in order.
        class_names: The classes of boxes, and of label maps after the background, where they are known.
        has_labels: Whether every pair has a label map.
        has_boxes: Whether the boxes of every pair are known.
    """

    names: tuple[str, ...]
    class_names: tuple[str, ...] | None
    has_labels: bool
    has_boxes: bool

    @abstractmethod
    def origin(self, index: int) -> str:
        """Says where a pair comes from, for messages."""

    @abstractmethod
    def read(self, index: int) -> Decoded:
        """Reads a pair, and raises OSError or ValueError if it cannot be read or its images differ in size."""

    @abstractmethod
    def read_labels(self, index: int) -> NDArray[Any]:
        """Reads the label map of a pair alone."""

    @abstractmethod
    def read_size(self, index: int) -> tuple[int, int]:
        """Reads height and width of a pair, from headers where that is possible."""


class FolderPairs(PairSource):
    """The pairs of one or several folders, joined in that order. See `FusionDataset` for the arguments."""

    def __init__(
        self,
        roots: Sequence[str | os.PathLike[str]],
        layout: str = "folders",
        split: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        found = [find_pairs(Path(root), layout, split) for root in roots]
        self.pairs: tuple[ImagePair, ...] = tuple(pair for part in found for pair in part.match.pairs)
        self.names = tuple(pair.name for pair in self.pairs)
        self.has_labels = _all_have_labels(self.pairs)
        self.has_boxes = _all_have_boxes(self.pairs)
        self.class_names = tuple(class_names) if class_names is not None else None
        if class_names is None and (self.has_labels or self.has_boxes):
            self.class_names = _common_class_names(roots, [part.class_names for part in found])
        if self.has_boxes and self.class_names is None:
            _check_boxes_need_no_names(self.pairs)

    def origin(self, index: int) -> str:
        """Names the images of a pair."""
        return f"{self.pairs[index].visible}, {self.pairs[index].infrared}"

    def read(self, index: int) -> Decoded:
        """Reads the files of a pair."""
        pair = self.pairs[index]
        visible, infrared = read_pair(pair.visible, pair.infrared)
        decoded: Decoded = {"visible": visible, "infrared": infrared}
        sizes = {str(pair.visible): visible.shape[:2], str(pair.infrared): infrared.shape[:2]}
        if pair.labels is not None:
            decoded["labels"] = read_labels(pair.labels)
            sizes[str(pair.labels)] = decoded["labels"].shape
        size = check_same_size(sizes)
        if self.has_boxes and pair.boxes is not None:
            decoded |= _as_arrays(read_boxes(pair.boxes, size, self.class_names))
        return decoded

    def read_labels(self, index: int) -> NDArray[Any]:
        """Reads the label map of a pair."""
        labels = self.pairs[index].labels
        if labels is None:
            raise ValueError(f"{self.origin(index)}: the pair has no label map")
        return read_labels(labels)

    def read_size(self, index: int) -> tuple[int, int]:
        """Reads the size of a pair from the headers of its files."""
        pair = self.pairs[index]
        return check_same_size(
            {str(file): read_size(file) for file in (pair.visible, pair.infrared, pair.labels) if file}
        )


class DatasetRows(PairSource):
    """The rows of a `datasets.Dataset`, or of anything else with its `column_names`, `len` and rows as dicts.

    See `FusionDataset.from_dataset` for the arguments and for what a column may hold.
    """

    def __init__(
        self,
        dataset: Any,
        visible: str = "visible",
        infrared: str = "infrared",
        labels: str | None = None,
        boxes: str | None = None,
        names: str | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        columns = {"visible": visible, "infrared": infrared, "labels": labels, "boxes": boxes, "names": names}
        self._columns = {name: column for name, column in columns.items() if column is not None}
        _check_columns(dataset, list(self._columns.values()))
        self.names = tuple(map(str, dataset[names][:] if names is not None else range(len(dataset))))
        self._dataset = _undecoded(dataset, self._columns.values())
        self._dtypes = {name: _array_dtype(dataset, column) for name, column in self._columns.items()}
        self.has_labels, self.has_boxes = labels is not None, boxes is not None
        known = class_names if class_names is not None else _category_names(dataset, boxes)
        self.class_names = tuple(known) if known is not None else None

    def origin(self, index: int) -> str:
        """Names the row of a pair."""
        return f"row {index}"

    def read(self, index: int) -> Decoded:
        """Reads the columns of a row."""
        row = self._dataset[index]
        images = [name for name in ("visible", "infrared", "labels") if name in self._columns]
        decoded: Decoded = {name: self._read_column(index, row, name) for name in images}
        size = check_same_size({self._cell(index, name): image.shape[:2] for name, image in decoded.items()})
        if self.has_boxes:
            objects = row[self._columns["boxes"]]
            decoded |= _as_arrays(_objects_to_boxes(objects, size, self.class_names, self._cell(index, "boxes")))
        return decoded

    def read_labels(self, index: int) -> NDArray[Any]:
        """Reads the label map of a row."""
        return self._read_column(index, self._dataset[index], "labels")

    def read_size(self, index: int) -> tuple[int, int]:
        """Reads the size of a row's images, from their headers where they are files."""
        row = self._dataset[index]
        sizes = {}
        for name in ("visible", "infrared"):
            value = row[self._columns[name]]
            if isinstance(value, dict):
                with _located(self._cell(index, name)):
                    sizes[self._cell(index, name)] = read_size(_content(value))
            else:
                sizes[self._cell(index, name)] = self._read_column(index, row, name).shape[:2]
        return check_same_size(sizes)

    def _cell(self, index: int, name: str) -> str:
        return f"{self.origin(index)}, column {self._columns[name]!r}"

    def _read_column(self, index: int, row: Mapping[str, Any], name: str) -> NDArray[Any]:
        value = row[self._columns[name]]
        with _located(self._cell(index, name)):
            if self._dtypes[name] is not None:
                value = np.asarray(value, dtype=self._dtypes[name])
            return _to_labels(value) if name == "labels" else _to_image(value, name)


def _all_have_labels(pairs: Sequence[ImagePair]) -> bool:
    if not pairs:
        raise ValueError("no data set folder was given; name at least one root")
    unlabelled = [pair for pair in pairs if pair.labels is None]
    if unlabelled and len(unlabelled) < len(pairs):
        raise ValueError(
            f"{len(unlabelled)} of {len(pairs)} pairs have no label map (first: {unlabelled[0].visible}); "
            "label all pairs or none, or leave these out"
        )
    return not unlabelled


def _all_have_boxes(pairs: Sequence[ImagePair]) -> bool:
    unknown = [pair for pair in pairs if pair.boxes is None]
    if unknown and len(unknown) < len(pairs):
        logger.warning(
            "boxes are left out: %d of %d pairs have no box file (first: %s); give images without objects an empty file",
            len(unknown),
            len(pairs),
            unknown[0].visible,
        )
    return not unknown


def _common_class_names(
    roots: Sequence[str | os.PathLike[str]], class_names: Sequence[tuple[str, ...] | None]
) -> tuple[str, ...] | None:
    known = dict(zip(class_names, roots, strict=True))
    if len(known) > 1:
        first, second, *_ = (
            f"those of {root} are {', '.join(names) if names else 'not named'}" for names, root in known.items()
        )
        raise ValueError(
            f"joined sets must number the same classes alike: {first}, {second}; pass class_names if they do"
        )
    return next(iter(known))


def _check_boxes_need_no_names(pairs: Sequence[ImagePair]) -> None:
    named = next(
        (pair.boxes for pair in pairs if isinstance(pair.boxes, Path) and pair.boxes.suffix.lower() == ".xml"), None
    )
    if named is not None:
        raise ValueError(
            f"VOC files such as {named} hold names of classes; say with class_names, or in a file classes.txt beside the "
            "folder of boxes, which class has which index"
        )


def _as_arrays(boxes: Boxes) -> Decoded:
    return {"boxes": boxes.coordinates, "box_classes": boxes.classes}


def _check_columns(dataset: Any, wanted: Sequence[str]) -> None:
    columns = getattr(dataset, "column_names", None)
    if isinstance(columns, dict):
        raise ValueError(
            f"got a dict of the splits {', '.join(columns)}; choose one, as in dataset[{next(iter(columns))!r}]"
        )
    if columns is None or not hasattr(dataset, "__len__"):
        raise ValueError(
            f"got a {type(dataset).__name__}; a datasets.Dataset is needed, with columns and a length (not a stream)"
        )
    if missing := [column for column in wanted if column not in columns]:
        raise ValueError(f"the data set has no column {', '.join(missing)}; its columns are {', '.join(columns)}")


def _feature(dataset: Any, column: str | None) -> Any:
    return (getattr(dataset, "features", None) or {}).get(column)


def _array_dtype(dataset: Any, column: str) -> str | None:
    """Finds the type of an `Array2D` or `Array3D` feature, whose values come as lists or 64-bit integers."""
    feature = _feature(dataset, column)
    return feature.dtype if hasattr(feature, "shape") else None


def _undecoded(dataset: Any, columns: Iterable[str]) -> Any:
    """Lets image columns come as files: `read_image` keeps 16 bits that `datasets` drops, and sizes need headers alone."""
    for column in columns:
        feature = _feature(dataset, column)
        if getattr(feature, "dtype", None) == "PIL.Image.Image":
            dataset = dataset.cast_column(column, dataclasses.replace(feature, decode=False))
    return dataset


@contextmanager
def _located(origin: str) -> Iterator[None]:
    """Says in errors which image they are about."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise ImageReadError(f"{origin}: {error}") from error


def _content(value: Mapping[str, Any]) -> BytesIO | str:
    if value.get("bytes") is not None:
        return BytesIO(value["bytes"])
    if value.get("path") is None:
        raise ValueError('an undecoded image has "bytes" or a "path"')
    return str(value["path"])


def _to_image(value: Any, name: str) -> NDArray[Any]:
    return read_image(_content(value)) if isinstance(value, dict) else to_array(value, name)


def _to_labels(value: Any) -> NDArray[Any]:
    if isinstance(value, dict):
        return read_labels(_content(value))
    labels = np.asarray(value)
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise ValueError(f"a label map is (H, W) class indices, got {labels.dtype} of shape {labels.shape}")
    return labels


def _category_names(dataset: Any, boxes: str | None) -> Sequence[str] | None:
    """Finds the names of a `ClassLabel` under "category", in a list of objects or an object of lists."""
    objects = _feature(dataset, boxes)
    objects = getattr(objects, "feature", objects)
    category = objects.get("category") if isinstance(objects, dict) else None
    return getattr(getattr(category, "feature", category), "names", None)


def _objects_to_boxes(objects: Any, size: tuple[int, int], class_names: tuple[str, ...] | None, origin: str) -> Boxes:
    """Converts what `datasets` calls objects: "bbox" (left, top, width, height) and "category"."""
    try:
        if not isinstance(objects, dict):
            objects = {key: [entry[key] for entry in objects] for key in ("bbox", "category")}
        corners = [(x, y, x + w, y + h) for x, y, w, h in objects["bbox"]]
        categories = list(objects["category"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{origin}: boxes are a dict of "bbox", a list of left, top, width and height, and "category", a list of '
            f"indices or names, got {objects!r}"
        ) from error
    if len(categories) != len(corners):
        raise ValueError(f"{origin}: {len(corners)} boxes have {len(categories)} categories")
    if any(isinstance(category, str) for category in categories):
        return read_boxes(NamedBoxes(origin, None, tuple(categories), tuple(corners)), size, class_names)
    classes = [int(category) for category in categories]
    if classes and not 0 <= min(classes) <= max(classes) < (len(class_names) if class_names else max(classes) + 1):
        allowed = f"0 to {len(class_names) - 1}" if class_names else "0 upwards"
        raise ValueError(f"{origin}: categories are indices from {allowed}, got {classes}")
    return clip_boxes(corners, classes, size, origin)
