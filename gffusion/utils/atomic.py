"""Write files atomically, and remove what killed processes left."""

import errno
import os
import platform
import re
import secrets
import shutil
import stat
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from gffusion.utils.regular_files import describe_special

_NAME = re.compile(r"\.gffusion-([0-9a-f]{8})-([0-9]+)-([0-9a-f]+)\.tmp")
_FOREIGN_AGE = 24 * 3600  # seconds after which files of other machines are leftovers
_FULL_ERRORS = (errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC))
_DISK_ERRORS = (*_FULL_ERRORS, errno.EIO, errno.EACCES)
# Of disks that cannot synchronize folders, such as SMB, FUSE and those of WSL, and of folders that may not be listed.
_UNSUPPORTED_ERRORS = (
    errno.EINVAL,
    errno.EBADF,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.ENOTTY,
    errno.EACCES,
)
_RUN = secrets.token_hex(4)  # in containers, the next process often has the number of a killed one


def _identify_host() -> str:
    """Return an id of the PID namespace: host, and on Linux the container."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{zlib.crc32(f'{platform.node()}{namespace}'.encode()):08x}"


_HOST = _identify_host()


def check_replaceable(path: Path) -> None:
    """Check that an output does not exist or is a regular file, and no pipe, socket, device or dangling link.

    Raises:
        OSError: If it is something else.

    Examples:
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


def is_written(path: Path) -> bool:
    """Return whether a file exists and has content; copies to a full disk and crashes leave empty ones.

    Examples:
        >>> is_written(Path("new.png"))
        False
    """
    return path.is_file() and path.stat().st_size > 0


def prevents_writing(error: BaseException | None) -> bool:
    """Return whether other files cannot be written either: the disk is full or read-only, or a quota is used up.

    Examples:
        >>> prevents_writing(OSError(errno.ENOSPC, "No space left on device")), prevents_writing(ValueError())
        (True, False)
    """
    return isinstance(error, OSError) and error.errno in _FULL_ERRORS


def describe_error(error: BaseException) -> str:
    """Return the message of an error. If it prevents writing, it says in words why, and which file was not written.

    Examples:
        >>> describe_error(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "fused.png")), describe_error(ValueError("x"))
        ('cannot write fused.png: the disk is full', 'x')
    """
    if not isinstance(error, OSError) or error.errno is None or error.errno not in _FULL_ERRORS:
        return str(error)
    name = f" {os.fsdecode(error.filename)}" if error.filename else ""
    text = f"cannot write{name}: {error.strerror}" if error.strerror else str(error)
    words = {errno.ENOSPC: "the disk is full", errno.EROFS: "the disk is read-only"}
    return text.replace(os.strerror(error.errno), words.get(error.errno, "the quota of the disk is used up"))


def replace_file(path: Path, content: bytes, replace_special: bool = False) -> None:
    """Write a file in an existing folder atomically: an old file is replaced only after the new content is on the disk.

    The first call for a folder removes temporary files that killed processes left there.

    Args:
        path: The file.
        content: Its new content.
        replace_special: Whether to replace pipes, devices and the like, which are otherwise refused.

    Raises:
        OSError: If the file cannot be written.

    Examples:
        >>> with temporary_folder() as folder:
        ...     replace_file(folder / "notes.txt", b"complete")
        ...     (folder / "notes.txt").read_bytes()
        b'complete'
    """
    with replacing(path, replace_special) as temporary, temporary.open("wb") as file:
        file.write(content)


@contextmanager
def replacing(path: Path, replace_special: bool = False) -> Iterator[Path]:
    """Give a temporary path to write to, and replace a file by it at the end of the `with` block; see [`replace_file`].

    Examples:
        >>> with temporary_folder() as folder:
        ...     with replacing(folder / "notes.txt") as temporary:
        ...         _ = temporary.write_text("complete")
        ...     [path.name for path in folder.iterdir()]
        ['notes.txt']
    """
    if not replace_special:
        check_replaceable(path)
    _remove_leftovers_once(path.parent.absolute(), os.getpid())
    temporary = name_temporary(path.parent)
    try:
        temporary.touch(exist_ok=False)  # never through a link that somebody else made
        yield temporary
        if not stat.S_ISREG(temporary.lstat().st_mode):
            raise OSError(
                f"cannot write {path}: another program replaced its temporary file: write to a folder of your own"
            )
        synchronize(temporary)  # otherwise, a power failure after the next line can leave an empty file
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the first error is the one to report
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.errno is None:
            raise
        # Name the file of the caller in the message, not the temporary file. Errors of `write` name no file.
        raise type(error)(error.errno, error.strerror, str(path)) from error


