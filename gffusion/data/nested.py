"""Match the files of folders whose images lie in sub-folders, such as `visible/day1/0.png` and `infrared/day1/0.png`."""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from gffusion.utils.notes import name_first

from .file_names import is_listed, natural_key, normalize_name
from .folder_files import list_folder
from .io import IMAGE_SUFFIXES
from .pairs import NoMatchError, PairMatch, find_subfolders, match_pairs

logger = logging.getLogger(__name__)

_Root: TypeAlias = tuple[Path, tuple[str, ...], Mapping[str, Path]]  # with suffixes, and folders as from `_index`


def match_nested(
    visible: Path, infrared: Path, infrared_suffixes: tuple[str, ...] = (), ignored: Sequence[Path] = ()
) -> PairMatch:
    """Match the images of two folders as [`match_pairs`], or those of equal sub-folders if both hold images only there.

    Sub-folders match by their path, case-insensitively. Names of pairs have it: `day1/0`. One folder, given twice, can hold both folders.

    Args:
        visible: Folder of the visible images.
        infrared: Folder of the infrared images.
        infrared_suffixes: Suffixes of infrared files besides `IMAGE_SUFFIXES`.
        ignored: Folders that are not searched, such as that of the output, unless both folders hold them.

    Raises:
        OSError, ValueError: As [`match_pairs`], or if sub-folders differ only in case.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for file in ("visible/day1/0.png", "visible/day2/0.png", "infrared/day1/0.png", "infrared/day2/0.jpg"):
        ...         Path(root, file).parent.mkdir(parents=True, exist_ok=True)
        ...         Path(root, file).touch()
        ...     [pair.name for pair in match_nested(Path(root, "visible"), Path(root, "infrared")).pairs]
        ['day1/0', 'day2/0']
    """
    suffixes = IMAGE_SUFFIXES + infrared_suffixes
    if visible.is_dir() and infrared.is_dir() and visible.samefile(infrared):
        visible, infrared = find_subfolders(visible) or (visible, infrared)
    if (
        not (visible.is_dir() and infrared.is_dir())
        or visible.samefile(infrared)
        or (_hold_image(visible.iterdir(), IMAGE_SUFFIXES) and _hold_image(infrared.iterdir(), suffixes))
    ):
        return match_pairs(visible, infrared, infrared_suffixes=infrared_suffixes)
    ignored = [
        folder
        for folder in ignored
        if not (_is_shared(folder, visible, infrared) or _is_shared(folder, infrared, visible))
    ]
    firsts, seconds = _index(visible, IMAGE_SUFFIXES, ignored), _index(infrared, suffixes, ignored)
    _check_levels((visible, IMAGE_SUFFIXES, firsts), (infrared, suffixes, seconds), ignored)
    parts = [
        _match_part(visible, folder, seconds[name], infrared_suffixes)
        for name, folder in firsts.items()
        if name in seconds
    ]
    alone = [
        [other[name] for name in other if name not in others]
        for other, others in ((firsts, seconds), (seconds, firsts))
    ]
    pairs = tuple(pair for part in parts for pair in part.pairs)
    if not pairs and parts:
        raise NoMatchError(parts[0].notes[0])
    if not pairs:
        raise ValueError(
            f"no sub-folder of {visible} has the name of one of {infrared} (for example {next(iter(firsts.values()))} and "
            f"{next(iter(seconds.values()))}): the sub-folders of a pair must have the same name, too"
        )
    notes = [note for part in parts for note in part.notes]
    notes += _note_alone(alone[0], visible, infrared) + _note_alone(alone[1], infrared, visible)
    return PairMatch(
        pairs,
        tuple(file for part in parts for file in part.visible_only) + _list_all(alone[0], IMAGE_SUFFIXES),
        tuple(file for part in parts for file in part.infrared_only) + _list_all(alone[1], suffixes),
        notes=tuple(dict.fromkeys(notes)),
    )


def _note_alone(folders: Sequence[Path], root: Path, other: Path) -> list[str]:
    """Return a note on the sub-folders of a folder that have no partner, if there are any."""
    if len(folders) < 2:
        return [f"no sub-folder of {other} matches {folder}" for folder in folders]
    return [f"no sub-folder of {other} matches {len(folders)} sub-folders of {root}: {name_first(folders)}"]


