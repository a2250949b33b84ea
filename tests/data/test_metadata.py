"""Metadata of the visible image in the fused image, read back by Pillow and tifffile."""

import dataclasses
import io
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, PngImagePlugin

from gffusion.cameras.png_chunks import iterate_png_chunks
from gffusion.data import read_image, write_image
from gffusion.data.io import write_with_metadata
from gffusion.data.metadata import ImageMetadata, read_metadata
from gffusion.data.tiff_tags import Tag

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" drone-dji:GimbalYawDegree="+12.5"'
    b' tiff:ImageWidth="4000" tiff:ImageLength="3000"><exif:PixelYDimension>3000</exif:PixelYDimension>'
    b"<exif:PixelXDimension>4000</exif:PixelXDimension><xmp:Thumbnails>abc</xmp:Thumbnails></rdf:Description></x:xmpmeta>"
)
GEOREFERENCE = {
    33550: (12, (0.05, 0.05, 0.0)),
    33922: (12, (0.0, 0.0, 0.0, 690000.0, 5335000.0, 0.0)),
    34735: (3, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 25832)),
}
FORMATS = ("jpg", "png", "webp", "tif", "bmp")


def make_exif(order: str = "<") -> bytes:
    """Return EXIF data laid out by hand: make, sizes, maker's note, GPS latitude of 48 deg 8' 15", and a thumbnail."""

    def entry(number: int, kind: int, count: int, value: int) -> bytes:
        packed = (
            struct.pack(f"{order}H", value) + b"\0\0" if kind == 3 and count == 1 else struct.pack(f"{order}I", value)
        )
        return struct.pack(f"{order}HHI", number, kind, count) + packed

    latitude = struct.pack(f"{order}6I", 48, 1, 8, 1, 15, 1)
    main, exif, gps, second = 8, 100, 200, 300
    block = bytearray(400)
    block[:8] = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, main)
    tables = {
        main: [(271, 2, 8, 350), (274, 3, 1, 6), (34665, 4, 1, exif), (34853, 4, 1, gps)],
        exif: [(37500, 7, 12, 370), (40962, 4, 1, 4000), (40963, 4, 1, 3000)],
        gps: [(1, 2, 2, int.from_bytes(b"N\0\0\0", "little" if order == "<" else "big")), (2, 5, 3, 382 - 6)],
        second: [(513, 4, 1, 400), (514, 4, 1, 8)],
    }
    for position, entries in tables.items():
        table = struct.pack(f"{order}H", len(entries)) + b"".join(entry(*row) for row in entries)
        table += struct.pack(f"{order}I", second if position == main else 0)
        block[position : position + len(table)] = table
    block[350:358] = b"MAKER-1\0"
    block[370:376] = b"NOTES!"
    block[376:400] = latitude
    return bytes(block) + b"JPEGDATA"


def save_source(kind: str, **parts: Any) -> bytes:
    """Encode `IMAGE` with Pillow or tifffile, with EXIF (Pillow adds the header), XMP and profile."""
    exif, xmp, icc = (parts.get(name) for name in ("exif", "xmp", "icc"))
    content = io.BytesIO()
    if kind == "tif":
        extra = [(700, 1, len(xmp), xmp, True)] if xmp else []
        extra += [(271, 2, 8, "MAKER-1", True)] if exif else []
        extra += [(34675, 7, len(icc), icc, True)] if icc else []
        extra += [(number, value[0], len(value[1]), value[1], True) for number, value in parts.get("tags", {}).items()]
        layout = {key: parts[key] for key in ("byteorder", "bigtiff") if key in parts}
        tifffile.imwrite(content, IMAGE, photometric="rgb", metadata=None, extratags=extra, **layout)
        return content.getvalue()
    options = {"exif": b"Exif\0\0" + exif} if exif else {}
    options |= {"icc_profile": icc} if icc else {}
    if kind == "jpg" and xmp:  # Pillow 11 has an argument for it
        payload = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        plain = save_source("jpg")
        return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + plain[2:]
    Image.fromarray(IMAGE).save(
        content, {"jpg": "JPEG"}.get(kind, kind.upper()), **options, **(parts.get("more") or {})
    )
    return content.getvalue()


