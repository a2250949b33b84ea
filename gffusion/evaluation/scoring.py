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
from gffusion.data.prefetch import map_in_order
from gffusion.metrics import compute_metrics, get_metric, to_luma8
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.zoo.digest import digest_file

from .inputs import FilesByMethod
from .methods import Method, Sources
from .records import Records

# Its value is a matrix of pixel counts, row = class in the labels, column = predicted class.
CONFUSION = "confusion"
_ERRORS = (OSError, ValueError, MemoryError, torch.OutOfMemoryError)


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

    def is_segmented(self, method: Method) -> bool:
        """Return whether label maps of the method are measured."""
        return bool(self.class_names) and (method.name in self.label_files or bool(method.class_names))


@dataclass
class PairScores:
    """Values by method and metric, reasons why values are missing, and notes on how the pair was read, one line each."""

    pair: ImagePair
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
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
        sources = Sources.read(pair, plan.ranges)
    except _ERRORS as error:
        scores.errors.append(str(error))
        return scores
    scores.notes = sources.images.notes
    for method in plan.methods:
        try:
            scores.values[method.name] = _score(plan, method, sources, records)
        except _ERRORS as error:
            scores.errors.append(f"{method.name}: {error}")
    return scores


def _score(plan: Plan, method: Method, sources: Sources, records: Records) -> dict[str, Any]:
    pair = sources.pair
    label_files = _label_files(plan, method, pair)
    wanted = (*plan.metrics, CONFUSION) if label_files else plan.metrics
    files = (pair.visible, pair.infrared, *label_files)
    parts = [__version__, plan.protocol, method.fingerprint(pair), *map(digest_file, files), len(plan.class_names)]
    if (options := plan.ranges.options_of(pair)) != InfraredOptions():
        parts.append(str(options))
    if plan.ranges.read_options != ReadOptions():
        parts.append(str(plan.ranges.read_options))
    key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
    if missing := [name for name in wanted if name not in records.get(key)]:
        records.add(key, method.name, pair.name, _measure(plan, method, sources, missing, label_files))
    return dict(records.get(key))


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
) -> dict[str, Any]:
    segment = CONFUSION in missing
    prediction = method.fuse(sources, segment=segment and len(label_files) == 1)
    images = to_luma8(prediction.fused), sources.visible_luma, sources.infrared_luma
    metrics = [name for name in missing if name != CONFUSION]
    tensors = compute_metrics(*images, metrics=metrics, protocol=plan.protocol)
    values: dict[str, Any] = {name: tensor.item() for name, tensor in tensors.items()}
    for name, value in values.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}, so that its mean is not finite")
    if segment:
        # Predicted label maps in files take precedence.
        labels, predicted, *_ = *(read_labels(file, sources.max_pixels) for file in label_files), prediction.labels
        metric = get_metric("IoU", num_classes=len(plan.class_names))
        metric.update(*(torch.from_numpy(np.asarray(maps, np.int64))[None] for maps in (predicted, labels)))
        values[CONFUSION] = metric.confmat.tolist()
    return values
