"""Write files atomically."""

import os
import stat
import uuid
from pathlib import Path

from .bounds import describe_special


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
    """Write a file in an existing folder atomically: an old file is replaced only after the new content is complete.

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
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename is None:
            raise
        # Name the file of the caller in the message, not the temporary file.
        raise type(error)(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
