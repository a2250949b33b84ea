"""Fuse two uploaded videos within limits. Does not import gradio."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gffusion.data import ReadOptions
from gffusion.video.fusing import fuse_video
from gffusion.video.jobs import VideoJob
from gffusion.video.reading import VideoFile
from gffusion.zoo import load_image_processor

from .images import load_model
from .settings import DemoSettings

Progress = Callable[[float], None]
"""Function that is called with the share of the frames that is done."""

_ADVICE = "cut it, or use gffusion fuse on your computer"


@dataclass(frozen=True)
class VideoRequest:
    """What is to be fused: the two videos, the model, and whether to align and to segment as for images."""

    visible: Path
    infrared: Path
    model: str
    align: bool = False
    segment: bool = False


def fuse_clip(
    request: VideoRequest,
    folder: Path,
    settings: DemoSettings,
    progress: Progress | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Fuse two videos as `gffusion fuse` does, and return the files in a folder, the fused one first, and notes.

    `check_cancelled` is called for every frame, and ends the fusion by an exception.

    Raises:
        ImportError: If PyAV is not installed.
        OSError: If a file cannot be read or written.
        ValueError: If the videos cannot be fused with these options, or are too large or too long.
    """
    for path in (request.visible, request.infrared):
        _check_length(VideoFile(path, settings.max_pixels), settings.max_frames)
    stem = request.visible.stem
    fused, labels, overlay = (
        folder / f"{stem}_{kind}{suffix}"
        for kind, suffix in (("fused", ".mp4"), ("labels", ".mkv"), ("overlay", ".mp4"))
    )
    job = VideoJob(request.visible, request.infrared, fused, *((labels, overlay) if request.segment else ()))
    stop = time.monotonic() + settings.max_seconds

    def check_time() -> None:
        check_cancelled()
        if time.monotonic() > stop:
            raise ValueError(f"the fusion took more than {settings.max_seconds} seconds: {_ADVICE}")

    def check(done: int, total: int | None) -> None:
        check_time()
        if done > settings.max_frames:  # of a file that declares fewer
            raise ValueError(f"the video has more than {settings.max_frames} frames: {_ADVICE}")
        if progress is not None:
            progress(min(1.0, done / (total or settings.max_frames)))

    report = fuse_video(
        job,
        load_model(request.model, settings, request.segment),
        load_image_processor(request.model),
        ReadOptions(align="auto" if request.align else "none", max_pixels=settings.max_pixels),
        progress=check,
        on_read=check_time,
    )
    failed = (f"{report.failures} frames failed and are left out: {report.errors[0]}",) if report.failures else ()
    return tuple(path for path, _ in job.outputs.values()), (*report.notes, *failed)


def _check_length(file: VideoFile, max_frames: int) -> None:
    """Raise ValueError if a video declares too many frames."""
    frames = round(file.seconds * file.rate)
    if frames > max_frames:
        raise ValueError(f"{file.path} has about {frames} frames, more than {max_frames}: {_ADVICE}")
