"""Finds the visible/infrared(/labels) files that belong together."""

import re
from dataclasses import dataclass
from pathlib import Path

from .io import IMAGE_SUFFIXES


@dataclass(frozen=True)
class ImagePair:
    """The files of one scene.

    Attributes:
        name: Stem of the visible file.
        visible: The visible image.
        infrared: The infrared image.
        labels: The class index map, where there is one.
    """

    name: str
    visible: Path
    infrared: Path
    labels: Path | None = None


@dataclass(frozen=True)
class PairMatch:
    """What `match_pairs` found; every list is in natural order of the stems.

    Attributes:
        pairs: The pairs.
        visible_only: Visible images without an infrared one.
        infrared_only: Infrared images without a visible one.
        labels_only: Label maps without a pair.
    """

    pairs: tuple[ImagePair, ...]
    visible_only: tuple[Path, ...]
    infrared_only: tuple[Path, ...]
    labels_only: tuple[Path, ...] = ()


def match_pairs(visible: Path, infrared: Path, labels: Path | None = None) -> PairMatch:
    """Matches the images of two folders by stem.

    Stems are compared without regard to case and suffixes may differ: `Visible/0001.PNG` goes with `infrared/0001.jpg`.
    Hidden files, folders and files without a suffix of `IMAGE_SUFFIXES` are passed over.

    Args:
        visible: Folder of the visible images.
        infrared: Folder of the infrared images.
        labels: Folder of the label maps. A pair without a map gets `labels=None`.

    Returns:
        The pairs in natural order (`2` before `10`), and the files that have no partner.

    Raises:
        FileNotFoundError: If a folder does not exist.
        NotADirectoryError: If a folder is a file.
        ValueError: If a folder holds no images or two of one stem, or the folders have no stem in common.
    """
    visible_files = _images_by_stem(visible)
    infrared_files = _images_by_stem(infrared)
    labels_files = _images_by_stem(labels) if labels is not None else {}
    common = visible_files.keys() & infrared_files.keys()
    if not common:
        raise _nothing_in_common(visible, visible_files, infrared, infrared_files)
    if labels is not None and common.isdisjoint(labels_files):
        raise _nothing_in_common(visible, visible_files, labels, labels_files)

    pairs = tuple(
        ImagePair(file.stem, file, infrared_files[stem], labels_files.get(stem))
        for stem, file in visible_files.items()
        if stem in common
    )
    return PairMatch(
        pairs=pairs,
        visible_only=_without(visible_files, common),
        infrared_only=_without(infrared_files, common),
        labels_only=_without(labels_files, common),
    )


def _images_by_stem(folder: Path) -> dict[str, Path]:
    """Lists the images of a folder by case-folded stem, in natural order."""
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; a folder of images is needed")
    images: dict[str, Path] = {}
    for file in sorted(folder.iterdir(), key=_natural_order):
        if file.name.startswith(".") or file.suffix.lower() not in IMAGE_SUFFIXES or not file.is_file():
            continue
        twin = images.setdefault(file.stem.casefold(), file)
        if twin is not file:
            raise ValueError(
                f"{twin.name} and {file.name} in {folder} have the same stem (case aside), which leaves open "
                "which of them belongs to a pair; remove or rename one"
            )
    if not images:
        raise ValueError(f"the folder {folder} holds no images; looked for {', '.join(IMAGE_SUFFIXES)}")
    return images


def _natural_order(file: Path) -> tuple[list[str | int], str]:
    """Sorts runs of digits by their number; the full name settles `1` against `01`."""
    parts = re.split(r"(\d+)", file.stem.casefold())
    return [int(part) if part.isdecimal() else part for part in parts], file.name


def _without(files: dict[str, Path], stems: set[str]) -> tuple[Path, ...]:
    return tuple(file for stem, file in files.items() if stem not in stems)


def _nothing_in_common(
    first: Path, first_files: dict[str, Path], second: Path, second_files: dict[str, Path]
) -> ValueError:
    first_example, second_example = (next(iter(files.values())).name for files in (first_files, second_files))
    return ValueError(
        f"no image in {first} has the stem of one in {second} (for example {first_example} and {second_example}); "
        "files that belong together must have the same name up to the suffix"
    )
