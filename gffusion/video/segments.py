"""Encode a video in segments, each of which is complete or absent, so that an interrupted run can go on."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gffusion.utils.atomic import name_temporary, remove_leftovers, replace_file, temporary_folder
from gffusion.utils.locks import FolderLock

from .formats import HD_HEIGHT, OutputFormat
from .opening import import_av

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

SEGMENT_FRAMES = 120
"""Number of frames of a segment."""

_PLAN, _STATE, _STATES = "plan.json", "state-{:06d}.json", "state-*.json"


@dataclass(frozen=True)
class VideoSettings:
    """Timing and description of the frames of a video.

    Attributes:
        time_base: Unit of time stamps in seconds.
        rate: Mean number of frames per second.
        sample_aspect_ratio: Width of a pixel divided by its height.
    """

    time_base: Fraction
    rate: Fraction
    sample_aspect_ratio: Fraction = Fraction(1)


def explain_write_error(error: Exception, path: Path) -> OSError:
    """Return an error of PyAV as one that names the file which was written, and keeps its number."""
    found = OSError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}")
    number = getattr(error, "errno", None)
    if number in errno.errorcode:  # others are FFmpeg's own
        found.errno = number
    return found


class SegmentEncoder:
    """Encode frames of one height and width into a NUT file, which keeps any time stamps and is complete after `close`."""

    def __init__(self, path: Path, output: OutputFormat, settings: VideoSettings, size: tuple[int, int]) -> None:
        av, self.path = import_av(), path
        self._av, self._settings, self._output = av, settings, output
        self._even = output.pixels == "yuv420p"
        self._container: OutputContainer = av.open(str(path.absolute()), "w", format="nut")
        options = _find_options(output)
        stream: VideoStream = self._container.add_stream(output.codec, rate=settings.rate, options=options)
        stream.height, stream.width = (side + side % 2 if self._even else side for side in size)
        stream.pix_fmt = output.pixels
        context = stream.codec_context
        context.time_base = settings.time_base
        context.sample_aspect_ratio = settings.sample_aspect_ratio
        context.flags |= _GLOBAL_HEADER
        self._matrix = "ITU709" if stream.height >= HD_HEIGHT else "ITU601"
        if self._even:
            context.colorspace, context.color_range = _MATRICES[self._matrix], _LIMITED
        self._stream = stream

    def write(self, image: NDArray[np.uint8], time: Fraction, duration: Fraction) -> None:
        """Encode an image (H, W) or (H, W, 3); odd sides are extended by repeating the last row or column."""
        if self._even and (image.shape[0] % 2 or image.shape[1] % 2):
            pad = [(0, side % 2) for side in image.shape[:2]] + [(0, 0)] * (image.ndim - 2)
            image = np.pad(image, pad, mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "gray" if image.ndim == 2 else "rgb24")
        if self._even:
            frame = frame.reformat(format="yuv420p", dst_colorspace=self._matrix, dst_color_range="MPEG")
            frame.colorspace, frame.color_range = _MATRICES[self._matrix], _LIMITED
        unit = self._settings.time_base
        frame.pts, frame.time_base = round(time / unit), unit
        frame.duration = round(duration / unit)
        with self._naming_the_file():
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what is still in the encoder, and close the file."""
        with self._naming_the_file():
            self._container.mux(self._stream.encode(None))
            self._container.close()

    @contextlib.contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        try:
            yield
        except self._av.error.FFmpegError as error:
            raise explain_write_error(error, self.path) from error

    def abort(self) -> None:
        """Close the file, which stays incomplete."""
        with contextlib.suppress(Exception):
            self._container.close()


def _find_options(output: OutputFormat) -> dict[str, str]:
    """Return the options of the encoder, with which equal frames give equal files.

    With AVX-512, x264 chooses qualities (macroblock trees) also by what memory holds behind its arrays, unless the width is a
    multiple of 128. With AVX2 it does not, and takes as long.
    """
    import torch  # here to save start-up time

    options = dict(output.options)
    if "x264-params" in options and torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        options["x264-params"] += ":asm=AVX2"
    return options


