"""Generate damaged, incomplete and oversized image files, by kind of damage."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

_EOI = b"\xff\xd9"
HEIGHT, WIDTH = 48, 64


class HostileImage(NamedTuple):
    """A file that must be refused, or read as the undamaged `original`."""

    kind: str
    content: bytes
    original: bytes

    @property
    def suffix(self) -> str:
        """Suffix of the format."""
        return f".{self.kind.split('-')[0]}"


def generate_images() -> Iterator[HostileImage]:
    """Yield one image of every kind, about 480."""
    rng = np.random.default_rng(0)
    for name, whole in {**make_jpegs(rng), **make_pngs(rng), **make_tiffs(rng), **make_others(rng)}.items():
        for share in rng.uniform(0.05, 0.97, 5):
            yield HostileImage(f"{name}-cut", whole[: int(share * len(whole))], whole)
        yield from (HostileImage(f"{name}-{kind}", content, whole) for kind, content in _damage(name, whole, rng))


def _damage(name: str, whole: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    if name.startswith("jpg"):
        yield from damage_jpeg(whole, rng)
    elif name.startswith("png"):
        yield from damage_png(whole, rng)
    elif name.startswith("tif"):
        yield from damage_tiff(whole, rng)


def make_scene(rng: np.random.Generator, channels: int = 3) -> NDArray[np.uint8]:
    """Return a noisy image whose rows all differ."""
    steps = rng.normal(0, 6, (HEIGHT, WIDTH, channels)).cumsum(0).cumsum(1)
    return np.clip(128 + steps / 4, 0, 255).astype(np.uint8).squeeze()


def save(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image file."""
    content = BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def make_jpegs(rng: np.random.Generator) -> dict[str, bytes]:
    """Return undamaged JPEG files."""
    color, gray = Image.fromarray(make_scene(rng)), Image.fromarray(make_scene(rng, 1))
    return {
        "jpg-baseline": save(color, "JPEG", quality=90),
        "jpg-progressive": save(color, "JPEG", quality=90, progressive=True),
        "jpg-full chroma": save(color, "JPEG", quality=80, subsampling=0, optimize=True),
        "jpg-gray": save(gray, "JPEG", quality=90),
        "jpg-gray progressive": save(gray, "JPEG", quality=90, progressive=True),
        "jpg-CMYK": save(color.convert("CMYK"), "JPEG", quality=90),
        "jpg-restart": save(color, "JPEG", quality=90, restart_marker_rows=1),
    }


