"""Fuses image files: reads ahead, batches by size, writes behind, and goes on where a single pair is bad."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion.data import ImagePair, read_image, write_image
from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
from gffusion.visualization.overlay import overlay


@dataclass(frozen=True)
class FusionJob:
    """A pair and the files to write.

    Args:
        pair: What to read.
        fused: Where the fused picture goes.
        labels: Where the label map goes, an 8-bit PNG of class ids.
        overlay: Where the fused picture with coloured classes goes.
        overwrite: Whether files that exist are replaced; otherwise those that are missing are added.
    """

    pair: ImagePair
    fused: Path
    labels: Path | None = None
    overlay: Path | None = None
    overwrite: bool = True

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(path for path in (self.fused, self.labels, self.overlay) if path is not None)


@dataclass(frozen=True)
class FusionResult:
    """What became of a job; `error` is `None` if its files were written."""

    job: FusionJob
    error: str | None = None


@dataclass
class _Loaded:
    job: FusionJob
    images: tuple[NDArray[Any], NDArray[Any]]


@torch.inference_mode()
def fuse_files(
    jobs: Iterable[FusionJob],
    model: GFFusionModel,
    image_processor: GFFusionImageProcessor,
    batch_size: int = 1,
) -> Iterator[FusionResult]:
    """Fuse pairs of files.

    Files are read ahead and written behind the model in threads of their own. A pair that cannot be read, fused or
    written is reported in its result, and the rest goes on.

    Args:
        jobs: What to do. Folders of the files to write must exist.
        model: The model, on its device. Jobs with `labels` or `overlay` need one with a segmenter.
        image_processor: Prepares the pictures for it.
        batch_size: Largest number of neighbouring pairs of one size that the model sees together.

    Yields:
        A result for every job, as it is done.

    Raises:
        ValueError: If `batch_size` is not positive.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        writing: deque[Future[FusionResult]] = deque()
        for batch in _batches(_read_ahead(reader, jobs, 2 * batch_size), batch_size):
            if isinstance(batch, FusionResult):
                yield batch
                continue
            for job, pictures in _fuse(batch, model, image_processor):
                if isinstance(pictures, str):
                    yield FusionResult(job, pictures)
                else:
                    writing.append(writer.submit(_write, job, *pictures))
            while writing and (writing[0].done() or len(writing) > 2 * batch_size):
                yield writing.popleft().result()
        while writing:
            yield writing.popleft().result()


def _read_ahead(reader: ThreadPoolExecutor, jobs: Iterable[FusionJob], depth: int) -> Iterator[_Loaded | FusionResult]:
    reading: deque[Future[_Loaded | FusionResult]] = deque()
    for job in jobs:
        reading.append(reader.submit(_read, job))
        if len(reading) > depth:
            yield reading.popleft().result()
    while reading:
        yield reading.popleft().result()


def _read(job: FusionJob) -> _Loaded | FusionResult:
    try:
        images = read_image(job.pair.visible), read_image(job.pair.infrared)
        if images[0].shape[:2] != images[1].shape[:2]:
            sizes = [f"{image.shape[1]} x {image.shape[0]}" for image in images]
            raise ValueError(
                f"{job.pair.visible} measures {sizes[0]} pixels, but {job.pair.infrared} {sizes[1]} (width x height): "
                "register and resize them first"
            )
        return _Loaded(job, images)
    except (OSError, ValueError) as error:
        return FusionResult(job, str(error))


def _batches(loaded: Iterable[_Loaded | FusionResult], batch_size: int) -> Iterator[list[_Loaded] | FusionResult]:
    """Gather neighbours of one size; what could not be read passes through."""
    batch: list[_Loaded] = []
    for item in loaded:
        if isinstance(item, FusionResult):
            yield item
            continue
        if batch and item.images[0].shape[:2] != batch[0].images[0].shape[:2]:
            yield batch
            batch = []
        batch.append(item)
        if len(batch) == batch_size:
            yield batch
            batch = []
    if batch:
        yield batch


def _fuse(
    batch: Sequence[_Loaded], model: GFFusionModel, image_processor: GFFusionImageProcessor
) -> Iterator[tuple[FusionJob, tuple[NDArray[Any], NDArray[np.uint8] | None] | str]]:
    """Yield the fused picture and the label map of every job, or what went wrong with it."""
    images = [item.images for item in batch]
    segment = any(item.job.labels or item.job.overlay for item in batch)
    try:
        inputs = image_processor(images, return_tensors="pt").to(model.device)
        outputs = model(**inputs, segment=segment)
        fused = [np.asarray(picture) for picture in image_processor.post_process_fusion(outputs, images, "np")]
    except (ValueError, torch.OutOfMemoryError, MemoryError) as error:
        if len(batch) == 1:
            yield batch[0].job, str(error)
            return
        for item in batch:  # find out which one is bad
            yield from _fuse([item], model, image_processor)
        return
    label_maps: list[NDArray[np.uint8] | None] = [None] * len(batch)
    if segment:
        sizes = [visible.shape[:2] for visible, _ in images]
        maps = image_processor.post_process_semantic_segmentation(outputs, sizes)
        label_maps = [label_map.cpu().numpy().astype(np.uint8) for label_map in maps]
    for item, picture, label_map in zip(batch, fused, label_maps, strict=True):
        yield item.job, (picture, label_map)


def _write(job: FusionJob, fused: NDArray[Any], label_map: NDArray[np.uint8] | None) -> FusionResult:
    written = [path for path in job.outputs if job.overwrite or not path.is_file()]
    try:
        if np.issubdtype(fused.dtype, np.floating) and job.fused.suffix.lower() not in (".tif", ".tiff"):
            fused = np.rint(fused * 255).astype(np.uint8)
        if label_map is not None and job.labels in written:
            write_image(job.labels, label_map)
        if label_map is not None and job.overlay in written:
            write_image(job.overlay, overlay(fused, label_map))
        if job.fused in written:
            write_image(job.fused, fused)
        return FusionResult(job)
    except (OSError, ValueError) as error:
        return FusionResult(job, str(error))
