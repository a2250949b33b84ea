"""List the files of a folder by their stems."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gffusion.utils.notes import format_count

from .file_names import is_listed, natural_key, normalize_name
from .other_files import describe_others


class EmptyFolderError(ValueError):
    """A folder has no files of the expected kind."""


def index_files(files: Iterable[Path]) -> dict[str, Path]:
    """Return files by case-folded stem, in natural order."""
    found: dict[str, Path] = {}
    twins: list[tuple[Path, Path]] = []
    for file in sorted(files, key=natural_key):
        twin = found.setdefault(normalize_name(file.stem), file)
        if twin is not file:
            twins.append((twin, file))
    if twins:  # names of pairs, results and rows of tables are stems, so that one of the two would be lost
        twice = [file for twin, file in twins if os.path.abspath(twin) == os.path.abspath(file)]
        if repeated := {os.path.abspath(file): file for file in twice}:
            others = f", like {format_count(len(repeated) - 1, 'other file')}" if len(repeated) > 1 else ""
            raise ValueError(f"{next(iter(repeated.values()))} is listed twice{others}: list each file once")
        twin, file = twins[0]
        where = f" in {file.parent}" if twin.parent == file.parent else ""
        names = (twin.name, file.name) if where else (twin, file)
        more = f", and so have {len(twins) - 1} more" if len(twins) > 1 else ""
        advice = "" if where else ", give each folder alone, or a CSV file of pairs with the column name"
        raise ValueError(
            f"{names[0]} and {names[1]}{where} have the same stem (ignoring case){more}; remove or rename one{advice}"
        )
    return found


def _check_given(files: Any, kind: str) -> list[Path]:
    """Return given files as paths; raise ValueError if they are none, or other things."""
    if not isinstance(files, Iterable):
        raise ValueError(f"expected a folder of {kind}, or a list of their files, got {files!r:.200}")
    given = list(files)
    if not given:
        raise ValueError(f"the list of {kind} is empty: give a folder, or at least one file")
    for file in given:
        if not isinstance(file, Path | str | os.PathLike):
            raise ValueError(f"a list of {kind} must hold paths, got a {type(file).__name__}")
    return [Path(file) for file in given]


def list_folder(
    folder: Path | Sequence[str | os.PathLike[str]], suffixes: tuple[str, ...], kind: str
) -> dict[str, Path]:
    """Return the files of a folder, or given files, by case-folded stem, in natural order."""
    if not isinstance(folder, Path):
        return index_files(_check_given(folder, kind))
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; pass a folder of {kind}")
    files = index_files(file for file in folder.iterdir() if is_listed(file, suffixes))
    if not files:
        advice = describe_others(folder, suffixes, kind)
        raise EmptyFolderError(f"the folder {folder} holds no {kind}; looked for {', '.join(suffixes)}{advice}")
    return files
