"""What a folder holds instead of the files that are looked for, in words, and the suffixes of videos."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from gffusion.utils.notes import name_first

from .file_names import ANY, find_core, normalize_name
from .raw_frames import RAW_SUFFIXES

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""Suffixes of files that are read as videos."""

FLIR_SUFFIXES = (".seq", ".csq")
"""Suffixes of recordings of FLIR, which are not read."""


UNREAD_SUFFIXES = (".avif", ".gif", ".heic", ".heif", ".j2k", ".jp2", ".jxl", ".pgm", ".pnm", ".ppm")
"""Suffixes of images in formats that are not read."""


def is_video(path: Path) -> bool:
    """Return whether a file is named as a video.

    Example:
        >>> is_video(Path("drive.MP4")), is_video(Path("drive.png"))
        (True, False)
    """
    return path.suffix.lower() in (*VIDEO_SUFFIXES, *FLIR_SUFFIXES)


def describe_others(folder: Path, suffixes: tuple[str, ...], kind: str) -> str:
    """Return what to do about a folder without files of these suffixes, for messages; `kind` is "images" or other words."""
    advice = ""
    if kind == "images":
        files = [file for file in folder.iterdir() if file.is_file()]
        if any(map(is_video, files)):
            advice += (
                "; it holds videos, which only `gffusion fuse` takes: two files, or two folders without images; other commands take images, "
                "such as extracted frames"
            )
        if any(file.suffix.lower() in RAW_SUFFIXES for file in files):
            advice += "; raw frames need their size and type: raw_frame (--raw-frame)"
        if unread := [file for file in files if file.suffix.lower() in UNREAD_SUFFIXES]:
            advice += f"; {describe_unread(unread)}"
    return advice + _describe_subfolders(folder, suffixes)


def find_unread(folder: Path, partners: Iterable[Path]) -> list[Path]:
    """Return the images in a folder whose format is not read, and which have the name of a file that has no partner.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "1_ir.gif").touch()
        ...     [file.name for file in find_unread(Path(root), [Path("1_vis.png"), Path("2_vis.png")])]
        ['1_ir.gif']
    """
    files = [file for file in folder.iterdir() if file.suffix.lower() in UNREAD_SUFFIXES]
    cores = {find_core(normalize_name(file.stem), ANY) for file in partners} if files else set()
    return sorted(file for file in files if find_core(normalize_name(file.stem), ANY) in cores)


def describe_unread(files: Sequence[Path]) -> str:
    """Return what to do about images in formats that are not read, for messages."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    kinds = ", ".join(dict.fromkeys(file.suffix[1:].upper() for file in files))
    return (
        f"{files[0]}{more}: the format ({kinds}) is not read; convert to PNG, or to TIFF if values are measured, such as with "
        f"ImageMagick (magick mogrify -format png *{files[0].suffix})"
    )


def _describe_subfolders(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return the names of the sub-folders that hold such files, with their number, for messages."""
    counts = {
        child.name: sum(file.suffix.lower() in suffixes for file in child.iterdir())
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    }
    shown = name_first([f"{name} ({count} files)" for name, count in counts.items() if count], 8)
    return f"; give one of its sub-folders {shown}" if shown else ""
