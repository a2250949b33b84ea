"""Fuse the pairs of `gffusion fuse` with a progress bar, until all are done, the disk is full, or the user interrupts."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .sharing import Outcome

if TYPE_CHECKING:
    from gffusion.inference.file_jobs import FusionJob, FusionResult


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
    skipped: list[FusionJob] = []
    is_interrupted = False
    try:
        for result in show_progress(fuse(_take(sound, skipped)), total=len(sound), unit="pair"):
            if result.is_skipped:
                skipped.append(result.job)
            else:
                results.append(result)
    except KeyboardInterrupt:
        is_interrupted = True
    failed = [(result.job.pair.name, result.error) for result in results if result.error is not None]
    return outcome._replace(
        done=len(results) - len(failed),
        skipped=outcome.skipped + len(skipped),
        failures=failures + failed,
        notes=[*outcome.notes, *((result.job.pair.name, note) for result in results for note in result.notes)],
        seconds=time.perf_counter() - started,
        not_tried=len(sound) - len(results) - len(skipped),
        is_interrupted=is_interrupted,
    )


def _take(jobs: "Sequence[FusionJob]", skipped: "list[FusionJob]") -> "Iterator[FusionJob]":
    """Yield the jobs that need fusing when their turn comes, and add the other ones to `skipped`.

    After the first one that is skipped, the order is random: another run is at the same pair, and would stay there.
    """
    left = list(jobs)[::-1]
    is_shuffled = False
    while left:
        if skipped and not is_shuffled:
            random.SystemRandom().shuffle(left)
            is_shuffled = True
        job = left.pop()
        if job.needs_fusing:
            yield job
        else:
            skipped.append(job)
