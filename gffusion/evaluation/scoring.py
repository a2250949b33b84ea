"""Measure methods on pairs in several threads; errors of a pair are reported, and the other pairs continue."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gffusion._version import __version__
from gffusion.data import ImagePair, ReadOptions, read_labels
from gffusion.data.infrared_range import PairRanges
from gffusion.data.label_values import replace_values
from gffusion.metrics import compute_metrics, get_metric, to_luma8
from gffusion.metrics.compute import check_size
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.memory import memory_errors
from gffusion.utils.prefetch import map_in_order
from gffusion.zoo.digest import digest_file

from .inputs import FilesByMethod
from .methods import Method, Sources
from .records import Records

# Its value is a matrix of pixel counts, row = class in the labels, column = predicted class.
CONFUSION = "confusion"
# What is odd about a fused image, recorded so that later runs tell it, too.
NOTES = "notes"
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

    def is_segmented(self, method: Method) -> bool:
        """Return whether label maps of the method are measured."""
        return bool(self.class_names) and (method.name in self.label_files or bool(method.class_names))


@dataclass
class PairScores:
    """Values by method and metric; reasons why values or label maps are missing, and notes on how the pair was read, as lines."""

    pair: ImagePair
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    label_errors: list[str] = field(default_factory=list)
    notes: tuple[str, ...] = ()


def score_pairs(plan: Plan, pairs: Sequence[ImagePair], records: Records, workers: int) -> Iterator[PairScores]:
    """Measure all methods on all pairs, in order, and record every value at once; each of the threads uses one core."""
    # Threads: PyTorch's kernels release the interpreter lock, and processes would each load PyTorch and the models.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    executor = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield from map_in_order(executor, lambda pair: _score_pair(plan, pair, records), pairs, depth=2 * workers)
    finally:
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


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
    scores.notes = sources.images.notes
    for method in plan.methods:
        try:
            with memory_errors():
                key, new, label_error = _score(plan, method, sources, records)
        except _ERRORS as error:
            scores.errors.append(f"{method.name}: {error}")
            continue
        if new:  # not above: if records cannot be written, the evaluation ends, and no pair is left out
            records.add(key, method.name, pair.name, new)
        scores.values[method.name] = dict(records.get(key))
        scores.label_errors += [f"{method.name}: {label_error}"] if label_error else []
    return scores


def _score(plan: Plan, method: Method, sources: Sources, records: Records) -> tuple[str, dict[str, Any], str]:
    """Return the key of the values, those that have no record, and why a label map cannot be used."""
    pair, label_error = sources.pair, ""
    try:
        label_files = _label_files(plan, method, pair)
    except FileNotFoundError as error:
        label_files, label_error = [], str(error)
    wanted = (*plan.metrics, CONFUSION) if label_files else plan.metrics
    files = (pair.visible, pair.infrared, *label_files)
    parts = [__version__, plan.protocol, method.fingerprint(pair), *map(digest_file, files), len(plan.class_names)]
    if (options := plan.ranges.options_of(pair)) != InfraredOptions():
        parts.append(str(options))
    if plan.ranges.read_options != ReadOptions():
        parts.append(str(plan.ranges.read_options))
    if plan.label_map and label_files:
        parts.append(str(sorted(plan.label_map.items())))
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
    missing = [name for name in wanted if name not in records.get(key)]
    if not missing:
        return key, {}, label_error
    values, cause = _measure(plan, method, sources, missing, label_files)
    return key, values, label_error or cause


def _label_files(plan: Plan, method: Method, pair: ImagePair) -> list[Path]:
    """Return the label map and, if any, the file of the prediction; an empty list if no label map is measured."""
    if pair.labels is None or not plan.is_segmented(method):
        return []
    if method.name not in plan.label_files:
        return [pair.labels]
    predictions = plan.label_files[method.name]
    if pair.name not in predictions:
        raise FileNotFoundError("no predicted label map of this name")
    return [pair.labels, predictions[pair.name]]


def _measure(
    plan: Plan, method: Method, sources: Sources, missing: Sequence[str], label_files: Sequence[Path]
) -> tuple[dict[str, Any], str]:
    segment = CONFUSION in missing
    prediction = method.fuse(sources, segment=segment and len(label_files) == 1)
    images = to_luma8(prediction.fused), sources.visible_luma, sources.infrared_luma
    metrics = [name for name in missing if name != CONFUSION]
    tensors = compute_metrics(*images, metrics=metrics, protocol=plan.protocol)
    numbers = {name: tensor.item() for name, tensor in tensors.items()}
    for name, value in numbers.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}, so that its mean is not finite")
    values: dict[str, Any] = numbers | ({NOTES: prediction.notes} if prediction.notes else {})
    if not segment:
        return values, ""
    try:
        # Predicted label maps in files take precedence.
        labels, predicted, *_ = *(read_labels(file, sources.max_pixels) for file in label_files), prediction.labels
        metric = get_metric("IoU", num_classes=len(plan.class_names))
        maps = predicted, replace_values(labels, plan.label_map)
        metric.update(*(torch.from_numpy(np.asarray(values, np.int64))[None] for values in maps))
    except _ERRORS as error:
        return values, str(error)
    return values | {CONFUSION: metric.confmat.tolist()}, ""
