"""What a folder holds instead of the files that are looked for, in words, and the suffixes of videos."""

import itertools
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from gffusion.utils.notes import name_first

from .file_names import ANY, INFRARED_OR_NEAR, VISIBLE, find_core, find_named, is_listed, normalize_name
from .raw_frames import RAW_SUFFIXES

VIDEO_SUFFIXES = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".nut", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
"""Suffixes of files that are read as videos."""

FLIR_SUFFIXES = (".seq", ".csq")
"""Suffixes of recordings of FLIR, which are not read."""

_MAX_FOLDERS = 1000  # that are searched for a message

_ARRAY_SUFFIXES = (".h5", ".hdr", ".img", ".mat", ".npy", ".npz")
UNREAD_SUFFIXES = (*_ARRAY_SUFFIXES, ".avif", ".gif", ".heic", ".heif", ".j2k", ".jp2", ".jxl", ".pgm", ".pnm", ".ppm")
"""Suffixes of images in formats that are not read."""

_UNREAD_SIGNATURES = {
    b"GIF8": "GIF", b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL ": "JPEG XL", b"\xff\x4f\xff\x51": "JPEG 2000", b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"P5": "PGM", b"P6": "PPM",
}  # fmt: skip
_UNREAD_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC"}
_BRANDS = slice(8, 48)  # bytes with the brands of a file of boxes (ISO/IEC 14496-12)

_FORMATS = "boxes are read from one COCO file, which needs bbox, or from a Pascal VOC, YOLO or KAIST file for each image: export one of them"
_AS_BOXES = "if these are boxes, rename the folder to boxes and run `gffusion masks`, which makes label maps"
_AS_IMAGES = "save each as a PNG file with a class id for each pixel"
_ADVICE = {
    "label maps": {
        ".txt": _AS_BOXES,
        ".xml": _AS_BOXES,
        ".json": "export label maps as PNG files with a class id for each pixel; or boxes as COCO, Pascal VOC or YOLO files into the "
        "folder boxes, from which `gffusion masks` makes label maps",
        ".npy": _AS_IMAGES,
        ".mat": _AS_IMAGES,
    },
    "box files": {".json": f"they are no COCO files; {_FORMATS}"},
}
"""What to do about files by the kind that a folder should hold and by the suffix."""

_LISTS = ("classes.txt", "labelmap.txt")
_COMPARED = 20  # names of images that are compared with those of all other files


def is_video(path: Path) -> bool:
    """Return whether a file is named as a video.

    Examples:
        >>> is_video(Path("drive.MP4")), is_video(Path("drive.png"))
        (True, False)
    """
    return path.suffix.lower() in (*VIDEO_SUFFIXES, *FLIR_SUFFIXES)


def recognize_unread(content: bytes) -> str | None:
    r"""Return the format of an image that is not read, by its first bytes, whatever its name is; `None` for others.

    Examples:
        >>> recognize_unread(b"GIF89a"), recognize_unread(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic")
        ('GIF', 'HEIC')
        >>> recognize_unread(b"BM") is None
        True
    """
    if content[4:8] == b"ftyp":
        brands = content[_BRANDS]
        return next((name for brand, name in _UNREAD_BRANDS.items() if brand in brands), None)
    return next((name for signature, name in _UNREAD_SIGNATURES.items() if content.startswith(signature)), None)


def describe_others(folder: Path, suffixes: tuple[str, ...], kind: str) -> str:
    """Return what to do about a folder without files of these suffixes, for messages.

    `kind` is "images", of a folder that the user gave, or "label maps" or "box files", of one in a dataset.
    """
    advice = "" if kind == "images" else _describe_held(folder, kind)
    if kind != "box files":
        files = [file for file in sorted(folder.iterdir()) if file.is_file()]
        if any(map(is_video, files)):
            advice += (
                "; it holds videos, which only `gffusion fuse` takes: two files, or two folders without images; other commands take images, "
                "such as extracted frames"
            )
        if any(file.suffix.lower() in RAW_SUFFIXES for file in files):
            advice += "; raw frames need their size and type: raw_frame (--raw-frame)"
        if unread := [file for file in files if file.suffix.lower() in UNREAD_SUFFIXES]:
            advice += f"; {describe_unread(unread)}"
    return advice + _describe_subfolders(folder, suffixes, kind)


