"""Locks of output folders, which end with the process that holds them, even if it is killed."""

import os
import sys
from pathlib import Path
from typing import Self

if sys.platform != "win32":
    import fcntl

_held: set[int] = set()


class FolderLock:
    """Lock of an existing folder, until `release`, the end of a `with` block, or the end of the process.

    Systems without locks of folders, such as Windows and some network disks, do not refuse other processes.

    Raises:
        BlockingIOError: If another process has locked the folder.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, FolderLock(Path(folder)):
        ...     FolderLock(Path(folder))
        Traceback (most recent call last):
        BlockingIOError: ...
    """

    def __init__(self, folder: Path) -> None:
        self._descriptor: int | None = None
        if sys.platform != "win32":
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                os.close(descriptor)
                if isinstance(error, BlockingIOError):
                    raise
                return  # the disk has no locks
            _held.add(descriptor)
            self._descriptor = descriptor

    def release(self) -> None:
        """Let other processes lock the folder."""
        if self._descriptor is not None:
            _held.discard(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def _close_in_child() -> None:
    """Close the locks in a forked process, such as a worker of a DataLoader, which can live longer than its parent."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_close_in_child)
