"""Fuse the pairs of `gffusion fuse` with a progress bar, until all are done, the disk is full, or the user interrupts."""

import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .device import choose_device
from .distributed import Outcome

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from gffusion.inference.file_jobs import FusionJob, FusionResult

_PAIRS_FOR_PROCESSES = 64  # fewer pairs take less time than the start of processes


def start_processes(device: str, pairs: int) -> "Executor | None":
    """Start processes that read and write files if a GPU fuses many pairs; they start while the model is loaded."""
    if pairs < _PAIRS_FOR_PROCESSES or not choose_device(device).startswith("cuda"):
        return None
    from gffusion.inference.file_jobs import count_workers, start_workers  # saves start-up time

    return start_workers(count_workers("cuda"), processes=True)


def run_jobs(
    jobs: "list[FusionJob]",
    odd: Mapping[Path, str],
    fuse: "Callable[[Iterable[FusionJob]], Iterator[FusionResult]]",
    outcome: Outcome,
) -> Outcome:
    """Fuse the pairs to do, and return an outcome with what was done.

    `odd` has the reasons why infrared files are not fused. Pairs that another run writes meanwhile are skipped.
    """
    from gffusion.utils.progress import show_progress  # saves start-up time

    started = time.perf_counter()
    failures = [(job.pair.name, odd[job.pair.infrared]) for job in jobs if job.pair.infrared in odd]
    sound = [job for job in jobs if job.pair.infrared not in odd]
    results: list[FusionResult] = []
    skipped: list[FusionJob] = []  # before they were fused
    lost: list[FusionJob] = []  # to another run that was faster
    is_interrupted = False
    try:
        for result in show_progress(fuse(_take(sound, skipped, lost)), total=len(sound), unit="pair"):
            if result.is_skipped:
                lost.append(result.job)
            else:
                results.append(result)
    except KeyboardInterrupt:
        is_interrupted = True
    failed = [(result.job.pair.name, result.error) for result in results if result.error is not None]
    return outcome._replace(
        done=len(results) - len(failed),
        skipped=outcome.skipped + len(skipped) + len(lost),
        failures=failures + failed,
        notes=[*outcome.notes, *((result.job.pair.name, note) for result in results for note in result.notes)],
        seconds=time.perf_counter() - started,
        not_tried=len(sound) - len(results) - len(skipped) - len(lost),
        is_interrupted=is_interrupted,
        range_widths=[(result.job.pair.name, *result.range_width) for result in results if result.range_width],
    )


def _take(
    jobs: "Sequence[FusionJob]", skipped: "list[FusionJob]", lost: "Sequence[FusionJob]"
) -> "Iterator[FusionJob]":
    """Yield the jobs that need fusing when their turn comes, and add the other ones to `skipped`.

    When another job is `lost` to another run, it goes on at a random place: both are at the same pair, and would stay there.
    """
    left, known = deque(jobs), 0
    while left:
        if len(lost) > known:
            left.rotate(random.SystemRandom().randrange(len(left)))
            known = len(lost)
        job = left.popleft()
        if job.needs_fusing:
            yield job
        else:
            skipped.append(job)
