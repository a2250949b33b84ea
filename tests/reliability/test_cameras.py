"""Damaged files of cameras and damaged metadata: an image, or one line; metadata never stop a fused image from being written."""

import io
import struct
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from camera_files import dji_jpeg, dlt664_jpeg, encode, flir_jpeg, hikmicro_jpeg, infiray_jpeg, render_pair, to_counts
from hostile_images import join_png, split_png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gffusion.data import read_image, write_image
from gffusion.data.decoded_image import DecodeOptions
from gffusion.data.metadata import read_metadata
from gffusion.data.modalities import split_modalities
from gffusion.data.tiff_tags import TiffReader

VISIBLE, INFRARED = render_pair()
COUNTS, JPEG = to_counts(INFRARED), encode(VISIBLE, "JPEG")
CAMERAS = {
    "FLIR": flir_jpeg(COUNTS, JPEG, (96, 128), (1.0, 0, 0)),
    "DJI": dji_jpeg(COUNTS, (96, 128)),
    "InfiRay": infiray_jpeg(COUNTS, JPEG),
    "HIKMICRO": hikmicro_jpeg(COUNTS),
    "DL/T 664": dlt664_jpeg(COUNTS.astype(np.float32)),
}


def make_tagged(kind: str) -> bytes:
    """Return an image file with EXIF and GPS data, or with a georeference."""
    if kind == "GEO":
        content = io.BytesIO()
        tags = [
            (33550, "d", 3, (1.0, 1.0, 0.0), True),
            (33922, "d", 6, (0.0,) * 6, True),
            (34735, "H", 4, (1, 1, 0, 0), True),
        ]
        tifffile.imwrite(content, VISIBLE, extratags=tags, metadata=None)
        return content.getvalue()
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Maker", 6
    exif.get_ifd(0x8825)[1], exif.get_ifd(0x8769)[0x829A] = "N", 1.5
    return encode(VISIBLE, kind, exif=exif)


def damage(content: bytes, data: st.DataObject, reach: int) -> bytes:
    """Change one to four parts of a file."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, min(len(changed), reach)))
        end = start + data.draw(st.integers(0, 8))
        changed[start:end] = data.draw(
            st.binary(max_size=8) | st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f" + b"\xff" * 3])
        )
    return bytes(changed)


@pytest.mark.parametrize("camera", CAMERAS)
@given(data=st.data())
def test_cameras(camera: str, data: st.DataObject) -> None:
    content = damage(CAMERAS[camera], data, data.draw(st.sampled_from([300, 3000, 10**6])))
    try:
        split_modalities(content, "camera.jpg", DecodeOptions())
    except OSError as error:
        assert "camera.jpg" in str(error) and "\n" not in str(error)


def test_bomb_in_a_flir_file() -> None:
    counts = encode(COUNTS, "PNG")
    place = CAMERAS["FLIR"].find(counts[:16])
    content = bytearray(CAMERAS["FLIR"])
    assert place > 0
    content[place + 16 : place + 24] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(OSError, match="60000 x 60000"):
        split_modalities(bytes(content), "camera.jpg", DecodeOptions())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "GEO"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_metadata(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    content = damage(make_tagged(kind), data, data.draw(st.sampled_from([400, 10**6])))
    try:
        metadata = read_metadata(content)
    except (OSError, ValueError):
        return
    moved, _ = metadata.move(window=(3, 4, 20, 20))
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        path = tmp_path / f"fused{suffix}"
        write_image(path, VISIBLE, metadata=moved)
        difference = read_image(path).astype(float) - VISIBLE
        assert np.abs(difference).mean() < (5 if suffix == ".jpg" else 1e-9), suffix


class TestEndlessMetadata:
    @pytest.mark.parametrize("count", [1, 2, 400])
    def test_directories_that_point_to_each_other(self, count: int) -> None:
        def directory(target: int) -> bytes:
            pointers = b"".join(struct.pack("<HHII", 34665, 4, 1, target) for _ in range(count))
            return struct.pack("<H", count) + pointers + bytes(4)

        size = len(directory(0))
        exif = b"II*\0" + struct.pack("<I", 8) + directory(8 + size) + directory(8)
        started = time.process_time()
        assert TiffReader(exif).read(8).keys() == {34665}
        assert read_metadata(make_png(b"eXIf", exif)) is not None
        assert time.process_time() - started < 1

    @pytest.mark.parametrize("kind", [b"iCCP", b"iTXt", b"zTXt"])
    def test_compressed_bombs(self, kind: bytes) -> None:
        bomb = zlib.compress(bytes(300 << 20), 9)
        start = {b"iCCP": b"name\0\0", b"iTXt": b"XML:com.adobe.xmp\0\1\0\0\0", b"zTXt": b"Raw profile type exif\0\0"}[
            kind
        ]
        tracemalloc.start()
        try:
            read_metadata(make_png(kind, start + bomb))
            assert tracemalloc.get_traced_memory()[1] < 100 << 20
        finally:
            tracemalloc.stop()


def make_png(kind: bytes, data: bytes) -> bytes:
    """Return a PNG file with a chunk of metadata."""
    chunks = split_png(encode(VISIBLE, "PNG"))
    return join_png([chunks[0], (kind, data), *chunks[1:]])
