"""Match the files of visible/infrared pairs."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from .boxes import BOX_SUFFIXES, NamedBoxes
from .io import IMAGE_SUFFIXES

CLASSES_FILE = "classes.txt"
"""File of class names, one per line, that labelImg writes next to YOLO files."""

# Words that distinguish the files of one scene, as in 0001_vis.png and 0001_ir.png, or VIS1.png and IR1.png.
_VISIBLE_WORDS = ("visible", "vis", "vi", "rgb", "color", "colour")
_INFRARED_WORDS = ("infrared", "ir", "thermal", "tir", "lwir", "previewdata")
_LABELS_WORDS = ("labels", "label", "segmentation", "seg", "mask", "gt", "boxes")
_ALL_WORDS = (*_VISIBLE_WORDS, *_INFRARED_WORDS, *_LABELS_WORDS)

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class ImagePair:
    """Files of one scene.

    Attributes:
        name: Stem of the visible file.
        visible: File of the visible image.
        infrared: File of the infrared image; the same as `visible` if that holds both (see [`read_pair`]).
        labels: File of the class index map, or None.
        boxes: YOLO or VOC file of the boxes, or the boxes from a COCO file, or None.
    """

    name: str
    visible: Path
    infrared: Path
    labels: Path | None = None
    boxes: Path | NamedBoxes | None = None


@dataclass(frozen=True)
class PairMatch:
    """Result of [`match_pairs`], with every list in natural order of the stems.

    Attributes:
        pairs: The pairs.
        visible_only: Visible images without an infrared image.
        infrared_only: Infrared images without a visible image.
        labels_only: Label maps without a pair.
        boxes_only: Box files without a pair.
    """

    pairs: tuple[ImagePair, ...]
    visible_only: tuple[Path, ...]
    infrared_only: tuple[Path, ...]
    labels_only: tuple[Path, ...] = ()
    boxes_only: tuple[Path | NamedBoxes, ...] = ()


def match_pairs(
    visible: Path,
    infrared: Path,
    labels: Path | None = None,
    boxes: Path | Mapping[str, NamedBoxes] | None = None,
) -> PairMatch:
    """Match the images of two folders by stem.

    Stems are compared case-insensitively, and suffixes can differ: `Visible/0001.PNG` matches `infrared/0001.jpg`. The
    remaining stems are compared without common words at their beginning or end: `FLIR_1_RGB.jpg` matches `FLIR_1.jpg`,
    `VIS1.png` matches `IR1.png`, and `1_mask.png` matches either. Hidden files, folders and files with other suffixes are
    ignored.

    Args:
        visible: Folder of the visible images.
        infrared: Folder of the infrared images.
        labels: Folder of the label maps. Pairs without one get `labels=None`.
        boxes: Folder of YOLO or VOC files, or the boxes by stem from [`read_coco`]. Pairs without get `boxes=None`.

    Returns:
        The pairs in natural order (`2` before `10`), and the files without a partner.

    Raises:
        FileNotFoundError, NotADirectoryError: If a folder does not exist or is a file.
        ValueError: If a folder contains no images, two files have the same stem, several files could match, or no stems
            match.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for file in ("visible/1_vis.png", "visible/2_vis.png", "infrared/1_ir.png"):
        ...         Path(root, file).parent.mkdir(exist_ok=True)
        ...         Path(root, file).touch()
        ...     match = match_pairs(Path(root, "visible"), Path(root, "infrared"))
        >>> [(pair.visible.name, pair.infrared.name) for pair in match.pairs], [file.name for file in match.visible_only]
        ([('1_vis.png', '1_ir.png')], ['2_vis.png'])
    """
    visible_files = _list_files(visible, IMAGE_SUFFIXES, "images")
    infrared_files = _list_files(infrared, IMAGE_SUFFIXES, "images")
    partners = _match(visible, visible_files, infrared, infrared_files, _INFRARED_WORDS)
    paired = {stem: file for stem, file in visible_files.items() if stem in partners}
    labels_files = _list_files(labels, IMAGE_SUFFIXES, "images") if labels is not None else {}
    labels_of = _match(visible, paired, labels, labels_files, _ALL_WORDS) if labels is not None else {}
    box_entries = _list_boxes(boxes)
    boxes_folder = boxes if isinstance(boxes, Path) else "COCO file"
    boxes_of = _match(visible, paired, boxes_folder, box_entries, _ALL_WORDS) if boxes is not None else {}
    pairs = tuple(
        ImagePair(
            file.stem,
            file,
            infrared_files[partners[stem]],
            labels_files[labels_of[stem]] if stem in labels_of else None,
            box_entries[boxes_of[stem]] if stem in boxes_of else None,
        )
        for stem, file in paired.items()
    )
    return PairMatch(
        pairs=pairs,
        visible_only=_drop(visible_files, partners),
        infrared_only=_drop(infrared_files, partners.values()),
        labels_only=_drop(labels_files, labels_of.values()),
        boxes_only=_drop(box_entries, boxes_of.values()),
    )


def describe_entry(entry: Path | NamedBoxes) -> str:
    """Return the name of an entry without a partner, for messages."""
    return entry.name if isinstance(entry, Path) else entry.origin


def _list_files(folder: Path, suffixes: tuple[str, ...], kind: str) -> dict[str, Path]:
    """Return the files of a folder by case-folded stem, in natural order."""
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; pass a folder of {kind}")
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=_natural_key):
        if file.name.startswith(".") or file.suffix.lower() not in suffixes or not file.is_file():
            continue
        twin = files.setdefault(file.stem.casefold(), file)
        if twin is not file:
            raise ValueError(
                f"{twin.name} and {file.name} in {folder} have the same stem (ignoring case); remove or rename one"
            )
    if not files:
        raise ValueError(f"the folder {folder} holds no {kind}; looked for {', '.join(suffixes)}")
    return files


def _list_boxes(boxes: Path | Mapping[str, NamedBoxes] | None) -> Mapping[str, Path | NamedBoxes]:
    if boxes is None:
        return {}
    if not isinstance(boxes, Path):
        return {stem.casefold(): entry for stem, entry in boxes.items()}
    files = _list_files(boxes, BOX_SUFFIXES, "box files")
    return {stem: file for stem, file in files.items() if file.name.lower() != CLASSES_FILE}


def _natural_key(file: Path) -> tuple[list[str | int], str]:
    """Return a sort key that compares runs of digits as numbers; the full name orders `1` and `01`."""
    parts = re.split(r"(\d+)", file.stem.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def _match(
    folder: Path,
    visible: Mapping[str, Path],
    other_folder: Path | str,
    others: Mapping[str, Path | NamedBoxes],
    words: tuple[str, ...],
) -> dict[str, str]:
    """Return the matching stem of `others` for each visible stem: an equal stem, or one that is equal without `words`."""
    matched = {stem: stem for stem in visible if stem in others}
    visible_cores = _group_by_core(visible.keys() - matched.keys(), _VISIBLE_WORDS)
    other_cores = _group_by_core(others.keys() - matched.keys(), words)
    for core in visible_cores.keys() & other_cores.keys():
        firsts, seconds = visible_cores[core], other_cores[core]
        if len(firsts) > 1 or len(seconds) > 1:
            visible_names = " or ".join(sorted(visible[stem].name for stem in firsts))
            other_names = " or ".join(sorted(describe_entry(others[stem]) for stem in seconds))
            raise ValueError(
                f"ambiguous match: {visible_names} with {other_names} differ only in words such as vis and ir; give the "
                "files of a pair the same name"
            )
        matched[firsts[0]] = seconds[0]
    if not matched:
        example = next(map(describe_entry, others.values()), "no file")
        raise ValueError(
            f"no image in {folder} has the stem of one in {other_folder} (for example {next(iter(visible.values())).name} "
            f"and {example}); the files of a pair must have the same name, except for suffix and words such as vis and ir"
        )
    return matched


def _group_by_core(stems: Iterable[str], words: tuple[str, ...]) -> dict[str, list[str]]:
    """Group stems by their core: what is left without `words` at the beginning and end."""
    word = f"(?:{'|'.join(words)})"
    # A word must not be followed by a letter: VIS1 starts with "vis", Vista does not.
    pattern = re.compile(rf"^(?:{word}(?![a-z])[\W_]*)+|(?:[\W_]*(?<![a-z]){word})+$")
    cores = defaultdict(list)
    for stem in stems:
        cores[pattern.sub("", stem)].append(stem)
    return cores


def _drop(entries: Mapping[str, Entry], stems: Iterable[str]) -> tuple[Entry, ...]:
    taken = set(stems)
    return tuple(entry for stem, entry in entries.items() if stem not in taken)
