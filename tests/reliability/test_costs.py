"""Small files that are made to cost much are refused, or read at a cost that fits their size."""

import io
import struct
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import tifffile
from camera_files import screen_jpeg, wrap_flir

from gffusion.cameras.radiometric import decode_radiometric
from gffusion.data.metadata import read_metadata

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
