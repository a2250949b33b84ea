"""Bounds on images and files, which are checked before anything is decoded."""

import math
import os
import stat
from typing import IO

DEFAULT_MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image by default; 100 megapixels take up to 400 MB when decoded."""

# Decoded bytes per byte of the file that a compression can reach: 2 bits per block in JPEG, runs in the other ones.
_MAX_RATIOS = {"JPEG": 4096, "PNG": 1040, "TIFF": 1 << 17, "WEBP": 1 << 18, "BMP": 512}
_BYTES_PER_PIXEL, _HEADER_BYTES = 16, 1 << 26
_READ_BYTES = 1 << 20


def check_pixels(width: int, height: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Raise ValueError if an image has more pixels than allowed, or none.

    Example:
        >>> check_pixels(640, 480)
    """
    if width < 1 or height < 1:
        raise ValueError(f"its header declares {width} x {height} pixels")
    if width * height > max_pixels:
        raise ValueError(
            f"its {width} x {height} pixels are more than {max_pixels:,}: if the file can be trusted, pass "
            f"max_pixels={width * height} (--max-pixels {width * height})"
        )


def check_ratio(kind: str, width: int, height: int, bits: int, size: int) -> None:
    """Raise ValueError if an image is too large for its file, as in decompression bombs and damaged headers.

    Args:
        kind: Format, such as "PNG".
        width: Number of columns in the header.
        height: Number of rows in the header.
        bits: Bits per pixel.
        size: Bytes of the file.
    """
    if height * math.ceil(width * bits / 8) > _MAX_RATIOS[kind] * size:
        raise ValueError(
            f"its header declares {width} x {height} pixels, which {size} bytes of {kind} cannot hold: it is damaged, cut off, "
            "or a decompression bomb"
        )


def check_regular(path: str | os.PathLike[str]) -> os.stat_result:
    """Return the status of a file that is no folder, pipe, socket or device, which could block or never end.

    Raises:
        FileNotFoundError: If there is no file at the path.
        IsADirectoryError: If it is a folder.
        OSError: If it is no regular file.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; pass a file")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(
            f"{os.fspath(path)} is {describe_special(status.st_mode)}, not a regular file: save its content first"
        )
    return status


def describe_special(mode: int) -> str:
    """Return what a path is that is no regular file, such as "a device".

    Example:
        >>> describe_special(stat.S_IFIFO)
        'a pipe'
    """
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    if stat.S_ISFIFO(mode):
        return "a pipe"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def read_regular(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`; one whose status has no size, as in /proc, to its end.

    Raises:
        OSError: As for [`check_regular`], and if the file is larger, or grows meanwhile.

    Example:
        >>> len(read_regular(__file__, 1 << 20)) > 1000
        True
    """
    size = check_regular(path).st_size
    with open(path, "rb") as file:
        content = b"" if size > max_bytes else file.read(size + 1) if size else _read_to_end(file, max_bytes)
    if max(size, len(content)) > max_bytes:
        raise OSError(f"{os.fspath(path)} has more than {max_bytes:,} bytes")
    if 0 < size < len(content):
        raise OSError(f"{os.fspath(path)} grew while it was read: wait until it is complete")
    return content


def _read_to_end(file: IO[bytes], max_bytes: int) -> bytes:
    """Return what is left of a file, and of a larger one a little more than `max_bytes`."""
    parts, count = [], 0
    while count <= max_bytes and (part := file.read(_READ_BYTES)):
        parts.append(part)
        count += len(part)
    return b"".join(parts)


def max_image_bytes(max_pixels: int = DEFAULT_MAX_PIXELS) -> int:
    """Return the largest size of an image file: that of uncompressed pixels of four floats, and of metadata.

    Example:
        >>> max_image_bytes(1_000_000)
        83108864
    """
    return _BYTES_PER_PIXEL * max_pixels + _HEADER_BYTES
