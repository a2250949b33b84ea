"""Match the files of visible/infrared pairs."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, TypeVar

from gffusion.utils.paths import texts_to_paths

from .boxes import BOX_SUFFIXES, NamedBoxes
from .file_names import (
    ANY,
    FUSED,
    FUSED_WORDS,
    INFRARED,
    INFRARED_OR_NEAR,
    NEAR_INFRARED,
    VISIBLE,
    Words,
    choose_widest,
    find_bands,
    find_core,
    find_named,
    find_zoomed,
    is_listed,
    match_known_names,
    match_shots,
    normalize_name,
)
from .folder_files import index_files, list_folder
from .io import IMAGE_SUFFIXES
from .mixed_folders import find_marked, leave_out_other_kind
from .other_files import describe_unread, find_several, find_unread

CLASSES_FILE = "classes.txt"
"""File of class names, one per line, that labelImg writes next to YOLO files."""

Entry = TypeVar("Entry")
Source = TypeVar("Source")


class NoMatchError(ValueError):
    """No two files match."""


@dataclass(frozen=True)
class ImagePair:
    """Files of one scene, as paths; texts become paths.

    Attributes:
        name: Stem of the visible file.
        visible: File of the visible image.
        infrared: File of the infrared image; the same as `visible` if that holds both (see [`read_pair`]).
        labels: File of the class index map, or None.
        boxes: YOLO or VOC file of the boxes, or the boxes from a COCO file, or None.
        is_from_csv: Whether the pair is from a CSV file of pairs.
    """

    name: str
    visible: Path
    infrared: Path
    labels: Path | None = None
    boxes: Path | NamedBoxes | None = None
    is_from_csv: bool = False

    if TYPE_CHECKING:

        def __init__(
            self,
            name: str,
            visible: str | Path,
            infrared: str | Path,
            labels: str | Path | None = None,
            boxes: str | Path | NamedBoxes | None = None,
            is_from_csv: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        texts_to_paths(self, "visible", "infrared", "labels", "boxes")


@dataclass(frozen=True)
class PairMatch:
    """Result of [`match_pairs`], with every list in natural order of the stems.

    Attributes:
        pairs: The pairs.
        visible_only: Visible images without an infrared image.
        infrared_only: Infrared images without a visible image.
        labels_only: Label maps without a pair.
        boxes_only: Box files without a pair.
        notes: What was assumed to match the files, one sentence each, for the user.
    """

    pairs: tuple[ImagePair, ...]
    visible_only: tuple[Path, ...]
    infrared_only: tuple[Path, ...]
    labels_only: tuple[Path, ...] = ()
    boxes_only: tuple[Path | NamedBoxes, ...] = ()
    notes: tuple[str, ...] = ()


def match_pairs(
    visible: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    infrared: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    labels: str | os.PathLike[str] | None = None,
    boxes: str | os.PathLike[str] | Mapping[str, NamedBoxes] | None = None,
    infrared_suffixes: tuple[str, ...] = (),
) -> PairMatch:
    """Match the images of two folders, or of one folder that holds both kinds, by stem.

    Stems are compared case-insensitively and in one Unicode form, and suffixes can differ: `Visible/0001.PNG` matches
    `infrared/0001.jpg`. The remaining stems are compared without usual words at their beginning or end:
    `FLIR_1_RGB.jpg` matches `FLIR_1.jpg`, `VIS1.png` matches `IR1.png`, `DJI_0001_W.jpg` matches `DJI_0001_T.jpg`, and
    `1_mask.png` matches either. `1_co.png` matches `1_ir.png`, and `v1.jpg` in the folder of visible images `i1.jpg`. Ignored are hidden files, folders, other suffixes, and images of the other kind that have one
    of the own kind beside them, such as `DJI_0001_T.JPG` beside `DJI_0001_V.JPG` in `visible`.

    In one folder, given twice, files with such words are matched. If there are none, every file must hold both images.
    A folder without images can have one sub-folder for each kind, such as `visible/` and `infrared/`.

    Args:
        visible: Folder of the visible images, or their files.
        infrared: Folder of the infrared images; the same as `visible` if that holds both. Or their files.
        labels: Folder of the label maps. Pairs without one get `labels=None`.
        boxes: Folder of YOLO or VOC files, or the boxes by stem from [`read_coco`]. Pairs without get `boxes=None`.
        infrared_suffixes: Suffixes of infrared files besides `IMAGE_SUFFIXES`.

    Returns:
        The pairs in natural order (`2` before `10`), and the files without a partner.

    Raises:
        FileNotFoundError, NotADirectoryError: If a folder does not exist or is a file.
        ValueError: If a folder or list contains no images, two files have the same stem, several files could match, or no stems
            match.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for file in ("visible/1_vis.png", "visible/2_vis.png", "infrared/1_ir.png"):
        ...         Path(root, file).parent.mkdir(exist_ok=True)
        ...         Path(root, file).touch()
        ...     match = match_pairs(f"{root}/visible", f"{root}/infrared")
        >>> [(pair.visible.name, pair.infrared.name) for pair in match.pairs], [file.name for file in match.visible_only]
        ([('1_vis.png', '1_ir.png')], ['2_vis.png'])
    """
    visible, infrared = _as_path(visible), _as_path(infrared)
    labels, boxes = _as_path(labels), _as_path(boxes)
    if _is_same_folder(visible, infrared):
        if (folders := find_subfolders(visible)) is not None:
            return match_pairs(*folders, labels, boxes, infrared_suffixes)
        visible_files, infrared_files, partners, notes = _match_one_folder(
            list_folder(visible, IMAGE_SUFFIXES, "images")
        )
    else:
        visible_files = list_folder(visible, IMAGE_SUFFIXES, "images")
        infrared_files = list_folder(infrared, IMAGE_SUFFIXES + infrared_suffixes, "images")
        visible_files, infrared_files, left_out = leave_out_other_kind(visible_files, infrared_files)
        partners, assumed = _find_partners(visible_files, infrared_files, INFRARED, INFRARED_OR_NEAR)
        notes = (*left_out, *assumed)
        listed = (
            ", or give a CSV file of pairs to `gffusion fuse`, `gffusion align`, `gffusion evaluate` or `gffusion train`, or two lists "
            "(@visible.txt @infrared.txt) to the first three; `gffusion match` writes the CSV file if names or EXIF data hold times"
        )
        _check_any_match(_describe(visible), visible_files, _describe(infrared), infrared_files, partners, listed)
    paired = {stem: file for stem, file in visible_files.items() if stem in partners}
    labels_files = list_folder(labels, IMAGE_SUFFIXES, "label maps") if labels is not None else {}
    labels_of = _match_others(_describe(visible), paired, str(labels), labels_files) if labels is not None else {}
    box_entries = _list_boxes(boxes)
    boxes_folder = str(boxes) if isinstance(boxes, Path) else "COCO file"
    boxes_of = _match_others(_describe(visible), paired, boxes_folder, box_entries) if boxes is not None else {}
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
    visible_only, infrared_only = _drop(visible_files, partners), _drop(infrared_files, partners.values())
    for folder, files in ((infrared, visible_only), (visible, infrared_only)):
        if unread := find_unread(folder, files) if isinstance(folder, Path) else []:
            notes += (describe_unread(unread),)
    return PairMatch(
        pairs=pairs,
        visible_only=visible_only,
        infrared_only=infrared_only,
        labels_only=_drop(labels_files, labels_of.values()),
        boxes_only=_drop(box_entries, boxes_of.values()),
        notes=notes,
    )


def match_results(visible: Sequence[Path], folder: Path, are_labels: bool = False) -> dict[str, Path]:
    """Return the fused image or predicted label map of each visible image that has one in a folder, by its stem.

    Stems match as in [`match_pairs`], and those of fused images also without words such as `fused` or `result`.

    Raises:
        FileNotFoundError, NotADirectoryError: If the folder does not exist or is a file.
        ValueError: If it contains no images, several files could match, or no stems match.
    """
    images, where = index_files(visible), str(visible[0].parent)
    if are_labels:
        results = list_folder(folder, IMAGE_SUFFIXES, "label maps")
        partners = _match_others(where, images, str(folder), results)
    else:
        results = list_folder(folder, IMAGE_SUFFIXES, "images")
        partners, _ = _find_partners(images, results, Words(FUSED_WORDS), INFRARED, INFRARED_OR_NEAR, FUSED)
        _check_any_match(where, images, str(folder), results, partners)
        _check_unique(visible, folder, results, partners)
    return {images[stem].stem: results[other] for stem, other in partners.items()}


def _check_unique(
    visible: Sequence[Path], folder: Path, results: Mapping[str, Path], partners: Mapping[str, str]
) -> None:
    """Raise ValueError if a fused image that matched none could be that of a visible image that has one."""
    claimed = {core: other for stem, other in partners.items() for core in (other, find_core(stem, VISIBLE))}
    cores = {stem: find_core(stem, Words(FUSED_WORDS)) for stem in sorted(results.keys() - partners.values())}
    rivals = {stem: claimed[core] for stem, core in cores.items() if core != stem and core in claimed}
    for stem in sorted(rivals.keys() - _list_stems_beside(visible, folder)) if rivals else ():
        raise ValueError(
            f"{results[rivals[stem]].name} and {results[stem].name} in {folder} could both be the same fused image: move one of "
            "them to another folder"
        )


def _list_stems_beside(visible: Sequence[Path], results: Path) -> set[str]:
    """Return the stems of the files in the folders of visible images, except in that of the results."""
    folders = [folder for folder in {file.parent for file in visible} if not folder.samefile(results)]
    files = (file for folder in folders for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    return {normalize_name(file.stem) for file in files if file.is_file()}


def find_subfolders(root: Path) -> tuple[Path, Path] | None:
    """Return the folders of visible and of infrared images in a folder without images, or None if names do not tell them.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("可见光", "红外", "labels"):
        ...         Path(root, name).mkdir()
        ...     [folder.name for folder in find_subfolders(Path(root))]
        ['可见光', '红外']
    """
    if any(is_listed(child, IMAGE_SUFFIXES) for child in root.iterdir()):
        return None
    visible, infrared = find_named(root, VISIBLE), find_named(root, INFRARED_OR_NEAR)
    return (visible, infrared) if visible and infrared else None


def describe_entry(entry: Path | NamedBoxes) -> str:
    """Return the name of an entry without a partner, for messages."""
    return entry.name if isinstance(entry, Path) else entry.origin


def _as_path(source: str | os.PathLike[str] | Source) -> Path | Source:
    return Path(source) if isinstance(source, str | os.PathLike) else source


def _is_same_folder(visible: object, infrared: object) -> TypeGuard[Path]:
    if not isinstance(visible, Path) or not isinstance(infrared, Path):
        return False
    return visible.is_dir() and infrared.is_dir() and visible.samefile(infrared)


def _describe(source: object) -> str:
    return str(source) if isinstance(source, Path) else "the given files"


def _list_boxes(boxes: Path | Mapping[str, NamedBoxes] | None) -> Mapping[str, Path | NamedBoxes]:
    if boxes is None:
        return {}
    if not isinstance(boxes, Path):
        return {normalize_name(stem): entry for stem, entry in boxes.items()}
    files = list_folder(boxes, BOX_SUFFIXES, "box files")
    return {stem: file for stem, file in files.items() if file.name.lower() != CLASSES_FILE}


def _match_one_folder(
    files: Mapping[str, Path],
) -> tuple[Mapping[str, Path], Mapping[str, Path], dict[str, str], tuple[str, ...]]:
    """Return the visible files, the infrared files, the partners and notes for a folder that holds both kinds."""

    def pick(stems: Set[str]) -> dict[str, Path]:
        return {stem: file for stem, file in files.items() if stem in stems}

    visible, infrared = find_marked(files.keys())
    plain = files.keys() - visible - infrared
    partners, notes = _find_partners(pick(visible), pick(infrared), INFRARED, INFRARED_OR_NEAR)
    # Cameras may mark only one of the two: FLIR_1_RGB.jpg and FLIR_1.jpg, IMG_1.jpg and IMG_1_T.jpg.
    for firsts, seconds in ((visible, plain), (plain, infrared)):
        left = pick(firsts - partners.keys()), pick(seconds - set(partners.values()))
        partners |= _find_partners(*left, INFRARED, INFRARED_OR_NEAR)[0]
    if not partners:
        return files, files, {stem: stem for stem in files}, ()
    alone = plain - partners.keys() - set(partners.values())  # must hold both images
    partners |= {stem: stem for stem in alone}
    return pick(visible | alone | partners.keys()), pick(infrared | set(partners.values())), partners, notes


def _match_others(
    folder: str, visible: Mapping[str, Path], other_folder: str, others: Mapping[str, Path | NamedBoxes]
) -> dict[str, str]:
    """Return the stem of the label map or boxes of each visible stem."""
    partners, _ = _find_partners(visible, others, ANY)
    if not partners and (several := find_several(visible, others)):
        first, second, *_ = (describe_entry(others[stem]) for stem in several)
        raise NoMatchError(
            f"{other_folder} has several files for each image, such as {first} and {second}: if they hold one class or object each, "
            "merge them into one file with the name of the image. A label map has a class id for each pixel"
        )
    _check_any_match(folder, visible, other_folder, others, partners)
    return partners


def _find_partners(
    visible: Mapping[str, Path], others: Mapping[str, Path | NamedBoxes], *kinds: Words
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the matching stem of `others` for each visible stem, and notes.

    Stems match if they are equal, or else if they are equal without words, those of the first kind before the others. Images of
    near infrared do not take the place of thermal ones that are missing.
    """
    matched = {stem: stem for stem in visible if stem in others}
    bands, zoomed = find_bands(others.keys()), find_zoomed(visible)
    wide_first = "of several visible images of a shot, that of the wide camera is used (_W before _V and _Z)"
    notes = [wide_first] if zoomed - matched.keys() else []
    # Of names such as IR_1_NIR, that of the band counts.
    if any(find_core(stem, INFRARED) != stem == find_core(stem, NEAR_INFRARED) for stem in others.keys() - bands):
        kinds = tuple(kind for kind in kinds if kind is not INFRARED_OR_NEAR)
    for kind in kinds:
        visible_cores = _group_by_core(visible.keys() - matched.keys() - zoomed, VISIBLE)
        other_cores = _group_by_core(others.keys() - set(matched.values()) - bands, kind)
        for core in visible_cores.keys() & other_cores.keys():
            firsts, seconds = visible_cores[core], _drop_8_bits(other_cores[core])
            first = firsts[0] if len(firsts) == 1 else choose_widest(firsts)
            if first is None or len(seconds) > 1:
                names = (
                    sorted(visible[stem].name for stem in firsts),
                    sorted(describe_entry(others[stem]) for stem in seconds),
                )
                raise ValueError(
                    f"ambiguous match: {' or '.join(names[0])} with {' or '.join(names[1])} differ only in words such as vis and ir; "
                    "give the files of a pair the same name"
                )
            matched[first] = seconds[0]
            if len(firsts) > 1:
                notes.append(wide_first)
    left = visible.keys() - matched.keys() - zoomed, others.keys() - set(matched.values()) - bands
    matched |= match_known_names(*left, are_results=kinds[-1] in (ANY, FUSED))
    if ANY not in kinds and (shots := match_shots(*left)):
        matched |= shots
        notes.append("files were matched whose numbers or time stamps differ by one shot of the camera")
    return matched, tuple(dict.fromkeys(notes))


