"""Fuse image files: read ahead, batch by size, write in the background, and continue after failed pairs."""

import math
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch

from gffusion.cameras.frozen_images import FrozenImages
from gffusion.data import ReadOptions
from gffusion.data.infrared_notes import note_thermal
from gffusion.data.infrared_range import note_flat_range
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.device_errors import describe_device_error, is_lost
from gffusion.utils.memory import memory_errors
from gffusion.utils.notes import about
from gffusion.utils.prefetch import map_in_order
from gffusion.zoo.checks import check_model_object, check_processor_object

from .batching import batch_by_size, check_batch_size
from .file_jobs import FusionJob, FusionResult, ReadJob, WriteJob, count_workers, read_job, start_workers, write_job
from .folding import can_divide
from .interface import FusionModel
from .predict import Prediction, predict

_ALONE_PIXELS = 2**21  # of a batch, from which on no other one is fused at the same time on CPUs, because of the memory
_large_batch = threading.Lock()


def fuse_files(
    jobs: Iterable[FusionJob],
    model: FusionModel,
    image_processor: GFFusionImageProcessor,
    batch_size: int = 1,
    read_options: ReadOptions | None = None,
    workers: Executor | int | None = None,
) -> Iterator[FusionResult]:
    """Fuse pairs of files, and yield every result as soon as it is known, also of pairs that fail.

    If no file can be written, such as on a full disk, or a GPU cannot be used any more, the pairs after this failure are not fused.

    Workers read files ahead of the model, and write files in the background. Output folders must exist. Jobs with `labels`
    or `overlay` need a model with a segmenter. A batch has consecutive pairs of one size.

    Args:
        jobs: The pairs, which are taken as they are needed.
        model: The model, in evaluation mode, on its device.
        image_processor: Processor that prepares the images and restores size, color and depth.
        batch_size: Largest number of pairs per forward pass.
        read_options: How pairs are read.
        workers: Number of threads that read and write, or an executor of [`start_workers`], which stays open. Defaults to
            [`count_workers`].

    Raises:
        ValueError: If `model` or `image_processor` is none of this package, or `batch_size` or `workers` no whole number of at
            least 1.
        OSError: If a process of the executor was ended.
    """
    check_model_object(model, can_be_exported=True)
    check_processor_object(image_processor)
    check_batch_size(batch_size)
    if not isinstance(workers, Executor | None):
        check_batch_size(workers, "workers")
    read_options = read_options or ReadOptions()
    with ExitStack() as stack:
        if not isinstance(workers, Executor):
            count = count_workers(model.device.type) if workers is None else workers
            reader = stack.enter_context(start_workers(count))
            writer = stack.enter_context(start_workers(count))
        else:
            reader, writer, count = workers, workers, getattr(workers, "_max_workers", 1)
        try:
            yield from _fuse_files(jobs, model, image_processor, batch_size, read_options, (reader, writer, count))
        except BrokenProcessPool as error:
            raise OSError(
                "a process that reads and writes images was ended, maybe because memory ran out: run the command again to continue"
            ) from error


def _fuse_files(
    jobs: Iterable[FusionJob],
    model: FusionModel,
    image_processor: GFFusionImageProcessor,
    batch_size: int,
    read_options: ReadOptions,
    workers: tuple[Executor, Executor, int],
) -> Iterator[FusionResult]:
    reader, writer, count = workers
    threads = _count_fusing_threads(model)
    ahead = threads * batch_size + max(batch_size, count)
    read_jobs = map_in_order(reader, partial(read_job, options=read_options), jobs, depth=ahead)
    batches = batch_by_size(_note_frozen(read_jobs), batch_size, lambda item: item.size)
    writing: deque[Future[FusionResult]] = deque()
    is_last = False
    with ThreadPoolExecutor(threads) as fuser:
        fuse = partial(_fuse, model=model, image_processor=image_processor)
        fused = map(fuse, batches) if threads == 1 else map_in_order(fuser, fuse, batches, depth=threads - 1)
        for item, outcome in chain.from_iterable(fused):
            if isinstance(outcome, FusionResult):
                is_last |= outcome.is_last
                yield outcome
            else:
                writing.append(writer.submit(write_job, _prepare_writing(item, outcome)))
            while writing and (writing[0].done() or len(writing) > ahead):
                result = writing.popleft().result()
                is_last |= result.is_last
                yield result
            if is_last:
                break
    while writing:
        yield writing.popleft().result()


