"""Tell whether a recording was cut off before its index was written."""

import struct
from pathlib import Path

_SUFFIXES = (".3gp", ".m4v", ".mov", ".mp4")
_FIRST_BOXES = (b"ftyp", b"wide", b"mdat", b"free", b"skip")


def lacks_index(path: Path) -> bool:
    """Return whether a file of the MP4 family has no index (`moov`), which cameras write when a recording ends.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     file = Path(root, "cut.mp4")
        ...     _ = file.write_bytes(bytes([0, 0, 0, 8]) + b"ftyp" + bytes([0, 0, 1, 0]) + b"mdat" + bytes(100))
        ...     lacks_index(file)
        True
    """
    if path.suffix.lower() not in _SUFFIXES:
        return False
    end, place = path.stat().st_size, 0
    kinds: set[bytes] = set()
    with path.open("rb") as file:
        while place + 8 <= end and len(kinds) < 100:
            file.seek(place)
            header = file.read(16)
            size, kind = struct.unpack(">I4s", header[:8])
            if not kinds and kind not in _FIRST_BOXES:  # another format
                return False
            kinds.add(kind)
            if size == 1 and len(header) == 16:
                size = struct.unpack(">Q", header[8:])[0]
            if size < 8:  # up to the end of the file, or damaged
                break
            place += size
    return bool(kinds) and not kinds & {b"moov", b"moof"}
