"""Match visible and infrared images by the times in their names, for cameras that are not triggered together."""

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


class TimeMatch(NamedTuple):
    """Pairs that were matched by time.

    Attributes:
        pairs: Visible and infrared file, and the time of the infrared minus that of the visible image, in seconds, by time.
        visible_only: Visible images without a partner.
        infrared_only: Infrared images without a partner.
        tolerance: Largest difference in seconds that was allowed.
    """

    pairs: tuple[tuple[Path, Path, float], ...]
    visible_only: tuple[Path, ...]
    infrared_only: tuple[Path, ...]
    tolerance: float


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
        return int(date.timestamp()) * _NANOSECONDS + _read_fraction(decimals or digits)
    epochs = [match.groups() for match in _EPOCH.finditer(stem)]
    if dates or len(epochs) != 1:
        return None
    seconds, *fractions = epochs[0]
    return int(seconds) * _NANOSECONDS + _read_fraction(next(filter(None, fractions), ""))


def match_times(
    visible: Sequence[Path], infrared: Sequence[Path], tolerance: float | None = None, offset: float = 0.0
) -> TimeMatch:
    """Match images whose times are nearest to each other.

    Args:
        visible: Visible images, with times in their names as [`read_time`] reads them.
        infrared: Infrared images.
        tolerance: Largest difference in seconds. Default: half the median interval of the camera with more frames.
        offset: Seconds that are added to the times of the infrared images.

    Returns:
        The pairs by time; each image is in one pair at most, and is the nearest of its partner.

    Raises:
        ValueError: If a name holds no time, two images of a camera have the same time, a number is not allowed, or no image
            has a partner.

    Examples:
        >>> match = match_times([Path("20240229_120000.png"), Path("20240229_120001.png")], [Path("1709208000.9.tiff")], 0.2)
        >>> [(first.name, second.name, round(seconds, 3)) for first, second, seconds in match.pairs]
        [('20240229_120001.png', '1709208000.9.tiff', -0.1)]
    """
    if tolerance is not None and not 0 <= tolerance < float("inf"):
        raise ValueError(f"`tolerance` (--tolerance) must be a number of seconds from 0, got {tolerance}")
    if not abs(offset) < float("inf"):
        raise ValueError(f"`offset` (--time-offset) must be a finite number of seconds, got {offset}")
    firsts, seconds = _sort_by_time(visible), _sort_by_time(infrared, round(offset * _NANOSECONDS))
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


def _read_fraction(digits: str | None) -> int:
    """Return the nanoseconds of the digits after the decimal point."""
    return int((digits or "").ljust(9, "0"))


def _sort_by_time(files: Sequence[Path], offset: int = 0) -> Mapping[int, Path]:
    found: dict[int, Path] = {}
    for file in files:
        time = read_time(file.stem)
        if time is None:
            raise ValueError(
                f"the name of {file} holds no time, or several: date and time (20240229_120000.250), or seconds, milli-, micro- "
                "or nanoseconds since 1970 (1709208000.25)"
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
