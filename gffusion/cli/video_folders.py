"""`gffusion fuse` of the videos in two folders, or in one that holds both kinds."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gffusion.utils.atomic import prevents_writing
from gffusion.utils.device_errors import describe_device_error, is_lost

from .distributed import Outcome
from .fuse_plans import check_outputs, report_match
from .fuse_reports import print_jobs, report_interruption, report_outcome
from .fuse_settings import FuseSettings
from .messages import list_printed, one_line, print_measured
from .outputs import check_writable
from .video_runs import check_sources, find_finished, name_fused, name_outputs, remove_leftovers, run_video

if TYPE_CHECKING:
    from gffusion.data import PairMatch
    from gffusion.video.jobs import VideoJob


def fuse_folders(match: "PairMatch", settings: FuseSettings, timing: Mapping[str, Any]) -> None:
    """Fuse pairs of videos one after the other, and report all; one that fails does not end the others."""
    from gffusion.data.other_files import is_video
    from gffusion.inference.file_jobs import FusionJob

    output = settings.output
    if output.is_file() or (is_video(output) and not output.is_dir()):
        raise ValueError(f"--output {output} is a file, but several videos are written: give a folder")
    report_match(match)
    videos = [
        name_outputs(pair.visible, pair.infrared, output / name_fused(pair.visible), settings.segment)
        for pair in match.pairs
    ]
    jobs = [
        FusionJob(pair, video.fused, video.labels, video.overlay, overwrite=settings.overwrite)
        for pair, video in zip(match.pairs, videos, strict=True)
    ]
    check_outputs(jobs, settings.overwrite)
    if settings.show:
        raise ValueError(f"--show is for one pair: leave it out, and open {output}")
    settings.check_model()
    if settings.dry_run:
        print_jobs(jobs, match, settings)
        return
    outcome = _fuse_all([(pair.name, video) for pair, video in zip(match.pairs, videos, strict=True)], settings, timing)
    if outcome.is_interrupted:
        report_interruption(outcome, match, settings)
    report_outcome(outcome, jobs, match, settings)


def _fuse_all(videos: "Sequence[tuple[str, VideoJob]]", settings: FuseSettings, timing: Mapping[str, Any]) -> Outcome:
    """Fuse the videos, with their names, whose files do not exist."""
    started = time.perf_counter()
    todo: list[tuple[str, VideoJob]] = []
    failures: list[tuple[str, str]] = []
    skipped = 0
    for name, job in videos:
        try:
            if find_finished(job, settings.overwrite):
                remove_leftovers(job)
                skipped += 1
                continue
            check_sources(job, timing, settings.read_options)
        except (OSError, ValueError) as error:
            failures.append((name, one_line(error)))
        else:
            todo.append((name, job))
    outcome = Outcome(skipped=skipped, failures=failures)
    if todo:
        check_writable(settings.output)
        outcome = _run(todo, outcome, settings, timing)
    return outcome._replace(seconds=time.perf_counter() - started, warnings=list_printed("warning"))


def _run(
    todo: "Sequence[tuple[str, VideoJob]]", outcome: Outcome, settings: FuseSettings, timing: Mapping[str, Any]
) -> Outcome:
    """Return the outcome with that of the videos to do, until no other one can be done, or the user interrupts."""
    model, processor = settings.load()
    failures, done = list(outcome.failures), 0
    notes: list[tuple[str, str]] = []
    for number, (name, job) in enumerate(todo):
        stopped = outcome._replace(done=done, failures=failures, notes=notes, not_tried=len(todo) - number)
        try:
            title = f"{name} ({number + 1} of {len(todo)})"
            report, _ = run_video(job, model, processor, settings, timing, title)
        except KeyboardInterrupt:
            return stopped._replace(is_interrupted=True)
        except (OSError, ValueError, MemoryError, RuntimeError) as error:
            is_of_files = isinstance(error, OSError | ValueError)  # others are about memory or a device
            failures.append((name, one_line(error) if is_of_files else describe_device_error(error)))
            if any(map(prevents_writing, (error, error.__cause__))) or is_lost(error):
                return stopped._replace(not_tried=len(todo) - number - 1)
            continue
        for text in report.measured:
            print_measured(f"{name}: {text}", err=settings.as_json)
        notes += [(name, note) for note in report.notes]
        if report.failures:
            failures.append((name, f"{report.failures} pairs of frames failed and are left out: {report.errors[0]}"))
        else:
            done += 1
    return outcome._replace(done=done, failures=failures, notes=notes)