def write(
    folder: Path, kind: str, metadata: ImageMetadata, image: NDArray[Any] = IMAGE
) -> tuple[Path, tuple[str, ...]]:
    """Write an image with metadata, check that its pixels are those without metadata, and return what was lost."""
    with_metadata, without = folder / f"with.{kind}", folder / f"without.{kind}"
    write_image(with_metadata, image, metadata=metadata)
    write_image(without, image)
    assert np.array_equal(read_image(with_metadata), read_image(without))
    first = with_metadata.read_bytes()
    lost = write_with_metadata(with_metadata, image, None, metadata, replace_special=False)
    assert with_metadata.read_bytes() == first
    return with_metadata, lost


def check_exif(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
        exif = image.getexif()
        assert exif[271] == "MAKER-1"
        assert exif.get(274, 1) == 1
        assert exif.get_ifd(34853) == {1: "N", 2: (48.0, 8.0, 15.0)}
        nested = exif.get_ifd(34665)
        assert (nested[40963], nested[40962]) == IMAGE.shape[:2]
        assert not exif.get_ifd(1)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("source", ["jpg", "png", "webp"])
@pytest.mark.parametrize("target", FORMATS)
def test_exif_gps_and_profile(tmp_path: Path, source: str, target: str, order: str) -> None:
    metadata = read_metadata(save_source(source, exif=make_exif(order), icc=PROFILE))
    path, lost = write(tmp_path, target, metadata)
    if target == "bmp":
        assert lost == ("EXIF", "the color profile")
        return
    check_exif(path)
    assert b"JPEGDATA" not in path.read_bytes()
    with Image.open(path) as image:
        assert image.info["icc_profile"] == PROFILE
        note = image.getexif().get_ifd(34665).get(37500)
    assert (lost, note) == ((("the maker's notes in EXIF",), None) if target == "tif" else ((), b"NOTES!" + note[6:]))


def test_maker_notes_stay_in_place(tmp_path: Path) -> None:
    """They contain positions from the start of the EXIF data."""
    path, _ = write(tmp_path, "jpg", read_metadata(save_source("jpg", exif=make_exif())))
    with Image.open(path) as image:
        stored = image.info["exif"].removeprefix(b"Exif\0\0")
    assert stored[350:358] == b"MAKER-1\0" and stored[370:376] == b"NOTES!"
    assert len(stored) == 400  # the thumbnail was at the end
    assert stored[58:62] == bytes(4)  # no directory after the first one, which has 4 entries from byte 10


@pytest.mark.parametrize("source", ["jpg", "png", "png zlib", "webp", "tif"])
@pytest.mark.parametrize("target", FORMATS)
def test_xmp(tmp_path: Path, source: str, target: str) -> None:
    more: dict[str, Any] = {"xmp": XMP}
    if source.startswith("png"):
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=source.endswith("zlib"))
        more = {"pnginfo": info}
    kind = source.split()[0]
    content = save_source(kind, xmp=XMP, more=more)
    metadata = read_metadata(content)
    assert metadata.xmp == XMP
    path, lost = write(tmp_path, target, metadata)
    if target == "bmp":
        assert lost == ("XMP",)
        return
    written = read_metadata(path.read_bytes()).xmp
    assert written == XMP.replace(b'"6"', b'"1"').replace(b"4000", b"48").replace(b"3000", b"40").replace(
        b"<xmp:Thumbnails>abc</xmp:Thumbnails>", b""
    )
    with Image.open(path) as image:
        image.load()
        info = image.info | dict(getattr(image, "tag_v2", {}))
        assert next(info[key] for key in ("xmp", "XML:com.adobe.xmp", 700) if key in info) in (
            written,
            written.decode(),
        )


@pytest.mark.parametrize("end", ["", "</xmp:Thumbnails>"])
def test_many_thumbnails_take_no_time(end: str) -> None:
    xmp = f"<xmp:Thumbnails>a{end}".encode() * 12_000
    started = time.perf_counter()
    written = ImageMetadata(xmp=XMP + xmp).write_xmp((40, 48))
    assert written == (ImageMetadata(xmp=XMP).write_xmp((40, 48)) or b"") + (b"" if end else xmp)
    assert time.perf_counter() - started < 2


