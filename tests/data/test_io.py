"""Reading image files, against Pillow and tifffile."""

import itertools
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from camera_files import encode, encode_deep_png, packed_tiff, write
from hostile_images import chunk
from PIL import Image, ImageFile, PngImagePlugin
from small_images import COLOR, DEEP_COLOR, DEEP_GRAY, GRAY, assert_same

from gffusion.data import IMAGE_SUFFIXES, ImageReadError, read_image, read_labels, read_size, write_image
from gffusion.data.decoded_image import DecodeOptions
from gffusion.data.decoding import decode_image, open_header

WHOLE = encode(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), "JPEG")


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def write_png(path: Path, size: tuple[int, int], bits: int, color_type: int, rows: np.ndarray) -> Path:
    """Write a PNG file of width and height `size` from the bytes of its rows."""
    header = struct.pack(">IIBBBBB", *size, bits, color_type, 0, 0, 0)
    compressed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", compressed), chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


class TestReadImage:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
    def test_8_bits(self, tmp_path: Path, suffix: str) -> None:
        assert_same(read_image(save(tmp_path / f"gray{suffix}", Image.fromarray(GRAY))), GRAY)
        assert_same(read_image(str(save(tmp_path / f"color{suffix}", Image.fromarray(COLOR)))), COLOR)

    def test_alpha_is_dropped_not_blended(self, tmp_path: Path) -> None:
        alpha = np.full_like(GRAY, 3)
        assert_same(read_image(save(tmp_path / "la.png", Image.fromarray(np.dstack([GRAY, alpha]), "LA"))), GRAY)
        assert_same(read_image(save(tmp_path / "rgba.png", Image.fromarray(np.dstack([COLOR, alpha])))), COLOR)

    def test_palette_becomes_rgb(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
        image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        expected = np.array([[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]], np.uint8)
        assert_same(read_image(save(tmp_path / "palette.png", image)), expected)
        assert_same(read_image(save(tmp_path / "transparent.png", image, transparency=1)), expected)

    def test_one_bit_becomes_0_and_255(self, tmp_path: Path) -> None:
        bits = GRAY > 100
        assert_same(read_image(save(tmp_path / "bits.png", Image.fromarray(bits))), bits.astype(np.uint8) * 255)

    def test_cmyk_becomes_rgb(self, tmp_path: Path) -> None:
        cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        for name, tolerance in (("cyan.tif", 0), ("cyan.jpg", 4)):
            pixels = read_image(save(tmp_path / name, cyan))
            assert pixels.shape == (8, 8, 3)
            np.testing.assert_allclose(pixels, np.broadcast_to([0, 255, 255], (8, 8, 3)), atol=tolerance)

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_16_bit_gray(self, tmp_path: Path, byteorder: str) -> None:
        tifffile.imwrite(tmp_path / "deep.tif", DEEP_GRAY, byteorder=byteorder)
        assert_same(read_image(tmp_path / "deep.tif"), DEEP_GRAY)
        assert_same(read_image(write(tmp_path / "deep.png", encode_deep_png(DEEP_GRAY))), DEEP_GRAY)

    def test_12_bit_jpeg_in_tiff(self, tmp_path: Path) -> None:
        values = (60 * np.add.outer(np.arange(24), np.arange(40))).astype(np.uint16)
        tifffile.imwrite(tmp_path / "deep.tif", values, compression="jpeg")
        assert np.abs(read_image(tmp_path / "deep.tif").astype(int) - values).max() <= 16

    def test_32_bit_integers_that_fit_16(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "wide.tif", DEEP_GRAY.astype(np.int32))
        assert_same(read_image(tmp_path / "wide.tif"), DEEP_GRAY)

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    @pytest.mark.parametrize(
        ("dtype", "values"),
        [
            (np.int8, (-100, 27)),
            (np.int16, (-200, 147)),
            (np.int16, (5, 147)),  # as other frames of the camera
            (np.int32, (-1, 5)),
            (np.int32, (0, 65536)),
            (np.uint32, (5, 2**32 - 1)),
            (np.int64, (-5, 5)),
        ],
    )
    def test_signed_and_wide_integers_become_floats(
        self, tmp_path: Path, dtype: type, values: tuple[int, int], byteorder: str
    ) -> None:
        tifffile.imwrite(tmp_path / "wide.tif", np.array([values], dtype), byteorder=byteorder)
        assert_same(read_image(tmp_path / "wide.tif"), np.array([values], np.float32))

    def test_no_data_that_float32_cannot_hold(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.array([[20.5, -1.797e308]]))
        with warnings.catch_warnings(action="error"):
            assert_same(read_image(tmp_path / "a.tif"), np.array([[20.5, -np.inf]], np.float32))

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_float_tiff(self, tmp_path: Path, dtype: type) -> None:
        for name, values in (("gray.tif", GRAY / 16 - 2), ("color.tif", COLOR / 16 - 2)):
            photometric = "rgb" if values.ndim == 3 else "minisblack"
            tifffile.imwrite(tmp_path / name, values.astype(dtype), photometric=photometric)
            assert_same(read_image(tmp_path / name), values.astype(np.float32))
            assert read_size(tmp_path / name) == values.shape[:2]

    @pytest.mark.parametrize("planarconfig", ["contig", "separate"])
    @pytest.mark.parametrize("alpha", [False, True])
    def test_16_bit_color_tiff_keeps_every_bit(self, tmp_path: Path, planarconfig: str, alpha: bool) -> None:
        samples = np.dstack([DEEP_COLOR, DEEP_GRAY]) if alpha else DEEP_COLOR
        stored = samples if planarconfig == "contig" else np.moveaxis(samples, -1, 0)
        extra = {"extrasamples": ["unassalpha"]} if alpha else {}
        tifffile.imwrite(tmp_path / "deep.tif", stored, photometric="rgb", planarconfig=planarconfig, **extra)
        assert_same(read_image(tmp_path / "deep.tif"), DEEP_COLOR)

    def test_16_bit_color_png_keeps_every_bit(self, tmp_path: Path) -> None:
        assert_same(read_image(write(tmp_path / "deep.png", encode_deep_png(DEEP_COLOR))), DEEP_COLOR)
        alpha = np.full_like(DEEP_GRAY, 65535)
        assert_same(read_image(write(tmp_path / "la.png", encode_deep_png(np.dstack([DEEP_GRAY, alpha])))), DEEP_GRAY)

    @pytest.mark.parametrize(
        ("compression", "predictor"),
        [*itertools.product(["lzw", "deflate", "zstd"], [False, True]), ("packbits", False)],
    )
    @pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"bigtiff": True}, {"byteorder": ">"}])
    def test_compressed_16_bit_color(self, tmp_path: Path, compression: str, predictor: bool, layout: dict) -> None:
        """`cv2.imwrite` writes LZW with a predictor."""
        options = {"photometric": "rgb", "compression": compression, "predictor": predictor, **layout}
        tifffile.imwrite(tmp_path / "deep.tif", DEEP_COLOR, **options)
        assert_same(read_image(tmp_path / "deep.tif"), DEEP_COLOR)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, tmp_path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        # Where row 0 and column 0 of the stored image end up, by the table of the EXIF standard.
        upright = [
            COLOR,
            COLOR[:, ::-1],
            COLOR[::-1, ::-1],
            COLOR[::-1],
            COLOR.swapaxes(0, 1),
            COLOR[::-1].swapaxes(0, 1),
            COLOR[::-1, ::-1].swapaxes(0, 1),
            COLOR.swapaxes(0, 1)[::-1],
        ][orientation - 1]
        for suffix in ("png", "tif", "jpg"):
            path = save(tmp_path / f"8.{suffix}", Image.fromarray(COLOR), exif=exif)
            if suffix != "jpg":
                assert_same(read_image(path), upright)
            assert read_size(path) == read_size(BytesIO(path.read_bytes())) == upright.shape[:2]
        content = (tmp_path / "8.png").read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        exif_part = content[start:end]
        packet = b"XML:com.adobe.xmp\0\0\0\0\0" + f'tiff:Orientation="{orientation}"'.encode()
        for part in (exif_part, chunk(b"iTXt", packet)):  # after the pixels
            late = BytesIO(content[:start] + content[end:-12] + part + content[-12:])
            assert_same(read_image(late), upright)
            assert read_size(late) == upright.shape[:2]
        tag = (0x0112, "H", 1, orientation)
        tifffile.imwrite(tmp_path / "16.tif", DEEP_COLOR, photometric="rgb", extratags=[tag])
        assert_same(read_image(tmp_path / "16.tif"), upright.astype(np.uint16) * 256 + 77)

    @pytest.mark.parametrize("keyword", [b"date:create", b"XML:com.adobe.xmp"])
    def test_sizes_are_read_without_decoding(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyword: bytes
    ) -> None:
        """ImageMagick writes texts after the pixels; so does ExifTool with XMP."""
        path = save(tmp_path / "a.png", Image.fromarray(COLOR))
        content = path.read_bytes()
        path.write_bytes(content[:-12] + chunk(b"tEXt", keyword + b"\0text") + content[-12:])
        assert_same(read_image(path), COLOR)
        monkeypatch.setattr("gffusion.data.io.read_image", None)
        assert read_size(path) == COLOR.shape[:2]

    @pytest.mark.parametrize("palette", [False, True])
    def test_large_compressed_metadata(self, tmp_path: Path, palette: bool) -> None:
        """Pillow refuses more than 1 MiB, except with another setting, which stays as it was."""
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", "x" * 3_000_000, zip=True)
        image = Image.fromarray(COLOR).convert("P") if palette else Image.fromarray(COLOR)
        path = save(tmp_path / "a.png", image, icc_profile=bytes(2_000_000), pnginfo=info)
        assert_same(read_image(path), np.asarray(image.convert("RGB")))
        assert read_size(path) == COLOR.shape[:2]
        assert PngImagePlugin.MAX_TEXT_CHUNK == 1 << 20

    def test_first_image_of_a_camera_mpo(self, tmp_path: Path) -> None:
        first, second = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (16, 16), "black")
        save(tmp_path / "camera.jpg", first, format="MPO", save_all=True, append_images=[second])
        assert read_image(tmp_path / "camera.jpg").min() == 255