_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameters in front, as .mp4 needs them
_MATRICES, _LIMITED = {"ITU601": 6, "ITU709": 1}, 1  # AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG


@dataclass(frozen=True)
class SegmentState:
    """What is known after a segment.

    Attributes:
        frames: Pairs of frames that it used.
        failures: Number of frames that could not be fused.
        errors: The first of their reasons.
        notes: What was changed or assumed.
        limits: [`PreparedFrame.limits`][gffusion.video.fuser.PreparedFrame] of the last frame.
        duration: Duration of the last frame, numerator and denominator.
        size: Height and width of the frames.
        palette: [`PreparedFrame.palette`][gffusion.video.fuser.PreparedFrame] of the last frame.
        files: Size in bytes and SHA-256 of its files, by kind; none if no frame could be fused.
        identical_since: Time in seconds of the first of the infrared frames that equal the last one.
    """

    frames: int
    failures: int
    errors: tuple[str, ...]
    notes: tuple[str, ...]
    limits: tuple[tuple[float, float], ...]
    duration: tuple[int, int]
    size: tuple[int, ...]
    palette: tuple[str, ...] | None
    files: Mapping[str, tuple[int, str]]
    identical_since: float | None = None


def remove_segments(path: Path) -> None:
    """Delete a folder of segments, if it is one, and what killed processes left beside it."""
    remove_leftovers(path.parent)
    with contextlib.suppress(OSError), FolderLock(path):
        if (path / _PLAN).is_file():
            hidden = name_temporary(path.parent)  # so that a folder which is deleted in part is never read
            os.rename(path, hidden)
            shutil.rmtree(hidden, ignore_errors=True)


def has_plan(path: Path, plan: Mapping[str, Any]) -> bool:
    """Return whether a folder holds the segments of a run, to be continued."""
    file = path / _PLAN
    return file.is_file() and file.read_bytes() == _serialize(plan)


def is_newer(output: Path, folder: Path) -> bool:
    """Return whether a file was written after all segments of a folder."""
    changed = [state.stat().st_mtime_ns for state in folder.glob(_STATES)]
    return output.stat().st_mtime_ns >= max(changed, default=0)


def _serialize(plan: Mapping[str, Any]) -> bytes:
    return json.dumps(plan, sort_keys=True, default=str).encode()


def _check_owner(path: Path) -> None:
    """Raise ValueError if a folder of segments exists, but others could put links there."""
    if path.is_symlink():
        raise ValueError(f"{path} is a link, but its name is that of a folder of finished segments here: remove it")
    if path.exists():
        with temporary_folder(path.parent) as own:  # some disks give other users to new files
            if own.stat().st_uid != path.stat().st_uid:
                raise ValueError(f"{path} belongs to another user: remove it, or choose another output")


