"""Read the images of a pair of files, and write what was made of them. Does not import torch, so that workers start fast."""

import os
import signal
import threading
import time
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gffusion.data import ImagePair, PairImages, ReadOptions, read_pair, write_image
from gffusion.data.infrared_notes import measure_range
from gffusion.data.io import read_bytes, write_with_metadata
from gffusion.data.metadata import ImageMetadata, read_metadata
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.atomic import describe_error, is_written, prevents_writing
from gffusion.utils.cores import count_cores
from gffusion.utils.memory import memory_errors
from gffusion.utils.notes import NOT_COMPARED
from gffusion.utils.paths import texts_to_paths
from gffusion.visualization.overlay import mix_colors

MAX_WORKERS = 16


@dataclass(frozen=True)
class FusionJob:
    """A pair to read and the files to write, as paths or texts: the fused image, its labels, and an overlay of both."""

    pair: ImagePair
    fused: Path
    labels: Path | None = None  # 8-bit PNG of class ids
    overlay: Path | None = None
    thermal: Path | None = None  # infrared values; a second page if it is the fused file
    overwrite: bool = True  # otherwise, only missing and empty files are written
    infrared_options: InfraredOptions | None = None  # default: those of the image processor
    keep_metadata: bool = False  # of the visible file, in the fused file

    if TYPE_CHECKING:

        def __init__(
            self,
            pair: ImagePair,
            fused: str | Path,
            labels: str | Path | None = None,
            overlay: str | Path | None = None,
            thermal: str | Path | None = None,
            overwrite: bool = True,
            infrared_options: InfraredOptions | None = None,
            keep_metadata: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        texts_to_paths(self, "fused", "labels", "overlay", "thermal")

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The files to write."""
        return tuple(path for path in (self.fused, self.labels, self.overlay, self.thermal) if path is not None)

    @property
    def needs_fusing(self) -> bool:
        """Whether files are missing now, or are to be overwritten."""
        return self.overwrite or not all(map(is_written, self.outputs))


@dataclass(frozen=True)
class FusionResult:
    """Outcome of a job: the reason why it failed, or `None` if its files were written; and notes about its images."""

    job: FusionJob
    error: str | None = None
    notes: tuple[str, ...] = ()
    is_last: bool = False  # because others would fail, too: no file can be written, or the GPU does not work any more
    is_skipped: bool = False  # because all files exist, such as from another run, and may not be replaced
    range_width: tuple[str, float] | None = None  # kind of the infrared image and width of its range, for `note_narrow`


@dataclass(frozen=True)
class ReadJob:
    """A job with its images, or the reason why they could not be read."""

    job: FusionJob
    images: PairImages | Any = None  # of which type checkers then want no check
    error: str | None = None
    metadata: ImageMetadata | None = None
    range_width: tuple[str, float] | None = None

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width; a unique size for a job that could not be read, so that it gets its own batch."""
        return (id(self),) if self.images is None else self.images.visible.shape[:2]


@dataclass(frozen=True)
class WriteJob:
    """A job with the arrays to write, and notes about its images."""

    job: FusionJob
    fused: NDArray[Any]
    labels: NDArray[np.uint8] | None = None
    thermal: NDArray[Any] | None = None
    metadata: ImageMetadata | None = None
    notes: tuple[str, ...] = ()
    range_width: tuple[str, float] | None = None


def count_workers(device: str) -> int:
    """Return the number of workers for a type of device: one on a CPU, whose cores compute, else nearly one for each core.

    Processes of one machine (`accelerate launch`) share its cores.
    """
    if device == "cpu":
        return 1
    return max(1, min(MAX_WORKERS, count_cores() // int(os.environ.get("LOCAL_WORLD_SIZE") or "1") - 2))


def start_workers(count: int, processes: bool = False) -> Executor:
    """Return an executor of `count` threads, or of processes that are started at once and end with this one.

    Processes are new ones, which import the main module again: a script that asks for them needs
    `if __name__ == "__main__":`.

    Examples:
        >>> with start_workers(2) as workers:
        ...     workers.submit(len, "abc").result()
        3
    """
    if not processes:
        return ThreadPoolExecutor(count)
    workers = ProcessPoolExecutor(count, get_context("spawn"), initializer=_prepare_process)
    for _ in range(count):
        workers.submit(time.sleep, 0)
    return workers


def _prepare_process() -> None:
    """Leave Ctrl-C and the end of a terminal to the main process, end with it, and import what reading files needs."""
    import imagecodecs  # noqa: F401 - only processes need it now

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # a process that was killed cannot end others


def read_job(job: FusionJob, options: ReadOptions = ReadOptions()) -> ReadJob:
    """Read the images of a job, and metadata if they are kept."""
    try:
        with memory_errors():
            images, metadata = read_pair(job.pair.visible, job.pair.infrared, options), None
            if job.keep_metadata:
                stored = read_metadata(read_bytes(job.pair.visible, options.max_pixels))
                other = None
                if options.reference == "infrared":
                    other = read_metadata(read_bytes(job.pair.infrared, options.max_pixels))
                metadata, notes = stored.move(other, images.window)
                images = images._replace(notes=images.notes + notes)
            return ReadJob(job, images, metadata=metadata, range_width=measure_range(images, job.pair.infrared))
    except (OSError, ValueError, MemoryError) as error:
        return ReadJob(job, error=str(error))


def write_job(item: WriteJob) -> FusionResult:
    """Write the files of a job, unless another run has written all of them meanwhile."""
    if not item.job.needs_fusing:
        return FusionResult(item.job, is_skipped=True)
    try:
        with memory_errors():
            return FusionResult(item.job, notes=item.notes + _write(item), range_width=item.range_width)
    except (OSError, ValueError, MemoryError) as error:
        return FusionResult(item.job, describe_error(error), is_last=prevents_writing(error))


def _write(item: WriteJob) -> tuple[str, ...]:
    """Write the files of a job that are missing or to be replaced, and return notes about others and metadata that were lost."""
    job, fused, labels, thermal = item.job, item.fused, item.labels, item.thermal
    written = [path for path in job.outputs if job.overwrite or not is_written(path)]
    kept = [kind for kind in ("fused", "labels", "overlay", "thermal") if getattr(job, kind) not in (None, *written)]
    advice = "`overwrite` (--overwrite) replaces them"
    notes = (f"kept the existing {', '.join(kept)} {NOT_COMPARED}: {advice}",) if kept else ()
    fused, lost_depth = _fit_depth(fused, job.fused.suffix.lower())
    if labels is not None and job.labels in written:
        write_image(job.labels, labels, replace_special=job.overwrite)
    if labels is not None and job.overlay in written:
        write_image(job.overlay, mix_colors(fused, labels), replace_special=job.overwrite)
    if thermal is not None and job.thermal != job.fused and job.thermal in written:
        georeference = ImageMetadata(georeference=item.metadata.georeference) if item.metadata else None
        write_with_metadata(job.thermal, thermal, None, georeference, replace_special=job.overwrite)
    if job.fused not in written:
        return notes
    page = thermal if job.thermal == job.fused else None
    lost = lost_depth + write_with_metadata(job.fused, fused, page, item.metadata, replace_special=job.overwrite)
    return notes + tuple(f"{job.fused.suffix} files cannot hold {part} of the visible image" for part in lost)


def _fit_depth(fused: NDArray[Any], suffix: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return a fused image in the deepest type that the format of a suffix has, and what gets lost."""
    if fused.dtype == np.uint8 or suffix in (".tif", ".tiff"):
        return fused, ()
    if suffix == ".png":
        is_float = np.issubdtype(fused.dtype, np.floating)
        return np.rint(fused.clip(0, 1) * 65535).astype(np.uint16) if is_float else fused, ()
    from gffusion.models.gffusion.image_ops import to_uint8  # here to save start-up time: it imports torch

    return to_uint8(fused), ("the bit depth",)