class TestUnreadable:
    @pytest.mark.parametrize("read", [read_image, read_size, read_labels])
    def test_missing_files_folders_and_other_files(self, tmp_path: Path, read: Callable[[Path], object]) -> None:
        (tmp_path / "a.png").write_text("no image")
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            read(tmp_path / "none.png")
        with pytest.raises(IsADirectoryError, match=f"{tmp_path.name} is a folder"):
            read(tmp_path)
        with pytest.raises(ImageReadError, match=r"a\.png"):
            read(tmp_path / "a.png")
        for other in (b"\x89PNG\0", GRAY, None, 3):
            with pytest.raises(ValueError, match=rf"must be a path, .*got a {type(other).__name__}"):
                read(other)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("content", "message"),
        [(b"some text\n", "is not a PNG, JPEG, TIFF, WebP or BMP"), (b"GIF89a", "format, GIF, is not read")],
    )
    def test_no_image(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "text.png"
        path.write_bytes(content)
        with pytest.raises(ImageReadError, match=message) as error:
            read_image(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")
    @pytest.mark.parametrize("kind", [*IMAGE_SUFFIXES, "deep.tif", "float.tif", "zip.tif"])
    def test_cut_off_anywhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        """A truncated file is refused or read completely, even if another library permits truncated images."""
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        path = tmp_path / f"image{kind}"
        if kind == "zip.tif":
            save(path, Image.fromarray(COLOR), compression="tiff_deflate")
        elif kind in IMAGE_SUFFIXES:
            save(path, Image.fromarray(COLOR))
        else:
            samples = DEEP_COLOR if kind == "deep.tif" else GRAY.astype(np.float32)
            tifffile.imwrite(path, samples, photometric="rgb" if samples.ndim == 3 else "minisblack")
        whole, content = read_image(path), path.read_bytes()
        refused = 0
        for length in range(0, len(content), 3):
            path.write_bytes(content[:length])
            try:
                assert_same(read_image(path), whole)
            except ImageReadError:
                refused += 1
        assert refused * 3 > len(content) - 30
        assert ImageFile.LOAD_TRUNCATED_IMAGES

    def test_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Threads that refuse truncated images decode beside threads that fill them, and leave Pillow's settings alone."""
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)

        def decode(number: int) -> str:
            options = DecodeOptions(truncated="fill" if number % 3 == 0 else "refuse")
            try:
                decoded = decode_image(WHOLE if number % 3 == 1 else WHOLE[:2500], "image", options)
            except ImageReadError:
                return "refused"
            return "filled" if decoded.is_filled else "read"

        with ThreadPoolExecutor(6) as executor:
            assert list(executor.map(decode, range(60))) == ["filled", "read", "refused"] * 20
        assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, 7)

    def test_filling_waits_for_no_thread_that_comes_later(self) -> None:
        is_filled = threading.Event()

        def read() -> None:
            while not is_filled.is_set():
                with open_header(BytesIO(WHOLE)):
                    is_filled.wait(0.01)

        with ThreadPoolExecutor(6) as executor:
            for _ in range(5):  # at nearly all times, one of them reads
                executor.submit(read)
            filling = executor.submit(decode_image, WHOLE[:2500], "image", DecodeOptions(truncated="fill"))
            try:
                assert filling.result(timeout=20).is_filled
            finally:
                is_filled.set()

    def test_more_pixels_than_allowed(self, tmp_path: Path) -> None:
        images = {"gray.png": GRAY, "deep.tif": DEEP_COLOR, "float.tif": COLOR.astype(np.float32)}
        for name, image in images.items():
            write_image(tmp_path / name, image)
            with pytest.raises(ImageReadError, match=r"6 x 4 pixels are more than 10: .*--max-pixels 24"):
                read_image(tmp_path / name, max_pixels=10)
            assert_same(read_image(tmp_path / name, max_pixels=24), image)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.webp", "image.bmp", "deep.tif", "float.tif"])
    def test_damaged_bytes(self, tmp_path: Path, name: str) -> None:
        """A damaged file is read as an image or refused in one line."""
        rng, path = np.random.default_rng(0), tmp_path / name
        write_image(path, {"deep.tif": DEEP_COLOR, "float.tif": COLOR.astype(np.float32)}.get(name, COLOR))
        content, refused = np.frombuffer(path.read_bytes(), np.uint8), 0
        for _ in range(100):
            damaged = content.copy()
            damaged[rng.integers(min(len(damaged), 250), size=3)] = rng.integers(256, size=3)
            path.write_bytes(damaged.tobytes())
            try:
                assert read_image(path).ndim in (2, 3)
            except ImageReadError as error:
                refused += 1
                assert str(error).startswith(f"cannot read the image {path}: ")
                assert "\n" not in str(error)
        assert refused

    @pytest.mark.parametrize("name", ["frames.png", "frames.tif", "frames.webp", "deep.tif"])
    def test_several_frames(self, tmp_path: Path, name: str) -> None:
        if name == "deep.tif":
            tifffile.imwrite(tmp_path / name, np.stack([DEEP_COLOR, DEEP_COLOR]), photometric="rgb")
        else:
            save(tmp_path / name, Image.fromarray(COLOR), save_all=True, append_images=[Image.fromarray(255 - COLOR)])
        with pytest.raises(ImageReadError, match="2 frames"):
            read_image(tmp_path / name)

    def test_unsupported_colors(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "cmyk.tif", np.dstack([DEEP_COLOR, DEEP_GRAY]), photometric="separated")
        with pytest.raises(ImageReadError, match="SEPARATED"):
            read_image(tmp_path / "cmyk.tif")

    def test_white_is_zero(self, tmp_path: Path) -> None:
        """Pillow inverts 8-bit images, but would return 16-bit images inverted."""
        tifffile.imwrite(tmp_path / "8.tif", GRAY, photometric="miniswhite")
        assert_same(read_image(tmp_path / "8.tif"), 255 - GRAY)
        for deep in (DEEP_GRAY, GRAY.astype(np.float32)):
            tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="miniswhite")
            with pytest.raises(ImageReadError, match=r"MINISWHITE.* save its values as they are .*65535 - tifffile"):
                read_image(tmp_path / "deep.tif")


