"""Table of an evaluation with values, means and ranks, and its output files."""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gffusion._version import __version__
from gffusion.metrics.catalog import get_info
from gffusion.utils.atomic import replace_file
from gffusion.utils.escaping import escape_csv
from gffusion.utils.notes import format_count, name_first

from .overlap import MEAN_IOU, count_overlap, describe_unequal_classes, intersection_over_union
from .significance import COLUMNS, Comparison, compare_methods
from .table_format import Layout, to_html, to_latex, to_markdown, to_rich

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped, import-not-found]
    from rich.console import Console, ConsoleOptions, Group

_MAX_DECIMALS = 6
_FEW_PIXELS = 1000

UNLIMITED_WIDTH = 10_000
"""Width of a rich console that does not wrap rows of tables."""


@dataclass(frozen=True, eq=False)
class EvaluationTable:
    """Metrics of several methods over the same images; printing it shows the means.

    Attributes:
        methods: Names of the rows.
        is_baseline: Whether each method is a classical baseline.
        metrics: Names of the columns.
        ranked: Metrics of the mean rank, a part of `metrics`.
        images: Names of the averaged images.
        values: (methods, images, metrics) float64, all finite.
        protocol: Name of the protocol that the metrics follow.
        skipped: Images that were left out, with the reason.
        failed: Images that were left out because a method has none, or one that cannot be measured, by method.
        class_names: Names of the classes of label maps.
        segmented: Names of the images whose label maps are measured.
        unsegmented: Images whose label maps could not be measured for all methods, with the reason; the metrics of these
            images count.
        confusion: For methods with label maps, the number of pixels, (segmented images, classes, classes) int64: row = class
            in the labels, column = predicted class.
        notes: What is odd about fused images in files, with the names of the images, by method; also of images left out.
        std: Whether printed tables have the standard deviation over the images beside each mean, if there are several.
        compared: Method that is tested against each of the others, or `None`.
        settings: Versions, files with their SHA-256, metrics and infrared options of the evaluation, for `summary.json`.
        segmented_by: Model that predicted the label maps of all methods, or `None` if they are their own.
        higher_is_better: Direction of every metric when the table was made.

    Raises:
        ValueError: If there is no metric of a name.

    Examples:
        >>> methods, values = ("ours", "average"), np.array([[[7.0]], [[6.0]]])
        >>> EvaluationTable(methods, (False, True), ("EN",), ("EN",), ("scene",), values, "standard").mean_ranks
        {'ours': 1.0, 'average': 2.0}
    """

    methods: tuple[str, ...]
    is_baseline: tuple[bool, ...]
    metrics: tuple[str, ...]
    ranked: tuple[str, ...]
    images: tuple[str, ...]
    values: NDArray[np.float64]
    protocol: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, Sequence[str]] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    segmented: tuple[str, ...] = ()
    confusion: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    unsegmented: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    std: bool = False
    compared: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    segmented_by: str | None = None
    higher_is_better: tuple[bool, ...] = field(init=False)

    def __post_init__(self) -> None:
        directions = tuple(get_info(name).higher_is_better for name in self.metrics)
        object.__setattr__(self, "higher_is_better", directions)  # registered metrics can change theirs later

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean of every metric over the images, (methods, metrics)."""
        return np.asarray(self.values.mean(axis=1))

    @property
    def standard_deviations(self) -> NDArray[np.float64]:
        """Standard deviation of every metric over the images (divided by their number), (methods, metrics).

        NaN for a single image.
        """
        return np.asarray(self.values.std(axis=1)) if len(self.images) > 1 else np.full_like(self.means, np.nan)

    @property
    def ranks(self) -> NDArray[np.float64]:
        """Ranks of the means among the methods, 1 is best, (methods, metrics); equal means share the mean of their ranks."""
        from scipy.stats import rankdata  # takes most of a second to import

        return np.asarray(rankdata(np.where(self.higher_is_better, -1, 1) * self.means, axis=0))

    @property
    def mean_ranks(self) -> dict[str, float]:
        """Mean rank of every method over the metrics in `ranked`."""
        columns = [self.metrics.index(name) for name in self.ranked]
        return dict(zip(self.methods, self.ranks[:, columns].mean(axis=1).tolist(), strict=True))

    @property
    def best_first(self) -> list[int]:
        """Indices of the methods in the order of their mean ranks."""
        ranks = list(self.mean_ranks.values())
        return sorted(range(len(ranks)), key=ranks.__getitem__)

    @property
    def comparison(self) -> Comparison | None:
        """Tests of the method `compared` against the others."""
        if self.compared is None:
            return None
        return compare_methods(self.values, self.higher_is_better, self.methods.index(self.compared))

    @property
    def outranked(self) -> dict[str, list[str]]:
        """The baselines with a better mean rank, for every method that is not a baseline."""
        ranks = self.mean_ranks
        baselines = list(compress(self.methods, self.is_baseline))
        methods = [name for name in self.methods if name not in baselines]
        return {name: [baseline for baseline in baselines if ranks[baseline] < ranks[name]] for name in methods}

    @property
    def segmentation(self) -> dict[str, dict[str, float]]:
        """The mIoU and the IoU of each class for every method with label maps, from 0 to 1, over all pixels of all images.

        A class that is absent from both labels and prediction has NaN and does not count in mIoU.
        """
        return {
            method: intersection_over_union(matrices.sum(axis=0), self.class_names)
            for method, matrices in self.confusion.items()
        }

    @property
    def label_pixels(self) -> dict[str, int]:
        """The number of pixels of each class in the label maps of all images; empty without label maps."""
        counts = next(iter(self.confusion.values()), np.zeros((0, 0, 0), np.int64)).sum(axis=(0, 2)).tolist()
        return dict(zip(self.class_names, counts, strict=False))

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Return means by method, by metric; for methods with label maps also `mIoU` and `IoU <class>` of classes that occur."""
        summary = {
            method: dict(zip(self.metrics, row, strict=True))
            for method, row in zip(self.methods, self.means.tolist(), strict=True)
        }
        for method, scores in self.segmentation.items():
            for name, value in scores.items():
                if np.isfinite(value):
                    summary[method][name if name == MEAN_IOU else f"IoU {name}"] = value
        return summary

    def to_csv(self) -> str:
        """Return a line for every method and image, with the columns method, image, and one per metric."""
        return _write_csv(
            ["method", "image", *self.metrics],
            (
                [method, image, *row]
                for method, rows in zip(self.methods, self.values.tolist(), strict=True)
                for image, row in zip(self.images, rows, strict=True)
            ),
        )

    def to_segmentation_csv(self) -> str:
        """Return a line for every method with label maps and image with a label map.

        The columns are method, image, mIoU, `IoU <class>` of every class, and the pixels in the intersection and in the union
        of label map and prediction, by class. IoU is empty if a class is absent from both.
        """
        rows = []
        for method, matrices in self.confusion.items():
            for image, matrix in zip(self.segmented, matrices, strict=True):
                scores = intersection_over_union(matrix, self.class_names).values()
                cells = ["" if np.isnan(score) else score for score in scores]
                rows.append([method, image, *cells, *np.concatenate(count_overlap(matrix)).tolist()])
        columns = [f"{kind} {name}" for kind in ("IoU", "intersection", "union") for name in self.class_names]
        return _write_csv(["method", "image", MEAN_IOU, *columns], rows)

    def to_summary_csv(self) -> str:
        """Return a line for every method, the best first: each mean and its standard deviation, the mean rank, and IoU."""
        summary, mean_ranks = self.to_dict(), self.mean_ranks
        ious = list(dict.fromkeys(name for row in summary.values() for name in row if name not in self.metrics))
        rows = []
        for index in self.best_first:
            method = self.methods[index]
            pairs = np.column_stack([self.means[index], self.standard_deviations[index]]).ravel().tolist()
            cells = ["" if np.isnan(value) else value for value in pairs]
            rows.append([method, *cells, mean_ranks[method], *(summary[method].get(name, "") for name in ious)])
        header = [column for name in self.metrics for column in (name, f"{name} std")]
        return _write_csv(["method", *header, "mean rank", *ious], rows)

    def to_significance_csv(self) -> str:
        """Return a line for each method and metric with the test of `compared` against it, see [`Comparison`]."""
        comparison = self.comparison
        return _write_csv(COLUMNS, comparison.list_rows(self.methods, self.metrics) if comparison else [])

    def to_pandas(self) -> "DataFrame":
        """Return a data frame with a column per metric, indexed by method and image; needs pandas."""
        try:
            import pandas as pd  # type: ignore[import-untyped, import-not-found]
        except ImportError as error:
            raise ImportError("`to_pandas` needs pandas: pip install pandas") from error
        index = pd.MultiIndex.from_product([self.methods, self.images], names=["method", "image"])
        return pd.DataFrame(self.values.reshape(len(index), -1), index=index, columns=list(self.metrics))

    def to_markdown(self) -> str:
        """Return the means as Markdown, the best method first, and the table of IoU if there are label maps."""
        return "\n".join(map(to_markdown, self.layouts.values()))

    def to_latex(self) -> str:
        """Return the same tables as LaTeX with the package booktabs."""
        return "\n".join(map(to_latex, self.layouts.values()))

    def _repr_html_(self) -> str:
        """The same tables in a notebook."""
        return "".join(map(to_html, self.layouts.values()))

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> Iterator["Group | str"]:
        """The same tables, styled, for a rich console; tables wider than it are divided."""
        for index, layout in enumerate(self.layouts.values()):
            if index:
                yield ""
            yield to_rich(layout, options.max_width)

    def __str__(self) -> str:
        from rich.console import Console  # rich is imported only where a table is printed

        console = Console(file=io.StringIO(), width=UNLIMITED_WIDTH, color_system=None)
        with console.capture() as capture:
            console.print(self)
        return "\n".join(line.rstrip() for line in capture.get().splitlines())

    def summarize(self) -> dict[str, Any]:
        """Return protocol, number of images, and the means and standard deviations over images by method, by metric.

        Also the images that were left out with the reason, notes on fused images by method with the names of the images, and,
        with label maps, the number of pixels of each class, the number of images whose label maps are measured, and those
        that were left out with the reason. `settings` has versions, files with their SHA-256, metrics and infrared options.
        """
        segmentation = {
            "label_pixels": self.label_pixels,
            "segmented": len(self.segmented),
            "unsegmented": dict(self.unsegmented),
        }
        return {
            "protocol": self.protocol,
            "images": len(self.images),
            "methods": self.to_dict(),
            "standard_deviations": {
                method: {
                    name: None if np.isnan(value) else value for name, value in zip(self.metrics, row, strict=True)
                }
                for method, row in zip(self.methods, self.standard_deviations.tolist(), strict=True)
            },
            "skipped": dict(self.skipped),
            "notes": {method: dict(notes) for method, notes in self.notes.items()},
            **(segmentation if self.confusion else {}),
            **({"segmented_by": self.segmented_by} if self.segmented_by else {}),
            "settings": dict(self.settings),
        }

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write `per_image.csv`, `summary.json` and `table.csv`, `.md` and `.tex` into an existing folder, each atomically.

        With label maps, also `per_image_iou.csv`; with a compared method, `significance.csv`.
        """
        texts = {
            "per_image.csv": self.to_csv(),
            **({"per_image_iou.csv": self.to_segmentation_csv()} if self.confusion else {}),
            **({"significance.csv": self.to_significance_csv()} if self.compared else {}),
            "table.csv": self.to_summary_csv(),
            "table.md": self.to_markdown(),
            "table.tex": self.to_latex(),
            "summary.json": json.dumps(self.summarize(), indent=2) + "\n",
        }
        for name, text in texts.items():
            replace_file(Path(folder) / name, text.encode())

    @property
    def layouts(self) -> dict[str, Layout]:
        """The tables by title, independent of a format."""
        segmentation = {"Segmentation": self._segmentation_layout()} if self.confusion else {}
        return {"Fusion": self._fusion_layout(), **segmentation}

    def _fusion_layout(self) -> Layout:
        order, outranked = self.best_first, self.outranked
        rows = np.column_stack([self.means, list(self.mean_ranks.values())])
        spreads = np.column_stack([self.standard_deviations, np.full(len(rows), np.nan)])
        deviations = " and standard deviations" if self.std and len(self.images) > 1 else ""
        notes = [
            f"Means{deviations} over {format_count(len(self.images), 'image')}, protocol {self.protocol}, gffusion {__version__}."
        ]
        if beside := [name for name in self.metrics if name not in self.ranked]:
            notes.append(f"The mean rank is over {', '.join(self.ranked)}, without {', '.join(beside)}.")
        if comparison := self.comparison:
            notes.append(comparison.describe(self.methods, self.metrics))
        for method, names in self.failed.items():
            notes.append(f"{_list_images(names)} left out because of {method}, for all methods.")
        for method, images in self.notes.items():
            notes += [f"Check {method}, {_list_images(names)}: {note}." for note, names in images.items()]
        return Layout(
            rows=tuple(self.methods[row] for row in order),
            is_baseline=tuple(self.is_baseline[row] for row in order),
            is_outranked=tuple(bool(outranked.get(self.methods[row])) for row in order),
            columns=(*self.metrics, "mean rank"),
            higher_is_better=(*self.higher_is_better, False),
            values=rows[order],
            decimals=(*map(_count_decimals, self.means.T), 1),
            notes=tuple(notes),
            spreads=spreads[order] if self.std else None,
        )

    def _segmentation_layout(self) -> Layout:
        scores, columns = self.segmentation, (MEAN_IOU, *self.class_names)
        note = f"Intersection over union in percent over all pixels of {format_count(len(self.segmented), 'image')}."
        if self.segmented_by:
            note += f" {self.segmented_by} segmented the images of all methods."
        if self.unsegmented:
            note += f" {format_count(len(self.unsegmented), 'image')} without usable label maps left out."
        if unlabeled := len(self.images) - len(self.segmented) - len(self.unsegmented):
            note += f" {format_count(unlabeled, 'image')} without a label map."
        return Layout(
            rows=tuple(scores),
            is_baseline=(False,) * len(scores),
            is_outranked=(False,) * len(scores),
            columns=columns,
            higher_is_better=(True,) * len(columns),
            values=100 * np.array([list(row.values()) for row in scores.values()]),
            decimals=(1,) * len(columns),
            notes=tuple(filter(None, (note, self._note_pixels(), describe_unequal_classes(scores)))),
        )

    def _note_pixels(self) -> str:
        counts = self.label_pixels
        listed = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        few = ", ".join(name for name, count in counts.items() if 0 < count < _FEW_PIXELS)
        hint = f" Classes of fewer than {_FEW_PIXELS:,} pixels say little: {few}." if few else ""
        return f"Pixels of the classes in the label maps: {listed}.{hint}"


def _list_images(names: Sequence[str]) -> str:
    """Return the number of images and the first names."""
    return f"{format_count(len(names), 'image')} ({name_first(names)})"


def _write_csv(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow([escape_csv(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()


def _count_decimals(column: NDArray[np.float64]) -> int:
    """Return the number of decimals of a column: about four digits, and three of values below 0.1.

    Values below a tenth of the largest one get as many decimals as the others.
    """
    sizes = np.abs(column)
    largest = sizes.max()
    smallest = sizes[sizes >= largest / 10].min()
    if 0 < smallest < 0.1:
        return min(2 - int(np.floor(np.log10(smallest))), _MAX_DECIMALS)
    return 3 - int(np.digitize(largest, [10, 100]))
