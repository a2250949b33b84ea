"""Files and outcome of a run on videos. Imports nothing heavy, so that the command line can check names first."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gffusion.utils.paths import texts_to_paths

from .formats import LABEL_FORMAT, OUTPUT_FORMATS, OutputFormat

_MIN_FPS, _MAX_FPS = 0.001, 1000


@dataclass(frozen=True)
class VideoJob:
    """Two videos, files or folders of frames, and the files to write: the fused video, label maps (lossless, .mkv) and a colored overlay.

    All are paths; texts become paths.

    Raises:
        ValueError: If the suffix of a file to write is unknown, or it is an input or another output.
    """

    visible: Path
    infrared: Path
    fused: Path
    labels: Path | None = None
    overlay: Path | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            visible: str | Path,
            infrared: str | Path,
            fused: str | Path,
            labels: str | Path | None = None,
            overlay: str | Path | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        texts_to_paths(self, "visible", "infrared", "fused", "labels", "overlay")
        videos = tuple(OUTPUT_FORMATS)
        outputs = (self.fused, videos), (self.overlay, videos), (self.labels, (".mkv",))
        taken = [self.visible, self.infrared]
        for path, allowed in outputs:
            if path is None:
                continue
            if path.suffix.lower() not in allowed:
                raise ValueError(f"cannot write the video {path}: its suffix must be one of {', '.join(allowed)}")
            is_same = [_is_same(path, other) for other in taken]
            if any(is_same):
                kind = "an input" if any(is_same[:2]) else "another output"
                raise ValueError(f"the output {path} would overwrite {kind}: choose another output")
            taken.append(path)

    @property
    def outputs(self) -> dict[str, tuple[Path, OutputFormat]]:
        """The files to write and their formats, by kind."""
        outputs = {"fused": (self.fused, OUTPUT_FORMATS[self.fused.suffix.lower()])}
        if self.labels is not None:
            outputs["labels"] = self.labels, LABEL_FORMAT
        if self.overlay is not None:
            outputs["overlay"] = self.overlay, OUTPUT_FORMATS[self.overlay.suffix.lower()]
        return outputs

    @property
    def folder(self) -> Path:
        """Hidden folder of finished segments."""
        return self.fused.with_name(f".{self.fused.name}.parts")


@dataclass
class VideoReport:
    """Outcome of [`fuse_video`].

    Attributes:
        frames: Number of fused frames.
        resumed: Number of those that an earlier run had fused.
        refreshed: Number of frames for which CLIP's tokens were computed, `None` if they were for every frame.
        failures: Number of frames that could not be fused, and are left out.
        errors: The first of their reasons.
        measured: The rig and the infrared range that were measured, in words.
        notes: What was changed, assumed or left out, in words.
    """

    frames: int = 0
    resumed: int = 0
    refreshed: int | None = None
    failures: int = 0
    errors: list[str] = field(default_factory=list)
    measured: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _is_same(path: Path, other: Path) -> bool:
    """Return whether two paths are one file; on some disks, names can differ in case."""
    return path.resolve() == other.resolve() or (path.exists() and other.exists() and path.samefile(other))


def is_number(value: Any) -> bool:
    """Return whether a value is a real number, which can be infinite.

    Examples:
        >>> is_number(3.0), is_number(True), is_number("3"), is_number(float("nan"))
        (True, False, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def check_time_offset(seconds: float) -> None:
    """Raise ValueError if the time offset is no finite number.

    Examples:
        >>> check_time_offset(-0.5)
    """
    if not (is_number(seconds) and math.isfinite(seconds)):
        raise ValueError(f"`time_offset` (--time-offset) must be a finite number of seconds, got {seconds!r:.40}")


def check_fps(fps: float | Fraction, name: str) -> Fraction:
    """Return a number of frames per second as a fraction with a denominator of at most 1001.

    Raises:
        ValueError: If it is not allowed; the message begins with `name`.

    Examples:
        >>> check_fps(29.97, "`visible_fps`"), check_fps(29.97002997, "`visible_fps`")
        (Fraction(2997, 100), Fraction(30000, 1001))
    """
    if not (is_number(fps) and _MIN_FPS <= fps <= _MAX_FPS):
        got = f"{float(fps):.7g}" if is_number(fps) else f"{fps!r:.40}"
        raise ValueError(f"{name} must be from {_MIN_FPS:g} to {_MAX_FPS:g} frames per second, got {got}")
    exact = fps if isinstance(fps, Fraction) else Fraction(str(fps))
    return exact.limit_denominator(1001)  # 29.97002997 is 30000/1001; FFmpeg holds no larger numbers