def _check_any_match(
    folder: str,
    visible: Mapping[str, Path],
    other_folder: str,
    others: Mapping[str, Path | NamedBoxes],
    matched: Mapping[str, str],
    alternative: str = "",
) -> None:
    if matched:
        return
    unread = find_unread(Path(other_folder), visible.values()) if Path(other_folder).is_dir() else []
    advice = f"; {describe_unread(unread)}" if unread else ""
    raise NoMatchError(
        f"no image in {folder} has the stem of one in {other_folder} (for example {next(iter(visible.values())).name} and "
        f"{next(map(describe_entry, others.values()), 'no file')}); the files of a pair must have the same name, except for suffix "
        f"and words such as vis and ir: rename them{alternative}{advice}"
    )


def _group_by_core(stems: Iterable[str], kind: Words) -> dict[str, list[str]]:
    """Group stems by their core: what is left without words at the beginning and end."""
    cores = defaultdict(list)
    for stem in stems:
        cores[find_core(stem, kind)].append(stem)
    return cores


def _drop_8_bits(stems: list[str]) -> list[str]:
    """Return the files of a shot without the 8-bit form (`_8b`) of a radiometric image that is among them."""
    return [stem for stem in stems if not stem.endswith("_8b")] or stems


def _drop(entries: Mapping[str, Entry], stems: Iterable[str]) -> tuple[Entry, ...]:
    taken = set(stems)
    return tuple(entry for stem, entry in entries.items() if stem not in taken)
