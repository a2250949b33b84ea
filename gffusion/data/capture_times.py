"""Match visible and infrared images by the times in their names or EXIF data, for cameras that are not triggered together."""

import csv
import io
import itertools
import os
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from PIL import ExifTags, Image

from .decoding import open_header
from .folder_files import list_folder
from .io import IMAGE_SUFFIXES
from .nested import list_nested
from .pair_lists import list_files

# Year, month, day, hour, minute and second, with or without separators, and a fraction of 1 to 9 digits after a point or comma,
# or of 3, 6 or 9 digits after another separator or none.
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_. T]{0,3}(\d\d)[-_.:h]?(\d\d)[-_.:m]?(\d\d)"
    r"(?:[.,](\d{1,9})|[-_]?(\d{9}|\d{6}|\d{3}))?(?!\d)"
)
# Time since 1970: seconds, with or without a fraction or nanoseconds, as of ROS; milli-, micro- or nanoseconds.
_EPOCH = re.compile(r"(?<!\d)([1-4]\d{9})(?:[.,](\d{1,9})|[-_](\d{9})|(\d{3}|\d{6}|\d{9}))?(?!\d)")
_NANOSECONDS = 10**9
# Tags of a time and of its fraction: when the image was taken, digitized and, of files without these, last changed.
_EXIF_TIMES = (
    (ExifTags.Base.DateTimeOriginal, ExifTags.Base.SubsecTimeOriginal),
    (ExifTags.Base.DateTimeDigitized, ExifTags.Base.SubsecTimeDigitized),
    (ExifTags.Base.DateTime, ExifTags.Base.SubsecTime),
)


class TimeMatch(NamedTuple):
    """Pairs that were matched by time.

    Attributes:
        pairs: Visible and infrared file, and the time of the infrared minus that of the visible image, in seconds, by time.
        visible_only: Visible images without a partner.
        infrared_only: Infrared images without a partner.
        tolerance: Largest difference in seconds that was allowed.
        notes: What is unusual: times that are not from the names.
    """

    pairs: tuple[tuple[Path, Path, float], ...]
    visible_only: tuple[Path, ...]
    infrared_only: tuple[Path, ...]
    tolerance: float
    notes: tuple[str, ...] = ()


def read_time(stem: str) -> int | None:
    """Return the time in the name of an image, in nanoseconds since 1970; `None` if there is none, or more than one.

    Time zones are not read: the times of two cameras are compared as they are.

    Args:
        stem: Name of the file without suffix: a date and a time of day, or the time since 1970 in seconds (with or without a
            fraction), milli-, micro- or nanoseconds.

    Examples:
        >>> names = ("20240229_120000_250", "2024-02-29T12-00-00.25", "thermal_1709208000.250", "1709208000250000000")
        >>> [read_time(name) for name in names] == [1709208000_250000000] * 4
        True
        >>> read_time("frame_0001") is None
        True
    """
    dates = [match.groups() for match in _DATE.finditer(stem)]
    if len(dates) == 1:
        *fields, decimals, digits = dates[0]
        try:
            date = datetime(*map(int, fields)).replace(tzinfo=UTC)  # type: ignore[arg-type]
        except ValueError:  # a month 13
            return None
        return _to_nanoseconds(date, decimals or digits)
    epochs = [match.groups() for match in _EPOCH.finditer(stem)]
    if dates or len(epochs) != 1:
        return None
    seconds, *fractions = epochs[0]
    return int(seconds) * _NANOSECONDS + _read_fraction(next(filter(None, fractions), ""))


