"""Fuse one pair of videos of `gffusion fuse`: the files to write, whether they exist, and the run with its progress bar."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gffusion.utils.atomic import check_replaceable, is_written, prevents_writing

from .errors import InterruptedRun, StoppedRun
from .messages import one_line

if TYPE_CHECKING:
    from gffusion.models.gffusion.image_processing_gffusion import GFFusionImageProcessor
    from gffusion.models.gffusion.modeling_gffusion import GFFusionModel
    from gffusion.video.jobs import VideoJob, VideoReport

    from .fuse_settings import FuseSettings


def name_outputs(visible: Path, infrared: Path, output: Path, segment: bool) -> "VideoJob":
    """Return two videos, and the files to write if the fused one is `output`; with `segment`, also label maps and an overlay."""
    from gffusion.video.jobs import VideoJob  # saves start-up time

    labels, overlay = output.with_name(f"{output.stem}_labels.mkv"), output.with_stem(f"{output.stem}_overlay")
    return VideoJob(visible, infrared, output, labels if segment else None, overlay if segment else None)


def name_fused(visible: Path) -> str:
    """Return the name of the fused video in a folder: that of the visible video, if its format can be written."""
    from gffusion.video.formats import OUTPUT_FORMATS

    suffix = visible.suffix.lower() if visible.suffix.lower() in OUTPUT_FORMATS else ".mp4"
    return f"{visible.resolve().name if visible.is_dir() else visible.stem}{suffix}"


def check_sources(job: "VideoJob", settings: "FuseSettings") -> None:
    """Raise errors about videos that show without reading frames, before the model is loaded."""
    from gffusion.video.folders import open_sources

    fps = settings.timing["visible_fps"], settings.timing["infrared_fps"]
    open_sources((job.visible, job.infrared), fps, settings.read_options)


def find_finished(job: "VideoJob", overwrite: bool) -> bool:
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


def remove_leftovers(job: "VideoJob") -> None:
    """Delete the segments of a run that was killed after it had written the fused video."""
    from gffusion.video.segments import is_newer, remove_segments

    if all(is_newer(path, job.folder) for path, _ in job.outputs.values()):
        remove_segments(job.folder)


def run_video(
    job: "VideoJob",
    model: "GFFusionModel",
    image_processor: "GFFusionImageProcessor",
    settings: "FuseSettings",
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