@pytest.mark.parametrize("layout", [{}, {"byteorder": ">"}, {"bigtiff": True}, {"byteorder": ">", "bigtiff": True}])
def test_tiff_tags(tmp_path: Path, layout: dict[str, Any]) -> None:
    tags = {
        **GEOREFERENCE,
        315: (2, "Ann\0"),
        42113: (2, "-9999\0"),
        42112: (2, '<GDALMetadata><Item name="STATISTICS_MEAN">5</Item><Item name="FLIGHT">7</Item></GDALMetadata>\0'),
    }
    metadata = read_metadata(save_source("tif", exif=b"1", icc=PROFILE, tags=tags, **layout))
    path, lost = write(tmp_path, "tif", metadata)
    assert not lost
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        stored = {tag.code: tag.value for tag in page.tags}
        geo = page.geotiff_tags
    assert {number: stored[number] for number in GEOREFERENCE} == {n: value for n, (_, value) in GEOREFERENCE.items()}
    assert geo["ProjectedCSTypeGeoKey"] == 25832
    assert (stored[271], stored[315], stored[34675]) == ("MAKER-1", "Ann", PROFILE)
    assert 42113 not in stored  # fusion changes the values of these pixels
    assert stored[42112] == '<GDALMetadata><Item name="FLIGHT">7</Item></GDALMetadata>'
    path, lost = write(tmp_path, "jpg", metadata)
    assert lost == ("the georeference",)
    with Image.open(path) as image:
        assert image.getexif()[271] == "MAKER-1"


def test_georeference_of_other_frames() -> None:
    metadata = read_metadata(save_source("tif", tags=GEOREFERENCE))
    moved, notes = metadata.move(window=(10, 20, 20, 20))
    assert notes == ()
    points = np.frombuffer(moved.georeference[33922].data)  # type: ignore[index, union-attr]
    assert points.tolist() == [-20.0, -10.0, 0.0, 690000.0, 5335000.0, 0.0]
    moved, notes = metadata.move(ImageMetadata())
    assert moved.georeference is None and "georeference left out" in notes[0]
    other = read_metadata(save_source("tif", tags={**GEOREFERENCE, 33550: (12, (0.5, 0.5, 0.0))}))
    moved, notes = dataclasses.replace(metadata, orientation=6).move(other)
    assert (moved.georeference, moved.tags, notes) == (other.georeference, metadata.tags, ())
    matrix = (0.05, 0, 0, 690000.0, 0, -0.05, 0, 5335000.0, 0, 0, 0, 0, 0, 0, 0, 1.0)
    moved, _ = read_metadata(save_source("tif", tags={34264: (12, matrix)})).move(window=(10, 20, 20, 20))
    values = np.frombuffer(moved.georeference[34264].data).reshape(4, 4)  # type: ignore[index, union-attr]
    assert values[:2, 3].tolist() == [690000.0 + 20 * 0.05, 5335000.0 - 10 * 0.05]
    coefficients = tuple(float(number) for number in range(500, 592))
    moved, _ = read_metadata(save_source("tif", tags={50844: (12, coefficients)})).move(window=(10, 20, 20, 20))
    values = np.frombuffer(moved.georeference[50844].data)  # type: ignore[index, union-attr]
    assert values[:5].tolist() == [500, 501, 502 - 10, 503 - 20, 504]
    rotated = read_metadata(save_source("tif", tags={**GEOREFERENCE, 274: (3, (6,))}))
    assert "upright" in rotated.move()[1][0]


@pytest.mark.parametrize("number", [33922, 34264, 50844])
def test_damaged_georeference_is_left_out_of_crops(number: int) -> None:
    metadata = ImageMetadata(xmp=XMP, georeference={33550: Tag(12, 3, bytes(24)), number: Tag(12, 2, bytes(15))})
    moved, notes = metadata.move(window=(1, 2, 3, 4))
    assert (moved, notes) == (ImageMetadata(xmp=XMP), ("georeference left out: its tags are damaged",))
    assert metadata.move()[0] == metadata


