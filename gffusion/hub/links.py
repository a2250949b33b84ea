"""Symbolic links in the folders of models, which strangers can have made, and which can lead to private files."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]


def leads_outside(file: Path, folder: Path) -> bool:
    """Return whether a file in the folder of a model is, by a link, one outside of it.

    The links of the Hub cache lead to its own files, and installers such as uv can install a package as links.

    Examples:
        >>> leads_outside(Path("model/config.json"), Path("model"))
        False
    """
    if not file.is_file() or _PACKAGE in folder.absolute().parents:
        return False
    target = file.resolve()
    return not any(target.is_relative_to(place) for place in (folder.resolve(), locate_blobs(folder)) if place)


def locate_blobs(folder: Path) -> Path | None:
    """Return where the Hub cache has the files of a snapshot, or of a folder in it, or `None` for other folders.

    Examples:
        >>> locate_blobs(Path("/hub/models--lab--net/snapshots/1a2b")).name
        'blobs'
    """
    place = folder.resolve()
    snapshots = next((parent for parent in place.parents if parent.name == "snapshots"), None)
    return snapshots and snapshots.parent / "blobs"


def omit_outside(names: Iterable[str], folder: str | os.PathLike[str]) -> list[str]:
    """Return the names of files without those that lead outside of their folder, each with a warning."""
    kept = []
    for name in names:
        file = Path(folder, name)
        if leads_outside(file, Path(folder)):
            logger.warning(
                "Left out: %s leads by a symbolic link to %s, outside of the model's folder. To include it, replace the link by "
                "the file.",
                file,
                file.resolve(),
            )
        else:
            kept.append(name)
    return kept