class SegmentFolder:
    """Hidden folder of the finished segments of a run, which is emptied if it holds segments of another plan.

    The plan is everything that the segments depend on. Only the segments before the first one that is missing, damaged or of an
    older version, which stored no digests, are kept.

    Attributes:
        states: States of the finished segments.
        notes: Notes on segments that were not kept.

    Raises:
        ValueError: If the folder is a link, belongs to another user or holds something else, or another process uses it.
    """

    def __init__(self, path: Path, plan: Mapping[str, Any]) -> None:
        self.path = path
        content = _serialize(plan)
        _check_owner(path)
        remove_leftovers(path)
        self.notes: list[str] = []
        if path.exists() and self._read(_PLAN) != content:
            if self._read(_PLAN) is None and any(path.iterdir()):
                raise ValueError(f"{path} is not a folder of finished segments, which is its name here: rename it")
            self._note_other_plan()
            remove_segments(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Nobody else can put a link there, through which segments would be written.
        path.mkdir(mode=0o700, exist_ok=True)
        try:
            self._lock = FolderLock(path)
        except BlockingIOError:
            raise ValueError(f"another process writes to {path}: wait for it, or choose another output") from None
        if self._read(_PLAN) is None:
            replace_file(path / _PLAN, content)
        self.states = self._read_states()
        self._remove_other_states()

    @property
    def finished_frames(self) -> int:
        """Number of fused frames in the finished segments."""
        return sum(state.frames - state.failures for state in self.states)

    def name(self, kind: str, index: int) -> Path:
        """Return the file of a segment."""
        return self.path / f"{kind}-{index:06d}.nut"

    def describe_files(self, kinds: Iterable[str], index: int) -> dict[str, tuple[int, str]]:
        """Return [`SegmentState.files`][gffusion.video.segments.SegmentState] of complete files."""
        return {kind: _describe_file(self.name(kind, index)) for kind in kinds}

    def list_files(self, kind: str) -> list[Path]:
        """Return the files of all segments in which frames could be fused, or raise FileNotFoundError if one is missing."""
        files = [self.name(kind, index) for index, state in enumerate(self.states) if kind in state.files]
        for file in files:
            if not file.exists():
                raise FileNotFoundError(f"{file} was removed while the videos were fused")
        return files

    def finish(self, state: SegmentState) -> None:
        """Mark the next segment as complete, after its files are."""
        content = json.dumps(asdict(state)).encode()
        replace_file(self.path / _STATE.format(len(self.states)), content + b"\n" + _digest(content))
        self.states.append(state)

    def remove_incomplete(self, kinds: Iterable[str], index: int) -> None:
        """Delete the files of a segment unless it was marked as complete, so that they take no room."""
        if not (self.path / _STATE.format(index)).exists():
            for kind in kinds:
                self.name(kind, index).unlink(missing_ok=True)

    def unlock(self) -> None:
        """Let other processes use the folder."""
        self._lock.release()

    def remove(self) -> None:
        """Delete the folder, after its segments were joined."""
        self.unlock()
        remove_segments(self.path)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    def _read_states(self) -> list[SegmentState]:
        states: list[SegmentState] = []
        while (state := self._read_state(len(states))) is not None:
            states.append(state)
        return states

    def _read_state(self, index: int) -> SegmentState | None:
        """Return the state of a segment, `None` if it or a file of the segment is missing, damaged or without a digest."""
        content, _, digest = (self._read(_STATE.format(index)) or b"").rpartition(b"\n")
        if digest != _digest(content):
            return None
        values = json.loads(content)
        values |= {name: tuple(values[name]) for name in ("errors", "notes", "duration", "size")}
        values["limits"] = tuple(tuple(limits) for limits in values["limits"])
        values["palette"] = None if values["palette"] is None else tuple(values["palette"])
        values["files"] = {kind: tuple(file) for kind, file in values["files"].items()}
        is_whole = all(_is_whole(self.name(kind, index), file) for kind, file in values["files"].items())
        return SegmentState(**values) if is_whole else None

    def _note_other_plan(self) -> None:
        if count := len(list(self.path.glob(_STATES))):
            self.notes.append(
                f"{count} of {count} finished segments in {self.path} are fused again, because they are of other inputs, options or "
                f"versions, or {_PLAN} there is damaged"
            )

    def _remove_other_states(self) -> None:
        kept = {_STATE.format(index) for index in range(len(self.states))}
        others = [file for file in self.path.glob(_STATES) if file.name not in kept]
        for file in others:
            file.unlink()
        if others:
            self.notes.append(
                f"{len(others)} of {len(kept) + len(others)} finished segments in {self.path} are fused again, because files are "
                "missing, damaged or of an older version"
            )


def _digest(content: bytes) -> bytes:
    return sha256(content).hexdigest().encode()


def _describe_file(path: Path) -> tuple[int, str]:
    from gffusion.zoo.digest import hash_file  # imports torch

    return path.stat().st_size, hash_file(path)


def _is_whole(path: Path, description: tuple[int, str]) -> bool:
    try:
        return _describe_file(path) == description
    except FileNotFoundError:
        return False
