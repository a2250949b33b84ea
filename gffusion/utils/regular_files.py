"""Read regular files only, within a bound: pipes and devices could block or never end."""

import codecs
import os
import stat
from typing import IO

_READ_BYTES = 1 << 20


def check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """Return the status of a file that is no folder, pipe, socket or device, which could block or never end.

    Raises:
        FileNotFoundError: If there is no file at the path.
        IsADirectoryError: If it is a folder.
        OSError: If it is no regular file.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        if os.path.islink(path):
            raise FileNotFoundError(
                f"{os.fspath(path)} is a link to {os.readlink(path)}, which does not exist"
            ) from None
        raise
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; pass a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(
            f"{os.fspath(path)} is {describe_special(status.st_mode)}, not a regular file: save its content first"
        )
    return status


def describe_special(mode: int) -> str:
    """Return what a path is that is no regular file, such as "a device".

    Examples:
        >>> describe_special(stat.S_IFIFO)
        'a pipe'
    """
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`; one whose status has no size, as in /proc, to its end.

    Raises:
        OSError: As for [`check_regular`], and if the file is larger, or grows meanwhile.

    Examples:
        >>> len(read_regular(__file__, 1 << 20)) > 1000
        True
    """
    size = check_regular(path).st_size
    with open(path, "rb") as file:
        content = b"" if size > max_bytes else file.read(size + 1) if size else read_to_end(file, max_bytes)
    if max(size, len(content)) > max_bytes:
        raise OSError(f"{os.fspath(path)} has more than {max_bytes:,} bytes")
    if 0 < size < len(content):
        raise OSError(f"{os.fspath(path)} grew while it was read: wait until it is complete")
    return content


def decode_text(content: bytes, name: str | os.PathLike[str]) -> str:
    r"""Return the text of a file in UTF-8, or in UTF-16 with a byte order mark, as Windows PowerShell and Excel write it.

    Args:
        content: The bytes of the file, with or without a byte order mark.
        name: Name of the file for messages.

    Raises:
        ValueError: If it is neither.

    Examples:
        >>> decode_text("wärme.png".encode("utf-16"), "list.txt")
        'wärme.png'
    """
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(
            f'{os.fspath(name)} is not UTF-8 text: save it as UTF-8, in Excel as "CSV UTF-8", in PowerShell by '
            "`Out-File -Encoding utf8`"
        ) from None


def read_to_end(file: IO[bytes], max_bytes: int) -> bytes:
    """Return what is left of a file, and of a larger one a little more than `max_bytes`."""
    parts, count = [], 0
    while count <= max_bytes and (part := file.read(_READ_BYTES)):
        parts.append(part)
        count += len(part)
    return b"".join(parts)