def _describe_held(folder: Path, kind: str) -> str:
    """Return what a folder holds instead of "label maps" or "box files", and what to do, for messages."""
    files = (file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith("."))
    counts = Counter(file.suffix.lower() for file in files if file.name.lower() not in _LISTS)
    if not counts:
        return ""
    suffix, count = counts.most_common(1)[0]
    advice = _ADVICE[kind].get(suffix)
    held = f"; it holds {count} {suffix or 'other'} file{'s' * (count != 1)}"
    return f"{held}: {advice}" if advice else held


def describe_json(root: Path) -> str:
    """Return what to do about the JSON files in a folder and its sub-folders, of which none is read, for messages.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "via.json").touch()
        ...     describe_json(Path(root))
        '; its JSON files (via.json) are not read: boxes are read from one COCO file, which needs bbox, or ...'
    """
    files = sorted(file for pattern in ("*", "*/*") for file in root.glob(pattern) if is_listed(file, (".json",)))
    names = name_first([file.relative_to(root).as_posix() for file in files])
    return f"; its JSON files ({names}) are not read: {_FORMATS}" if files else ""


def find_several(stems: Iterable[str], others: Collection[str]) -> list[str]:
    """Return the names that contain the first of some stems, if several of them contain each stem.

    Examples:
        >>> find_several(["1", "2"], ["1_mask_car", "1_mask_person", "2_mask_car", "2_mask_person", "12"])
        ['1_mask_car', '1_mask_person']
        >>> find_several(["1", "2"], ["1_mask_car", "1_mask_person", "2_mask_car"])
        []
    """
    compared = list(itertools.islice(stems, _COMPARED))
    found = [[other for other in others if _contains(other, stem)] for stem in compared]
    return found[0] if found and all(len(names) > 1 for names in found) else []


def _contains(name: str, stem: str) -> bool:
    """Return whether a name contains a stem that no letter or digit continues."""
    return stem in name and re.search(rf"(?<![^\W_]){re.escape(stem)}(?![^\W_])", name) is not None


def find_unread(folder: Path, partners: Iterable[Path]) -> list[Path]:
    """Return the images in a folder whose format is not read, and which have the name of a file that has no partner.

    Examples:
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
    if files[0].suffix.lower() in _ARRAY_SUFFIXES:
        advice = "convert to TIFF, which keeps all values, such as with Python (tifffile.imwrite)"
    else:
        advice = (
            "convert to PNG, or to TIFF if values are measured, such as with ImageMagick "
            f"(magick mogrify -format png *{files[0].suffix})"
        )
    return f"{files[0]}{more}: the format ({kinds}) is not read; {advice}"


def _describe_subfolders(folder: Path, suffixes: tuple[str, ...], kind: str) -> str:
    """Return the names of the sub-folders that hold such files, with their number, for messages; deeper ones if no child does."""
    children = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    counts = {child: sum(file.suffix.lower() in suffixes for file in child.iterdir()) for child in children}
    if any(counts.values()):
        shown = f"sub-folders {_show_counts(counts, folder)}"
        pair = ", or two as the visible and the infrared images" if sum(map(bool, counts.values())) > 1 else ""
        return f"; give one of its {shown}{pair}" if kind == "images" else f"; move the files of its {shown} into it"
    counts = {
        Path(root): sum(Path(file).suffix.lower() in suffixes for file in files)
        for root, _, files in itertools.islice(os.walk(folder), _MAX_FOLDERS)
        if not any(part.startswith(".") for part in Path(root).relative_to(folder).parts)
    }
    if not any(counts.values()):
        return ""
    shown = f"folders in it {_show_counts(dict(sorted(counts.items())), folder)}"
    if kind != "images":
        return f"; move the files of the {shown} into it"
    parents = sorted({path.parent for path, count in counts.items() if count})
    both = next((path for path in parents if all(find_named(path, kind) for kind in (VISIBLE, INFRARED_OR_NEAR))), None)
    example = f", such as {both}" if both else ""
    return f"; give one of the {shown}; `gffusion fuse` also takes a folder with one sub-folder for each kind{example}, or a CSV file of pairs"


def _show_counts(counts: Mapping[Path, int], folder: Path) -> str:
    """Return folders that hold files, relative to another one, with the number of files."""
    return name_first(
        [f"{path.relative_to(folder).as_posix()} ({count} files)" for path, count in counts.items() if count], 8
    )
