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
import typer
from camera_files import (
    encode,
    encode_deep_png,
    flir_camera_record,
    flir_container,
    flir_image_record,
    render_pair,
    screen_jpeg,
    to_counts,
    wrap_flir,
)
from hostile_images import chunk
from video_files import write_repeats

from gffusion.cameras.radiometric import decode_radiometric
from gffusion.cli.errors import exit_with_failures
from gffusion.cli.messages import translate
from gffusion.data import ImageReadError, read_image, read_size
from gffusion.data.completeness import read_late_orientation
from gffusion.data.metadata import read_metadata
from gffusion.models.gffusion.weight_checks import read_headers
from gffusion.video.reading import VideoFile

MAX_BYTES, MAX_SECONDS, MAX_MEMORY = 1 << 20, 5, 500e6


@contextmanager
def limit_cost(size: int, seconds: float = MAX_SECONDS) -> Iterator[None]:
    """Check the CPU time and the memory of the block, which reads a file of this size."""
    assert size <= MAX_BYTES
    started = time.process_time()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MAX_MEMORY
    finally:
        tracemalloc.stop()
    assert time.process_time() - started < seconds


@pytest.mark.parametrize("part", ["a=", "a", "`a=", 'a="b" and ', "a=b, ", "a_", "`a` or `--"])
def test_messages_with_long_names(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Names of classes and methods, which files of others can hold, in a time that grows with their length."""
    text = part * (40_000 // len(part))
    with limit_cost(len(text)):
        assert translate(f"{text}: `crop` (--crop)").endswith(": --crop")
        with pytest.raises(typer.Exit):
            exit_with_failures("failed", [("a", text), ("b", text)])
    assert "the same for 1 more: b" in capsys.readouterr().err


def test_flir_records() -> None:
    """Thousands of records that share nearly all bytes of the file."""
    count, size = 3000, MAX_BYTES - 10_000
    container = bytearray(size)
    container[:4], container[20:32] = b"FFF\0", struct.pack(">III", 100, 64, count)
    for index in range(count):
        struct.pack_into(">H10xII", container, 64 + 32 * index, 0x100 + index, 64, size - 64 - index)
    content = wrap_flir(bytes(container), screen_jpeg())
    with limit_cost(len(content)):
        assert decode_radiometric(content) is None


def test_texts_in_counts_of_flir() -> None:
    """The PNG file of the counts has 100 texts, each nearly as large as libpng reads."""
    counts = to_counts(render_pair()[1])
    png = encode_deep_png(counts)
    png = png[:33] + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(7_900_000), 9)) * 100 + png[33:]
    records = {0x01: flir_image_record(*counts.shape[::-1], png), 0x20: flir_camera_record()}
    content = wrap_flir(flir_container(records), screen_jpeg())
    with limit_cost(len(content), seconds=1):
        image = decode_radiometric(content)
    np.testing.assert_array_equal(image.values, counts)


def write_gdal_tiff(count: int) -> bytes:
    """Return a TIFF file with metadata of which every second item is left out."""
    text = "<G>" + "<i/>" * count + '<i sample=""/>' * count + "</G>"
    content = io.BytesIO()
    tifffile.imwrite(content, np.zeros((8, 8), np.uint8), metadata=None, extratags=[(42112, 2, None, text, True)])
    return content.getvalue()


def test_metadata_of_gdal() -> None:
    content = write_gdal_tiff(count=58_000)
    with limit_cost(len(content)):
        assert read_metadata(content).georeference


def test_large_metadata_of_gdal() -> None:
    """More than 1 MiB is left out, so that the file is larger, too."""
    assert not read_metadata(write_gdal_tiff(count=59_000)).georeference


def write_scans(height: int, width: int, count: int) -> bytes:
    """Return a progressive JPEG file with scans added that repeat one, each of which decoders apply to all pixels."""
    content = encode(np.full((height, width), 128, np.uint8), "JPEG", progressive=True, quality=50)
    first, second = content.index(b"\xff\xda"), content.index(b"\xff\xda", content.index(b"\xff\xda") + 2)
    scan = bytearray(content[second : content.index(b"\xff\xc4", second)])
    scan[7:10] = 1, 63, 0  # all coefficients and bits
    table = content[content.rindex(b"\xff\xc4", first, second) : second]
    return content[:-2] + table + bytes(scan) * count + content[-2:]


def write_strips(part: bytes, rows: int, width: int, count: int) -> bytes:
    """Return a TIFF file of strips that are one JPEG file."""
    position = 16
    tags = [(256, width), (257, rows * count), (258, 8), (259, 7), (262, 1)]
    tags += [(273, position + len(part)), (277, 1), (278, rows), (279, position + len(part) + 4 * count)]
    content = b"II*\0" + struct.pack("<I8x", position + len(part) + 8 * count) + part
    content += struct.pack(f"<{count}I", *[position] * count) + struct.pack(f"<{count}I", *[len(part)] * count)
    entries = [struct.pack("<HHII", n, 4, count if n in (273, 279) else 1, value) for n, value in tags]
    return content + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4)


def test_scans_of_jpeg() -> None:
    """1500 scans of 48 million pixels."""
    content = write_scans(6000, 8000, 1500)
    with limit_cost(len(content)), pytest.raises(ImageReadError, match="more than 100 scans"):
        read_image(io.BytesIO(content))


def test_strips_of_large_jpeg() -> None:
    """1000 strips of 8 rows that are one JPEG of 48 million pixels."""
    part = encode(np.full((6000, 8000), 128, np.uint8), "JPEG", quality=50)
    content = write_strips(part, 8, 8000, 1000)
    with (
        limit_cost(len(content)),
        pytest.raises(ImageReadError, match=r"^[^:]*: a part of it holds 8000 x 6000 pixels"),
    ):
        read_image(io.BytesIO(content))


def test_strips_with_scans() -> None:
    """Many strips of many scans are refused; many strips of few scans, or few of many, are read."""
    content = write_strips(write_scans(8, 64, 90), 8, 64, 120_000)
    with limit_cost(len(content)), pytest.raises(ImageReadError, match="more than 65536 scans"):
        read_image(io.BytesIO(content))
    for scans, count in ((0, 10_000), (90, 100)):
        content = write_strips(write_scans(8, 64, scans), 8, 64, count)
        with limit_cost(len(content)):
            assert (read_image(io.BytesIO(content)) == 128).all()


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
    with limit_cost(file.stat().st_size):
        assert not read_metadata(file.read_bytes())
        for read in (read_image, *([] if is_late and kind == "iCCP" else [read_size])):
            with pytest.raises(ImageReadError, match="compressed metadata"):
                read(file)


def test_large_texts_of_png(tmp_path: Path) -> None:
    """Texts that take as much space in the file as one expects of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    text = zlib.compress(np.random.default_rng(0).bytes(9 << 19).hex().encode(), 1)
    parts = chunk(b"zTXt", b"log\0\0" + text) + chunk(b"iTXt", b"log\0\1\0\0\0" + text)
    whole = encode(pixels, "PNG")
    file = tmp_path / "image.png"
    for place in (33, len(whole) - 12):
        file.write_bytes(whole[:place] + parts + whole[place:])
        assert read_size(file) == pixels.shape[:2]
        np.testing.assert_array_equal(read_image(file), pixels)


def test_orientations_after_the_pixels_of_png() -> None:
    content = encode(np.zeros((8, 8, 3), np.uint8), "PNG")
    content = content[:-12] + chunk(b"eXIf", bytes(4)) * 60_000 + content[-12:]
    with limit_cost(len(content)):
        assert len(read_late_orientation(io.BytesIO(content))) == 16 * 60_000


def test_headers_of_weights(tmp_path: Path) -> None:
    """A header that the parser would read for long is refused; the largest one in a file of 1 MB is read."""
    file = tmp_path / "model.safetensors"
    size = (1 << 22) + 8
    file.write_bytes(struct.pack("<Q", size) + b"{}".ljust(size))
    with pytest.raises(OSError, match=r"model\.safetensors has a header of 4,194,312 bytes"):
        read_headers([file])
    names = ",".join(f'"{index}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}' for index in range(18_000))
    header = f"{{{names}}}".encode()
    file.write_bytes(struct.pack("<Q", len(header)) + header)
    with limit_cost(file.stat().st_size):
        read_headers([file])


def test_frames_of_one_time(tmp_path: Path) -> None:
    """A frame of a video that is shown again takes seven bytes of the file."""
    path = write_repeats(tmp_path / "repeats.webm", [0] * 140_000)
    with limit_cost(path.stat().st_size), pytest.raises(ValueError, match=r"repeats\.webm has more than 1000 frames"):
        list(VideoFile(path).read())
