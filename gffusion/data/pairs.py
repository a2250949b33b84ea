"""Finds the visible/infrared(/labels/boxes) files that belong together."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from .boxes import BOX_SUFFIXES, NamedBoxes
from .io import IMAGE_SUFFIXES, read_image, read_rgbt

CLASSES_FILE = "classes.txt"
"""Name of the file of class names, a name a line, which labelImg puts among the YOLO files."""

# What customarily tells the files of one scene apart: 0001_vis.png and 0001_ir.png, VIS1.png and IR1.png.
_VISIBLE_WORDS = ("visible", "vis", "vi", "rgb", "color", "colour")
_INFRARED_WORDS = ("infrared", "ir", "thermal", "tir", "lwir", "previewdata")
_LABELS_WORDS = ("labels", "label", "segmentation", "seg", "mask", "gt", "boxes")
_ALL_WORDS = (*_VISIBLE_WORDS, *_INFRARED_WORDS, *_LABELS_WORDS)

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class ImagePair:
    """The files of one scene.

    Attributes:
        name: Stem of the visible file.
        visible: The visible image.
        infrared: The infrared image; the same file as `visible` where that is one of four channels (`read_rgbt`).
        labels: The class index map, where there is one.
        boxes: The boxes around objects, where they are known: a YOLO or VOC file, or what a COCO file holds of the pair.
    """

    name: str
    visible: Path
    infrared: Path
    labels: Path | None = None
    boxes: Path | NamedBoxes | None = None


@dataclass(frozen=True)
class PairMatch:
    """What `match_pairs` found; every list is in natural order of the stems.

    Attributes:
        pairs: The pairs.
        visible_only: Visible images without an infrared one.
        infrared_only: Infrared images without a visible one.
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
    """Matches the images of two folders by stem.

    Stems are compared without regard to case and suffixes may differ: `Visible/0001.PNG` goes with `infrared/0001.jpg`.
    Of what is then left, stems are compared without the words that customarily tell the files of one scene apart, at
    their beginning or end: `FLIR_1_RGB.jpg` goes with `FLIR_1.jpg`, `VIS1.png` with `IR1.png`, `1_mask.png` with both.
    Hidden files, folders and files with another suffix are passed over.

    Args:
        visible: Folder of the visible images.
        infrared: Folder of the infrared images.
        labels: Folder of the label maps. A pair without a map gets `labels=None`.
        boxes: Folder of the YOLO or VOC files, or what `read_coco` found by stem. A pair without gets `boxes=None`.

    Returns:
        The pairs in natural order (`2` before `10`), and the files that have no partner.

    Raises:
        FileNotFoundError: If a folder does not exist.
        NotADirectoryError: If a folder is a file.
        ValueError: If a folder holds no images or two of one stem, it is open which of several files belong together,
            or the folders have no stem in common.
    """
    visible_files = _files_by_stem(visible, IMAGE_SUFFIXES, "images")
    infrared_files = _files_by_stem(infrared, IMAGE_SUFFIXES, "images")
    partners = _match(visible_files, infrared_files, _INFRARED_WORDS)
    if not partners:
        raise _nothing_in_common(visible, visible_files, infrared, infrared_files)
    paired = {stem: file for stem, file in visible_files.items() if stem in partners}
    labels_files = _files_by_stem(labels, IMAGE_SUFFIXES, "images") if labels is not None else {}
    labels_of = _match(paired, labels_files, _ALL_WORDS)
    if labels is not None and not labels_of:
        raise _nothing_in_common(visible, visible_files, labels, labels_files)
    box_entries = _box_entries(boxes)
    boxes_of = _match(paired, box_entries, _ALL_WORDS)
    if boxes is not None and not boxes_of:
        raise _nothing_in_common(visible, visible_files, boxes if isinstance(boxes, Path) else "COCO file", box_entries)

    pairs = tuple(
        ImagePair(
            name=file.stem,
            visible=file,
            infrared=infrared_files[partners[stem]],
            labels=labels_files[labels_of[stem]] if stem in labels_of else None,
            boxes=box_entries[boxes_of[stem]] if stem in boxes_of else None,
        )
        for stem, file in paired.items()
    )
    return PairMatch(
        pairs=pairs,
        visible_only=_without(visible_files, partners),
        infrared_only=_without(infrared_files, partners.values()),
        labels_only=_without(labels_files, labels_of.values()),
        boxes_only=_without(box_entries, boxes_of.values()),
    )


ArrayPair = tuple[NDArray[Any], NDArray[Any]]
"""A visible and an infrared image as arrays."""


