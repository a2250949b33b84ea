"""Paired tests of one method against the others, over the images of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.utils.notes import format_count

_LEVEL = 0.05  # of adjusted p-values, from which on a difference is not significant
_ROUNDING = 1e-9  # relative difference of equal values that were computed in another order
COLUMNS = ("compared", "method", "metric", "mean difference", "better", "worse", "p", "adjusted p")
"""Columns of [`Comparison.list_rows`]."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Tests of one method against each of the others; arrays are (methods, metrics).

    Attributes:
        reference: Index of the method.
        images: Number of images.
        differences: Its means minus those of the other methods.
        better: Number of images on which it is better.
        worse: Number of images on which it is worse.
        p_values: Two-sided p-values; 1 if all values are equal, and NaN in the row of the method itself.
        adjusted: The same, adjusted for the number of tests.
        opposed: Whether one method is better by the signed ranks, which are tested, but the other one by the mean.
    """

    reference: int
    images: int
    differences: NDArray[np.float64]
    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    p_values: NDArray[np.float64]
    adjusted: NDArray[np.float64]
    opposed: NDArray[np.bool_]

    def list_rows(self, methods: Sequence[str], metrics: Sequence[str]) -> list[list[Any]]:
        """Return a row for each other method and metric, with the columns `COLUMNS`."""
        values = (self.differences, self.better, self.worse, self.p_values, self.adjusted)
        return [
            [methods[self.reference], method, metric, *(array[row, column].item() for array in values)]
            for row, method in enumerate(methods)
            for column, metric in enumerate(metrics)
            if row != self.reference
        ]

    def describe(self, methods: Sequence[str], metrics: Sequence[str]) -> str:
        """Return the differences that are not significant, and those that are but not by the means, in words."""
        listed = _list_selected(methods, metrics, self.adjusted >= _LEVEL)
        if not (self.adjusted < _LEVEL).any():  # else the list would be all methods times all metrics
            listed = "all other methods in all metrics"
        count = int(np.isfinite(self.adjusted).sum())
        tests = f"Wilcoxon signed-rank tests, Holm-corrected for {format_count(count, 'test')}, p >= {_LEVEL}"
        text = f"Not significantly different from {methods[self.reference]} ({tests}): {listed or 'no method'}."
        if opposed := _list_selected(methods, metrics, self.opposed & (self.adjusted < _LEVEL)):
            text += f" One method is better by the signed ranks, which are tested, but the other one by the mean: {opposed}."
        smallest = count * 2.0 ** (1 - self.images)  # if one method is better on all images
        return f"{text} The images are too few to show any difference." if smallest >= _LEVEL else text


def compare_methods(values: NDArray[np.float64], higher_is_better: Sequence[bool], reference: int) -> Comparison:
    """Compare one method with each of the others by Wilcoxon's signed-rank test (Biometrics Bulletin, 1945).

    P-values are adjusted for the number of tests by Holm (Scandinavian Journal of Statistics, 1979).

    Args:
        values: (methods, images, metrics).
        higher_is_better: Direction of every metric.
        reference: Index of the method that is compared with the others.

    Examples:
        >>> compare_methods(np.arange(20.0).reshape(2, 10, 1), [True], reference=0).p_values.round(3).tolist()
        [[nan], [0.002]]
    """
    from scipy.stats import rankdata, wilcoxon  # takes most of a second to import

    differences = values[reference] - values  # (methods, images, metrics)
    differences[np.isclose(values[reference], values, rtol=_ROUNDING, atol=0)] = 0
    signed_ranks = np.sign(differences) * (
        rankdata(np.abs(differences), axis=1) - (differences == 0).sum(1, keepdims=True)
    )
    p_values = np.full(values[:, 0].shape, np.nan)
    for method, metric in np.ndindex(*p_values.shape):
        if method != reference:
            sample = differences[method, :, metric]
            p_values[method, metric] = wilcoxon(sample).pvalue if sample.any() else 1.0
    gains = np.where(higher_is_better, 1, -1) * differences
    return Comparison(
        reference,
        values.shape[1],
        differences.mean(axis=1),
        (gains > 0).sum(axis=1),
        (gains < 0).sum(axis=1),
        p_values,
        adjust_for_number(p_values),
        differences.mean(axis=1) * signed_ranks.sum(axis=1) < 0,
    )


def _list_selected(methods: Sequence[str], metrics: Sequence[str], selected: NDArray[np.bool_]) -> str:
    listed = {method: ", ".join(compress(metrics, row)) for method, row in zip(methods, selected, strict=True)}
    return "; ".join(f"{method} ({names})" for method, names in listed.items() if names)


def adjust_for_number(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return p-values that hold for all tests together, by Holm; NaN are no tests.

    Examples:
        >>> adjust_for_number(np.array([0.04, 0.01, np.nan])).tolist()
        [0.04, 0.02, nan]
    """
    flat = p_values.ravel()
    order = np.argsort(flat)[: np.isfinite(flat).sum()]  # NaN are last
    adjusted = np.full_like(flat, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(flat[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted.reshape(p_values.shape)
