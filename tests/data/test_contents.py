"""Contents of image files in memory: read as files of the same content are."""

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from camera_files import dji_jpeg, encode, encode_deep_png, flir_jpeg, render_pair, to_counts
from PIL import Image

from gffusion.data import ReadOptions, read_pair

VISIBLE, INFRARED = render_pair()
COUNTS = to_counts(INFRARED)


def rotated(image: np.ndarray, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right to show
    return encode(np.ascontiguousarray(np.rot90(image)), kind, exif=exif)


FLIR = flir_jpeg(COUNTS, encode(VISIBLE, "PNG"), (96, 128), (1.0, 0, 0))
PAIRS = {
    "radiometric": (FLIR, FLIR),
    "celsius": (encode(VISIBLE, "JPEG"), dji_jpeg(COUNTS, (96, 128))),
    "16 bits": (encode_deep_png(VISIBLE.astype(np.uint16) * 257), encode(COUNTS, "PNG")),
    "missing": (encode(VISIBLE, "WEBP"), encode(np.where(INFRARED > 0.9, np.nan, INFRARED).astype(np.float32), "TIFF")),
    "orientation": (rotated(VISIBLE, "JPEG"), rotated(COUNTS, "TIFF")),
    "four channels": (encode(np.dstack([VISIBLE, (250 * INFRARED).astype(np.uint8)]), "PNG"),) * 2,
}


def spool(content: bytes) -> Any:
    """Return an upload as web frameworks keep it, which was read before."""
    file = tempfile.SpooledTemporaryFile(1000)  # noqa: SIM115 - it is returned
    file.write(content)
    return file


class Upload:
    """File object that is no class of `io`, such as those of Flask and Django."""

    def __init__(self, content: bytes) -> None:
        file = io.BytesIO(content)
        self.read, self.seek = file.read, file.seek


FORMS: dict[str, Callable[[bytes], Any]] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "memoryview": memoryview,
    "BytesIO": io.BytesIO,
    "SpooledTemporaryFile": spool,
    "upload": Upload,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", PAIRS)
def test_equal_to_files(tmp_path: Path, name: str, form: str) -> None:
    paths = tmp_path / "visible", tmp_path / "infrared"
    for path, content in zip(paths, PAIRS[name], strict=True):
        path.write_bytes(content)
    is_both = PAIRS[name][0] == PAIRS[name][1]
    expected = read_pair(paths[0], paths[0] if is_both else paths[1])
    contents = [FORMS[form](content) for content in PAIRS[name]]
    for _ in range(2):  # file objects are read from their beginning
        pair = read_pair(*contents)
        np.testing.assert_array_equal(pair.visible, expected.visible)
        np.testing.assert_array_equal(pair.infrared, expected.infrared)
        np.testing.assert_array_equal(pair.thermal, expected.thermal)
        assert (pair.is_raw, pair.notes, pair.temperature) == (expected.is_raw, expected.notes, expected.temperature)
    for pair in (read_pair(contents[0], paths[1]), read_pair(paths[0], contents[1])):
        np.testing.assert_array_equal(pair.infrared, expected.infrared)


class Async:
    async def read(self) -> bytes:
        return b""


class Stream:
    """Answer of a server, which cannot be rewound."""

    def read(self, size: int = -1) -> bytes:
        return b""


def closed() -> io.BytesIO:
    file = io.BytesIO(FLIR)
    file.close()
    return file


NOT_READ: dict[str, tuple[Callable[[], Any], str]] = {
    "text": (lambda: b"text", "^cannot read the infrared image: it is not a PNG, JPEG"),
    "empty": (lambda: b"", r"^cannot read the infrared image: the file is empty \(0 bytes\)"),
    "truncated": (
        lambda: io.BytesIO(encode(COUNTS, "PNG")[:-60]),
        '^cannot read the infrared image: .*truncated="fill"',
    ),
    "damaged": (lambda: FLIR.replace(b"IHDR", b"IHDX"), "^cannot read the infrared image: "),
    "same": (lambda: encode(VISIBLE, "PNG"), "^the visible image holds one image, not a visible and an infrared one"),
    "copy": (lambda: encode(VISIBLE, "BMP"), "^the visible image and the infrared image show the same image"),
    "both": (lambda: PAIRS["four channels"][0], "^the infrared image is an image whose last .*: give the file alone"),
    "size": (lambda: encode(COUNTS[1:], "PNG"), "128 x 96 pixels, but the infrared image 128 x 95"),
    "large": (lambda: bytes(1 << 27), "^the infrared image has more than 83,108,864 bytes"),
    "large file": (lambda: io.BytesIO(bytes(1 << 27)), "^the infrared image has more than 83,108,864 bytes"),
    "text file": (lambda: io.StringIO("text"), '^the infrared image is a StringIO that does not return bytes: .*"rb"'),
    "async": (Async, "^the infrared image is an asynchronous Async: .*await file.read"),
    "stream": (Stream, "^the infrared image is a Stream that cannot be rewound: pass its content"),
    "closed": (closed, "^the infrared image is a BytesIO that cannot be read: .*closed"),
}


@pytest.mark.parametrize("case", NOT_READ)
def test_errors_name_the_image(case: str) -> None:
    infrared, message = NOT_READ[case]
    with pytest.raises((ValueError, OSError), match=message):
        read_pair(encode(VISIBLE, "PNG"), infrared(), ReadOptions(max_pixels=1_000_000))


@pytest.mark.parametrize("other", [VISIBLE, None, 3])
def test_other_objects_are_refused(other: Any) -> None:
    content = encode(VISIBLE, "PNG")
    for kind, pair in (("visible", (other, content)), ("infrared", (content, other))):
        with pytest.raises(ValueError, match=rf"the {kind} image must be a path, .*got a {type(other).__name__}"):
            read_pair(*pair)
