"""Collect the scores of pairs in a table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from .methods import Method
from .records import CONFUSION, NOTES
from .scoring import PairScores, Plan
from .table import EvaluationTable


def make_table(plan: Plan, scores: Sequence[PairScores], alone: Mapping[str, str]) -> EvaluationTable:
    """Return the table of the pairs that could be measured for all methods; `alone` tells why other images are left out.

    Raises:
        ValueError: If there are none, or no label map could be measured.
    """
    skipped = {score.pair.name: "; ".join(score.errors) for score in scores if score.errors}
    complete = [score for score in scores if not score.errors]
    if not complete:
        name, reason = next(iter(skipped.items()))
        raise ValueError(f"None of {len(scores)} pairs could be measured. {name}: {reason}")
    skipped |= alone
    values = [
        [[score.values[method.name][metric] for metric in plan.metrics] for score in complete]
        for method in plan.methods
    ]
    unsegmented = {score.pair.name: "; ".join(score.label_errors) for score in complete if score.label_errors}
    labeled = [score for score in complete if score.pair.labels and not score.label_errors]
    if unsegmented and not labeled:
        name, reason = next(iter(unsegmented.items()))
        raise ValueError(f"No label map could be measured. {name}: {reason}")
    shape = (len(labeled), len(plan.class_names), len(plan.class_names))
    confusion = {
        method.name: np.array([score.values[method.name][CONFUSION] for score in labeled], np.int64).reshape(shape)
        for method in plan.methods
        if plan.is_segmented(method)
    }
    notes = _group_notes(scores)
    images = tuple(score.pair.name for score in complete)
    for method, other in _find_equal(plan.methods, values):
        notes.setdefault(method, {})[f"all values are those of {other}, as if its images were the same"] = images
    return EvaluationTable(
        methods=tuple(method.name for method in plan.methods),
        is_baseline=tuple(method.is_baseline for method in plan.methods),
        metrics=plan.metrics,
        ranked=plan.ranked,
        images=images,
        values=np.array(values),
        protocol=plan.protocol,
        skipped=skipped,
        failed=_list_failed(scores),
        class_names=plan.class_names,
        segmented=tuple(score.pair.name for score in labeled) if confusion else (),
        confusion=confusion,
        unsegmented=unsegmented,
        notes=notes,
        segmented_by=plan.segmenter.name if plan.segmenter else None,
    )


def _list_failed(scores: Iterable[PairScores]) -> dict[str, tuple[str, ...]]:
    """Return the images that could not be measured, by method."""
    images: dict[str, list[str]] = {}
    for score in scores:
        for method in score.failed:
            images.setdefault(method, []).append(score.pair.name)
    return {method: tuple(names) for method, names in images.items()}


def _group_notes(scores: Iterable[PairScores]) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the images of each note on fused images, by method, also of images that were left out."""
    images: dict[str, dict[str, list[str]]] = {}
    for score in scores:
        for method, values in score.values.items():
            for note in values.get(NOTES, ()):
                images.setdefault(method, {}).setdefault(note, []).append(score.pair.name)
    return {method: {note: tuple(names) for note, names in of_method.items()} for method, of_method in images.items()}


def _find_equal(methods: Sequence[Method], values: Sequence[Sequence[Sequence[float]]]) -> Iterator[tuple[str, str]]:
    """Return the methods whose values are all equal to those of another one, with its name; not among baselines."""
    for (method, rows), (other, other_rows) in combinations(zip(methods, values, strict=True), 2):
        if rows == other_rows and not (method.is_baseline and other.is_baseline):
            yield (method.name, other.name) if other.is_baseline else (other.name, method.name)
