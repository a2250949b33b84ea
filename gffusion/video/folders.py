"""Read the image files of a folder as the frames of a video, such as those that the software of a thermal camera exports."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import InfraredFrame
from gffusion.cameras.cleaning import to_8_bits
from gffusion.data import IMAGE_SUFFIXES, ReadOptions
from gffusion.data.capture_times import read_time
from gffusion.data.file_names import ANY, find_core, normalize_name
from gffusion.data.folder_files import list_folder
from gffusion.data.io import read_bytes, read_size
from gffusion.data.raw_frames import RAW_SUFFIXES
from gffusion.data.reading import decode_stored, decode_visible
from gffusion.data.value_types import find_odd_types
from gffusion.data.visible_range import map_visible
from gffusion.utils.notes import format_count, name_in_errors

from .filled_frames import FilledFrames
from .jobs import check_fps
from .opening import import_av
from .reading import VideoFile, to_infrared, to_visible
from .time_stamps import TimedFrame, TimeStamps

_NANOSECONDS = 10**9
_TIME_BASE = Fraction(1, 90_000)  # of times in names, as in broadcasts: file formats hold no long times in nanoseconds
# Intervals of numbers after a time, read as fractions.
_COUNTERS = (Fraction(1, 10**3), Fraction(1, 10**6), Fraction(1, 10**9))
_MAX_ERRORS = 3  # that are named

Kind = Literal["visible", "infrared"]


@dataclass(frozen=True)
class StoredFrame:
    """Decoded image of a file, with what a decoded frame of a video has. Files are decoded upright.

    Attributes:
        path: The file.
        image: The visible image, (H, W) or (H, W, 3), uint8; or the infrared image as [`decode_stored`] returns it.
        notes: What was changed or assumed.
    """

    path: Path
    image: Any
    notes: tuple[str, ...] = ()
    interlaced_frame: ClassVar[bool] = False


class FrameFolder:
    """The image files of a folder in natural order, which can be read several times as a [`VideoFile`] can.

    Frames have a constant rate or, without `fps`, the times in their names. The first frame is at time 0.

    Attributes:
        clock: Time of the first frame in nanoseconds since 1970, by its name; `None` with `fps`.
        errors: Why the first damaged files could not be read when the folder was last read.
        notes: What was assumed about the times.

    The others are those of [`VideoFile`].

    Raises:
        OSError: If the folder does not exist.
        ValueError: If it holds no images, `fps` is no rate, or no times are known.
    """

    bits, is_gray, hdr, sample_aspect_ratio, found = 8, True, None, Fraction(1), Fraction(0)
    spare: ClassVar[Fraction | None] = None
    largest_count: ClassVar[int | None] = None
    metadata: ClassVar[dict[str, str]] = {}
    filled: ClassVar[FilledFrames] = FilledFrames()
    stamps: ClassVar[TimeStamps] = TimeStamps(Fraction(1))

    def __init__(self, path: Path, kind: Kind, fps: float | None = None, options: ReadOptions = ReadOptions()) -> None:
        suffixes = IMAGE_SUFFIXES + (options.raw_suffixes if kind == "infrared" else ())
        self.path, self._kind, self._options = path, kind, options
        self.on_read: Callable[[], None] | None = None
        self._files = list(list_folder(path, suffixes, "images").values())
        self._refuse_two_of_a_scene()
        self.start, self.damaged = Fraction(0), 0
        self.clock: int | None = None
        self.errors, self.notes = list[str](), list[str]()
        if fps is None:
            self._read_times()
        else:
            self.rate = check_fps(fps, f"`{kind}_fps` (--{kind}-fps)")
            self.time_base = Fraction(1, self.rate.numerator)
            self._times = [index / self.rate for index in range(len(self._files))]
            self._note_gaps()

    @property
    def numbers(self) -> list[int]:
        """The last numbers in the names of the files, 0 where there is none."""
        return [int(found[-1]) if (found := re.findall(r"\d+", file.stem)) else 0 for file in self._files]

    def leave_gaps(self, step: int) -> None:
        """Leave the time of a frame free for every number that is missing, with a distance of `step` between numbers."""
        numbers = self.numbers
        self._times = [(number - numbers[0]) // step / self.rate for number in numbers]
        count = (numbers[-1] - numbers[0]) // step + 1 - len(numbers)
        self.notes = [
            f"{self.path}: {format_count(count, 'frame')} taken as dropped, because the other folder has their numbers"
        ]

    @property
    def seconds(self) -> Fraction:
        """Duration."""
        return self._times[-1] + 1 / self.rate

    @property
    def end(self) -> Fraction:
        """Time of the end of the last frame."""
        return self.start + self.seconds

    def check(self) -> None:
        """Raise ValueError unless the files have one size and one type by their headers."""
        if self._kind == "infrared":
            self._options.check_raw_frames(self._files)
        odd = find_odd_types(self._files, self._options)
        if odd:
            raise ValueError(next(iter(odd.values())))
        sizes: dict[Path, tuple[int, int]] = {}
        for file in (file for file in self._files if file.suffix.lower() not in RAW_SUFFIXES):
            with suppress(OSError):  # of a damaged file, which is left out when it is read
                sizes[file] = read_size(file, self._options.max_pixels)
        usual = Counter(sizes.values()).most_common(1)
        for file, (height, width) in sizes.items():
            if (height, width) != usual[0][0]:
                raise ValueError(
                    f"{file} has {width}x{height} pixels, but {usual[0][1]} of {len(self._files)} frames have "
                    f"{usual[0][0][1]}x{usual[0][0][0]}: remove it, or fuse it separately"
                )

    def read(self, start: Fraction | None = None) -> Iterator[TimedFrame]:
        """Yield the frames in order, from the last one before `start` if it is given. Holds one frame in memory."""
        self.damaged, self.errors = 0, []
        first = 0 if start is None else max(0, bisect_right(self._times, start - self.start) - 1)
        for file, time in zip(self._files[first:], self._times[first:], strict=True):
            if self.on_read is not None:
                self.on_read()
            try:
                frame = self._decode(file)
            except (OSError, ValueError) as error:
                self.damaged += 1
                self.errors = [*self.errors, str(error)][:_MAX_ERRORS]
                continue
            yield TimedFrame(frame, self.start + time, Fraction(0))

    def identify(self) -> tuple[Any, ...]:
        """Return what the frames and their times depend on."""
        states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in self._files]
        files = sha256(repr((states, self._times)).encode()).hexdigest()
        return str(self.path.resolve()), str(self.start), files

    def _decode(self, file: Path) -> StoredFrame:
        content = read_bytes(file, self._options.max_pixels)
        if self._kind == "infrared":
            return StoredFrame(file, decode_stored(content, str(file), self._options))
        stored = decode_visible(content, str(file), self._options)
        image, notes = map_visible(stored, str(file), self._options.visible_range)
        if image.dtype.kind == "f":
            from gffusion.models.gffusion.infrared_values import scale_by_type  # imports torch

            with name_in_errors(str(file)):
                image = scale_by_type(image, "visible")
            notes += ("the visible images have floating-point values, which are reduced to 8 bits",)
        if image.dtype == np.uint16:
            notes += ("the visible images have 16 bits, which are reduced to 8",)
        return StoredFrame(file, to_8_bits(image), notes)

    def _read_times(self) -> None:
        """Take the times in the names."""
        times = [read_time(file.stem) for file in self._files]
        known = {time: file for time, file in zip(times, self._files, strict=True) if time is not None}
        if len(known) < max(2, len(times)):
            raise ValueError(self._ask_for_rate("their names do not tell the time of each"))
        stamps = sorted(known)
        self._files, self.clock = [known[stamp] for stamp in stamps], stamps[0]
        self._times = [Fraction(stamp - stamps[0], _NANOSECONDS) for stamp in stamps]
        interval = median(after - before for before, after in pairwise(self._times))
        if interval in _COUNTERS:
            raise ValueError(self._ask_for_rate("their names seem to hold a time and a number, not the time of each"))
        self.rate = check_fps(1 / interval, f"the rate of the times in the names of {self.path}")
        self.time_base = _TIME_BASE
        self.notes.append(
            f"{self.path}: times taken from the names of the files, {float(self.rate):.4g} frames per second"
        )

    def _ask_for_rate(self, reason: str) -> str:
        option = f"{self._kind}_fps"
        return (
            f"{self.path} is a folder of frames, and {reason}: give the number of frames per second with `{option}` "
            f"(--{option.replace('_', '-')}), such as {option}=25 (--{option.replace('_', '-')} 25)"
        )

    def _refuse_two_of_a_scene(self) -> None:
        """Raise ValueError if the folder holds other images of the same scenes, such as label maps."""
        scenes: dict[str, Path] = {}
        for file in self._files:
            first = scenes.setdefault(find_core(normalize_name(file.stem), ANY), file)
            if first is not file:
                raise ValueError(
                    f"{first.name} and {file.name} in {self.path} show one scene by their names: give a folder that holds only the "
                    f"{self._kind} frames"
                )

    def _note_gaps(self) -> None:
        """Add a note if numbers in the names are missing: frames are then not where a constant rate puts them."""
        steps = [after - before for before, after in pairwise(self.numbers)]
        if steps and max(steps) > min(steps) > 0 and not any(step % min(steps) for step in steps):
            before = self._files[steps.index(max(steps))].name
            self.notes.append(
                f"{self.path}: numbers in the names of the files are missing, as after {before}, but each frame is taken to follow "
                f"the one before after {float(1 / self.rate):.4g} s"
            )


FrameSource = VideoFile | FrameFolder
KINDS: tuple[Kind, Kind] = ("visible", "infrared")


def open_sources(
    paths: tuple[Path, Path], fps: tuple[float | None, float | None], options: ReadOptions
) -> tuple[FrameSource, FrameSource]:
    """Open the visible and the infrared video, each a file or a folder of frames, which is checked by the headers of its files.

    If both are folders with times in their names, the times are compared as they are.

    Raises:
        ImportError: If PyAV is not installed.
        OSError: If a file or folder cannot be read.
        ValueError: If a file is no video, or the frames of a folder have no known times, or several sizes or types.
    """
    import_av()
    visible, infrared = (_open(path, kind, rate, options) for path, kind, rate in zip(paths, KINDS, fps, strict=True))
    folders = [source for source in (visible, infrared) if isinstance(source, FrameFolder)]
    clocks = [folder.clock for folder in folders if folder.clock]
    if isinstance(infrared, FrameFolder) and len(clocks) == 2:
        infrared.start = Fraction(clocks[1] - clocks[0], _NANOSECONDS)
    if None not in fps and isinstance(visible, FrameFolder) and isinstance(infrared, FrameFolder):
        _align_numbers(visible, infrared)
    for folder in folders:
        folder.check()
    return visible, infrared


def _align_numbers(visible: FrameFolder, infrared: FrameFolder) -> None:
    """Leave gaps for numbers that only one of two folders lacks, if they are surely numbered together.

    They are if rates and first numbers are equal, one of the two has all numbers without gaps, and the other one no further ones.
    """
    for part, whole in ((visible, infrared), (infrared, visible)):
        numbers, others = part.numbers, whole.numbers
        steps = {after - before for before, after in pairwise(others)}
        is_regular = part.rate == whole.rate and len(steps) == 1 and min(steps) > 0 and numbers[0] == others[0]
        is_part = all(before < after for before, after in pairwise(numbers)) and set(numbers) <= set(others)
        if is_regular and is_part and (numbers[-1] - numbers[0]) // min(steps) >= len(numbers):
            part.leave_gaps(min(steps))


def _open(path: Path, kind: Kind, fps: float | None, options: ReadOptions) -> FrameSource:
    if path.is_dir():
        return FrameFolder(path, kind, fps, options)
    if fps is not None:
        raise ValueError(f"`{kind}_fps` (--{kind}-fps) is for a folder of frames, but {path} is none: leave it out")
    if kind == "visible" and options.visible_range is not None:
        raise ValueError(
            f"`visible_range` (--visible-range) is for images of more than 8 bits, but {path} is a video, whose frames are read "
            "with 8 bits: leave it out"
        )
    return VideoFile(path, options.max_pixels)


def name_frame(frame: Any, video: str) -> str:
    """Return the file of a frame of a folder, or else the name of its video."""
    return str(frame.path) if isinstance(frame, StoredFrame) else video


def decode_visible_frame(frame: Any) -> NDArray[np.uint8]:
    """Return the visible image of a frame of a video or a folder: (H, W) if it is gray, else (H, W, 3)."""
    return frame.image if isinstance(frame, StoredFrame) else to_visible(frame)


def decode_infrared_frame(frame: Any) -> InfraredFrame:
    """Return the infrared image of a frame of a video or a folder, as measured."""
    return frame.image if isinstance(frame, StoredFrame) else InfraredFrame(to_infrared(frame))
