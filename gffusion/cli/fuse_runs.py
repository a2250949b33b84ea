"""`gffusion fuse` of images: plan the pairs, and fuse them with a progress bar until all are done, the disk is full, or the user interrupts."""

import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gffusion.export.requirements import is_onnx

from .device import choose_device
from .distributed import Outcome, Share
from .fuse_plans import check_outputs, check_pairs, plan_pairs, warn_of_thermal_visible
from .fuse_reports import print_jobs, report_outcome, report_part, show_result
from .fuse_settings import FuseSettings
from .messages import list_printed, print_measured
from .outputs import check_writable

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from gffusion.inference.file_jobs import FusionJob, FusionResult

_PAIRS_FOR_PROCESSES = 64  # fewer pairs take less time than the start of processes


def fuse_pairs(visible: Path, infrared: Path | None, settings: FuseSettings, share: Share) -> None:
    """Fuse this process's part of the pairs, and report all in the first process."""
    jobs, match = plan_pairs(visible, infrared, settings)
    check_pairs(match.pairs, settings.read_options)
    check_outputs(jobs)
    if settings.show and len(jobs) > 1:
        raise ValueError(f"--show is for one pair, but there are {len(jobs)}: leave it out, and open {settings.output}")
    if settings.dry_run:
        settings.check_model()
        warn_of_thermal_visible(match.pairs, settings.read_options)
        print_jobs(jobs, match, settings)
        return
    mine = jobs[share.rank :: share.size]  # whether files exist or not: the other processes write some meanwhile
    todo = [job for job in mine if job.needs_fusing]
    if todo:
        settings.check_model()
        check_writable(settings.output)
        warn_of_thermal_visible(match.pairs, settings.read_options)
    store = share.connect()
    outcome = _measure_and_fuse(todo, jobs, settings) if todo else Outcome()
    skipped = outcome.skipped + len(mine) - len(todo)
    outcome = outcome._replace(skipped=skipped, warnings=list_printed("warning"))
    try:
        together = outcome if outcome.is_interrupted else share.gather(outcome, store)
    except ConnectionError as error:
        report_part(outcome, match, settings.output, str(error))
    except KeyboardInterrupt:
        together = outcome._replace(is_interrupted=True)
    if together is not None:
        report_outcome(together, jobs, match, settings)
        if settings.show:
            show_result(jobs[0].fused)


def _measure_and_fuse(todo: "list[FusionJob]", jobs: "list[FusionJob]", settings: FuseSettings) -> Outcome:
    """Fuse the pairs to do. Rig and ranges are those of all pairs: a result does not depend on which files exist."""
    from gffusion.data.infrared_range import measure_pairs
    from gffusion.data.rigs import find_rig  # saves start-up time
    from gffusion.data.value_types import find_odd_types

    read_options, found = find_rig([job.pair for job in jobs], settings.read_options)
    if found:
        print_measured(found)
    workers = None if is_onnx(settings.model) else start_processes(settings.device, len(todo))
    model, processor = settings.load()
    for folder in {path.parent for job in todo for path in job.outputs}:
        folder.mkdir(parents=True, exist_ok=True)
    odd = find_odd_types([job.pair.infrared for job in jobs], read_options)
    measured = [job.pair for job in jobs if job.pair.infrared not in odd]
    ranges = measure_pairs(measured, processor.infrared_options, read_options)
    if ranges.description:
        print_measured(ranges.description)
    from gffusion.inference.files import fuse_files  # imports torch

    todo = [replace(job, infrared_options=ranges.options_of(job.pair)) for job in todo]
    with workers or contextlib.nullcontext():
        outcome = run_jobs(
            [job for job in todo if job.pair.infrared not in odd],
            lambda taken: fuse_files(taken, model, processor, settings.batch_size, read_options, workers),
        )
    failures = [(job.pair.name, odd[job.pair.infrared]) for job in todo if job.pair.infrared in odd]
    notes = [(name, ranges.odd_note) for name in ranges.odd]
    return outcome._replace(failures=[*failures, *outcome.failures], notes=[*notes, *outcome.notes])


def start_processes(device: str, pairs: int) -> "Executor | None":
    """Start processes that read and write files if a GPU fuses many pairs; they start while the model is loaded."""
    if pairs < _PAIRS_FOR_PROCESSES or not choose_device(device).startswith("cuda"):
        return None
    from gffusion.inference.file_jobs import count_workers, start_workers  # saves start-up time

    return start_workers(count_workers("cuda"), processes=True)


def run_jobs(jobs: "list[FusionJob]", fuse: "Callable[[Iterable[FusionJob]], Iterator[FusionResult]]") -> Outcome:
    """Fuse pairs, except for those that another run writes meanwhile, and return what was done."""
    from gffusion.utils.progress import show_progress  # saves start-up time

    started = time.perf_counter()
    results: list[FusionResult] = []
    skipped: list[FusionJob] = []  # before they were fused
    lost: list[FusionJob] = []  # to another run that was faster
    is_interrupted = False
    try:
        for result in show_progress(fuse(_take(jobs, skipped, lost)), total=len(jobs), unit="pair"):
            if result.is_skipped:
                lost.append(result.job)
            else:
                results.append(result)
    except KeyboardInterrupt:
        is_interrupted = True
    failures = [(result.job.pair.name, result.error) for result in results if result.error is not None]
    return Outcome(
        done=len(results) - len(failures),
        skipped=len(skipped) + len(lost),
        failures=failures,
        notes=[(result.job.pair.name, note) for result in results for note in result.notes],
        seconds=time.perf_counter() - started,
        not_tried=len(jobs) - len(results) - len(skipped) - len(lost),
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
