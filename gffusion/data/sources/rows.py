"""Pairs from the rows of a `datasets.Dataset`."""

import dataclasses
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras.cleaning import remove_colors
from gffusion.cameras.swapped_images import Evidence, are_swapped, describe_swap, find_swap
from gffusion.data.boxes.base import MAX_CLASSES, Boxes, NamedBoxes, clip_boxes
from gffusion.data.boxes.checks import check_pixels, check_sizes
from gffusion.data.class_names import check_class_names, check_typed_names
from gffusion.data.decoded_image import ImageReadError
from gffusion.data.io import read_decoded, read_image, read_labels, read_size
from gffusion.data.modalities import to_visible_frame
from gffusion.data.visible_range import VisibleFrame, VisibleRange, check_visible_range, map_visible
from gffusion.data.wrong_pairs import MAX_PAIRS
from gffusion.models.gffusion.argument_checks import check_flag
from gffusion.models.gffusion.image_arrays import to_array
from gffusion.models.gffusion.image_sizes import check_same_size

from .base import DecodedPair, PairSource, digest, log_new_kinds, to_arrays

_ADVICE = 'Rows are not aligned: align the images before, or write them to folders for ReadOptions(align="auto")'

_CHECKED_ROWS = 20  # whose boxes are looked at before the first one is used