@pytest.mark.parametrize("target", FORMATS)
def test_profiles_of_other_colors(tmp_path: Path, target: str) -> None:
    """A CMYK image is fused as RGB, and WebP stores gray as RGB."""
    metadata = ImageMetadata(icc=PROFILE[:16] + b"CMYK" + PROFILE[20:])
    path, lost = write(tmp_path, target, metadata)
    assert lost[0].startswith("the color profile")
    assert read_metadata(path.read_bytes()).icc is None
    gray = ImageMetadata(icc=PROFILE[:16] + b"GRAY" + PROFILE[20:])
    path, _ = write(tmp_path, target, gray, IMAGE[..., 0])
    assert (read_metadata(path.read_bytes()).icc == gray.icc) == (target not in ("webp", "bmp"))


@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
def test_large_parts(tmp_path: Path, target: str) -> None:
    metadata = ImageMetadata(icc=PROFILE + bytes(200_001), xmp=XMP + b" " * 70_001)
    path, lost = write(tmp_path, target, metadata)
    with Image.open(path) as image:
        image.load()
        assert image.info["icc_profile"] == metadata.icc
    assert lost == (("XMP of more than 64 kB",) if target == "jpg" else ())
    assert (read_metadata(path.read_bytes()).xmp is None) == (target == "jpg")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_thermal_page_stays(tmp_path: Path, dtype: str) -> None:
    text = '<GDALMetadata><Item name="FLIGHT">7</Item></GDALMetadata>'
    metadata = read_metadata(save_source("tif", tags={**GEOREFERENCE, 42112: (2, text + "\0")}))
    thermal = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48)
    image = IMAGE.astype(dtype)
    write_image(tmp_path / "a.tif", image, thermal, metadata)
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert len(tiff.pages) == 2
        assert np.array_equal(tiff.pages[0].asarray(), image) and np.array_equal(tiff.pages[1].asarray(), thermal)
        for page in tiff.pages:
            assert page.geotiff_tags["ProjectedCSTypeGeoKey"] == 25832
            assert page.tags[33922].value == tiff.pages[0].tags[33922].value == GEOREFERENCE[33922][1]
            assert page.tags[42112].value == text


@pytest.mark.parametrize("description", ["ImageJ=1.53\nimages=1", '{"shape": [40, 48, 3]}', "<OME xmlns=''/>"])
def test_descriptions_of_programs_are_left_out(description: str) -> None:
    content = io.BytesIO()
    tifffile.imwrite(content, IMAGE, photometric="rgb", description=description, metadata=None)
    assert not read_metadata(content.getvalue())


