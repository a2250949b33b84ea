"""Small files that are made to cost much are refused, or read at a cost that fits their size."""

import io
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from camera_files import encode, screen_jpeg, wrap_flir
from hostile_images import chunk

from gffusion.cameras.radiometric import decode_radiometric
from gffusion.data import ImageReadError, read_image, read_size
from gffusion.data.completeness import read_late_orientation
from gffusion.data.metadata import read_metadata
from gffusion.models.gffusion.weight_checks import read_headers

MAX_BYTES, MAX_SECONDS, MAX_MEMORY = 1 << 20, 5, 500e6


@contextmanager
def limit_cost() -> Iterator[None]:
    """Check the CPU time and the memory of the block."""
    started = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < MAX_SECONDS


def test_flir_records() -> None:
    """Thousands of records that share nearly all bytes of the file."""
    count, size = 3000, MAX_BYTES - 10_000
    container = bytearray(size)
    container[:4], container[20:32] = b"FFF\0", struct.pack(">III", 100, 64, count)
    for index in range(count):
        struct.pack_into(">H10xII", container, 64 + 32 * index, 0x100 + index, 64, size - 64 - index)
    content = wrap_flir(bytes(container), screen_jpeg())
    assert len(content) <= MAX_BYTES
    with limit_cost():
        assert decode_radiometric(content) is None


@pytest.mark.parametrize(("count", "is_kept"), [(45_000, True), (200_000, False)])
def test_metadata_of_gdal(count: int, is_kept: bool) -> None:
    """Many items of which every second one is left out; more than 1 MiB is left out."""
    text = "<G>" + "<i/>" * count + '<i sample=""/>' * count + "</G>"
    content = io.BytesIO()
    tifffile.imwrite(content, np.zeros((8, 8), np.uint8), metadata=None, extratags=[(42112, 2, None, text, True)])
    with limit_cost():
        metadata = read_metadata(content.getvalue())
    assert bool(metadata.georeference) == is_kept


def test_scans_of_jpeg() -> None:
    """1500 scans that repeat one of the 48 million pixels, each of which decoders apply to all pixels."""
    content = encode(np.full((6000, 8000), 128, np.uint8), "JPEG", progressive=True, quality=50)
    first, second = content.index(b"\xff\xda"), content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)
    scan = bytearray(content[second : content.index(b"\xff\xc4", second)])
    scan[7:10] = 1, 63, 0  # all coefficients and bits
    table = content[content.rindex(b"\xff\xc4", first, second) : second]
    content = content[:-2] + table + bytes(scan) * 1500 + content[-2:]
    assert len(content) <= MAX_BYTES
    with limit_cost(), pytest.raises(ImageReadError, match="more than 100 scans"):
        read_image(io.BytesIO(content))


def test_strips_of_large_jpeg() -> None:
    """1000 strips of 8 rows that are one JPEG of 48 million pixels."""
    part = encode(np.full((6000, 8000), 128, np.uint8), "JPEG", quality=50)
    count, position = 1000, 16
    tags = [
        (256, 8000),
        (257, 8 * count),
        (258, 8),
        (259, 7),
        (262, 1),
        (273, position + len(part)),
        (277, 1),
        (278, 8),
    ]
    tags.append((279, position + len(part) + 4 * count))
    content = b"II*\0" + struct.pack("<I8x", position + len(part) + 8 * count) + part
    content += struct.pack(f"<{count}I", *[position] * count) + struct.pack(f"<{count}I", *[len(part)] * count)
    entries = [struct.pack("<HHII", n, 4, count if n in (273, 279) else 1, value) for n, value in tags]
    content += struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)
    assert len(content) <= MAX_BYTES
    with limit_cost(), pytest.raises(ImageReadError, match="6000 x 8000 pixels"):
        read_image(io.BytesIO(content))


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("is_damaged", [False, True])
@pytest.mark.parametrize("kind", ["iCCP", "zTXt", "iTXt"])
def test_compressed_metadata_of_png(tmp_path: Path, kind: str, is_damaged: bool, is_late: bool) -> None:
    """60 parts of which each has nearly as many bytes as all may have."""
    head = {"iCCP": b"a\0\0", "zTXt": b"Raw profile type exif\0\0", "iTXt": b"XML:com.adobe.xmp\0\1\0\0\0"}[kind]
    data = zlib.compress(bytes((1 << 24) - 100), 9)
    parts = chunk(kind.encode(), head + (data[:-4] + bytes(4) if is_damaged else data)) * 60
    whole = encode(np.zeros((8, 8, 3), np.uint8), "PNG")
    place = len(whole) - 12 if is_late else 33
    file = tmp_path / "image.png"
    file.write_bytes(whole[:place] + parts + whole[place:])
    with limit_cost():
        assert not read_metadata(file.read_bytes())
        for read in (read_image, *([] if is_late and kind == "iCCP" else [read_size])):
            with pytest.raises(ImageReadError, match="compressed metadata"):
                read(file)


def test_orientations_after_the_pixels_of_png() -> None:
    content = encode(np.zeros((8, 8, 3), np.uint8), "PNG")
    content = content[:-12] + chunk(b"eXIf", bytes(4)) * 60_000 + content[-12:]
    assert len(content) <= MAX_BYTES
    with limit_cost():
        assert len(read_late_orientation(io.BytesIO(content))) == 16 * 60_000


def test_headers_of_weights(tmp_path: Path) -> None:
    """A header of spaces, which the parser would read to its end, as it would read a million tensors."""
    size = (1 << 22) + 8
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", size) + b"{}".ljust(size))
    with limit_cost(), pytest.raises(OSError, match=r"model\.safetensors has a header of 4,194,312 bytes"):
        read_headers([tmp_path / "model.safetensors"])
