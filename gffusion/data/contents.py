"""Image files as they are given: paths, or their content in memory, such as that of an upload."""

import inspect
import os
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeGuard

from gffusion.utils.regular_files import read_to_end

from .bounds import max_image_bytes
from .io import read_bytes

Content: TypeAlias = bytes | bytearray | memoryview | IO[bytes]
"""Content of an image file: bytes, or a file object that is open in binary mode."""

Source: TypeAlias = str | os.PathLike[str] | Content
"""An image file: its path, or its content."""


def is_content(source: object) -> TypeGuard[Content]:
    """Return whether a source is the content of a file, and not its path or an array.

    Examples:
        >>> is_content(b"BM"), is_content("a.bmp")
        (True, False)
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return True
    return not isinstance(source, str | os.PathLike) and callable(getattr(source, "read", None))


def name_source(source: object, kind: str) -> str:
    """Return the path of a source, or for messages about another one "the visible image" or "the infrared image"."""
    return os.fspath(source) if isinstance(source, str | os.PathLike) else f"the {kind} image"


def is_same_file(visible: Source, infrared: Source) -> bool:
    """Return whether two sources are paths of one file."""
    if not (isinstance(visible, str | os.PathLike) and isinstance(infrared, str | os.PathLike)):
        return False
    if Path(visible) == Path(infrared):
        return True
    try:
        return os.path.samefile(visible, infrared)
    except (OSError, ValueError):  # reported when the files are read
        return False


def read_source(source: Source, name: str, max_pixels: int) -> bytes:
    """Read an image file of at most `max_pixels`; file objects from their beginning.

    Raises:
        OSError: If it is too large, or as for [`read_bytes`].
        ValueError: If a file object is closed, asynchronous, of text, or cannot be rewound, or the source is none.
    """
    if isinstance(source, str | os.PathLike):
        return read_bytes(source, max_pixels)
    if not is_content(source):
        raise ValueError(
            f"{name} must be a path, or the content of a file as bytes or a file object, got a {type(source).__name__}: "
            "`predict` and the pipeline take arrays"
        )
    max_bytes = max_image_bytes(max_pixels)
    content = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else _read(source, name, max_bytes)
    if len(content) > max_bytes:
        raise OSError(f"{name} has more than {max_bytes:,} bytes")
    return content


def _read(file: Any, name: str, max_bytes: int) -> bytes:
    kind = type(file).__name__
    if inspect.iscoroutinefunction(file.read):
        raise ValueError(f"{name} is an asynchronous {kind}: pass its content, such as `await file.read()`")
    try:
        file.seek(0)
    except (AttributeError, OSError) as error:
        raise ValueError(
            f"{name} is a {kind} that cannot be rewound: pass its content, such as `file.read()`"
        ) from error
    except ValueError as error:
        raise ValueError(f"{name} is a {kind} that cannot be read: {error}") from error
    if not isinstance(file.read(0), bytes):
        raise ValueError(f'{name} is a {kind} that does not return bytes: open files in binary mode, "rb"')
    return read_to_end(file, max_bytes)
