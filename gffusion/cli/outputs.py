"""Outputs: refuse folders that are probably misspelled and files that must not be replaced, and leave no empty folders behind."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from gffusion.utils.atomic import replace_file


def check_parent(path: Path, option: str) -> None:
    """Raise OSError if more than the output and its folder would have to be created, or something in the way is no folder.

    Examples:
        >>> check_parent(Path("runs", "fused"), "--output")
        >>> check_parent(Path("rnus", "night", "fused"), "--output")
        Traceback (most recent call last):
            ...
        FileNotFoundError: --output rnus/night/fused: the folder rnus does not exist; the nearest folder that does is ...
    """
    if not path.suffix and os.path.exists(path) and not (path.is_dir() or path.is_file()):
        raise OSError(f"{option} {path} is a device, a pipe or a socket: give a file or folder")
    for folder in path.parents:
        if os.path.exists(folder) and not folder.is_dir():
            raise NotADirectoryError(f"{option} {path}: {folder} is no folder: give another file or folder")
    if not path.absolute().parent.parent.is_dir():
        nearest = next(folder for folder in path.absolute().parents if folder.is_dir())
        raise FileNotFoundError(
            f"{option} {path}: the folder {path.parent.parent} does not exist; the nearest folder that does is {nearest}: correct the "
            "name, or create the folder"
        )


def check_writable(path: Path, option: str = "--output") -> None:
    """Raise PermissionError if the folder for an output is read-only, before anything is computed.

    Examples:
        >>> check_writable(Path("fused.png"))
    """
    folder = next(folder for folder in (path, *path.absolute().parents) if folder.is_dir())
    if os.name != "nt" and not os.access(folder, os.W_OK):  # on Windows, it tells nothing about folders
        raise PermissionError(f"{option} {path}: the folder {folder} cannot be written: choose another one")


def check_not_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Raise ValueError if an output would replace an input, which `--overwrite` does not allow either.

    Examples:
        >>> check_not_inputs([Path("fused.png")], [Path("visible.png"), Path("infrared.png")])
        >>> check_not_inputs([Path("night", "..", "visible.png")], [Path("visible.png")])
        Traceback (most recent call last):
            ...
        ValueError: the output night/../visible.png would overwrite an input: choose another output
    """
    from gffusion.data.file_names import name_file  # saves start-up time

    outputs = list(outputs)
    sources = set(map(name_file, resolve_files(inputs)))
    for path, resolved in zip(outputs, resolve_files(outputs), strict=True):
        if name_file(resolved) in sources:
            raise ValueError(f"the output {path} would overwrite an input: choose another output")


def resolve_files(files: Iterable[Path]) -> list[Path]:
    """Return the paths of files without links, as `Path.resolve` does, but of links to themselves, too; every folder is resolved once.

    Examples:
        >>> resolve_files([Path("a.png")]) == [Path("a.png").resolve()]
        True
    """
    folders: dict[Path, Path] = {}
    resolved = []
    for file in files:
        folder = file.parent
        if folder not in folders:
            folders[folder] = folder.resolve()
        resolved.append(Path(os.path.realpath(file)) if file.is_symlink() else folders[folder] / file.name)
    return resolved


def check_new(path: Path, overwrite: bool) -> None:
    """Raise ValueError if a file exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists: choose another file, or pass --overwrite")


def write_output(path: Path, content: bytes) -> None:
    """Write a file, and its folder if that is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, content)


@contextlib.contextmanager
def new_output(path: Path, option: str = "--output") -> Iterator[None]:
    """Check the folder of an output, and, if the work on it fails, remove the folders that were created and are empty."""
    check_parent(path, option)
    missing = [folder for folder in (path, path.parent) if not folder.exists()]
    present = set(path.iterdir()) if path.is_dir() else set()
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            children = path.iterdir() if path.is_dir() else ()
            created = [child for child in children if child not in present and child.is_dir()]
            inside = sorted((folder for child in created for folder in child.rglob("*")), reverse=True)
            for folder in (*inside, *created, *missing):
                _remove_if_empty(folder)
        raise


def _remove_if_empty(folder: Path) -> None:
    from gffusion.utils.locks import FolderLock  # saves start-up time

    with contextlib.suppress(OSError), FolderLock(folder):  # not one to which another process begins to write
        folder.rmdir()
