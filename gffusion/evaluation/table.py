"""EvaluationTable: what was measured, the means and ranks that follow, and the files they are written to."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from gffusion.metrics import METRICS

from .layout import Layout, as_latex, as_markdown, as_text

if TYPE_CHECKING:
    from pandas import DataFrame  # type: ignore[import-untyped, import-not-found]


@dataclass(frozen=True, eq=False)
class EvaluationTable:
    """Metrics of several methods over the same images. Printing it shows the table.

    Attributes:
        methods: Names of the rows.
        learned: For every method, whether it is to be held against the rules without learning, or is one of these.
        metrics: Names of the columns.
        ranked: Those of the metrics that count in the mean rank.
        images: Names of the images that every mean is over.
        values: (methods, images, metrics) float64, all finite.
        protocol: Whose conventions the metrics follow.
        skipped: Images that were left out, with the reason.
        class_names: Names of the classes of label maps.
        confusion: For methods with label maps, the number of pixels over all images, (classes, classes) int64: row = class in
            the labels, column = predicted class.
    """

    methods: tuple[str, ...]
    learned: tuple[bool, ...]
    metrics: tuple[str, ...]
    ranked: tuple[str, ...]
    images: tuple[str, ...]
    values: NDArray[np.float64]
    protocol: str
    skipped: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    confusion: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def means(self) -> NDArray[np.float64]:
        """Mean of every metric over the images, (methods, metrics)."""
        means: NDArray[np.float64] = self.values.mean(axis=1)
        return means

    @property
    def higher_is_better(self) -> tuple[bool, ...]:
        """The direction of every metric."""
        return tuple(bool(METRICS[name].higher_is_better) for name in self.metrics)

    @property
    def ranks(self) -> NDArray[np.float64]:
        """Rank of every mean among the methods, 1 is best, (methods, metrics); equal ones share the mean of their ranks."""
        signs = np.where(self.higher_is_better, -1, 1)
        ranks: NDArray[np.float64] = rankdata(signs * self.means, axis=0)
        return ranks

    @property
    def mean_ranks(self) -> dict[str, float]:
        """Mean of every method's ranks over the metrics in `ranked`."""
        columns = [self.metrics.index(name) for name in self.ranked]
        return dict(zip(self.methods, self.ranks[:, columns].mean(axis=1).tolist(), strict=True))

    @property
    def best_first(self) -> list[int]:
        """Rows in the order of their mean ranks."""
        ranks = self.mean_ranks
        return sorted(range(len(self.methods)), key=lambda row: ranks[self.methods[row]])

    @property
    def outranked(self) -> dict[str, list[str]]:
        """For every learned method the rules without learning whose mean rank is better."""
        ranks = self.mean_ranks
        rules = [name for name, learned in zip(self.methods, self.learned, strict=True) if not learned]
        return {
            name: [rule for rule in rules if ranks[rule] < ranks[name]]
            for name, learned in zip(self.methods, self.learned, strict=True)
            if learned
        }

    @property
    def segmentation(self) -> dict[str, dict[str, float]]:
        """For every method with label maps mIoU, and the IoU of each class by name, from 0 to 1.

        Over all pixels of all images. A class that neither the labels nor the prediction have is NaN, and not part of mIoU.
        """
        return {method: _intersection_over_union(matrix, self.class_names) for method, matrix in self.confusion.items()}

    def to_dict(self) -> dict[str, dict[str, float]]:
        """Means by method, by metric; for methods with label maps also `mIoU` and `IoU <class>` of the classes that occur."""
        summary = {
            method: dict(zip(self.metrics, row, strict=True))
            for method, row in zip(self.methods, self.means.tolist(), strict=True)
        }
        for method, scores in self.segmentation.items():
            for name, value in scores.items():
                if np.isfinite(value):
                    summary[method][name if name == "mIoU" else f"IoU {name}"] = value
        return summary

    def to_csv(self) -> str:
        """A line for every method and image, with the columns method, image, and one a metric."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["method", "image", *self.metrics])
        for method, rows in zip(self.methods, self.values.tolist(), strict=True):
            writer.writerows([method, image, *row] for image, row in zip(self.images, rows, strict=True))
        return text.getvalue()

    def to_pandas(self) -> "DataFrame":
        """A data frame with a column for every metric, and a row for every method and image, which index it.

        Raises:
            ImportError: If pandas is not installed.
        """
        try:
            import pandas as pd  # type: ignore[import-untyped, import-not-found]
        except ImportError as error:
            raise ImportError("`to_pandas` needs pandas: pip install pandas") from error
        index = pd.MultiIndex.from_product([self.methods, self.images], names=["method", "image"])
        return pd.DataFrame(self.values.reshape(len(index), -1), index=index, columns=list(self.metrics))

    def to_markdown(self) -> str:
        """The table of means, best first, with the segmentation table below it if there is one."""
        return "\n".join(map(as_markdown, self._layouts()))

    def to_latex(self) -> str:
        """The same for LaTeX with the package booktabs."""
        return "\n".join(map(as_latex, self._layouts()))

    def __str__(self) -> str:
        """The same for a terminal."""
        return "\n".join(map(as_text, self._layouts()))

    def save(self, folder: Path) -> None:
        """Write `per_image.csv`, `summary.json`, `table.md` and `table.tex`.

        Args:
            folder: An existing folder.

        Raises:
            OSError: If a file cannot be written.
        """
        (folder / "per_image.csv").write_text(self.to_csv(), encoding="utf-8")
        (folder / "summary.json").write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        (folder / "table.md").write_text(self.to_markdown(), encoding="utf-8")
        (folder / "table.tex").write_text(self.to_latex(), encoding="utf-8")

    def _layouts(self) -> list[Layout]:
        return [self._fusion_layout(), *([self._segmentation_layout()] if self.confusion else [])]

    def _fusion_layout(self) -> Layout:
        ranks, outranked = self.mean_ranks, self.outranked
        order = self.best_first
        rows = np.column_stack([self.means, list(ranks.values())])
        plural = "s" * (len(self.images) != 1)
        notes = [f"Means over {len(self.images)} image{plural}, protocol {self.protocol}."]
        if beside := [name for name in self.metrics if name not in self.ranked]:
            notes.append(f"The mean rank is over {', '.join(self.ranked)}, without {', '.join(beside)}.")
        return Layout(
            rows=tuple(self.methods[row] for row in order),
            plain=tuple(not self.learned[row] for row in order),
            marked=tuple(bool(outranked.get(self.methods[row])) for row in order),
            columns=(*self.metrics, "mean rank"),
            higher_is_better=(*self.higher_is_better, False),
            values=rows[order],
            decimals=(*map(_decimals, self.means.T), 1),
            notes=tuple(notes),
        )

    def _segmentation_layout(self) -> Layout:
        scores = self.segmentation
        return Layout(
            rows=tuple(scores),
            plain=(False,) * len(scores),
            marked=(False,) * len(scores),
            columns=("mIoU", *self.class_names),
            higher_is_better=(True,) * (1 + len(self.class_names)),
            values=100 * np.array([list(row.values()) for row in scores.values()]),
            decimals=(1,) * (1 + len(self.class_names)),
            notes=("Intersection over union in percent over all pixels.",),
        )


def _intersection_over_union(confusion: NDArray[np.int64], class_names: tuple[str, ...]) -> dict[str, float]:
    common = confusion.diagonal()
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - common
    occurs = union > 0
    scores = np.divide(common, union, out=np.full(len(union), np.nan), where=occurs)
    mean = float(scores[occurs].mean()) if occurs.any() else float("nan")
    return {"mIoU": mean, **dict(zip(class_names, scores.tolist(), strict=True))}


def _decimals(column: NDArray[np.float64]) -> int:
    """Show about four digits."""
    largest = np.abs(column).max()
    return 3 if largest < 10 else 2 if largest < 100 else 1
