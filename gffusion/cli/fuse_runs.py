"""Fuse the pairs of `gffusion fuse` with a progress bar, until all are done, the disk is full, or the user interrupts."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .sharing import Outcome

if TYPE_CHECKING:
    from gffusion.inference.file_jobs import FusionJob, FusionResult


def run_jobs(
    jobs: "list[FusionJob]",
    odd: Mapping[Path, str],
    fuse: "Callable[[list[FusionJob]], Iterator[FusionResult]]",
    outcome: Outcome,
) -> Outcome:
    """Fuse the pairs to do, and return an outcome with what was done.

    `odd` has the reasons why infrared files are not fused.
    """
    from gffusion.utils.progress import show_progress  # saves start-up time

    started = time.perf_counter()
    failures = [(job.pair.name, odd[job.pair.infrared]) for job in jobs if job.pair.infrared in odd]
    sound = [job for job in jobs if job.pair.infrared not in odd]
    results: list[FusionResult] = []
    is_interrupted = False
    try:
        for result in show_progress(fuse(sound), total=len(sound), unit="pair"):
            results.append(result)
    except KeyboardInterrupt:
        is_interrupted = True
    failed = [(result.job.pair.name, result.error) for result in results if result.error is not None]
    return outcome._replace(
        done=len(results) - len(failed),
        failures=failures + failed,
        notes=[*outcome.notes, *((result.job.pair.name, note) for result in results for note in result.notes)],
        seconds=time.perf_counter() - started,
        not_tried=len(sound) - len(results),
        is_interrupted=is_interrupted,
    )