def read_exif_time(file: Path) -> int | None:
    """Return the time in the EXIF data of an image, in nanoseconds since 1970; `None` if there is none.

    Time zones are not read, as by [`read_time`][gffusion.data.capture_times.read_time].

    Args:
        file: JPEG, TIFF, PNG or WebP file. `DateTimeOriginal` is preferred to `DateTimeDigitized`, and this to `DateTime`.

    Raises:
        OSError: If the file cannot be read.

    Examples:
        >>> import tempfile
        >>> file, exif = Path(tempfile.mkdtemp(), "IMG_0001.jpg"), Image.Exif()
        >>> exif[ExifTags.Base.DateTime], exif[ExifTags.Base.SubsecTime] = "2024:02:29 12:00:00", "25"
        >>> Image.new("L", (8, 8)).save(file, exif=exif)
        >>> read_exif_time(file) == read_time("20240229_120000.25")
        True
    """
    try:
        with open_header(file) as image:
            exif = Image.Image.getexif(image)  # image.getexif() of PNG files would decode every pixel
            tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    except Exception as error:
        if isinstance(error, OSError) and error.errno:
            raise
        return None  # a raw frame, or a damaged file, whose decoding raises the documented error
    for time, fraction in _EXIF_TIMES:
        try:
            date = datetime.strptime(str(tags.get(time, ""))[:19], "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:  # none, or 0000:00:00 of a camera whose clock was never set
            continue
        digits = re.match(r"\d{0,9}", str(tags.get(fraction, "")))
        return _to_nanoseconds(date, digits and digits[0])
    return None


def match_times(
    visible: Sequence[Path], infrared: Sequence[Path], tolerance: float | None = None, offset: float = 0.0
) -> TimeMatch:
    """Match images whose times are nearest to each other.

    Args:
        visible: Visible images, with times in their names as [`read_time`][gffusion.data.capture_times.read_time] reads them; if
            no name has one, in their EXIF data as [`read_exif_time`][gffusion.data.capture_times.read_exif_time] reads them.
        infrared: Infrared images.
        tolerance: Largest difference in seconds. Default: half the median interval of the camera with more frames.
        offset: Seconds that are added to the times of the infrared images.

    Returns:
        The pairs by time; each image is in one pair at most, and is the nearest of its partner.

    Raises:
        OSError: If a file whose EXIF data are needed cannot be read.
        ValueError: If the time of an image is not known, two images of a camera have the same time, a number is not allowed, or no
            image has a partner.

    Examples:
        >>> match = match_times([Path("20240229_120000.png"), Path("20240229_120001.png")], [Path("1709208000.9.tiff")], 0.2)
        >>> [(first.name, second.name, round(seconds, 3)) for first, second, seconds in match.pairs]
        [('20240229_120001.png', '1709208000.9.tiff', -0.1)]
    """
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"`tolerance` (--tolerance) must be a number of seconds from 0, got {tolerance}")
    if not abs(offset) < float("inf"):
        raise ValueError(f"`offset` (--time-offset) must be a finite number of seconds, got {offset}")
    notes: list[str] = []
    firsts = _sort_by_time(visible, "visible", notes)
    seconds = _sort_by_time(infrared, "infrared", notes, round(offset * _NANOSECONDS))
    times, others = list(firsts), list(seconds)
    limit = _find_tolerance(times, others) if tolerance is None else round(tolerance * _NANOSECONDS)
    partners = {time: _find_nearest(time, others) for time in times}
    pairs = {
        time: other
        for time, other in partners.items()
        if abs(other - time) <= limit and _find_nearest(other, times) == time
    }
    if not pairs:
        differences = [other - time for time, other in partners.items()]
        raise ValueError(
            f"no infrared image was taken within {limit / _NANOSECONDS:g} s of a visible one: the nearest ones are "
            f"{median(differences) / _NANOSECONDS:+.3f} s away (median). Clocks or time zones may differ: set --time-offset, or "
            "--tolerance"
        )
    used = set(pairs.values())
    return TimeMatch(
        tuple((firsts[time], seconds[other], (other - time) / _NANOSECONDS) for time, other in pairs.items()),
        tuple(file for time, file in firsts.items() if time not in pairs),
        tuple(file for time, file in seconds.items() if time not in used),
        limit / _NANOSECONDS,
        tuple(notes),
    )


def list_images(path: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Return the files of a folder or, if it has none, of its sub-folders; or of a pattern or `@list.txt`.

    Raises:
        OSError: If there are none.
        ValueError: If a folder has no images, or two with the same stem.
    """
    files = list_files(path, tuple(suffix for suffix in suffixes if suffix not in IMAGE_SUFFIXES))
    if not isinstance(files, Path):
        return files
    folders = list_nested(files, suffixes) if files.is_dir() else [files]
    return [file for folder in folders for file in list_folder(folder, suffixes, "images").values()]


def format_pairs(match: TimeMatch, folder: Path) -> str:
    """Return the text of a CSV file of pairs in a folder, with paths relative to it, and their differences in seconds."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("visible", "infrared", "difference"))
    for visible, infrared, seconds in match.pairs:
        rows.writerow((_name_from(folder, visible), _name_from(folder, infrared), f"{seconds:.6f}"))
    return text.getvalue()


def _name_from(folder: Path, file: Path) -> str:
    """Return the path from a folder to a file; a spreadsheet would take a name that begins with = for a formula."""
    try:
        name = Path(os.path.relpath(file, folder)).as_posix()
    except ValueError:  # on another drive of Windows
        return file.absolute().as_posix()
    return f"./{name}" if name[0] in "=+-@" else name


def _to_nanoseconds(date: datetime, decimals: str | None) -> int:
    """Return the nanoseconds since 1970 of a date with a fraction of a second."""
    return int(date.timestamp()) * _NANOSECONDS + _read_fraction(decimals)


def _read_fraction(digits: str | None) -> int:
    """Return the nanoseconds of the digits after the decimal point."""
    return int((digits or "").ljust(9, "0"))


def _sort_by_time(files: Sequence[Path], kind: str, notes: list[str], offset: int = 0) -> Mapping[int, Path]:
    times, others = {file: read_time(file.stem) for file in files}, "EXIF data are read only if no name holds a time."
    if files and set(times.values()) == {None}:
        times = {file: read_exif_time(file) for file in files}
        notes.append(f"the names of the {kind} images hold no times: times taken from their EXIF data")
        others = "Its EXIF data hold none, either."
    found: dict[int, Path] = {}
    for file, time in times.items():
        if time is None:
            raise ValueError(
                f"the name of {file} holds no time, or several: date and time (20240229_120000.250), or seconds, milli-, micro- "
                f"or nanoseconds since 1970 (1709208000.25). {others}"
            )
        twin = found.setdefault(time + offset, file)
        if twin is not file:
            raise ValueError(
                f"{twin} and {file} have the same time: remove one, or give the images of each camera by a pattern, such as "
                '"DCIM/*_V.JPG" and "DCIM/*_T.JPG"'
            )
    return dict(sorted(found.items()))


def _find_tolerance(*times: list[int]) -> int:
    """Return half the smaller of the median intervals."""
    intervals = [
        median(after - before for before, after in itertools.pairwise(values)) for values in times if len(values) > 1
    ]
    if not intervals:
        raise ValueError("two single images have no interval: give the largest difference in seconds with --tolerance")
    return int(min(intervals) / 2)


def _find_nearest(time: int, times: list[int]) -> int:
    """Return the nearest of sorted times, the earlier one of two."""
    place = bisect_left(times, time)
    return min(times[max(place - 1, 0) : place + 1], key=lambda other: abs(other - time))
