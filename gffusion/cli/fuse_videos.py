"""`gffusion fuse` of videos, each a file or a folder of frames, or of two folders of videos."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gffusion.export.requirements import is_onnx
from gffusion.utils.atomic import check_replaceable, is_written, prevents_writing
from gffusion.utils.device_errors import describe_device_error, is_lost
from gffusion.utils.notes import NOT_COMPARED, format_count

from .distributed import Outcome
from .errors import InterruptedRun, StoppedRun, exit_with_failures
from .fuse_plans import check_outputs, report_match
from .fuse_reports import check_strict, print_jobs, report_outcome, show_result
from .fuse_settings import FuseSettings
from .messages import list_printed, one_line, print_measured
from .outputs import check_writable
from .printing import print_json, print_line

if TYPE_CHECKING:
    from gffusion.data import PairMatch
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
    from gffusion.video.jobs import VideoJob, VideoReport


def has_video(visible: Path, infrared: Path | None, output: Path, options: Mapping[str, Any]) -> bool:
    """Return whether videos are to be fused: two, each a file or a folder of frames, or those of folders.

    Two folders of images are frames if the output is named as a video. `options` are those of videos, as typed, and their values.
    """
    from gffusion.data.other_files import is_video  # saves start-up time
    from gffusion.video.formats import refuse_flir
    from gffusion.video.pairs import are_video_folders

    videos = [path for path in (visible, infrared) if path is not None and is_video(path) and not path.is_dir()]
    for path in videos:
        refuse_flir(path)
    folders = [path for path in (visible, infrared) if path is not None and path.is_dir()]
    if are_video_folders(visible, infrared):
        return True
    if not videos and not (len(folders) == 2 and is_video(output) and not output.is_dir()):
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise ValueError(
                f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} for two videos, such as gffusion fuse visible.mp4 infrared.mp4 -o fused.mp4, or folders of "
                "frames with a video as output"
            )
        return False
    _check_two(visible, infrared)
    return True


def _check_two(visible: Path, infrared: Path | None) -> None:
    """Raise an error unless both are different files or folders, and none is an image."""
    from gffusion.data.other_files import is_video
    from gffusion.data.pair_lists import is_list

    for file in filter(None, (visible, infrared)):
        if is_list(file):
            raise ValueError(f"{file} is a list or a pattern: the frames of a video are given as a folder")
        if not file.exists():
            raise FileNotFoundError(f"{file} does not exist")
    if infrared is None:
        raise ValueError(f"{visible} is a video: give the infrared video, or the folder of its frames, too")
    for path, other in ((visible, infrared), (infrared, visible)):
        if not (path.is_dir() or is_video(path)):
            raise ValueError(f"{other} is a video but {path} is not: give a video or a folder of frames")
    if visible.samefile(infrared):
        raise ValueError(f"{visible} is given twice: give the visible and the infrared video")


def fuse_videos(visible: Path, infrared: Path | None, settings: FuseSettings) -> None:
    """Fuse two videos, each a file or a folder of frames, or the videos of two folders, or of one that holds both kinds."""
    from gffusion.video.jobs import check_time_offset
    from gffusion.video.pairs import are_video_folders, match_videos

    options, timing = settings.read_options, settings.timing
    are_folders = are_video_folders(visible, infrared)
    frames = [] if are_folders else [path for path in (visible, infrared) if path is not None and path.is_dir()]
    images = {
        "--suffix": settings.suffix,
        "--keep-thermal": settings.keep_thermal,
        "--raw-frame": options.raw_frame is not None and infrared not in frames,
        "--truncated fill": options.truncated == "fill" and not frames,
        f"--model {settings.model}": is_onnx(settings.model),
    }
    if refused := [name for name, is_given in images.items() if is_given]:
        raise ValueError(f"{refused[0]} is for images: leave it out to fuse videos")
    check_time_offset(timing["time_offset"])
    if are_folders and (rates := [f"--{kind}-fps" for kind in ("visible", "infrared") if timing[f"{kind}_fps"]]):
        raise ValueError(f"{rates[0]} is for a folder of frames, but the folders hold videos: leave it out")
    if are_folders:
        _fuse_folders(match_videos(visible, infrared), settings)
        return
    assert infrared is not None
    output = settings.output
    if output.is_dir() or not output.suffix:
        output = output / _name_fused(visible)
    _fuse_two(_name_outputs(visible, infrared, output, settings.segment), settings)


def _fuse_two(job: "VideoJob", settings: FuseSettings) -> None:
    _check_sources(job, settings)
    exists = _find_finished(job, settings.overwrite)
    if settings.dry_run:
        settings.check_model()
        _print_plan(job, exists, settings.as_json)
        return
    if exists:
        _keep(job, settings)
    else:
        check_writable(job.fused)
        _report(job, *_run_video(job, *settings.load(), settings), settings)
    if settings.show:
        show_result(job.fused)


def _report(job: "VideoJob", report: "VideoReport", seconds: float, settings: FuseSettings) -> None:
    """Print notes and what was done, and exit if frames failed, or with `strict` if something was odd."""
    notes = [*list_printed("note", "warning"), *map(one_line, report.notes)]
    if settings.as_json:
        print_json(_describe(job, report, seconds))
        if report.failures:
            raise typer.Exit(1)
        check_strict(settings.strict, notes)
        return
    for note in [*report.measured, *report.notes]:
        typer.echo(f"note: {one_line(note)}", err=True)
    resumed = f", {report.resumed} were fused before" if report.resumed else ""
    refreshed = (
        "" if report.refreshed is None else f", CLIP's features computed {format_count(report.refreshed, 'time')}"
    )
    count = report.frames - report.resumed
    rate = f"{count / seconds:.1f} per second" if seconds else ""
    print_line(f"fused {format_count(count, 'frame')} in {seconds:.1f} s ({rate}{refreshed}){resumed} -> {job.fused}")
    if report.failures:
        errors = [(moment, reason) for moment, _, reason in (error.partition(": ") for error in report.errors)]
        title = f"pair{'s' * (report.failures != 1)} of frames failed and {'is' if report.failures == 1 else 'are'} left out ({len(errors)} shown)"
        exit_with_failures(title, errors, count=report.failures)
    check_strict(settings.strict, notes)


def _print_plan(job: "VideoJob", exists: bool, as_json: bool) -> None:
    """Print the videos that would be read and written."""
    outputs = {kind: str(path) for kind, (path, _) in job.outputs.items()}
    if as_json:
        files = {"visible": str(job.visible), "infrared": str(job.infrared), **outputs}
        print_json({"pairs": [files | {"exists": exists}], "notes": {}})
        return
    kept = " (exists, would be skipped)" if exists else ""
    print_line(f"{job.visible} + {job.infrared} -> {', '.join(outputs.values())}{kept}; nothing was written")


def _keep(job: "VideoJob", settings: FuseSettings) -> None:
    """Print that the fused video exists, and delete the segments of a run that was killed after it had written it.

    Those of an interrupted run that was to replace the video are kept, and this is printed, too.
    """
    from gffusion.video.jobs import VideoReport

    _remove_leftovers(job)
    notes = [f"{job.fused} exists {NOT_COMPARED}, and --overwrite was not given"]
    if job.folder.exists():
        notes.append(
            "a run that was to replace it was interrupted: --overwrite continues it if inputs and options are the same"
        )
    if settings.as_json:
        print_json(_describe(job, VideoReport(notes=notes)) | {"skipped": 1})
    else:
        print_line(f"nothing to do: {'; '.join(notes)}")
    check_strict(settings.strict, notes)


def _describe(job: "VideoJob", report: "VideoReport", seconds: float = 0.0) -> dict[str, Any]:
    """Return the report for other programs."""
    notes = [*list_printed("note", "warning"), *map(one_line, (*report.measured, *report.notes))]
    return {
        "fused": report.frames - report.resumed,
        "resumed": report.resumed,
        "skipped": 0,
        "failed": report.failures,
        "errors": dict(error.split(": ", 1) for error in report.errors),
        "notes": dict(Counter(notes)),
        "seconds": seconds,
        "output": str(job.fused),
    }


def _fuse_folders(match: "PairMatch", settings: FuseSettings) -> None:
    """Fuse pairs of videos one after the other, and report all; one that fails does not end the others."""
    from gffusion.data.other_files import is_video
    from gffusion.inference.file_jobs import FusionJob  # saves start-up time

    output = settings.output
    if output.is_file() or (is_video(output) and not output.is_dir()):
        raise ValueError(f"--output {output} is a file, but several videos are written: give a folder")
    report_match(match)
    videos = [
        _name_outputs(pair.visible, pair.infrared, output / _name_fused(pair.visible), settings.segment)
        for pair in match.pairs
    ]
    jobs = [
        FusionJob(pair, video.fused, video.labels, video.overlay, overwrite=settings.overwrite)
        for pair, video in zip(match.pairs, videos, strict=True)
    ]
    check_outputs(jobs)
    if settings.show:
        raise ValueError(f"--show is for one pair: leave it out, and open {output}")
    settings.check_model()
    if settings.dry_run:
        print_jobs(jobs, match, settings)
        return
    outcome = _fuse_all([(pair.name, video) for pair, video in zip(match.pairs, videos, strict=True)], settings)
    report_outcome(outcome, jobs, match, settings)


def _fuse_all(videos: "Sequence[tuple[str, VideoJob]]", settings: FuseSettings) -> Outcome:
    """Fuse the videos, with their names, whose files do not exist."""
    started = time.perf_counter()
    todo: list[tuple[str, VideoJob]] = []
    failures: list[tuple[str, str]] = []
    skipped = 0
    for name, job in videos:
        try:
            if _find_finished(job, settings.overwrite):
                _remove_leftovers(job)
                skipped += 1
                continue
            _check_sources(job, settings)
        except (OSError, ValueError) as error:
            failures.append((name, one_line(error)))
        else:
            todo.append((name, job))
    outcome = Outcome(skipped=skipped, failures=failures)
    if todo:
        check_writable(settings.output)
        outcome = _run(todo, outcome, settings)
    return outcome._replace(seconds=time.perf_counter() - started, warnings=list_printed("warning"))


def _run(todo: "Sequence[tuple[str, VideoJob]]", outcome: Outcome, settings: FuseSettings) -> Outcome:
    """Return the outcome with that of the videos to do, until no other one can be done, or the user interrupts."""
    model, processor = settings.load()
    failures, done = list(outcome.failures), 0
    notes: list[tuple[str, str]] = []
    for number, (name, job) in enumerate(todo):
        stopped = outcome._replace(done=done, failures=failures, notes=notes, not_tried=len(todo) - number)
        try:
            title = f"{name} ({number + 1} of {len(todo)})"
            report, _ = _run_video(job, model, processor, settings, title)
        except KeyboardInterrupt:
            return stopped._replace(is_interrupted=True)
        except (OSError, ValueError, MemoryError, RuntimeError) as error:
            is_of_files = isinstance(error, OSError | ValueError)  # others are about memory or a device
            failures.append((name, one_line(error) if is_of_files else describe_device_error(error)))
            if any(map(prevents_writing, (error, error.__cause__))) or is_lost(error):
                return stopped._replace(not_tried=len(todo) - number - 1)
            continue
        for text in report.measured:
            print_measured(f"{name}: {text}")
        notes += [(name, note) for note in report.notes]
        if report.failures:
            failures.append((name, f"{report.failures} pairs of frames failed and are left out: {report.errors[0]}"))
        else:
            done += 1
    return outcome._replace(done=done, failures=failures, notes=notes)


def _name_outputs(visible: Path, infrared: Path, output: Path, segment: bool) -> "VideoJob":
    """Return two videos, and the files to write if the fused one is `output`; with `segment`, also label maps and an overlay."""
    from gffusion.video.jobs import VideoJob  # saves start-up time

    labels, overlay = output.with_name(f"{output.stem}_labels.mkv"), output.with_stem(f"{output.stem}_overlay")
    return VideoJob(visible, infrared, output, labels if segment else None, overlay if segment else None)


def _name_fused(visible: Path) -> str:
    """Return the name of the fused video in a folder: that of the visible video, if its format can be written."""
    from gffusion.video.formats import OUTPUT_FORMATS

    suffix = visible.suffix.lower() if visible.suffix.lower() in OUTPUT_FORMATS else ".mp4"
    return f"{visible.resolve().name if visible.is_dir() else visible.stem}{suffix}"


def _check_sources(job: "VideoJob", settings: FuseSettings) -> None:
    """Raise errors about videos that show without reading frames, before the model is loaded."""
    from gffusion.video.folders import open_sources

    fps = settings.timing["visible_fps"], settings.timing["infrared_fps"]
    open_sources((job.visible, job.infrared), fps, settings.read_options)


def _find_finished(job: "VideoJob", overwrite: bool) -> bool:
    """Return whether all outputs exist and are kept.

    Only some are an error, unless they may be replaced or are those of an interrupted run, see [`fuse_video`].
    """
    paths = [path for path, _ in job.outputs.values()]
    for path in paths:
        check_replaceable(path)
    existing = [path for path in paths if path.is_dir() or is_written(path)]
    if overwrite or not existing or (len(existing) < len(paths) and job.folder.is_dir()):
        return False
    if len(existing) < len(paths):
        missing = ", ".join(str(path) for path in paths if path not in existing)
        raise ValueError(
            f"{', '.join(map(str, existing))} exists but {missing} does not, and all would be written: pass --overwrite, or "
            "choose another output"
        )
    return True


def _remove_leftovers(job: "VideoJob") -> None:
    """Delete the segments of a run that was killed after it had written the fused video."""
    from gffusion.video.segments import is_newer, remove_segments

    if all(is_newer(path, job.folder) for path, _ in job.outputs.values()):
        remove_segments(job.folder)


def _run_video(
    job: "VideoJob",
    model: "GFFusionModel",
    image_processor: "GFFusionImageProcessor",
    settings: FuseSettings,
    description: str = "",
) -> "tuple[VideoReport, float]":
    """Fuse two videos with a progress bar, and return the report and the seconds."""
    from gffusion.utils.progress import show_progress  # saves start-up time
    from gffusion.video.fusing import fuse_video

    started = time.perf_counter()
    job.fused.parent.mkdir(parents=True, exist_ok=True)
    with show_progress(unit="frame", description=description) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total if total is None else max(done, total)
            bar.update(done - bar.n)

        with _explained():
            report = fuse_video(
                job,
                model,
                image_processor,
                settings.read_options,
                batch_size=settings.batch_size,
                keep_metadata=settings.metadata,
                overwrite=settings.overwrite,
                progress=show,
                **settings.timing,
            )
    return report, time.perf_counter() - started


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Tell after Ctrl-C and after errors of files, such as on a full disk, what [`fuse_video`] kept and how to continue."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if (kept := getattr(stop, "finished_frames", None)) is None:  # it had not yet looked for earlier segments
            raise
        advice = f"the same command continues after the {kept} frames that are finished"
        raise InterruptedRun(
            {}, advice if kept else "no segment was finished, so the same command starts anew"
        ) from None
    except OSError as error:
        if not (kept := getattr(error, "finished_frames", None)):
            raise
        when = " when there is room" if prevents_writing(error) else ""
        raise StoppedRun(
            f"{one_line(error)}; the same command continues after the {kept} frames that are finished{when}"
        ) from error
