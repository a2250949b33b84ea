"""Folder and split handling shared by all layouts."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from gffusion.data.boxes import BOX_SUFFIXES, has_class_names
from gffusion.data.class_names import check_class_names, check_typed_names, read_lines, read_unchecked_names
from gffusion.data.file_names import Words, find_named, normalize_class_name, normalize_name
from gffusion.data.io import IMAGE_SUFFIXES
from gffusion.data.pairs import CLASSES_FILE, ImagePair, PairMatch, match_pairs
from gffusion.utils.notes import name_first

logger = logging.getLogger(__name__)

_SPLITS = ("train", "training", "trainval", "val", "valid", "validation", "dev", "test", "testing")
_LAYOUTS_OF_SPLIT_FOLDERS = ("folders", "msrs", "fmb")  # those of find_split


OWN_NAMES = (
    "Folders and files of any names: give a CSV file of pairs with the columns visible and infrared instead of the folder; gffusion "
    "fuse also takes two folders, and FusionDataset.from_dataset a list of dicts of paths"
)


@dataclass(frozen=True)
class FoundPairs:
    """Pairs and class names of a dataset.

    Attributes:
        match: The pairs, and the files without a partner.
        class_names: Names of the classes of boxes, and of label maps after the background: box class k is label k + 1.
        labels: Folder from which label maps are read, also if it does not exist; `None` for datasets without boxes.
        names_file: File that names the classes; its names are not checked.
    """

    match: PairMatch
    class_names: tuple[str, ...] | None = None
    labels: Path | None = None
    names_file: Path | None = None

    @property
    def pairs(self) -> tuple[ImagePair, ...]:
        """The pairs."""
        return self.match.pairs

    @property
    def are_names_listed(self) -> bool:
        """Whether a person listed the class names; those of COCO files and of known datasets are not."""
        return self.names_file is not None and self.names_file.suffix.lower() != ".json"

    def check_class_names(self) -> tuple[str, ...] | None:
        """Return the class names if they can be used.

        Raises:
            ValueError: As [`check_class_names`].
        """
        if self.class_names is None or self.names_file is None:
            return self.class_names
        source, of_labels = str(self.names_file), any(pair.labels is not None for pair in self.pairs)
        try:
            if self.are_names_listed:
                return check_typed_names(self.class_names, source, of_labels)
            return check_class_names(self.class_names, source)
        except ValueError as error:
            raise ValueError(f"{error}; or name the classes with `class_names`") from None

    def find_moved_names(self, class_names: Sequence[str]) -> str | None:
        """Return a note if `class_names` give another number to a known class, and files hold numbers, or `None`."""
        known, given = ([*map(normalize_class_name, names)] for names in (self.class_names or (), class_names))
        moved = [name for name in given if name in known and given.index(name) != known.index(name)]
        has_numbers = any(
            pair.labels or (isinstance(pair.boxes, Path) and not has_class_names(pair.boxes)) for pair in self.pairs[:1]
        )
        if not moved or not has_numbers:
            return None
        return (
            f"{self.names_file or 'the dataset'} names the classes {', '.join(self.class_names or ())}, but `class_names` "
            f"gives {', '.join(class_names)}: labels and YOLO boxes hold numbers, so {moved[0]} would be another class than before. Keep "
            "the order, unless it was wrong"
        )

    def find_other_names(self, root: Path) -> str | None:
        """Return a note if a list of classes in the folder of a known dataset, which is not read, names others, or `None`."""
        if self.names_file is not None or not self.class_names:
            return None
        for file in (root / CLASSES_FILE, *(pair.visible.parents[1] / CLASSES_FILE for pair in self.pairs[:1])):
            names = read_unchecked_names(file, of_boxes=False) if file.is_file() else self.class_names
            if [*map(normalize_class_name, names)] != [*map(normalize_class_name, self.class_names)]:
                folders = {normalize_name(pair.labels.parent.name) for pair in self.pairs if pair.labels is not None}
                rename = "" if folders == {"labels"} else "rename the folder of label maps to labels and "
                return (
                    f"{file} is not read: label maps have the classes of the dataset, {', '.join(self.class_names)}. If the data are your "
                    f"own, name the classes with `class_names`, or {rename}leave the layout out"
                )
        return None

    def find_assumed_numbers(self) -> str | None:
        """Return a note if the numbers in label maps are taken from a COCO file, which was perhaps not made with them, or `None`."""
        if self.names_file is None or self.are_names_listed:
            return None
        classes = [f"{label} {name}" for label, name in enumerate(("background", *(self.class_names or ())))]
        return (
            f"label maps are read as {name_first(classes, 10)}, in the order of the categories of {self.names_file}: if they have other "
            f"numbers, list the classes after the background in their order in {CLASSES_FILE}"
        )


def match_folders(
    root: Path,
    layout: str,
    visible: Iterable[str],
    infrared: Iterable[str],
    labels: Iterable[str] = (),
    boxes: Iterable[str] = (),
) -> PairMatch:
    """Match the pairs of the first existing folder of each list of names; labels and boxes are optional."""
    return match_pairs(
        require_folder(root, layout, *visible),
        require_folder(root, layout, *infrared),
        find_folder(root, *labels),
        find_folder(root, *boxes),
    )


def find_folder(root: Path, *names: str, kind: Words | None = None) -> Path | None:
    """Return the first existing folder of `names`, compared case-insensitively; an exact match takes precedence.

    If there is none, the only one with words of a kind in its name is returned.
    """
    folders = sorted(child for child in root.iterdir() if child.is_dir())
    for name in names:
        alike = [folder for folder in folders if normalize_name(folder.name) == normalize_name(name)]
        if alike:
            return next((folder for folder in alike if folder.name == name), alike[0])
    return None if kind is None else find_named(root, kind)


def require_folder(root: Path, layout: str, *names: str, kind: Words | None = None) -> Path:
    """Return what [`find_folder`] finds; raise FileNotFoundError if there is none."""
    folder = find_folder(root, *names, kind=kind)
    if folder is None:
        found = sorted(child.name for child in root.iterdir() if child.is_dir())
        advice = "choose another layout or split" + (f", or rename the folders. {OWN_NAMES}" if kind else "")
        inside = [name for name in found if find_folder(root / name, *names, kind=kind)]
        if inside and kind:
            advice = f"give a folder in it, such as {root / inside[0]}; trainings and FusionDataset take several"
        splits = [name for name in inside if normalize_name(name) in _SPLITS]
        if splits and layout in _LAYOUTS_OF_SPLIT_FOLDERS:
            advice = (
                f"choose one of the splits {', '.join(splits)} with split= (--split; train --train_split, --eval_split)"
            )
        if normalize_name(root.name) in map(normalize_name, names):
            advice = "give its parent folder"
        raise FileNotFoundError(
            f"the layout {layout!r} needs a folder {' or '.join(names)} in {root}, which contains "
            f"{'the folders ' + ', '.join(found) if found else 'no folders'}; {advice}"
        )
    return folder


def find_split(root: Path, split: str | None, layout: str) -> Path:
    """Return the folder of a split, or `root` if no split is chosen."""
    return root if split is None else require_folder(root, layout, split)


def select_split(root: Path, split: str | None, match: PairMatch) -> PairMatch:
    """Keep the pairs that `root/SPLIT.txt` or `root/meta/SPLIT.txt` lists, and report listed names without a pair.

    Raises:
        FileNotFoundError: If neither file exists.
        ValueError: If the file is not UTF-8 text, or lists no pair.
    """
    if split is None:
        return match
    lists = [root / f"{split}.txt", root / "meta" / f"{split}.txt"]
    file = next((file for file in lists if file.is_file()), None)
    if file is None:
        raise FileNotFoundError(f"the split {split!r} has no list of files; looked for {' and '.join(map(str, lists))}")
    stems = {_get_stem(line.replace("\\", "/")) for line in read_lines(file)}  # lists written on Windows
    pairs = tuple(pair for pair in match.pairs if normalize_name(pair.name) in stems)
    if not pairs:
        raise ValueError(f"{file} lists no image of {root}")
    if missing := sorted(stems - {normalize_name(pair.name) for pair in pairs}):
        logger.warning("%s: %s", file, count_names(missing, "names without a pair"))
    unmatched: dict[str, Any] = {
        name: tuple(file for file in getattr(match, name) if isinstance(file, Path) and _get_stem(file.name) in stems)
        for name in ("visible_only", "infrared_only", "labels_only", "boxes_only")
    }
    return replace(match, pairs=pairs, **unmatched)


def count_names(names: Sequence[str], kind: str) -> str:
    """Return the number of names and the first three, for messages."""
    return f"{len(names)} {kind} ({name_first(names)})"


def _get_stem(name: str) -> str:
    path = PurePosixPath(normalize_name(name))
    return path.stem if path.suffix in IMAGE_SUFFIXES + BOX_SUFFIXES else path.name