class DatasetRows(PairSource):
    """Rows of a `datasets.Dataset`, of a list of dicts, or of any object with `column_names`, `len` and rows as dicts.

    See [`FusionDataset.from_dataset`] for the arguments and errors.
    """

    def __init__(
        self,
        dataset: Any,
        columns: Mapping[str, str],
        class_names: Sequence[str] | None = None,
        infrared_luma: bool = False,
        visible_range: VisibleRange | None = None,
    ) -> None:
        if isinstance(dataset, list | tuple) and all(isinstance(row, Mapping) for row in dataset):
            dataset = _Rows(dataset)
        _check_columns(dataset, list(columns.values()))
        features = getattr(dataset, "features", None) or {}
        self._columns, self._infrared_luma = columns, check_flag("infrared_luma", infrared_luma)
        self._visible_range = check_visible_range(visible_range, "visible_range")
        self._logged: set[str] = set()  # kinds of notes
        # Images stay undecoded: `datasets` would drop 16-bit values, and sizes need headers only.
        for column in columns.values():
            if getattr(features.get(column), "dtype", None) == "PIL.Image.Image":
                dataset = dataset.cast_column(column, dataclasses.replace(features[column], decode=False))
        _check_transform(dataset, columns.values())
        self.names = tuple(map(str, dataset[columns["names"]][:] if "names" in columns else range(len(dataset))))
        self.has_labels, self.has_boxes = "labels" in columns, "boxes" in columns
        if class_names is not None:
            class_names = check_typed_names(class_names, "class_names", self.has_labels)
        elif (class_names := _read_category_names(features.get(columns.get("boxes")))) is not None:
            source = f"the ClassLabel of the column {columns['boxes']!r} (class_names= replaces it)"
            class_names = check_class_names(class_names, source)
        self.class_names = class_names
        # Values of `Array2D` and `Array3D` features are read as lists or 64-bit integers.
        self._dtypes = {
            name: features[column].dtype for name, column in columns.items() if hasattr(features.get(column), "shape")
        }
        self._dataset = dataset
        checked = range(min(len(self.names), MAX_PAIRS) if len(self.names) > 1 and not infrared_luma else 0)
        if are_swapped(map(self._find_evidence, checked)):
            raise ValueError(describe_swap(*(f"the column {columns[name]!r}" for name in ("visible", "infrared"))))
        if self.has_boxes:
            self._check_boxes()

    @property
    def settings(self) -> str:
        """What the content of decoded pairs depends on besides the rows."""
        luma = ["infrared_luma=True"] if self._infrared_luma else []
        return ", ".join(luma + ([f"visible_range={self._visible_range}"] if self._visible_range else []))

    def _check_boxes(self) -> None:
        """Raise ValueError if the boxes of the first rows seem to be two corners or relative."""
        boxes: list[Any] = []
        sizes: list[tuple[int, int]] = []
        for index in range(min(len(self.names), _CHECKED_ROWS)):
            with suppress(OSError, ValueError, TypeError, KeyError, MemoryError):  # reported when the row is used
                row = self._dataset[index]  # once, as this decodes its images
                objects = row[self._columns["boxes"]]
                own = [(float(x), float(y), float(w), float(h)) for x, y, w, h in _list_column(objects, "bbox")]
                sizes += [self._find_size(index, row)] * len(own)
                boxes += own
        origin = f"the column {self._columns['boxes']!r}"
        check_pixels(boxes, origin)
        check_sizes(boxes, sizes, origin)

    def _find_evidence(self, index: int) -> Evidence:
        try:
            row = self._dataset[index]
            return find_swap(*(self._read_column(index, row, name) for name in ("visible", "infrared")))
        except (OSError, ValueError, MemoryError):  # reported when the row is used
            return "none"

    def identify(self, index: int) -> str:
        """Return the path of the visible image of a row, or a digest of its content."""
        row = self._dataset[index]
        value = _name_file(row[self._columns["visible"]])
        if isinstance(value, dict) and value.get("bytes") is not None:
            return digest(value["bytes"])
        if isinstance(value, dict) and value.get("path") is not None:
            return str(Path(value["path"]).resolve())
        return digest(self._read_column(index, row, "visible").tobytes())

    def describe(self, index: int) -> str:
        """Return the row of a pair."""
        return f"row {index}"

    def read(self, index: int) -> DecodedPair:
        """Read the columns of a row."""
        row = self._dataset[index]
        visible, cell = self._read_visible(index, row), self._describe_cell(index, "visible")
        image, notes = map_visible(visible, cell, self._visible_range)
        log_new_kinds(notes, self.describe(index), self._logged)
        others = [name for name in ("infrared", "labels") if name in self._columns]
        decoded: DecodedPair = {"visible": image} | {name: self._read_column(index, row, name) for name in others}
        if not self._infrared_luma:
            decoded["infrared"], notes = remove_colors(decoded["infrared"], self._describe_cell(index, "infrared"))
            log_new_kinds(notes, self.describe(index), self._logged)
        sizes = {self._describe_cell(index, name): image.shape[:2] for name, image in decoded.items()}
        size = check_same_size(sizes, _ADVICE)
        if self.has_boxes:
            objects = row[self._columns["boxes"]]
            decoded |= to_arrays(_convert_objects(objects, size, self.class_names, self._describe_cell(index, "boxes")))
        return decoded

    def read_labels(self, index: int) -> NDArray[Any]:
        """Read the label map of a row."""
        return self._read_column(index, self._dataset[index], "labels")

    def read_size(self, index: int) -> tuple[int, int]:
        """Read the size of the images of a row, from their headers if they are files."""
        return self._find_size(index, self._dataset[index])

    def _find_size(self, index: int, row: Mapping[str, Any]) -> tuple[int, int]:
        sizes = {}
        for name in ("visible", "infrared"):
            cell, value = self._describe_cell(index, name), _name_file(row[self._columns[name]])
            if isinstance(value, dict):
                with _name_cell_in_errors(cell):
                    sizes[cell] = read_size(_get_content(value))
            else:
                sizes[cell] = self._read_column(index, row, name).shape[:2]
        return check_same_size(sizes, _ADVICE)

    def _describe_cell(self, index: int, name: str) -> str:
        return f"{self.describe(index)}, column {self._columns[name]!r}"

    def _read_visible(self, index: int, row: Mapping[str, Any]) -> VisibleFrame:
        value = _name_file(row[self._columns["visible"]])
        if not isinstance(value, dict):
            return VisibleFrame(self._read_column(index, row, "visible"))
        with _name_cell_in_errors(self._describe_cell(index, "visible")):
            return to_visible_frame(read_decoded(_get_content(value)))

    def _read_column(self, index: int, row: Mapping[str, Any], name: str) -> NDArray[Any]:
        value = _name_file(row[self._columns[name]])
        with _name_cell_in_errors(self._describe_cell(index, name)):
            if name in self._dtypes:
                value = np.asarray(value, dtype=self._dtypes[name])
            if name == "labels":
                return _to_labels(value)
            return read_image(_get_content(value)) if isinstance(value, dict) else to_array(value, name)