def _count_fusing_threads(model: FusionModel) -> int:
    """Return how many batches are fused at once.

    On GPUs, one computes, while others prepare images and fetch results. On CPUs, one computes with the threads that the
    other one leaves idle while it prepares and restores images, unless functions of users would be called at the same time.
    """
    if model.device.type == "cpu":
        return 2 if can_divide(model) and torch.get_num_threads() > 1 else 1
    return 3 if model.device.type == "cuda" else 1


def _limit_memory(batch: Sequence[ReadJob], model: FusionModel) -> AbstractContextManager[Any]:
    """Return a context in which a large batch is the only one on a CPU."""
    pixels = sum(math.prod(item.size) for item in batch)
    return _large_batch if model.device.type == "cpu" and pixels >= _ALONE_PIXELS else nullcontext()


def _note_frozen(items: Iterable[ReadJob]) -> Iterator[ReadJob]:
    """Yield all jobs, with a note if another infrared file than that of the job before has the same image."""
    frozen = FrozenImages()
    for item in items:
        if (images := item.images) is not None:
            sample = images.visible[::8, ::8].copy()  # enough to see a change; the whole image would stay in memory
            found = frozen.add(item.job.pair.infrared, images.infrared, sample.view)
            item = replace(item, images=images._replace(notes=images.notes + found))
        yield item


def _prepare_writing(item: ReadJob, prediction: Prediction) -> WriteJob:
    thermal, notes = None, item.images.notes
    if item.job.thermal is not None:
        thermal = item.images.thermal
        notes += note_thermal(item.images, thermal)
    return WriteJob(item.job, prediction.fused, prediction.labels, thermal, item.metadata, notes, item.range_width)


def _fuse(
    batch: Sequence[ReadJob], model: FusionModel, image_processor: GFFusionImageProcessor
) -> list[tuple[ReadJob, Prediction | FusionResult]]:
    """Return the prediction of every job, or the result of one that failed."""
    first = batch[0]
    if first.images is None:  # the batch is one job that could not be read
        return [(first, FusionResult(first.job, str(first.error)))]
    segment = any(item.job.labels or item.job.overlay for item in batch)
    try:
        with _limit_memory(batch, model), about(*(item.job.pair.infrared for item in batch)), memory_errors():
            ranges = (_note_range(item, image_processor.infrared_options) for item in batch)
            noted, options = zip(*ranges, strict=True)
            predictions = predict(model, image_processor, [item.images for item in noted], segment, options)
    except (ValueError, MemoryError, RuntimeError) as error:  # RuntimeError: operations that a device does not support
        is_last = is_lost(error)
        if len(batch) == 1 or is_last:
            text = describe_device_error(error) if isinstance(error, RuntimeError) else str(error)
            return [(first, FusionResult(first.job, text, is_last=is_last))]
        return [result for item in batch for result in _fuse([item], model, image_processor)]  # find the one that fails
    return list(zip(noted, predictions, strict=True))


def _note_range(item: ReadJob, default: InfraredOptions) -> tuple[ReadJob, InfraredOptions]:
    """Return a job with a note if its infrared image will look flat, and the options of this image."""
    images, options = note_flat_range(item.images, item.images.adapt(item.job.infrared_options or default))
    return replace(item, images=images), options


__all__ = ["FusionJob", "FusionResult", "fuse_files"]
