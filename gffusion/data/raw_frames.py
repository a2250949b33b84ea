"""Headerless frames of infrared cameras, by their shape and type."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.argument_checks import to_plain

from .bounds import DEFAULT_MAX_PIXELS, check_pixels

RAW_SUFFIXES = (".raw", ".bin", ".dat")
"""Suffixes of files that are read as raw frames if their format is given."""

_TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32", "float64")
_PATTERN = re.compile(r"(\d+)\s*[xX*]\s*(\d+)\s*,\s*([<>=]?)\s*([a-z]+\d+)(?:\s*,\s*(\d+))?")


@dataclass(frozen=True)
class RawFrame:
    """Format of a raw frame.

    Attributes:
        height: Number of rows.
        width: Number of columns.
        dtype: Type of the values, with its byte order; or anything that `np.dtype` takes, such as `">u2"`.
        header: Number of bytes before the values.

    Raises:
        ValueError: If a number is no integer or too small, or the type is not supported.
    """

    height: int
    width: int
    dtype: np.dtype[Any]
    header: int = 0

    def __post_init__(self) -> None:
        numbers = to_plain((self.height, self.width, self.header))
        dtype = _find_type(self.dtype)
        is_valid = all(type(number) is int and number >= low for number, low in zip(numbers, (1, 1, 0), strict=True))
        if dtype is None or not is_valid:
            raise ValueError(
                "a raw frame must have a height and a width of at least 1 pixel, a header of at least 0 bytes, and one of the "
                f"types {', '.join(_TYPES)}, got {self!r:.200}"
            )
        for name, value in zip(("height", "width", "header", "dtype"), (*numbers, dtype), strict=True):
            object.__setattr__(self, name, value)

    @classmethod
    def parse(cls, text: str) -> "RawFrame":
        """Parse `HEIGHTxWIDTH,TYPE` or `HEIGHTxWIDTH,TYPE,HEADER`.

        The type is a name, such as uint16, or as NumPy writes it, such as u2; `>` before it means big-endian values,
        `<` and nothing little-endian ones.

        Raises:
            ValueError: If the text has another form.

        Examples:
            >>> RawFrame.parse("512x640,>u2")
            RawFrame(height=512, width=640, dtype=dtype('>u2'), header=0)
        """
        match = _PATTERN.fullmatch(text.strip())
        height, width, order, name, header = match.groups() if match else ("0", "0", "", "", "")
        dtype = _find_type(name)
        if dtype is None or min(int(height), int(width)) < 1:
            raise ValueError(
                f'raw_frame (--raw-frame) must be HEIGHTxWIDTH,TYPE, such as "512x640,uint16" or "512x640,>u2" for big-endian '
                f"words, and optionally ,BYTES for a header; types are {', '.join(_TYPES)}; got {text!r}"
            )
        return cls(int(height), int(width), np.dtype(f"{order or '<'}{dtype.str[1:]}"), int(header or 0))

    def decode(self, content: bytes, path: str, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[Any]:
        """Decode a file.

        Returns:
            (height, width) in the native byte order.

        Raises:
            ValueError: If the file has another size, or the frame more pixels than allowed.
        """
        try:
            check_pixels(self.width, self.height, max_pixels)
        except ValueError as error:
            raise ValueError(f"cannot read the image {path}: {error}") from error
        expected = self.header + self.height * self.width * self.dtype.itemsize
        if len(content) != expected:
            raise ValueError(
                f"{path} has {len(content)} bytes, but a frame of {self.height} rows and {self.width} columns of "
                f"{self.dtype.name}{f' after {self.header} bytes' if self.header else ''} has {expected}: check "
                "raw_frame (--raw-frame)"
            )
        values = np.frombuffer(content, self.dtype, offset=self.header).reshape(self.height, self.width)
        return values.astype(self.dtype.newbyteorder("="))


@contextmanager
def explained_sides(
    frame: RawFrame | None, visible: NDArray[Any], infrared: NDArray[Any], names: tuple[str, str]
) -> Iterator[None]:
    """Turn errors about a portrait and a landscape image into one about the format, if the infrared image is a raw frame."""
    try:
        yield
    except ValueError as error:
        (height, width, *_), (rows, columns, *_) = visible.shape, infrared.shape
        is_rotated = (width - height) * (columns - rows) < 0  # portrait and landscape
        if frame is None or not is_rotated or Path(names[1]).suffix.lower() not in RAW_SUFFIXES:
            raise
        raise ValueError(
            f"{names[1]} has {rows} rows and {columns} columns, but {names[0]} has {height} and {width}: check raw_frame "
            f"(--raw-frame), in which the height is first: {columns}x{rows}. If the camera is turned by 90 degrees, make a rig with gffusion align --infrared-turn 90 or 270"
        ) from error


def _find_type(dtype: Any) -> np.dtype[Any] | None:
    """Return a type of NumPy that raw frames can have; `None` for others."""
    with suppress(TypeError):
        found = np.dtype(dtype)
        if dtype is not None and found.name in _TYPES:  # NumPy takes None as float64
            return found
    return None
