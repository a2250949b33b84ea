"""Measure methods on pairs in several threads; errors of a pair are reported, and the other pairs continue."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion.data import ImagePair, ReadOptions, read_labels
from gffusion.data.infrared_notes import measure_range
from gffusion.data.infrared_range import PairRanges
from gffusion.data.label_values import replace_values
from gffusion.inference.predict import Prediction
from gffusion.inference.threads import start_threads
from gffusion.metrics import METRICS, compute_metrics, get_metric, to_luma8
from gffusion.metrics.compute import check_size
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.memory import memory_errors
from gffusion.utils.prefetch import map_in_order
from gffusion.zoo.digest import digest_sources, hash_file

from .inputs import FilesByMethod
from .matching import describe_unused
from .methods import Method, Model, Sources
from .records import CONFUSION, NOTES, Records

# All of the package, because a list of the modules that change values would go stale. It takes about 20 ms.
SOURCES = digest_sources(files("gffusion"))
_ERRORS = (OSError, ValueError, MemoryError)


@dataclass(frozen=True)
class Plan:
    """Methods and metrics to compute on every pair, files of predicted label maps, and how infrared values are mapped."""

    methods: Sequence[Method]
    metrics: tuple[str, ...]
    protocol: str
    class_names: tuple[str, ...]  # empty if no label maps are measured
    label_files: FilesByMethod
    ranges: PairRanges
    odd: Mapping[Path, str] = field(default_factory=dict)  # why infrared files fail whose type is not that of the rest
    label_map: Mapping[int, int] = field(default_factory=dict)  # from values of label maps to class ids
    ranked: tuple[str, ...] = ()  # metrics that count in the mean rank
    segmenter: Model | None = None  # segments the images of all methods
    hash_file: Callable[[Path], str] = hash_file

    @cached_property
    def describe_unused_labels(self) -> dict[str, Callable[[PurePosixPath], str]]:
        """Functions that tell which images beside the predicted label maps belong to no pair, by method, see [`describe_unused`]."""
        return {name: cache(partial(describe_unused, files)) for name, files in self.label_files.items()}

    def is_segmented(self, method: Method) -> bool:
        """Return whether label maps of the method are measured."""
        has_labels = self.segmenter is not None or method.name in self.label_files or bool(method.class_names)
        return bool(self.class_names) and has_labels

    def fuse(self, method: Method, sources: Sources, segment: bool) -> Prediction:
        """Fuse a pair and, with `segment`, predict the label map of the fused image, if the method or `segmenter` does."""
        if self.segmenter is None or not segment:
            return method.fuse(sources, segment=segment)
        prediction = method.fuse(sources)
        return replace(prediction, labels=self.segmenter.segment(sources, prediction.fused))


@dataclass
class PairScores:
    """Scores of a pair by method and metric.

    Attributes:
        pair: The files.
        values: Values by method, and notes on its fused image; they are not complete if there are errors.
        errors: Reasons why values are missing, one line each.
        failed: Methods whose image cannot be measured.
        label_errors: Reasons why label maps are missing.
        notes: How the pair was read.
        range_width: Kind of the infrared image and width of its range, for [`note_narrow`]; `None` if it was not read.
    """

    pair: ImagePair
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    label_errors: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    range_width: tuple[str, float] | None = None

    def fail(self, method: str, reason: str) -> None:
        """Add the reason why the image of a method cannot be measured."""
        self.errors.append(f"{method}: {reason}")
        self.failed.append(method)


def score_pairs(plan: Plan, pairs: Sequence[ImagePair], records: Records, workers: int) -> Iterator[PairScores]:
    """Measure all methods on all pairs, in order, and record every value at once; each of the threads uses one core."""
    # Threads: PyTorch's kernels release the interpreter lock, and processes would each load PyTorch and the models.
    executor = start_threads(workers)
    try:
        yield from map_in_order(executor, lambda pair: _score_pair(plan, pair, records), pairs, depth=2 * workers)
    finally:
        executor.shutdown(cancel_futures=True)


def _score_pair(plan: Plan, pair: ImagePair, records: Records) -> PairScores:
    scores = PairScores(pair)
    if pair.infrared in plan.odd:
        scores.errors.append(plan.odd[pair.infrared])
        return scores
    try:
        with memory_errors():
            sources = Sources.read(pair, plan.ranges)
        check_size(sources.visible_luma.shape, plan.ranked, plan.protocol)
    except _ERRORS as error:
        scores.errors.append(str(error))
        return scores
    scores.notes, scores.range_width = sources.images.notes, measure_range(sources.images, pair.infrared)
    for method in plan.methods:
        try:
            with memory_errors():
                key, known, new, label_error = _score(plan, method, sources, records)
        except _ERRORS as error:
            scores.fail(method.name, str(error))
            continue
        values = scores.values[method.name] = {**known, **new}
        if infinite := [name for name in plan.metrics if not np.isfinite(values[name])]:
            reason = f"{infinite[0]} is {values[infinite[0]]}, so that its mean is not finite"
            scores.fail(method.name, "; ".join([reason, *values.get(NOTES, ())]))
            continue
        recorded = {_name_record(name): value for name, value in new.items() if _name_record(name)}
        if recorded:  # not above: if records cannot be written, the evaluation ends, and no pair is left out
            records.add(key, method.name, pair.name, recorded)
        scores.label_errors += [f"{method.name}: {label_error}"] if label_error else []
    return scores


def _name_record(name: str) -> str:
    """Return the name of values in records: a registered metric has that of its version, and none without a version."""
    if name not in METRICS or not METRICS[name].is_registered:
        return name
    return f"{name} {METRICS[name].version}" if METRICS[name].version else ""


def _score(
    plan: Plan, method: Method, sources: Sources, records: Records
) -> tuple[str, dict[str, Any], dict[str, Any], str]:
    """Return the key of the values, those that have a record, those that have none, and why a label map cannot be used."""
    pair, label_error = sources.pair, ""
    try:
        label_files = _label_files(plan, method, pair)
    except FileNotFoundError as error:
        label_files, label_error = [], str(error)
    wanted = (*plan.metrics, CONFUSION) if label_files else plan.metrics
    images = (pair.visible, pair.infrared, *label_files)
    parts = [SOURCES, plan.protocol, method.fingerprint(pair), *map(plan.hash_file, images), len(plan.class_names)]
    if (options := plan.ranges.options_of(pair)) != InfraredOptions():
        parts.append(str(options))
    if plan.ranges.read_options != ReadOptions():
        parts.append(str(plan.ranges.read_options))
    if plan.label_map and label_files:
        parts.append(str(sorted(plan.label_map.items())))
    if plan.segmenter is not None and label_files:
        parts.append(f"segmented by {plan.segmenter.fingerprint(pair)}")
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
    recorded = records.get(key)
    known = {name: recorded[_name_record(name)] for name in (*wanted, NOTES) if _name_record(name) in recorded}
    missing = [name for name in wanted if name not in known]
    if CONFUSION in known and len(known[CONFUSION]) != len(plan.class_names):  # written by another program
        missing.append(CONFUSION)
    if not missing:
        return key, known, {}, label_error
    values, cause = _measure(plan, method, sources, missing, label_files)
    return key, known, values, label_error or cause


def _label_files(plan: Plan, method: Method, pair: ImagePair) -> list[Path]:
    """Return the label map and, if any, the file of the prediction; an empty list if no label map is measured."""
    if pair.labels is None or not plan.is_segmented(method):
        return []
    if method.name not in plan.label_files:
        return [pair.labels]
    predictions = plan.label_files[method.name]
    if pair.name not in predictions:
        unused = plan.describe_unused_labels[method.name](PurePosixPath(pair.name).parent)
        raise FileNotFoundError(f"no predicted label map of this name{unused}")
    return [pair.labels, predictions[pair.name]]


def _measure(
    plan: Plan, method: Method, sources: Sources, missing: Sequence[str], label_files: Sequence[Path]
) -> tuple[dict[str, Any], str]:
    segment = CONFUSION in missing
    prediction = plan.fuse(method, sources, segment=segment and len(label_files) == 1)
    images = to_luma8(prediction.fused), sources.visible_luma, sources.infrared_luma
    metrics = [name for name in missing if name != CONFUSION]
    tensors = compute_metrics(*images, metrics=metrics, protocol=plan.protocol)
    values: dict[str, Any] = {name: tensor.item() for name, tensor in tensors.items()}
    values |= {NOTES: prediction.notes} if prediction.notes else {}
    if not segment:
        return values, ""
    try:
        return values | {CONFUSION: _count_pixels(plan, sources, label_files, prediction.labels)}, ""
    except _ERRORS as error:
        return values, str(error)


def _count_pixels(
    plan: Plan, sources: Sources, label_files: Sequence[Path], predicted: NDArray[Any] | None
) -> list[list[int]]:
    """Return the pixels by class in the label map and in the prediction, of which a file takes precedence."""
    max_pixels = plan.ranges.read_options.max_pixels
    labels, predicted, *_ = *(read_labels(file, max_pixels) for file in label_files), predicted
    if predicted is not None and labels.shape != predicted.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (labels.shape, predicted.shape)]
        other = label_files[1] if len(label_files) > 1 else "the prediction"
        raise ValueError(
            f"{label_files[0]} measures {sizes[0]} pixels, but {other} {sizes[1]} (width x height): both must have the size of "
            "the visible image"
        )
    for file in label_files:
        sources.check_place(file, labels.shape)
    metric = get_metric("IoU", num_classes=len(plan.class_names))
    maps = predicted, replace_values(labels, plan.label_map)
    metric.update(*(torch.from_numpy(np.asarray(values, np.int64))[None] for values in maps))
    counts: list[list[int]] = metric.confmat.tolist()
    return counts
