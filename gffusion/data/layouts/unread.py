"""Name folders that seem to hold the label maps or boxes of a dataset, but that its layout does not read."""

from collections.abc import Sequence, Set
from pathlib import Path

from gffusion.data.boxes import BOX_SUFFIXES
from gffusion.data.file_names import ANY, FUSED, find_core, is_listed, is_named, normalize_name
from gffusion.data.io import IMAGE_SUFFIXES
from gffusion.data.pairs import ImagePair

from .finder import LAYOUTS

_INSTANCES = "segmentationobject"  # folder of Pascal VOC and CVAT with numbers of objects, not of classes


def describe_unread(pairs: Sequence[ImagePair], kind: str) -> str:
    """Return advice on folders of "labels" or "boxes" beside those of the images, with files of their names, or an empty text.

    For pairs of a CSV file, the advice is to name the files in a column.
    """
    folders = _list_unread(pairs, IMAGE_SUFFIXES if kind == "labels" else BOX_SUFFIXES)
    content = "label maps" if kind == "labels" else "boxes"
    if pairs and pairs[0].is_from_csv:
        files = f"the files in {' or '.join(map(str, folders))}" if folders else f"a file of {content} for each pair"
        return f"; name {files} in a column {kind} of the CSV file"
    if not folders:
        return ""
    readers = {layout: read for layout in LAYOUTS if (read := _list_read(layout, folders, kind))}
    advice = f"rename the folder to {kind} if it holds {content}"
    if "folders" in readers:  # the name fits
        advice = f"leave `layout` (--layout) out if it holds {content}"
    if readers:
        folders = [folder for folder in folders if folder in set().union(*readers.values())]
        known = (layout for layout in readers if layout != "folders")
        choices = [f'give layout="{layout}" (--layout {layout}) if this is {layout.upper()}' for layout in known]
        advice = ", or ".join([*choices, f"{advice} of your own"])
    return f"; {' and '.join(map(str, folders))} {'is' if len(folders) == 1 else 'are'} not read: {advice}"


def _list_unread(pairs: Sequence[ImagePair], suffixes: Sequence[str]) -> list[Path]:
    cores = {_find_core(pair.name) for pair in pairs}
    files = (file for pair in pairs for file in (pair.visible, pair.infrared, pair.labels, pair.boxes))
    read = {file.parent for file in files if isinstance(file, Path)}
    beside = {folder for pair in pairs[:1] for folder in _list(pair.visible.parent.parent)}
    return [
        folder
        for folder in sorted(beside - read)
        if folder.is_dir()
        and not is_named(folder.name, FUSED)
        and normalize_name(folder.name) != _INSTANCES
        and _holds(folder, suffixes, cores)
    ]


def _holds(folder: Path, suffixes: Sequence[str], cores: Set[str]) -> bool:
    """Return whether a folder has one file for each of some pairs; another dataset in one folder has two."""
    found = [_find_core(file.stem) for file in _list(folder) if is_listed(file, suffixes)]
    return not cores.isdisjoint(found) and len(set(found)) == len(found)


def _list(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # such as lost+found
        return []


def _find_core(stem: str) -> str:
    return find_core(normalize_name(stem), ANY)


def _list_read(layout: str, folders: Sequence[Path], kind: str) -> set[Path]:
    """Return those of some folders from which a layout reads label maps or boxes."""
    try:
        found = LAYOUTS[layout](folders[0].parent, None, kind == "boxes").pairs
    except (OSError, ValueError):
        return set()
    files = (getattr(pair, kind) for pair in found)
    return {file.parent for file in files if isinstance(file, Path)} & set(folders)
