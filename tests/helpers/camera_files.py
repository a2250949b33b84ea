"""Files as cameras write them, of small rendered scenes. The layouts are those that exiftool documents."""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

PLANCK = {"r1": 16556.0, "b": 1428.0, "f": 1.0, "o": -342, "r2": 0.0125}


def render_pair(height: int = 96, width: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return a smooth color image (H, W, 3) and a smooth infrared image (H, W) from 0 to 1 of one scene."""
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.random((4, height, width)), (0, 5, 5))
    noise = (noise - noise.min()) / np.ptp(noise)
    y, x = np.mgrid[:height, :width]
    blob = np.exp(-((x - width * 0.55) ** 2 + (y - height * 0.45) ** 2) / (height / 6) ** 2)
    visible = np.moveaxis(40 + 110 * noise[3] + 40 * noise[:3] + 40 * blob, 0, -1)
    return visible.astype(np.uint8), np.clip(0.5 * noise[3] + 0.5 * blob, 0, 1)


def to_counts(infrared: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Return raw counts, as an uncooled camera has them."""
    return (12500 + 7500 * infrared).astype(np.uint16)


def encode(image: NDArray[Any], kind: str, **options: Any) -> bytes:
    """Encode an image in a format of Pillow."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def to_jpeg(image: NDArray[Any], quality: int = 85) -> NDArray[np.uint8]:
    """Return an image as a JPEG file has it."""
    return np.asarray(Image.open(io.BytesIO(encode(image, "JPEG", quality=quality))))


def encode_deep_png(samples: NDArray[Any]) -> bytes:
    """Encode a 16-bit PNG with 1 to 4 channels; Pillow writes only gray ones."""
    height, width, channels = np.atleast_3d(samples).shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def insert_segments(jpeg: bytes, marker: int, payloads: list[bytes]) -> bytes:
    """Insert APP segments after the first marker of a JPEG file."""
    segments = (bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload for payload in payloads)
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def split_chunks(data: bytes, size: int = 65000) -> list[bytes]:
    """Split data that does not fit into one segment."""
    return [data[start : start + size] for start in range(0, len(data), size)]


def screen_jpeg(height: int = 96, width: int = 128, make: str = "", model: str = "", orientation: int = 1) -> bytes:
    """Return a screen image, as thermal cameras show it: false colors that are not those of the scene."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = make, model, orientation
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    image = np.broadcast_to(np.stack([ramp, 255 - ramp, ramp // 2], axis=-1), (height, width, 3))
    return encode(np.ascontiguousarray(image), "JPEG", exif=exif)


def flir_image_record(width: int, height: int, data: bytes, order: str = "<", mark: int = 2) -> bytes:
    """Return a record of an image: byte order mark, size, and the data at byte 32."""
    return struct.pack(f"{order}HHH", mark, width, height) + bytes(26) + data


def flir_camera_record(model: str = "FLIR E60", order: str = "<", **changes: float) -> bytes:
    """Return the record CameraInfo."""
    values = {"emissivity": 0.95, "distance": 1.0, "reflected": 293.15, "atmosphere": 293.15, "window": 293.15}
    values |= {"window_transmission": 1.0, "humidity": 0.5, **PLANCK, **changes}
    offsets = {"emissivity": 0x20, "distance": 0x24, "reflected": 0x28, "atmosphere": 0x2C, "window": 0x30}
    offsets |= {"window_transmission": 0x34, "humidity": 0x3C, "r1": 0x58, "b": 0x5C, "f": 0x60, "r2": 0x30C}
    record = bytearray(0x400)
    struct.pack_into(f"{order}H", record, 0, 2)
    for name, offset in offsets.items():
        struct.pack_into(f"{order}f", record, offset, values[name])
    for offset, value in zip(range(0x70, 0x84, 4), (0.006569, 0.01262, -0.002276, -0.00667, 1.9), strict=True):
        struct.pack_into(f"{order}f", record, offset, value)
    struct.pack_into(f"{order}i", record, 0x308, int(values["o"]))
    record[0xD4 : 0xD4 + len(model)] = model.encode()
    return bytes(record)


def flir_position_record(real_to_ir: float, offset_x: int, offset_y: int) -> bytes:
    """Return the record PiP."""
    return struct.pack("<f6h", real_to_ir, offset_x, offset_y, 0, 319, 0, 239) + bytes(48)


def flir_container(records: Mapping[int, bytes], order: str = ">", version: int = 100) -> bytes:
    """Return an FFF file of records by type; as in real files, the directory has unused entries."""
    count = len(records) + 2
    offset, directory = 64 + 32 * count, b""
    for kind, data in records.items():
        directory += struct.pack(f"{order}HHIIIIIII", kind, 1, 100, 1, offset, len(data), 0, 0, 0)[:32].ljust(32, b"\0")
        offset += len(data)
    header = b"FFF\0" + b"CAMERA".ljust(16, b"\0") + struct.pack(f"{order}III", version, 64, count)
    return header.ljust(64, b"\0") + directory + bytes(64) + b"".join(records.values())


def flir_jpeg(
    counts: NDArray[np.uint16],
    visible: bytes | None,
    visible_size: tuple[int, int] = (0, 0),
    position: tuple[float, int, int] | None = None,
    storage: str = "swapped png",
    order: str = "<",
    orientation: int = 1,
    **camera: Any,
) -> bytes:
    """Return a radiometric JPEG of FLIR.

    Args:
        counts: Raw image.
        visible: JPEG or PNG file of the embedded visible image.
        visible_size: Its height and width.
        position: Real2IR, OffsetX and OffsetY.
        storage: "swapped png" as most cameras store the raw image, "png" or "words".
        order: Byte order of the records.
        orientation: EXIF orientation.
        camera: See [`flir_camera_record`].
    """
    height, width = counts.shape
    stored = counts.byteswap() if storage == "swapped png" else counts
    data = counts.astype(f"{order}u2").tobytes() if storage == "words" else encode(stored, "PNG")
    records = {0x01: flir_image_record(width, height, data, order)}
    if visible is not None:
        records[0x0E] = flir_image_record(visible_size[1], visible_size[0], visible, order, mark=3)
    records[0x20] = flir_camera_record(order=order, **camera)
    if position is not None:
        records[0x2A] = flir_position_record(*position)
    return wrap_flir(flir_container(records), screen_jpeg(height, width, "FLIR Systems AB", "FLIR E60", orientation))


def wrap_flir(container: bytes, jpeg: bytes) -> bytes:
    """Return a JPEG file with an FFF file in its APP1 segments."""
    chunks = split_chunks(container)
    return insert_segments(
        jpeg, 0xE1, [b"FLIR\0\x01" + bytes([i, len(chunks) - 1]) + chunk for i, chunk in enumerate(chunks)]
    )


def dji_jpeg(counts: NDArray[np.uint16], jpeg_size: tuple[int, int], model: str = "M3T", make: str = "DJI") -> bytes:
    """Return an R-JPEG of DJI: little-endian words in APP3, without their size."""
    return insert_segments(
        screen_jpeg(*jpeg_size, make, model), 0xE3, split_chunks(counts.astype("<u2").tobytes(), 65533)
    )


def infiray_jpeg(counts: NDArray[np.uint16], visible: bytes = b"", height_in_header: int | None = None) -> bytes:
    """Return an IJPEG of InfiRay: a preview, the counts and a visible image in APP3."""
    height, width = counts.shape
    preview = bytes(2 * counts.size)
    header = bytearray(0x50)
    header[4:10] = b"IJPEG\0"
    for at, size in ((0x20, len(preview)), (0x30, 2 * counts.size), (0x40, len(visible))):
        struct.pack_into("<Q", header, at, size)
    for at in (0x2A, 0x3A):
        struct.pack_into("<HH", header, at, width, height_in_header or height)
    jpeg = screen_jpeg(height, width, "InfiRay", "P2 Pro")
    jpeg = insert_segments(jpeg, 0xE3, split_chunks(preview + counts.astype("<u2").tobytes() + visible))
    return insert_segments(jpeg, 0xE2, [bytes(header)])


def hikmicro_jpeg(counts: NDArray[np.uint16]) -> bytes:
    """Return a radiometric JPEG of HIKMICRO: counts behind the end of the image."""
    height, width = counts.shape
    header = b"HDRI" + struct.pack("<HHIII", 0x1028, 0, 0, width, height)
    jpeg = screen_jpeg(height, width, "HIKMICRO", "B20")
    return jpeg + header.ljust(44, b"\0") + counts.astype("<u2").tobytes() + bytes(2048)


def dlt664_jpeg(celsius: NDArray[np.float32]) -> bytes:
    """Return a JPEG with temperatures by DL/T 664: offset and signature are at the end of the file."""
    height, width = celsius.shape
    jpeg = screen_jpeg(height, width, "Hikvision", "TP42")
    data = struct.pack("<HHH", 1, width, height) + b"20260101120000" + celsius.astype("<f4").tobytes() + bytes(200)
    return jpeg + data + struct.pack("<I", len(jpeg)) + bytes.fromhex("3766071a123a4c9fa95d21d2da7d26bc")


def parrot_jpeg(counts: NDArray[np.uint16]) -> bytes:
    """Return a JPEG of Parrot: a TIFF file in APP1."""
    jpeg = screen_jpeg(*counts.shape, "Parrot", "Bebop-Pro Thermal")
    return insert_segments(jpeg, 0xE1, [b"PARROT\0" + encode(counts, "TIFF")])


def packed_tiff(values: NDArray[np.uint8], bits: int, **options: Any) -> bytes:
    """Return a TIFF file of values with fewer than eight bits; skip the test where imagecodecs does not pack them."""
    content = io.BytesIO()
    try:
        tifffile.imwrite(content, values, bitspersample=bits, photometric="minisblack", **options)
    except (NotImplementedError, TypeError) as error:
        pytest.skip(f"imagecodecs is too old: {error}")
    return content.getvalue()


def touch(folder: Path, *names: str) -> None:
    """Create empty files and their folders."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(path: Path, content: bytes) -> Path:
    """Write a file, and return its path."""
    path.write_bytes(content)
    return path
