"""Fuse image files: read ahead, batch by size, write in the background, and continue after failed pairs."""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import torch

from gffusion.data import ImagePair, PairImages, ReadOptions, read_pair, write_image
from gffusion.data.io import find_lost_metadata, read_bytes
from gffusion.data.metadata import ImageMetadata, read_metadata
from gffusion.data.prefetch import map_in_order
from gffusion.models.gffusion.image_ops import to_uint8
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.visualization.overlay import overlay

from .batching import batch_by_size
from .predict import Prediction, predict

MAXIMUM_WORKERS = 8


@dataclass(frozen=True)
class FusionJob:
    """A pair to read and the files to write: the fused image, its labels, and an overlay of both."""

    pair: ImagePair
    fused: Path
    labels: Path | None = None  # 8-bit PNG of class ids
    overlay: Path | None = None
    thermal: Path | None = None  # infrared values; a second page if it is the fused file
    overwrite: bool = True  # otherwise, only missing files are written
    infrared_options: InfraredOptions | None = None  # default: those of the image processor
    keep_metadata: bool = False  # of the visible file, in the fused file

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(path for path in (self.fused, self.labels, self.overlay, self.thermal) if path is not None)


@dataclass(frozen=True)
class FusionResult:
    """Outcome of a job: the reason why it failed, or `None` if its files were written; and notes about its images."""

    job: FusionJob
    error: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _ReadJob:
    """A job with its images, or the reason why they could not be read."""

    job: FusionJob
    images: PairImages | None = None
    error: str | None = None
    metadata: ImageMetadata | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width; a unique size for a job that could not be read, so that it gets its own batch."""
        return (id(self),) if self.images is None else self.images.visible.shape[:2]


def fuse_files(
    jobs: Iterable[FusionJob],
    model: GFFusionModel,
    image_processor: GFFusionImageProcessor,
    batch_size: int = 1,
    read_options: ReadOptions | None = None,
    workers: int | None = None,
) -> Iterator[FusionResult]:
    """Fuse pairs of files, and yield every result as soon as it is known, also of pairs that fail.

    Threads read files ahead of the model, and as many write files in the background: `workers`, by default one, and on a GPU
    half the number of cores, at most 8. Output folders must exist. Jobs with `labels` or `overlay` need a model with a
    segmenter. A batch has consecutive pairs of one size.

    Raises:
        ValueError: If `batch_size` is less than 1.
    """
    if workers is None:
        cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # processes share them
        workers = 1 if model.device.type == "cpu" else max(1, min(MAXIMUM_WORKERS, cores // 2))
    ahead = batch_size + max(batch_size, workers)
    with ThreadPoolExecutor(workers) as reader, ThreadPoolExecutor(workers) as writer:
        writing: deque[Future[FusionResult]] = deque()
        read_jobs = map_in_order(reader, partial(_read, options=read_options), jobs, depth=ahead)
        for batch in batch_by_size(read_jobs, batch_size, lambda item: item.size):
            for item, outcome in _fuse(batch, model, image_processor):
                if isinstance(outcome, str):
                    yield FusionResult(item.job, outcome)
                else:
                    writing.append(writer.submit(_write, item, outcome))
            while writing and (writing[0].done() or len(writing) > ahead):
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()


def _read(job: FusionJob, options: ReadOptions | None) -> _ReadJob:
    options = options or ReadOptions()
    try:
        images, metadata = read_pair(job.pair.visible, job.pair.infrared, options), None
        if job.keep_metadata:
            stored = read_metadata(read_bytes(job.pair.visible))
            metadata, notes = stored.move(options.reference == "visible", images.window)
            images = images._replace(notes=images.notes + notes)
        return _ReadJob(job, images, metadata=metadata)
    except (OSError, ValueError, MemoryError) as error:
        return _ReadJob(job, error=str(error))


def _fuse(
    batch: Sequence[_ReadJob], model: GFFusionModel, image_processor: GFFusionImageProcessor
) -> Iterator[tuple[_ReadJob, Prediction | str]]:
    """Yield the prediction or the error of every job."""
    pairs = [item.images[:2] for item in batch if item.images is not None]
    if not pairs:  # the batch is one job that could not be read
        yield batch[0], str(batch[0].error)
        return
    segment = any(item.job.labels or item.job.overlay for item in batch)
    try:
        default = image_processor.infrared_options
        options = [item.images.adapt(item.job.infrared_options or default) for item in batch if item.images is not None]
        missing = [item.images.missing for item in batch if item.images is not None]
        predictions = predict(model, image_processor, pairs, segment, options, missing=missing)
    except (ValueError, torch.OutOfMemoryError, MemoryError) as error:
        if len(batch) == 1:
            yield batch[0], str(error)
        else:  # find the pair that fails
            yield from chain.from_iterable(_fuse([item], model, image_processor) for item in batch)
        return
    yield from zip(batch, predictions, strict=True)


def _write(item: _ReadJob, prediction: Prediction) -> FusionResult:
    job, images = item.job, item.images
    written = [path for path in job.outputs if job.overwrite or not path.is_file()]
    fused, labels = prediction.fused, prediction.labels
    thermal = images.thermal if images is not None and job.thermal is not None else None
    notes = () if images is None else images.notes
    try:
        if np.issubdtype(fused.dtype, np.floating) and job.fused.suffix.lower() not in (".tif", ".tiff"):
            fused = to_uint8(fused)
        if labels is not None and job.labels in written:
            write_image(job.labels, labels, replace_special=job.overwrite)
        if labels is not None and job.overlay in written:
            write_image(job.overlay, overlay(fused, labels), replace_special=job.overwrite)
        if thermal is not None and job.thermal != job.fused and job.thermal in written:
            write_image(job.thermal, thermal, replace_special=job.overwrite)
        if job.fused in written:
            write_image(
                job.fused,
                fused,
                thermal if job.thermal == job.fused else None,
                item.metadata,
                replace_special=job.overwrite,
            )
            lost = find_lost_metadata(job.fused, fused, item.metadata) if item.metadata else ()
            notes += tuple(f"{job.fused.suffix} files cannot hold {part} of the visible image" for part in lost)
        return FusionResult(job, notes=notes)
    except (OSError, ValueError) as error:
        return FusionResult(job, str(error))
