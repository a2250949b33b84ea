"""What folders hold instead of label maps and boxes that can be read, in words."""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from gffusion.utils.notes import name_first

from .file_names import is_listed

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


def describe_held(folder: Path, kind: str) -> str:
    """Return what a folder holds instead of "label maps" or "box files", and what to do, for messages."""
    files = (file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
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
    compared = list(islice(stems, _COMPARED))
    found = [[other for other in others if _contains(other, stem)] for stem in compared]
    return found[0] if found and all(len(names) > 1 for names in found) else []


def _contains(name: str, stem: str) -> bool:
    """Return whether a name contains a stem that no letter or digit continues."""
    return stem in name and re.search(rf"(?<![^\W_]){re.escape(stem)}(?![^\W_])", name) is not None
