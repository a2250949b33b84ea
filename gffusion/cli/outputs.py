"""Folders of outputs: refuse those that are probably misspelled, and leave no empty ones behind."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def check_parent(path: Path, option: str = "--output") -> None:
    """Raise FileNotFoundError if more than the output and its folder would have to be created.

    Example:
        >>> check_parent(Path("runs", "fused"))
        >>> check_parent(Path("rnus", "night", "fused"))
        Traceback (most recent call last):
            ...
        FileNotFoundError: --output rnus/night/fused: the folder rnus does not exist; the nearest folder that does is ...
    """
    above = path.parent.parent
    if not path.absolute().parent.parent.is_dir():
        nearest = next(folder for folder in path.absolute().parents if folder.is_dir())
        raise FileNotFoundError(
            f"{option} {path}: the folder {above} does not exist; the nearest folder that does is {nearest}: correct the "
            "name, or create the folder"
        )


@contextlib.contextmanager
def new_output(path: Path, option: str = "--output") -> Iterator[None]:
    """Check the folder of an output, and, if the work on it fails, remove the folders that were created and are empty.

    Raises:
        FileNotFoundError: As [`check_parent`].
    """
    check_parent(path, option)
    missing = [folder for folder in (path, path.parent) if not folder.exists()]
    present = set(path.iterdir()) if path.is_dir() else set()
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            created = [child for child in path.iterdir() if child not in present and child.is_dir()]
            inside = sorted((folder for child in created for folder in child.rglob("*")), reverse=True)
            for folder in (*inside, *created, *missing):
                _remove_if_empty(folder)
        raise


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
