"""Symbolic links in the folders of models, which strangers can have made, and which can lead to private files."""

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

logger = logging.getLogger(__name__)

_PACKAGE = Path(__file__).parents[1]
_MARKER = ".huggingface-shared-blobs"


def leads_outside(file: Path, folder: Path) -> bool:
    """Return whether a file in the folder of a model is a link to one outside of the folder.

    The links of the Hub cache lead to its own files, and installers such as uv can install a package as links.

    Examples:
        >>> leads_outside(Path("model/config.json"), Path("model"))
        False
    """
    if not file.is_file() or _PACKAGE in folder.absolute().parents:
        return False
    target, places = file.resolve(), (folder.resolve(), locate_blobs(folder), find_shared(file, folder))
    return not any(target.is_relative_to(place) for place in places if place)


def locate_blobs(folder: Path) -> Path | None:
    """Return where the Hub cache has the files of a snapshot, or of a folder in it, or `None` for other folders.

    Examples:
        >>> locate_blobs(Path("/hub/models--lab--net/snapshots/1a2b")).name
        'blobs'
    """
    place = folder.resolve()
    snapshots = next((parent for parent in place.parents if parent.name == "snapshots"), None)
    return snapshots and snapshots.parent / "blobs"


def find_shared(file: Path, folder: Path) -> Path | None:
    """Return the file in the shared store of the Hub cache that a file of a snapshot leads to, or `None` if there is none.

    The client moves files of Xet storage to `blobs/1a/1a2b...` next to the repositories, and leaves links to them in the
    `blobs` of the repositories. The names in the store are hashes of Xet, not those that the Hub announced.

    Examples:
        >>> find_shared(Path("model/config.json"), Path("model"))
    """
    blobs = locate_blobs(folder)
    if not blobs or not file.is_symlink() or Path(file.parent, os.readlink(file)).parent.resolve() != blobs:
        return None
    store, target = blobs.parent.parent / "blobs", file.resolve()
    is_named = re.fullmatch(r"[0-9a-f]{64}", target.name) and target.parent == store / target.name[:2]
    return target if is_named and (store / _MARKER).is_file() else None


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
