"""Write files atomically, and remove what killed processes left."""

import itertools
import os
import platform
import re
import stat
import time
import zlib
from functools import lru_cache
from pathlib import Path

from .bounds import describe_special

_NAME = re.compile(r"\.gffusion-([0-9a-f]{8})-([0-9]+)-[0-9]+\.tmp")
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"
_FOREIGN_AGE = 24 * 3600  # seconds after which files of other machines are leftovers
_numbers = itertools.count()


def check_replaceable(path: Path) -> None:
    """Check that an output does not exist or is a regular file, and no pipe, socket, device or dangling link.

    Raises:
        OSError: If it is something else.

    Example:
        >>> check_replaceable(Path("new.png"))
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not path.is_symlink():
            return
        mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(
            f"cannot write {path}: it is {describe_special(mode)}, not a regular file; remove it, or choose another"
        )


def replace_file(path: Path, content: bytes, replace_special: bool = False) -> None:
    """Write a file in an existing folder atomically: an old file is replaced only after the new content is on the disk.

    The first call for a folder removes temporary files that killed processes left there.

    Args:
        path: The file.
        content: Its new content.
        replace_special: Whether to replace pipes, devices and the like, which are otherwise refused.

    Raises:
        OSError: If the file cannot be written.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     replace_file(Path(folder, "notes.txt"), b"complete")
        ...     Path(folder, "notes.txt").read_bytes()
        b'complete'
    """
    if not replace_special:
        check_replaceable(path)
    _remove_leftovers_once(path.parent.absolute(), os.getpid())
    temporary = name_temporary(path.parent)
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())  # otherwise, a power failure after the next line can leave an empty file
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        # Name the file of the caller in the message, not the temporary file. Errors of `write` name no file.
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def name_temporary(folder: Path) -> Path:
    """Return a new path for a temporary file, whose length does not depend on that of the final name."""
    return folder / f".gffusion-{_HOST}-{os.getpid()}-{next(_numbers)}.tmp"


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of processes of this machine that do not run any more, and old ones of other machines.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     used = name_temporary(Path(folder))
        ...     used.touch()
        ...     remove_leftovers(Path(folder))
        ...     used.exists()
        True
    """
    try:
        found = [(path, match) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except OSError:  # a folder that can be written but not listed
        return
    for path, match in found:
        host, process = match[1], int(match[2])
        try:
            is_left = not _is_running(process) if host == _HOST else False
            if is_left or time.time() - path.stat().st_mtime > _FOREIGN_AGE:
                path.unlink()
        except OSError:  # another process removed it, or it is not ours
            continue


@lru_cache(maxsize=64)
def _remove_leftovers_once(folder: Path, process: int) -> None:
    """Remove leftovers at the first call; `process` separates a forked process, which inherits the cache."""
    del process
    remove_leftovers(folder)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # there, signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