def replace_link(path: Path) -> None:
    """Replace a link to a file by a copy of the file, so that what is appended does not change the file itself.

    Raises:
        OSError: If it is a dangling link, or leads to something else than a file.

    Examples:
        >>> with temporary_folder() as folder:
        ...     _ = (folder / "target").write_text("kept")
        ...     (folder / "link").symlink_to(folder / "target")
        ...     replace_link(folder / "link")
        ...     (folder / "link").is_symlink()
        False
    """
    check_replaceable(path)
    if path.is_symlink():
        replace_file(path, path.read_bytes())


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a folder for the `with` block in an existing one, by default in that of the system for temporary files.

    Folders that killed processes left there are removed first.

    Examples:
        >>> with temporary_folder() as folder:
        ...     folder.is_dir()
        True
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    remove_leftovers(parent)
    folder = name_temporary(parent)
    try:
        folder.mkdir(mode=0o700)
        yield folder
    except OSError as error:
        is_inside = any(str(name or "").startswith(str(folder)) for name in (error.filename, error.filename2))
        if not is_inside and (error.filename or error.errno not in _DISK_ERRORS):  # errors of `write` name no file
            raise
        raise type(error)(error.errno, f"{error.strerror}, for temporary files", str(parent)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def replacing_files(folder: Path, last: str) -> Iterator[Path]:
    """Give a temporary folder for files, which are moved to an existing folder together at the end of the `with` block.

    After an error before the moves, such as on a full disk, the folder has none of them. After a kill or an error between two moves,
    such as for a file that another program of Windows has open, it has a part of them, and the file `last` is the former one.

    Raises:
        OSError: If a file cannot be replaced.

    Examples:
        >>> with temporary_folder() as folder:
        ...     with replacing_files(folder, last="b.txt") as staging:
        ...         _ = (staging / "b.txt").write_text("complete"), (staging / "a.txt").write_text("complete")
        ...         print(any(folder.glob("*.txt")))
        ...     sorted(path.name for path in folder.iterdir())
        False
        ['a.txt', 'b.txt']
    """
    with temporary_folder(folder) as staging:
        yield staging
        files = sorted(staging.iterdir(), key=lambda file: (file.name == last, file.name))
        for file in files:
            check_replaceable(folder / file.name)
            if (folder / file.name).is_dir():
                raise IsADirectoryError(
                    f"cannot write {folder / file.name}: it is a folder; remove it, or choose another output"
                )
        synchronize(staging)
        for file in files:
            try:
                os.replace(file, folder / file.name)
            except OSError as error:  # name the file of the caller in the message
                raise type(error)(error.errno, error.strerror, str(folder / file.name)) from error


def synchronize(path: Path) -> None:
    """Wait until a file, or a folder with everything below it, is on the disk.

    Examples:
        >>> with temporary_folder() as folder:
        ...     synchronize(folder)
    """
    if path.is_dir():
        for part in path.iterdir():
            synchronize(part)
    synchronize_entries(path)


def synchronize_entries(path: Path) -> None:
    """Wait until a file, or the names in a folder but not its files, are on the disk.

    Folders are left out on Windows, which cannot open them, and on network disks that cannot synchronize them.
    """
    is_folder = path.is_dir()
    if os.name == "nt" and is_folder:
        return
    try:
        file = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        if is_folder and error.errno in _UNSUPPORTED_ERRORS:
            return
        raise type(error)(error.errno, error.strerror, str(path)) from error  # that of `fsync` names no file


def name_temporary(folder: Path) -> Path:
    """Return a new path for a temporary file, which nobody can guess, of a length that does not depend on the final name."""
    return folder / f".gffusion-{_HOST}-{os.getpid()}-{_RUN}{secrets.token_hex(8)}.tmp"


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of processes of this machine or container that ended, and old ones of others.

    Examples:
        >>> with temporary_folder() as folder:
        ...     used = name_temporary(folder)
        ...     used.touch()
        ...     remove_leftovers(folder)
        ...     used.exists()
        True
    """
    try:
        found = [(path, match) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    except OSError:  # a folder that can be written but not listed
        return
    for path, match in found:
        try:
            is_over = match[1] == _HOST and not _is_running(int(match[2]), match[3])
            if is_over or time.time() - path.lstat().st_mtime > _FOREIGN_AGE:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        except OSError:  # another process removed it, or it is not ours
            continue


@lru_cache(maxsize=64)
def _remove_leftovers_once(folder: Path, process: int) -> None:
    """Remove leftovers at the first call; `process` separates a forked process, which inherits the cache."""
    remove_leftovers(folder)


def _is_running(process: int, suffix: str) -> bool:
    """Return whether the process runs that gave a file its name with this suffix."""
    if process == os.getpid():
        return suffix.startswith(_RUN)
    if os.name == "nt":  # there, signal 0 would end the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):  # no process has such a number
        return False
    except OSError:  # of another user
        return True
    return True
