"""Radiometric JPEG of FLIR: counts, embedded visible image, alignment and calibration.

Layout: the APP1 segments "FLIR" hold an FFF file, a directory of records (https://exiftool.org/TagNames/FLIR.html). Numbers
are big- or little-endian; every record shows its order by its first word.
"""

import math
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .byte_order import is_byte_swapped
from .frames import RadiometricImage
from .jpeg_segments import Segment
from .makers import MAX_PIXELS, clean_name
from .png_chunks import PNG_SIGNATURE, strip_png
from .temperatures import PlanckScale

_APP1 = 0xE1
_USED = _RAW_DATA, _EMBEDDED_IMAGE, _CAMERA_INFO, _PIP = 0x01, 0x0E, 0x20, 0x2A
_IMAGE_OFFSET = 32  # of the data of image records


def find_flir(segments: list[Segment]) -> bool | None:
    """Return whether the records of FLIR contain a visible image, without decoding them; None if none contains counts.

    Raises:
        ValueError: If the records are incomplete or damaged.
    """
    records = _find_records(segments)
    return _EMBEDDED_IMAGE in records if _RAW_DATA in records else None


def decode_flir(segments: list[Segment]) -> RadiometricImage | None:
    """Decode the records of FLIR; return None if there are none with counts.

    Raises:
        ValueError: If the records are incomplete or damaged.
    """
    records = _find_records(segments)
    if _RAW_DATA not in records:
        return None
    camera = records.get(_CAMERA_INFO, b"")
    return RadiometricImage(
        camera=_name_model(camera),
        values=_decode_counts(records[_RAW_DATA]),
        visible=records[_EMBEDDED_IMAGE][_IMAGE_OFFSET:] if _EMBEDDED_IMAGE in records else None,
        position=_read_position(records.get(_PIP, b"")),
        temperature=_read_temperature_scale(camera),
    )


def _find_records(segments: list[Segment]) -> dict[int, bytes]:
    container = _join_chunks([s.payload for s in segments if s.marker == _APP1 and s.payload[:5] == b"FLIR\0"])
    return _read_records(container) if container else {}


def _join_chunks(chunks: list[bytes]) -> bytes:
    """Join the segments; each has a number and the number of the last one at bytes 6 and 7."""
    if not chunks:
        return b""
    numbered = {chunk[6]: chunk[8:] for chunk in chunks if len(chunk) > 8}
    expected = chunks[0][7] + 1 if len(chunks[0]) > 7 else len(chunks)
    if sorted(numbered) != list(range(expected)):
        raise ValueError(f"its FLIR data are incomplete: {len(numbered)} of {expected} segments are in the file")
    return b"".join(numbered[number] for number in sorted(numbered))


def _read_records(container: bytes) -> dict[int, bytes]:
    """Return the first record of every type that is used; thousands of other ones could share the same bytes."""
    if container[:4] not in (b"FFF\0", b"AFF\0") or len(container) < 64:
        raise ValueError("its FLIR data are damaged: they do not start with an FFF header")
    for order in "><":
        version, offset, count = struct.unpack_from(f"{order}III", container, 20)
        if 100 <= version < 200:
            break
    else:
        raise ValueError(f"its FLIR data have version {version}; versions 100 to 199 are supported")
    records: dict[int, bytes] = {}
    for position in range(offset, offset + 32 * count, 32):
        if position + 32 > len(container):
            raise ValueError("its FLIR data are damaged: the directory of records is cut off")
        kind = struct.unpack_from(f"{order}H", container, position)[0]
        start, length = struct.unpack_from(f"{order}II", container, position + 12)
        if kind == 0:  # unused
            continue
        if start + length > len(container):
            raise ValueError(f"its FLIR data are damaged: record {kind:#x} is cut off")
        if kind in _USED and kind not in records:
            records[kind] = container[start : start + length]
    return records


def _get_order(record: bytes) -> str:
    """Return the byte order of a record: its first word is below 256 in the right one."""
    return "<" if len(record) < 2 or record[1] == 0 else ">"


def _decode_counts(record: bytes) -> NDArray[np.uint16]:
    order = _get_order(record)
    if len(record) < _IMAGE_OFFSET:
        raise ValueError("its FLIR data are damaged: the raw image is cut off")
    width, height = struct.unpack_from(f"{order}HH", record, 2)
    data = record[_IMAGE_OFFSET:]
    if data.startswith(PNG_SIGNATURE):
        return _choose_order(_decode_png(data), default_swapped=True)
    if not width or not height or len(data) != 2 * width * height:
        raise ValueError(
            f"its FLIR data are not supported: {len(data)} bytes for a raw image of {width}x{height} words that is not PNG"
        )
    words = np.frombuffer(data, f"{order}u2").reshape(height, width).astype(np.uint16)
    return _choose_order(words, default_swapped=False)


def _decode_png(data: bytes) -> NDArray[Any]:
    import imagecodecs  # here to save start-up time

    width, height = struct.unpack(">II", data[16:24].ljust(8, b"\0"))
    if width * height > MAX_PIXELS:
        raise ValueError(f"its FLIR data are damaged: a raw image of {width} x {height} pixels")
    try:
        counts: NDArray[Any] = imagecodecs.png_decode(strip_png(data))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"its FLIR data are damaged: the raw image is not a complete PNG: {error}") from error
    if counts.ndim != 2 or counts.dtype != np.uint16:
        raise ValueError(f"its raw image is not 16-bit gray: {counts.dtype} of shape {counts.shape}")
    return counts


def _choose_order(words: NDArray[np.uint16], default_swapped: bool) -> NDArray[np.uint16]:
    """Return the words in the order that gives a smooth image, or by default in that of most cameras."""
    is_swapped = is_byte_swapped(words) or (default_swapped and not is_byte_swapped(words.byteswap()))
    return words.byteswap() if is_swapped else words


def _name_model(camera: bytes) -> str:
    model = clean_name(camera[0xD4:0xF4].split(b"\0")[0].decode("ascii", "replace"))
    return model if model.upper().startswith("FLIR") else f"FLIR {model}".strip()


def _read_position(record: bytes) -> tuple[float, int, int] | None:
    """Return the tags Real2IR, OffsetX and OffsetY."""
    if len(record) < 8:
        return None
    real2ir, x, y = struct.unpack_from("<fhh", record)
    return (real2ir, x, y) if 0.1 < real2ir < 20 else None  # also refuses NaN


def _read_temperature_scale(record: bytes) -> PlanckScale | None:
    if len(record) < 0x310:
        return None
    order = _get_order(record)

    def read(offset: int, default: float = 0.0) -> float:
        value = float(struct.unpack_from(f"{order}f", record, offset)[0])
        return value if math.isfinite(value) and (value > 0 or not default) else default

    r1, b, f, r2 = read(0x58), read(0x5C), read(0x60), read(0x30C)
    if min(r1, b, f, r2) <= 0:
        return None
    humidity = read(0x3C)
    return PlanckScale(
        r1=r1,
        r2=r2,
        b=b,
        f=f,
        o=struct.unpack_from(f"{order}i", record, 0x308)[0],
        emissivity=read(0x20, 1.0),
        distance=max(read(0x24), 0.0),
        reflected=read(0x28, 293.15),
        atmosphere=read(0x2C, 293.15),
        window=read(0x30, 293.15),
        window_transmission=read(0x34, 1.0),
        humidity=humidity / 100 if humidity > 2 else humidity,  # some cameras write percent
        attenuation=(read(0x70), read(0x74), read(0x78), read(0x7C), read(0x80)),
    )
