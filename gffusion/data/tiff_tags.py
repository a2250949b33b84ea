"""Read and write the tags of TIFF files and of EXIF data, which has the same structure (TIFF 6.0, EXIF 2.32, BigTIFF)."""

import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

EXIF, GPS, _INTEROPERABILITY = 34665, 34853, 40965
POINTERS = (EXIF, GPS, _INTEROPERABILITY)
"""Tags whose value is the position of another directory."""

# Bytes of a value and of the words in it, by type of the tag.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WORDS = {**_SIZES, 5: 4, 10: 4}
SHORT, LONG = 3, 4
_MAX_TAGS = 1000
_MAX_DEPTH = 2  # directories that point to each other would be read for ever


class Tag(NamedTuple):
    """Value of a tag: type and number of values as in TIFF 6.0, and their bytes in little-endian order."""

    kind: int
    length: int
    data: bytes


Directory = dict[int, "Tag | Directory"]
"""Tags by number; the tags in `POINTERS` are directories themselves."""


class Field(NamedTuple):
    """Tag as stored: its number, type and number of values, and the position and length of its bytes."""

    number: int
    kind: int
    values: int
    position: int
    length: int


class TiffReader:
    """Directories of a TIFF file or EXIF block of either byte order, classic or BigTIFF.

    Args:
        content: The file or block, from its byte order mark.

    Raises:
        ValueError: If it is neither.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.order = {b"II": "<", b"MM": ">"}.get(content[:2], "")
        version = struct.unpack(f"{self.order}H", content[2:4])[0] if self.order and len(content) >= 8 else 0
        if version not in (42, 43):
            raise ValueError("the tags have no TIFF header")
        self.is_big = version == 43
        self.start = self._number("Q", 8) if self.is_big else self._number("I", 4)

    def _number(self, kind: str, position: int) -> int:
        try:
            return int(struct.unpack_from(f"{self.order}{kind}", self.content, position)[0])
        except (struct.error, OverflowError):  # the latter for positions beyond 2^63
            raise ValueError("the tags are cut off") from None

    def iterate(self, start: int) -> Iterator[Field]:
        """Yield the tags of a directory, except those whose values lie outside the content."""
        head, entry, inline, word = (8, 20, 8, "Q") if self.is_big else (2, 12, 4, "I")
        count = self._number("Q" if self.is_big else "H", start)
        for index in range(min(count, _MAX_TAGS)):
            place = start + head + index * entry
            number, kind, values = self._number("H", place), self._number("H", place + 2), self._number(word, place + 4)
            length = _SIZES.get(kind, 0) * values
            value = place + entry - inline
            position = value if length <= inline else self._number(word, value)
            if length and position + length <= len(self.content):
                yield Field(number, kind, values, position, length)

    def find_next(self) -> tuple[int, int]:
        """Return the position and the value of the pointer to the directory after the first one."""
        head, entry = (8, 20) if self.is_big else (2, 12)
        place = self.start + head + self._number("Q" if self.is_big else "H", self.start) * entry
        return place, self._number("Q" if self.is_big else "I", place)

    def read_number(self, field: Field) -> int:
        """Return the first value of a field of integers."""
        return self._number(
            {1: "B", SHORT: "H", LONG: "I", 13: "I", 16: "Q", 18: "Q"}.get(field.kind, "B"), field.position
        )

    def read(self, start: int, depth: int = 0) -> Directory:
        """Read a directory and those it points to, at most two levels deep, as EXIF has them.

        Raises:
            ValueError: If it is cut off, or has more bytes than the content, because tags share them.
        """
        directory: Directory = {}
        fields = list(self.iterate(start))
        if sum(field.length for field in fields) > len(self.content):
            raise ValueError("the tags share bytes")
        for field in fields:
            if field.number in POINTERS:
                if field.number not in directory and depth < _MAX_DEPTH:
                    directory[field.number] = self._read_nested(self.read_number(field), field.number, depth + 1)
                continue
            data = self.content[field.position : field.position + field.length]
            if self.order == ">" and _WORDS[field.kind] > 1:
                data = np.frombuffer(data, f">u{_WORDS[field.kind]}").astype(f"<u{_WORDS[field.kind]}").tobytes()
            directory[field.number] = Tag(field.kind, field.values, data)
        return directory

    def _read_nested(self, start: int, pointer: int, depth: int) -> Directory:
        """Read a directory that a tag points to; a damaged one is empty. Only EXIF data points to another one."""
        try:
            if pointer == EXIF:
                return self.read(start, depth)
            return {n: t for n, t in self.read(start, _MAX_DEPTH).items() if n not in POINTERS}
        except ValueError:
            return {}


def write_directory(directory: Mapping[int, "Tag | Directory"], position: int, following: int = 0) -> bytes:
    """Return the bytes of a directory, its values and the directories it points to, in little-endian order.

    It stands at `position` in the file, and the directory after it, if there is one, at `following`.
    """
    table_size = 2 + 12 * len(directory) + 4
    table, values = struct.pack("<H", len(directory)), b""
    for number, tag in sorted(directory.items()):
        place = position + table_size + len(values)
        if isinstance(tag, dict):
            nested = write_directory(tag, place)
            table += struct.pack("<HHII", number, LONG, 1, place)
            values += nested + b"\0" * (len(nested) % 2)
            continue
        table += struct.pack("<HHI", number, tag.kind, tag.length)
        if len(tag.data) <= 4:
            table += tag.data.ljust(4, b"\0")
        else:
            table += struct.pack("<I", place)
            values += tag.data + b"\0" * (len(tag.data) % 2)
    return table + struct.pack("<I", following) + values


def add_tags(content: bytes, tags: Mapping[int, "Tag | Directory"]) -> bytes:
    """Return a little-endian TIFF file, no BigTIFF, with tags added to its first directory, or replaced.

    The image data stays in place; the new directory is appended.
    """
    reader = TiffReader(content)
    following = reader.find_next()[1]
    padded = content + b"\0" * (-len(content) % 16)
    directory = write_directory(reader.read(reader.start) | dict(tags), len(padded), following)
    return padded[:4] + struct.pack("<I", len(padded)) + padded[8:] + directory
