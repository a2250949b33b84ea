"""`gffusion fuse` of two videos, files or folders of frames: options, checks and printing."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import InterruptedRun, StoppedRun, exit_with_failures
from .fuse_reports import check_strict
from .messages import list_printed, one_line
from .printing import print_json, print_line

if TYPE_CHECKING:
    from gffusion.data import ReadOptions
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
    from gffusion.video.jobs import VideoJob, VideoReport

SemanticEveryOption = Annotated[
    int | None,
    typer.Option(
        "--semantic-every",
        metavar="N",
        min=1,
        help="For videos: compute CLIP's features for every N-th frame only, and after a scene cut. [default: 1]",
    ),
]
TimeOffsetOption = Annotated[
    float | None,
    typer.Option(
        "--time-offset",
        metavar="SECONDS",
        help="For videos: seconds that are added to the time stamps of the infrared video. [default: 0]",
    ),
]
VisibleFpsOption = Annotated[
    float | None,
    typer.Option(
        "--visible-fps",
        metavar="RATE",
        help="For videos of which VISIBLE is a folder of frames: their number per second. [default: by the times in their names]",
    ),
]
InfraredFpsOption = Annotated[
    float | None,
    typer.Option(
        "--infrared-fps", metavar="RATE", help="The same for INFRARED, such as the files of a thermal camera."
    ),
]


def has_video(visible: Path, infrared: Path | None, output: Path, options: Mapping[str, Any]) -> bool:
    """Return whether two videos are to be fused, each a file or a folder of frames.

    Args:
        visible: The visible file or folder.
        infrared: The infrared file or folder.
        output: The file or folder to write; two folders are videos if it is named as one.
        options: Options of videos, as typed, and their values or `None`.

    Raises:
        ValueError: If one of the two is no video, or options of videos are given for images.
    """
    from gffusion.data.other_files import is_video
    from gffusion.data.pair_lists import is_list  # saves start-up time
    from gffusion.video.formats import refuse_flir
    from gffusion.video.jobs import check_time_offset

    check_time_offset(options.get("--time-offset") or 0)
    videos = [path for path in (visible, infrared) if path is not None and is_video(path) and not path.is_dir()]
    for path in videos:
        refuse_flir(path)
    folders = [path for path in (visible, infrared) if path is not None and path.is_dir()]
    if not videos and not (len(folders) == 2 and is_video(output) and not output.is_dir()):
        given = [name for name, value in options.items() if value is not None]
        if given:
            raise ValueError(
                f"{' and '.join(given)} is for two videos, such as gffusion fuse visible.mp4 infrared.mp4 -o fused.mp4, or folders of "
                "frames with a video as output"
            )
        return False
    for file in filter(None, (visible, infrared)):
        if is_list(file):
            raise ValueError(f"{file} is a list or a pattern: the frames of a video are given as a folder")
        if not file.exists():
            raise FileNotFoundError(f"{file} does not exist")
    if infrared is None:
        raise ValueError(f"{visible} is a video: give the infrared video, or the folder of its frames, too")
    if len(videos) + len(folders) < 2:
        other = infrared if videos[0] == visible else visible
        raise ValueError(f"{videos[0]} is a video but {other} is not: give a video or a folder of frames")
    if visible.samefile(infrared):
        raise ValueError(f"{visible} is given twice: give the visible and the infrared video")
    return True


def plan_video(
    visible: Path,
    infrared: Path,
    output: Path,
    segment: bool,
    refused: Mapping[str, bool],
    fps: tuple[float | None, float | None],
    options: "ReadOptions",
) -> "VideoJob":
    """Return the files to read and write, after all checks that are possible without reading frames.

    Args:
        visible: The visible video, a file or a folder of frames.
        infrared: The infrared video, in the same way.
        output: File or folder of the fused video.
        segment: Whether label maps and an overlay are written, too.
        refused: Options that are for images only, as typed, and whether they were given.
        fps: Frames per second of a visible and an infrared folder, if they were given.
        options: How frames are read.

    Raises:
        ImportError: If PyAV is not installed.
        OSError: If a video cannot be read.
        ValueError: If options are for images only, names cannot be used, or the times of frames are not known.
    """
    for name, is_given in refused.items():
        if is_given:
            raise ValueError(f"{name} is for images: leave it out to fuse videos")
    from gffusion.video.folders import FrameFolder, open_sources
    from gffusion.video.formats import OUTPUT_FORMATS
    from gffusion.video.jobs import VideoJob, check_single_process

    check_single_process()
    if output.is_dir() or not output.suffix:
        suffix = visible.suffix.lower() if visible.suffix.lower() in OUTPUT_FORMATS else ".mp4"
        output = output / f"{visible.resolve().name if visible.is_dir() else visible.stem}{suffix}"
    labels, overlay = output.with_name(f"{output.stem}_labels.mkv"), output.with_stem(f"{output.stem}_overlay")
    job = VideoJob(visible, infrared, output, labels if segment else None, overlay if segment else None)
    for source in open_sources((visible, infrared), fps, options):  # raises before the model is loaded
        if isinstance(source, FrameFolder):
            source.check()
    return job


def find_finished(job: "VideoJob", overwrite: bool) -> bool:
    """Return whether all outputs exist and are kept.

    Raises:
        OSError: If an output is no regular file.
        ValueError: If only some exist, and they may not be replaced. Those of an interrupted run may, see [`fuse_video`].
    """
    from gffusion.utils.atomic import check_replaceable, is_written  # saves start-up time

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


def fuse_videos(
    job: "VideoJob",
    model: "GFFusionModel",
    image_processor: "GFFusionImageProcessor",
    read_options: "ReadOptions",
    as_json: bool = False,
    strict: bool = False,
    **options: Any,
) -> None:
    """Fuse two videos with a progress bar, and print a summary; `options` are those of [`fuse_video`]."""
    from gffusion.utils.progress import show_progress  # saves start-up time
    from gffusion.video.fusing import fuse_video

    started = time.perf_counter()
    job.fused.parent.mkdir(parents=True, exist_ok=True)
    with show_progress(unit="frame") as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total if total is None else max(done, total)
            bar.update(done - bar.n)

        with _explained():
            report = fuse_video(job, model, image_processor, read_options, progress=show, **options)
    seconds = time.perf_counter() - started
    notes = [*list_printed("note", "warning"), *map(one_line, report.notes)]
    if as_json:
        print_json(_describe(job, report, seconds))
        if report.failures:
            raise typer.Exit(1)
        check_strict(strict, notes)
        return
    for note in [*report.measured, *report.notes]:
        typer.echo(f"note: {one_line(note)}", err=True)
    resumed = f", {report.resumed} were fused before" if report.resumed else ""
    refreshed = "" if report.refreshed is None else f", CLIP's features computed {report.refreshed} times"
    count = report.frames - report.resumed
    rate = f"{count / seconds:.1f} per second" if seconds else ""
    print_line(f"fused {count} frames in {seconds:.1f} s ({rate}{refreshed}){resumed} -> {job.fused}")
    if report.failures:
        errors = [(time, reason) for time, _, reason in (error.partition(": ") for error in report.errors)]
        title = f"pair{'s' * (report.failures != 1)} of frames failed and {'is' if report.failures == 1 else 'are'} left out ({len(errors)} shown)"
        exit_with_failures(title, errors, count=report.failures)
    check_strict(strict, notes)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Tell after Ctrl-C and after errors of files, such as on a full disk, what [`fuse_video`] kept and how to continue."""
    from gffusion.utils.atomic import prevents_writing  # saves start-up time

    try:
        yield
    except KeyboardInterrupt as stop:
        if (kept := _count_kept(stop)) is None:
            raise
        advice = f"the same command continues after the {kept} frames that are finished"
        raise InterruptedRun(
            {}, advice if kept else "no segment was finished, so the same command starts anew"
        ) from None
    except OSError as error:
        if not (kept := _count_kept(error)):
            raise
        when = " when there is room" if prevents_writing(error) else ""
        raise StoppedRun(
            f"{one_line(error)}; the same command continues after the {kept} frames that are finished{when}"
        ) from error