def list_nested(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Return the folders with files of these suffixes, which are the folder itself or, if it has none, sub-folders.

    Hidden folders are left out, and links to folders that are read anyway, such as those that go in circles.
    """
    return (
        [folder] if _hold_image(folder.iterdir(), suffixes) else list(_index(folder, suffixes, ()).values()) or [folder]
    )


def _check_levels(first: _Root, second: _Root, ignored: Sequence[Path]) -> None:
    """Raise ValueError if one of two folders holds no images, or images of its own, beside or instead of sub-folders."""
    for root, suffixes, folders in (first, second):
        if not folders:
            fullest, _ = max(_walk(root, ignored), key=lambda found: len(found[1]))
            list_folder(fullest, suffixes, "images")  # raises, with advice on the files that are there
    for (root, suffixes, folders), (other, other_suffixes, _) in ((first, second), (second, first)):
        if "." not in folders:
            continue
        if len(folders) == 1:
            list_folder(other, other_suffixes, "images")  # raises, and names the sub-folders
        raise ValueError(
            f"{root} holds images beside its sub-folders ({name_first([file.name for file in _list_all([root], suffixes)])}), but "
            f"{other} holds images only in sub-folders: move those beside the sub-folders away, or give one sub-folder of each"
        )


def _match_part(root: Path, visible: Path, infrared: Path, infrared_suffixes: tuple[str, ...]) -> PairMatch:
    """Match the images of two sub-folders. If none match, the note says so."""
    try:
        match = match_pairs(visible, infrared, infrared_suffixes=infrared_suffixes)
    except NoMatchError as error:
        alone = _list_all([visible], IMAGE_SUFFIXES), _list_all([infrared], IMAGE_SUFFIXES + infrared_suffixes)
        return PairMatch((), *alone, notes=(str(error),))
    folder = visible.relative_to(root).as_posix()
    return replace(match, pairs=tuple(replace(pair, name=f"{folder}/{pair.name}") for pair in match.pairs))


def _is_shared(folder: Path, root: Path, other: Path) -> bool:
    """Return whether a folder lies in the root, and the other root has one of the same path."""
    real, top = folder.resolve(), root.resolve()
    return real.is_relative_to(top) and (other / real.relative_to(top)).is_dir()


def _index(root: Path, suffixes: tuple[str, ...], ignored: Sequence[Path]) -> Mapping[str, Path]:
    """Return the folders that hold images by their path below the root without case, in natural order."""
    found: dict[str, Path] = {}
    folders = [folder for folder, files in _walk(root, ignored) if _hold_image(map(folder.joinpath, files), suffixes)]
    for folder in sorted(folders, key=lambda path: [natural_key(Path(part)) for part in path.relative_to(root).parts]):
        twin = found.setdefault(normalize_name(folder.relative_to(root).as_posix()), folder)
        if twin is not folder:
            raise ValueError(f"the folders {twin} and {folder} differ only in case: rename one")
    return found


def _walk(root: Path, ignored: Sequence[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Yield a folder and all below it that are not hidden, with their files, each once: links after folders that are no links."""
    seen = {folder.resolve() for folder in ignored}
    starts = deque([root])
    while starts:
        for path, folders, files in os.walk(starts.popleft(), onerror=_warn):
            folder = Path(path)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if (real := folder.resolve()) in seen:
                folders.clear()
                continue
            seen.add(real)
            starts += [link for link in map(folder.joinpath, folders) if link.is_symlink()]  # `os.walk` leaves them out
            yield folder, files


def _warn(error: OSError) -> None:
    logger.warning("%s cannot be read and is left out: %s", error.filename, error.strerror)


def _hold_image(files: Iterable[Path], suffixes: tuple[str, ...]) -> bool:
    return any(is_listed(file, suffixes) for file in files)


def _list_all(folders: list[Path], suffixes: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(
        file for folder in folders for file in sorted(folder.iterdir(), key=natural_key) if is_listed(file, suffixes)
    )
