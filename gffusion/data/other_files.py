"""What a folder holds instead of the files that are looked for, in words, and the suffixes of videos."""

from pathlib import Path

from .raw_frames import RAW_SUFFIXES

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""Suffixes of files that are read as videos."""

FLIR_SUFFIXES = (".seq", ".csq")
"""Suffixes of recordings of FLIR, which are not read."""


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
                "; it holds videos, which are fused one pair at a time (gffusion fuse visible.mp4 infrared.mp4 -o fused.mp4); "
                "other commands take images, such as extracted frames"
            )
        if any(file.suffix.lower() in RAW_SUFFIXES for file in files):
            advice += "; raw frames need their size and type: raw_frame (--raw-frame)"
    return advice + _describe_subfolders(folder, suffixes)


def _describe_subfolders(folder: Path, suffixes: tuple[str, ...]) -> str:
    """Return the names of the sub-folders with the number of their files, for messages."""
    counts = {
        child.name: sum(file.suffix.lower() in suffixes for file in child.iterdir())
        for child in sorted(folder.iterdir())
        if child.is_dir() and not child.name.startswith(".")
    }
    if not counts:
        return ""
    shown = ", ".join(f"{name} ({count} files)" for name, count in list(counts.items())[:8])
    return f"; give one of its sub-folders {shown}{', ...' * (len(counts) > 8)}"