def _count_kept(error: BaseException) -> int | None:
    """Return the number of frames after which a run continues, `None` if it had not yet looked for earlier segments."""
    return getattr(error, "finished_frames", None)


def print_video_plan(job: "VideoJob", exists: bool, as_json: bool) -> None:
    """Print the videos that would be read and written."""
    outputs = {kind: str(path) for kind, (path, _) in job.outputs.items()}
    if as_json:
        files = {"visible": str(job.visible), "infrared": str(job.infrared), **outputs}
        print_json({"pairs": [files | {"exists": exists}], "notes": {}})
        return
    kept = " (exists, would be skipped)" if exists else ""
    line = f"{job.visible} + {job.infrared} -> {', '.join(outputs.values())}{kept}; nothing was written"
    print_line(line)


def keep_video(job: "VideoJob", as_json: bool, strict: bool = False) -> None:
    """Print that the fused video exists, and delete the segments of a run that was killed after it had written it.

    Those of an interrupted run that was to replace the video are kept, and this is printed, too.
    """
    from gffusion.utils.notes import NOT_COMPARED
    from gffusion.video.jobs import VideoReport
    from gffusion.video.segments import is_newer, remove_segments

    if all(is_newer(path, job.folder) for path, _ in job.outputs.values()):
        remove_segments(job.folder)
    notes = [f"{job.fused} exists {NOT_COMPARED}, and --overwrite was not given"]
    if job.folder.exists():
        notes.append(
            "a run that was to replace it was interrupted: --overwrite continues it if inputs and options are the same"
        )
    if as_json:
        print_json(_describe(job, VideoReport(notes=notes)) | {"skipped": 1})
    else:
        print_line(f"nothing to do: {'; '.join(notes)}")
    check_strict(strict, notes)


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