def damage_jpeg(whole: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield JPEG files that are closed early, lose a block, or declare another size."""
    start = whole.rindex(b"\xff\xda") if whole.count(b"\xff\xda") == 1 else whole.index(b"\xff\xda")
    for share in rng.uniform(0.02, 0.95, 6):
        yield "closed", whole[: start + 14 + int(share * (len(whole) - start - 16))].rstrip(b"\xff") + _EOI
    scans = [index for index in range(len(whole) - 1) if whole[index : index + 2] == b"\xff\xda"]
    for scan in scans[1:]:
        yield "missing scans", whole[:scan] + _EOI
    for fill in (b"\0", b"\x55"):
        middle, size = start + 14 + (len(whole) - start) // 3, (len(whole) - start) // 4
        yield "lost block", whole[:middle] + size * fill + whole[middle + size :]
        yield "missing block", whole[:middle] + whole[middle + size :]
    frame = next(index for index in range(len(whole)) if whole[index : index + 2] in (b"\xff\xc0", b"\xff\xc2"))
    for height, width in ((2 * HEIGHT, WIDTH), (HEIGHT, 3 * WIDTH), (60000, 60000), (9000, 10000)):
        yield "larger header", whole[: frame + 5] + struct.pack(">HH", height, width) + whole[frame + 9 :]


def make_pngs(rng: np.random.Generator) -> dict[str, bytes]:
    """Return undamaged PNG files."""
    color, gray = make_scene(rng), make_scene(rng, 1)
    deep = gray.astype(np.uint16) * 255
    interlaced = pack_png(color, interlaced=True)
    return {
        "png-RGB": save(Image.fromarray(color), "PNG"),
        "png-L": save(Image.fromarray(gray), "PNG"),
        "png-RGBA": save(Image.fromarray(np.dstack([color, 255 - 0 * gray])), "PNG"),
        "png-P": save(Image.fromarray(color).quantize(40), "PNG"),
        "png-1": save(Image.fromarray(gray).convert("1"), "PNG"),
        "png-16": save(Image.fromarray(deep), "PNG"),
        "png-interlaced": interlaced,
        "png-text": save(Image.fromarray(color), "PNG")[:-12] + chunk(b"tEXt", b"Comment\0late") + chunk(b"IEND", b""),
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def split_png(content: bytes) -> list[tuple[bytes, bytes]]:
    """Return the chunks of a PNG file, with joined data."""
    chunks, position = [], 8
    while position < len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        data = content[position + 8 : position + 8 + length]
        if chunks and chunks[-1][0] == kind == b"IDAT":
            chunks[-1] = (kind, chunks[-1][1] + data)
        else:
            chunks.append((kind, data))
        position += 12 + length
    return chunks


def join_png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """Return a PNG file of chunks with right checksums."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in chunks)


def pack_png(image: NDArray[np.uint8], interlaced: bool) -> bytes:
    """Return a PNG file of an RGB image, with the passes of Adam7."""
    adam7 = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2))
    passes = [image[y::dy, x::dx] for x, dx, y, dy in adam7] if interlaced else [image]
    rows = b"".join(b"\0" + row.tobytes() for part in passes for row in part)
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 2, 0, 0, int(interlaced))
    return join_png([(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])


def damage_png(whole: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield PNG files with short data, wrong checksums, or other sizes."""
    chunks = split_png(whole)
    place = [kind for kind, _ in chunks].index(b"IDAT")
    data = chunks[place][1]

    def replaced(data: bytes) -> bytes:
        return join_png([*chunks[:place], (b"IDAT", data), *chunks[place + 1 :]])

    raw = zlib.decompress(data)
    for share in rng.uniform(0.0, 0.98, 3):
        yield "short stream", replaced(zlib.compress(raw[: int(share * len(raw))]))
        yield "cut stream", replaced(data[: 2 + int(share * len(data))])
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 16
    yield "damaged stream", replaced(bytes(flipped))
    yield "wrong adler", replaced(data[:-4] + bytes(4))
    position = 8
    while position < len(whole):
        length, kind = struct.unpack_from(">I4s", whole, position)
        end = position + 8 + length
        yield (
            f"checksum {kind.decode()}",
            whole[:end] + bytes(255 - byte for byte in whole[end : end + 4]) + whole[end + 4 :],
        )
        position = end + 4
    yield "no end", join_png(chunks[:-1])
    for height, width in ((2 * HEIGHT, WIDTH), (60_000_000, 1), (1, 60_000_000), (30000, 30000)):
        header = struct.pack(">II", width, height) + chunks[0][1][8:]
        yield "larger header", join_png([(b"IHDR", header), *chunks[1:]])


def make_tiffs(rng: np.random.Generator) -> dict[str, bytes]:
    """Return undamaged TIFF files."""
    color, gray = make_scene(rng), make_scene(rng, 1)
    images = {
        "RGB": (color, {"photometric": "rgb"}),
        "deep": (color.astype(np.uint16) * 250, {"photometric": "rgb"}),
        "float": (gray.astype(np.float32) / 7, {"photometric": "minisblack"}),
        "int8": (gray.astype(np.int8), {"photometric": "minisblack"}),
    }
    layouts: dict[str, dict[str, Any]] = {"strips": {"rowsperstrip": 8}, "tiles": {"tile": (16, 32)}}
    files = {}
    for image_name, (image, options) in images.items():
        for layout_name, layout in layouts.items():
            for compression in (None, "lzw", "deflate", "packbits", "zstd"):
                if compression != "deflate" and image_name in ("int8", "deep"):
                    continue
                content = BytesIO()
                tifffile.imwrite(content, image, compression=compression, metadata=None, **options, **layout)
                files[f"tif-{image_name} {layout_name} {compression}"] = content.getvalue()
    for name, image in (("jpeg", color), ("gray jpeg", gray)):
        content = BytesIO()
        photometric = "ycbcr" if image.ndim == 3 else "minisblack"
        tifffile.imwrite(content, image, compression="jpeg", photometric=photometric, rowsperstrip=16, metadata=None)
        files[f"tif-{name}"] = content.getvalue()
    return files


def damage_tiff(whole: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Yield TIFF files whose strips or tiles are missing, elsewhere, short or empty, and such with other tags."""
    with tifffile.TiffFile(BytesIO(whole)) as tiff:
        page = tiff.pages[0].aspage()
        tags = {tag.code: (tag.valueoffset, tag.count, tag.dtype) for tag in page.tags}
        entries = {tag.code: tag.offset for tag in page.tags}
        counts, offsets = page.databytecounts, page.dataoffsets
    places = 325 if 325 in tags else 279, 324 if 324 in tags else 273

    def patched(code: int, index: int, value: int) -> bytes:
        place, _, kind = tags[code]
        form = "<H" if kind == 3 else "<I"
        place += index * struct.calcsize(form)
        return whole[:place] + struct.pack(form, value) + whole[place + struct.calcsize(form) :]

    index = int(rng.integers(len(counts)))
    yield "short part", patched(places[0], index, counts[index] // 2)
    yield "empty part", patched(places[0], index, 0)
    yield "part behind the end", patched(places[1], index, len(whole) + 100)
    if page.compression != 1:  # uncompressed zeros are black pixels
        yield "zeroed part", whole[: offsets[index]] + bytes(counts[index]) + whole[offsets[index] + counts[index] :]
    if page.compression == 7:  # JPEG: libtiff prints an error, and leaves the rest of the part as it is
        for marker in (0x98, 0xC8):
            middle = offsets[index] + counts[index] * 2 // 3
            yield "marker in the data", whole[:middle] + bytes([255, marker, 0, 0]) + whole[middle + 4 :]
    for code in (places[0], places[1]):  # fewer entries than parts
        place = entries[code] + 4
        yield "missing parts", whole[:place] + struct.pack("<I", max(1, len(counts) // 2)) + whole[place + 4 :]
    for code, value in ((257, 2 * HEIGHT), (256, 9 * WIDTH), (257, 60000), (277, 60000)):
        place = entries[code] + 8
        yield f"tag {code}", whole[:place] + struct.pack("<I", value) + whole[place + 4 :]


def make_others(rng: np.random.Generator) -> dict[str, bytes]:
    """Return undamaged BMP and WebP files."""
    color = Image.fromarray(make_scene(rng))
    return {
        "bmp-RGB": save(color, "BMP"),
        "bmp-P": save(color.quantize(20), "BMP"),
        "webp-lossless": save(color, "WEBP", lossless=True),
        "webp-lossy": save(color, "WEBP"),
    }


def make_long_chain(pages: int, is_circular: bool = False) -> bytes:
    """Return a TIFF file of many empty directories."""
    directory = struct.pack("<HHHII", 1, 256, 3, 1, 1)
    parts, size = [], len(directory) + 4
    for page in range(pages):
        following = 8 + (page + 1) * size if page < pages - 1 else 8 * is_circular
        parts.append(directory + struct.pack("<I", following))
    return b"II*\0" + struct.pack("<I", 8) + b"".join(parts)