class _Rows:
    """A list of dicts with the interface of `datasets.Dataset` that is needed here; its columns are those of all rows."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows
        self.column_names = [name for name in rows[0] if all(name in row for row in rows)] if rows else []

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, key: int | str) -> Any:
        return [row[key] for row in self._rows] if isinstance(key, str) else self._rows[key]


def _name_file(value: Any) -> Any:
    """Return a path as `datasets` has the files of images that are not decoded; other cells are returned unchanged."""
    return {"path": os.fspath(value)} if isinstance(value, str | os.PathLike) else value


def _check_columns(dataset: Any, wanted: Sequence[str]) -> None:
    columns = getattr(dataset, "column_names", None)
    if isinstance(columns, dict):
        raise ValueError(
            f"got a dict of the splits {', '.join(columns)}; choose one, such as dataset[{next(iter(columns))!r}]"
        )
    if columns is None or not hasattr(dataset, "__len__"):
        raise ValueError(
            f"got a {type(dataset).__name__}; pass a datasets.Dataset, which has columns and a length (not a stream), or a list of dicts"
        )
    if missing := [column for column in wanted if column not in columns]:
        if not len(dataset):
            raise ValueError("the dataset has no rows")
        raise ValueError(f"the dataset has no column {', '.join(missing)}; its columns are {', '.join(columns)}")


def _check_transform(dataset: Any, wanted: Collection[str]) -> None:
    """Raise ValueError if a transform of `datasets` does not give the columns of the first row."""
    if (getattr(dataset, "format", None) or {}).get("type") != "custom" or not len(dataset):
        return
    error, found = None, ""
    try:
        if missing := sorted(set(wanted) - dataset[0].keys()):
            found = f"does not give the column {', '.join(missing)}"
    except Exception as raised:  # anything, by a function of the user
        error, found = raised, f"fails on undecoded images ({type(raised).__name__}: {raised})"
    if found:
        raise ValueError(
            f"the transform of the dataset (`with_transform`, `set_transform`) {found}: pass `dataset.with_format(None)`, and transform "
            "the pairs by the argument `transform` of from_dataset"
        ) from error


@contextmanager
def _name_cell_in_errors(cell: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise ImageReadError(f"{cell}: {error}") from error


def _get_content(value: Mapping[str, Any]) -> BytesIO | str:
    if value.get("bytes") is not None:
        return BytesIO(value["bytes"])
    if value.get("path") is None:
        raise ValueError('an undecoded image needs "bytes" or a "path"')
    return str(value["path"])


def _to_labels(value: Any) -> NDArray[Any]:
    if isinstance(value, dict):
        return read_labels(_get_content(value))
    if np.ma.is_masked(value):
        raise ValueError("a label map is a masked array: pass labels.filled(255), in which 255 means ignored")
    labels = np.asarray(value)
    if labels.ndim != 2 or labels.dtype.kind not in "bui":
        raise ValueError(f"a label map must be (H, W) class indices, got {labels.dtype} of shape {labels.shape}")
    return labels


def _convert_objects(objects: Any, size: tuple[int, int], class_names: tuple[str, ...] | None, origin: str) -> Boxes:
    """Return the boxes of one row, clipped to the image; see [`FusionDataset.from_dataset`] for the objects."""
    try:
        corners = [(x, y, x + w, y + h) for x, y, w, h in _list_column(objects, "bbox")]
        categories = list(_list_column(objects, "category"))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{origin}: boxes must be a dict of "bbox", a list of (left, top, width, height), and "category", a list of '
            f"indices or names, got {objects!r}"
        ) from error
    if len(categories) != len(corners):
        raise ValueError(f"{origin}: {len(corners)} boxes have {len(categories)} categories")
    if any(isinstance(category, str) for category in categories):
        return NamedBoxes(origin, None, tuple(categories), tuple(corners)).to_boxes(size, class_names)
    known = len(class_names) if class_names else MAX_CLASSES
    if not all(float(category).is_integer() and 0 <= category < known for category in categories):
        raise ValueError(f"{origin}: categories must be indices from 0 to {known - 1}, got {categories}")
    return clip_boxes(corners, [int(category) for category in categories], size, origin)


def _list_column(objects: Any, name: str) -> Any:
    """Return "bbox" or "category" of all objects of one row."""
    return objects[name] if isinstance(objects, dict) else [entry[name] for entry in objects]


def _read_category_names(objects: Any) -> Sequence[str] | None:
    """Return the names of the `ClassLabel` under "category", if the feature of the column `objects` has one."""
    objects = getattr(objects, "feature", objects)
    category = objects.get("category") if isinstance(objects, dict) else None
    return getattr(getattr(category, "feature", category), "names", None)