class TestDamage:
    @pytest.mark.parametrize("position", [2**62, 2**63 + 5, 2**64 - 1])
    def test_positions_of_bigtiff(self, position: int) -> None:
        entry = struct.pack("<HHQQ", 34665, 4, 1, position)
        pointing = struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, 1) + struct.pack("<HHQQ", 34665, 16, 1, position)
        for content in (struct.pack("<2sHHHQ", b"II", 43, 8, 0, position) + entry, pointing + bytes(8)):
            assert not read_metadata(content).georeference

    @pytest.mark.parametrize(
        "text",
        [
            '<?xml version="1.0" encoding="foo"?><GDALMetadata><Item name="a">1</Item></GDALMetadata>',
            '<?xml version="1.0" encoding="GB2312"?><GDALMetadata><Item name="a">1</Item></GDALMetadata>',
            '<!DOCTYPE GDALMetadata [<!ENTITY a "text">]><GDALMetadata><Item name="a">&a;</Item></GDALMetadata>',
            "<a>" * 5000 + "</a>" * 5000,
            "<GDALMetadata>",
        ],
    )
    def test_xml_of_gdal(self, text: str) -> None:
        metadata = read_metadata(save_source("tif", tags={**GEOREFERENCE, 42112: (2, text + "\0")}))
        assert metadata.georeference is not None and metadata.georeference.keys() == GEOREFERENCE.keys()

    def test_tags_that_share_their_bytes(self) -> None:
        """Copied once each, they would take a thousand times the memory of the file."""
        size = 100_000
        table = b"".join(struct.pack("<HHII", 50000 + number, 1, size, 14) for number in range(900))
        exif = struct.pack("<2sHIH", b"II", 42, 8, 900) + table + bytes(size)
        assert len(read_metadata(save_source("png", exif=exif)).tags or {}) == 0

    def test_cut_and_changed_exif(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        for order in "<>":
            exif = make_exif(order)
            for length in range(0, len(exif), 3):
                changed = bytearray(exif)
                changed[rng.integers(len(exif))] = rng.integers(256)
                for damaged in (exif[:length], bytes(changed)):
                    metadata = read_metadata(save_source("jpg", exif=damaged))
                    write_image(tmp_path / "a.jpg", IMAGE, metadata=metadata)
                    write_image(tmp_path / "a.tif", IMAGE, metadata=metadata)
                    assert read_image(tmp_path / "a.tif").shape == IMAGE.shape

    @pytest.mark.parametrize("kind", FORMATS)
    def test_cut_files(self, kind: str) -> None:
        content = save_source(kind, exif=make_exif(), icc=PROFILE)
        for length in range(0, len(content), 37):
            read_metadata(content[:length])


@pytest.mark.parametrize("target", FORMATS)
def test_gamma_and_primaries_of_png_files(tmp_path: Path, target: str) -> None:
    primaries = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)  # Display P3
    chunks = {b"gAMA": struct.pack(">I", 100_000), b"cHRM": primaries, b"sRGB": b"\0", b"cICP": bytes([12, 13, 0, 1])}
    more = PngImagePlugin.PngInfo()
    for kind, data in (*chunks.items(), (b"tIME", bytes(7))):
        more.add(kind, data)
    path, lost = write(tmp_path, target, read_metadata(save_source("png", more={"pnginfo": more})))
    assert not lost
    if target == "png":
        with Image.open(path) as image:
            assert (image.info["gamma"], image.info["srgb"], image.info["chromaticity"][2]) == (1, 0, 0.68)
        assert dict(iterate_png_chunks(path.read_bytes())).items() >= chunks.items()
        assert b"tIME" not in path.read_bytes()
        profiled = read_metadata(save_source("png", more={"pnginfo": more}, icc=PROFILE))
        path, _ = write(tmp_path, target, profiled)
        assert read_metadata(path.read_bytes()) == ImageMetadata(icc=PROFILE)


def test_parts_of_png_that_other_programs_write(tmp_path: Path) -> None:
    """EXIF data that begin as in JPEG files, and a color profile that ends early, which would change the colors."""
    content = save_source("png")
    parts = b""
    for kind, data in ((b"iCCP", b"name\0\0" + zlib.compress(PROFILE)[:-12]), (b"eXIf", b"Exif\0\0" + make_exif())):
        parts += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    metadata = read_metadata(content[:33] + parts + content[33:])  # behind the header
    assert metadata.icc is None
    check_exif(write(tmp_path, "png", metadata)[0])


@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_exif_in_texts_of_png(tmp_path: Path, kind: str) -> None:
    """As ImageMagick 6 stores it: a name, a length and hexadecimal digits, of which one can be missing."""
    data = b"Exif\0\0" + make_exif()
    for digits in (data.hex(), data.hex()[:-1]):
        more = PngImagePlugin.PngInfo()
        more.add_text(f"Raw profile type {kind}", f"\n{kind}\n{len(data):8}\n{digits[:72]}\n{digits[72:]}\n", zip=True)
        metadata = read_metadata(save_source("png", more={"pnginfo": more}))
        if digits == data.hex():
            check_exif(write(tmp_path, "png", metadata)[0])
        else:
            assert not metadata


@pytest.mark.parametrize("data", [b"", bytes(4), bytes(5)])
def test_damaged_gamma_is_left_out(data: bytes) -> None:
    more = PngImagePlugin.PngInfo()
    more.add(b"gAMA", data)
    assert not read_metadata(save_source("png", more={"pnginfo": more}))