def read_pair(visible: Path, infrared: Path) -> ArrayPair:
    """Read the two images of a pair, or both from one file of four channels.

    Args:
        visible: File of the visible image.
        infrared: File of the infrared image; the same file as `visible` where that holds four channels ([`read_rgbt`]).

    Returns:
        The visible image (H, W) or (H, W, 3) and the infrared image of the same height and width, as [`read_image`]
        returns them.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the sizes differ.
    """
    if visible == infrared:
        return read_rgbt(visible)
    images = read_image(visible), read_image(infrared)
    check_same_size({str(visible): images[0].shape[:2], str(infrared): images[1].shape[:2]})
    return images


def check_same_size(sizes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Return the height and width that all images of a pair share.

    Args:
        sizes: Height and width by the name of the file or column, which the message repeats.

    Raises:
        ValueError: If sizes differ.
    """
    (first, (height, width)), *others = sizes.items()
    for other, size in others:
        if size != (height, width):
            raise ValueError(
                f"{first} measures {width} x {height} pixels, but {other} {size[1]} x {size[0]} (width x height): the "
                "images of a pair must be aligned pixel by pixel; register and resize them first"
            )
    return height, width


def entry_name(entry: Path | NamedBoxes) -> str:
    """Names what has no partner, for messages."""
    return entry.name if isinstance(entry, Path) else entry.origin


def _files_by_stem(folder: Path, suffixes: tuple[str, ...], kind: str) -> dict[str, Path]:
    """Lists the files of a folder by case-folded stem, in natural order."""
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; a folder of {kind} is needed")
    files: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=_natural_order):
        if file.name.startswith(".") or file.suffix.lower() not in suffixes or not file.is_file():
            continue
        twin = files.setdefault(file.stem.casefold(), file)
        if twin is not file:
            raise ValueError(
                f"{twin.name} and {file.name} in {folder} have the same stem (case aside), which leaves open "
                "which of them belongs to a pair; remove or rename one"
            )
    if not files:
        raise ValueError(f"the folder {folder} holds no {kind}; looked for {', '.join(suffixes)}")
    return files


def _box_entries(boxes: Path | Mapping[str, NamedBoxes] | None) -> Mapping[str, Path | NamedBoxes]:
    if boxes is None:
        return {}
    if isinstance(boxes, Path):
        files = _files_by_stem(boxes, BOX_SUFFIXES, "box files")
        return {stem: file for stem, file in files.items() if file.name.lower() != CLASSES_FILE}
    return {stem.casefold(): entry for stem, entry in boxes.items()}


def _natural_order(file: Path) -> tuple[list[str | int], str]:
    """Sorts runs of digits by their number; the full name settles `1` against `01`."""
    parts = re.split(r"(\d+)", file.stem.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def _match(
    visible: Mapping[str, Path], others: Mapping[str, Path | NamedBoxes], words: tuple[str, ...]
) -> dict[str, str]:
    """Finds the stem of `others` that goes with each visible stem: the same one, or else the one without its words."""
    matched = {stem: stem for stem in visible if stem in others}
    visible_cores = _by_core(visible.keys() - matched.keys(), _VISIBLE_WORDS)
    other_cores = _by_core(others.keys() - matched.keys(), words)
    for core in visible_cores.keys() & other_cores.keys():
        firsts, seconds = visible_cores[core], other_cores[core]
        if len(firsts) > 1 or len(seconds) > 1:
            names = sorted(visible[stem].name for stem in firsts), sorted(entry_name(others[stem]) for stem in seconds)
            raise ValueError(
                f"it is open which files belong together: {' or '.join(names[0])} with {' or '.join(names[1])}, which differ "
                "in words such as vis and ir alone; give those that belong together the same name"
            )
        matched[firsts[0]] = seconds[0]
    return matched


def _by_core(stems: Iterable[str], words: tuple[str, ...]) -> dict[str, list[str]]:
    """Groups stems by what is left without the words at their beginning and end."""
    word = f"(?:{'|'.join(words)})"
    # A word ends where no letter follows: VIS1 begins with one, Vista does not.
    pattern = re.compile(rf"^(?:{word}(?![a-z])[\W_]*)+|(?:[\W_]*(?<![a-z]){word})+$")
    cores = defaultdict(list)
    for stem in stems:
        cores[pattern.sub("", stem)].append(stem)
    return cores


def _without(entries: Mapping[str, Entry], stems: Iterable[str]) -> tuple[Entry, ...]:
    taken = set(stems)
    return tuple(entry for stem, entry in entries.items() if stem not in taken)


def _nothing_in_common(
    first: Path, first_files: Mapping[str, Path], second: Path | str, second_entries: Mapping[str, Path | NamedBoxes]
) -> ValueError:
    entry = next(iter(second_entries.values()), None)
    example = entry_name(entry) if entry else "no file"
    return ValueError(
        f"no image in {first} has the stem of one in {second} (for example {next(iter(first_files.values())).name} and "
        f"{example}); files that belong together must have the same name up to the suffix and words such as vis and ir"
    )