class TestReadLabels:
    def test_palette_gives_indices(self, tmp_path: Path) -> None:
        indices = np.array([[0, 1], [2, 8]], np.uint8)
        image = Image.fromarray(indices, "P")
        image.putpalette(list(range(255, 228, -1)))
        assert_same(read_labels(save(tmp_path / "labels.png", image)), indices)

    def test_gray_and_one_bit(self, tmp_path: Path) -> None:
        assert_same(read_labels(save(tmp_path / "8.png", Image.fromarray(GRAY))), GRAY)
        assert_same(read_labels(save(tmp_path / "16.png", Image.fromarray(DEEP_GRAY))), DEEP_GRAY)
        assert_same(read_labels(save(tmp_path / "1.png", Image.fromarray(GRAY > 100))), (GRAY > 100).astype(np.uint8))

    @pytest.mark.parametrize(("mode", "colors"), [("1", 2), ("P", 2), ("P", 4), ("P", 12), ("L", 256)])
    def test_few_objects(self, tmp_path: Path, mode: str, colors: int) -> None:
        """Files of few hundred bytes are no decompression bombs; Pillow stores few colors in few bits."""
        labels = np.zeros((1080, 1920), np.uint8)
        labels[100:300, 200:260] = 1
        image = Image.fromarray(labels).point([0, 255] * 128, "1") if mode == "1" else Image.fromarray(labels, mode)
        if mode == "P":
            image.putpalette(list(range(3 * colors)))
        assert_same(read_labels(save(tmp_path / "labels.png", image)), labels)

    @pytest.mark.parametrize("bits", [2, 4])
    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_few_bits(self, tmp_path: Path, bits: int, suffix: str) -> None:
        """As MATLAB writes them; as images, they are spread over all grays."""
        labels = np.tile(np.arange(2**bits, dtype=np.uint8), (3, 4))
        path = tmp_path / f"labels{suffix}"
        if suffix == ".png":
            packed = np.packbits(np.unpackbits(labels[..., None], axis=-1)[..., 8 - bits :].reshape(3, -1), axis=-1)
            write_png(path, (labels.shape[1], 3), bits, 0, packed)
        else:
            write(path, packed_tiff(labels, bits))
        assert_same(read_labels(path), labels)
        assert_same(read_image(path), labels * (255 // (2**bits - 1)))

    @pytest.mark.parametrize("orientation", [0, 9])
    def test_orientations_that_do_not_exist(self, tmp_path: Path, orientation: int) -> None:
        path = tmp_path / "deep.tif"
        tags = [(274, "H", 1, orientation, True)]
        tifffile.imwrite(path, DEEP_COLOR, compression="deflate", photometric="rgb", extratags=tags)
        assert_same(read_image(path), DEEP_COLOR)
        assert read_size(path) == DEEP_COLOR.shape[:2]

    @pytest.mark.parametrize(
        ("name", "image", "message"),
        [
            ("a.png", COLOR, r"colors \(\(\d+, \d+, \d+\), .*, \.\.\.\)"),
            ("b.png", np.array([[[0, 0, 0], [61, 61, 245]]], np.uint8), r"colors \(\(0, 0, 0\), \(61, 61, 245\)\); replace each by"),
            ("c.png", np.dstack([GRAY] * 3), "three channels are equal; store one of them"),
            ("d.webp", GRAY, "three channels are equal; store one of them"),
            ("a.tif", GRAY.astype(np.float32), "float32 values; store one class index per pixel as unsigned integer"),
            ("a.jpg", GRAY, "JPEG"),
        ],
    )  # fmt: skip
    def test_images_without_indices(self, tmp_path: Path, name: str, image: np.ndarray, message: str) -> None:
        with pytest.raises(ImageReadError, match=message):
            read_labels(save(tmp_path / name, Image.fromarray(image)))


class TestReadSize:
    def test_pixels_are_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300), np.uint8)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
        assert read_size(path) == (200, 300)


def test_importing_the_package_loads_neither_torch_nor_tifffile(run_script: Callable) -> None:
    """The command line starts fast because of this."""
    program = "import sys, gffusion.data; sys.exit(bool({'torch', 'tifffile'} & sys.modules.keys()))"
    assert run_script(program).returncode == 0


def test_no_memory_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("gffusion.data.decoding._decode", run_out)
    with pytest.raises(ImageReadError, match=r"cannot read the image a\.png: not enough memory for this image"):
        decode_image(b"", "image a.png")


def test_labels_with_white_as_zero() -> None:
    content = BytesIO()
    tifffile.imwrite(content, np.array([[0, 1, 2, 255]], np.uint8), photometric="miniswhite")
    with pytest.raises(ImageReadError, match=r"white as zero .*save it with black as zero"):
        read_labels(content)
