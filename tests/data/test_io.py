"""Reading and writing of image files, against what Pillow and tifffile themselves write and read."""

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from gffusion.data import IMAGE_SUFFIXES, ImageReadError, read_image, read_labels, write_image

GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=-1)
DEEP_GREY = GREY.astype(np.uint16) * 257 + 3
DEEP_COLOUR = COLOUR.astype(np.uint16) * 256 + 77


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def deep_png(path: Path, samples: np.ndarray, colour_type: int) -> Path:
    """Writes a 16-bit PNG by hand, for Pillow writes grey ones only."""
    height, width = samples.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    path.write_bytes(content)
    return path


def assert_same(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


class TestReadImage:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
    def test_8_bits(self, tmp_path: Path, suffix: str) -> None:
        assert_same(read_image(save(tmp_path / f"grey{suffix}", Image.fromarray(GREY))), GREY)
        assert_same(read_image(str(save(tmp_path / f"colour{suffix}", Image.fromarray(COLOUR)))), COLOUR)

    def test_alpha_is_dropped_not_blended(self, tmp_path: Path) -> None:
        alpha = np.full_like(GREY, 3)
        assert_same(read_image(save(tmp_path / "la.png", Image.fromarray(np.dstack([GREY, alpha]), "LA"))), GREY)
        assert_same(read_image(save(tmp_path / "rgba.png", Image.fromarray(np.dstack([COLOUR, alpha])))), COLOUR)

    def test_palette_becomes_rgb(self, tmp_path: Path) -> None:
        image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
        image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        expected = np.array([[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]], np.uint8)
        assert_same(read_image(save(tmp_path / "palette.png", image)), expected)
        assert_same(read_image(save(tmp_path / "transparent.png", image, transparency=1)), expected)

    def test_one_bit_becomes_0_and_255(self, tmp_path: Path) -> None:
        assert_same(
            read_image(save(tmp_path / "bits.png", Image.fromarray(GREY > 100))), (GREY > 100).astype(np.uint8) * 255
        )

    def test_cmyk_becomes_rgb(self, tmp_path: Path) -> None:
        cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
        for name, tolerance in (("cyan.tif", 0), ("cyan.jpg", 4)):
            pixels = read_image(save(tmp_path / name, cyan))
            assert pixels.shape == (8, 8, 3)
            np.testing.assert_allclose(pixels, np.broadcast_to([0, 255, 255], (8, 8, 3)), atol=tolerance)

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_16_bit_grey(self, tmp_path: Path, byteorder: str) -> None:
        tifffile.imwrite(tmp_path / "deep.tif", DEEP_GREY, byteorder=byteorder)
        assert_same(read_image(tmp_path / "deep.tif"), DEEP_GREY)
        assert_same(read_image(deep_png(tmp_path / "deep.png", DEEP_GREY, colour_type=0)), DEEP_GREY)

    def test_32_bit_integers_that_fit_16(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "wide.tif", DEEP_GREY.astype(np.int32))
        assert_same(read_image(tmp_path / "wide.tif"), DEEP_GREY)
        for value in (-1, 65536):
            tifffile.imwrite(tmp_path / "wide.tif", np.array([[value, 5]], np.int32))
            with pytest.raises(ImageReadError, match="0 to 65535"):
                read_image(tmp_path / "wide.tif")

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_float_tiff(self, tmp_path: Path, dtype: type) -> None:
        for name, values in (("grey.tif", GREY / 16 - 2), ("colour.tif", COLOUR / 16 - 2)):
            photometric = "rgb" if values.ndim == 3 else "minisblack"
            tifffile.imwrite(tmp_path / name, values.astype(dtype), photometric=photometric)
            assert_same(read_image(tmp_path / name), values.astype(np.float32))

    @pytest.mark.parametrize("planarconfig", ["contig", "separate"])
    @pytest.mark.parametrize("alpha", [False, True])
    def test_16_bit_colour_tiff_keeps_every_bit(self, tmp_path: Path, planarconfig: str, alpha: bool) -> None:
        samples = np.dstack([DEEP_COLOUR, DEEP_GREY]) if alpha else DEEP_COLOUR
        stored = samples if planarconfig == "contig" else np.moveaxis(samples, -1, 0)
        extra = {"extrasamples": ["unassalpha"]} if alpha else {}
        tifffile.imwrite(tmp_path / "deep.tif", stored, photometric="rgb", planarconfig=planarconfig, **extra)
        assert_same(read_image(tmp_path / "deep.tif"), DEEP_COLOUR)

    def test_16_bit_colour_png_keeps_the_upper_byte(self, tmp_path: Path) -> None:
        upper = (DEEP_COLOUR >> 8).astype(np.uint8)
        assert_same(read_image(deep_png(tmp_path / "deep.png", DEEP_COLOUR, colour_type=2)), upper)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation(self, tmp_path: Path, orientation: int) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        # Where row 0 and column 0 of the stored image end up, by the table of the EXIF standard.
        upright = {
            1: COLOUR,
            2: COLOUR[:, ::-1],
            3: COLOUR[::-1, ::-1],
            4: COLOUR[::-1],
            5: COLOUR.swapaxes(0, 1),
            6: COLOUR[::-1].swapaxes(0, 1),
            7: COLOUR[::-1, ::-1].swapaxes(0, 1),
            8: COLOUR.swapaxes(0, 1)[::-1],
        }[orientation]
        assert_same(read_image(save(tmp_path / "8.png", Image.fromarray(COLOUR), exif=exif)), upright)
        assert_same(read_image(save(tmp_path / "8.tif", Image.fromarray(COLOUR), exif=exif)), upright)
        deep = COLOUR.astype(np.uint16)
        tag = (0x0112, "H", 1, orientation)
        tifffile.imwrite(tmp_path / "16.tif", deep, photometric="rgb", extratags=[tag])
        assert_same(read_image(tmp_path / "16.tif"), upright.astype(np.uint16))

    def test_content_decides_not_the_suffix(self, tmp_path: Path) -> None:
        save(tmp_path / "image.png", Image.fromarray(COLOUR)).rename(tmp_path / "image.jpg")
        assert_same(read_image(tmp_path / "image.jpg"), COLOUR)

    def test_first_picture_of_a_camera_mpo(self, tmp_path: Path) -> None:
        first, second = Image.new("RGB", (16, 16), "white"), Image.new("RGB", (16, 16), "black")
        save(tmp_path / "camera.jpg", first, format="MPO", save_all=True, append_images=[second])
        assert read_image(tmp_path / "camera.jpg").min() == 255


class TestUnreadable:
    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"none\.png"):
            read_image(tmp_path / "none.png")

    def test_folder(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError, match=tmp_path.name):
            read_image(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"some text\n", b"GIF89a"])
    def test_no_image(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "text.png"
        path.write_bytes(content)
        with pytest.raises(ImageReadError, match="it is not a PNG, JPEG, TIFF, WebP or BMP") as error:
            read_image(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)

    @pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")
    @pytest.mark.parametrize("permitted", [False, True])
    @pytest.mark.parametrize("kind", [*IMAGE_SUFFIXES, "deep.tif", "float.tif", "zip.tif"])
    def test_cut_off_anywhere(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, permitted: bool
    ) -> None:
        """A file without its end is refused or read in full, even if another library permits half images."""
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", permitted)
        path = tmp_path / f"image{kind}"
        if kind == "zip.tif":
            save(path, Image.fromarray(COLOUR), compression="tiff_deflate")
        elif kind in IMAGE_SUFFIXES:
            save(path, Image.fromarray(COLOUR))
        else:
            samples = DEEP_COLOUR if kind == "deep.tif" else GREY.astype(np.float32)
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
        assert permitted == ImageFile.LOAD_TRUNCATED_IMAGES

    def test_decompression_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        images = {"grey.png": GREY, "deep.tif": DEEP_COLOUR, "float.tif": COLOUR.astype(np.float32)}
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
        for name, image in images.items():
            write_image(tmp_path / name, image)
            with pytest.raises(ImageReadError, match=r"24 pixels.* decompression bomb"):
                read_image(tmp_path / name)

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("name", ["image.png", "image.jpg", "image.webp", "image.bmp", "deep.tif", "float.tif"])
    def test_damaged_bytes(self, tmp_path: Path, name: str) -> None:
        """Whatever happens to a file, it is read as an image or refused in one line."""
        rng, path = np.random.default_rng(0), tmp_path / name
        write_image(path, {"deep.tif": DEEP_COLOUR, "float.tif": COLOUR.astype(np.float32)}.get(name, COLOUR))
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

    @pytest.mark.parametrize("name", ["frames.png", "frames.tif", "frames.webp"])
    def test_several_frames(self, tmp_path: Path, name: str) -> None:
        first, second = Image.fromarray(COLOUR), Image.fromarray(255 - COLOUR)
        save(tmp_path / name, first, save_all=True, append_images=[second])
        with pytest.raises(ImageReadError, match="2 frames"):
            read_image(tmp_path / name)

    def test_several_frames_of_16_bit_colour(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "frames.tif", np.stack([DEEP_COLOUR, DEEP_COLOUR]), photometric="rgb")
        with pytest.raises(ImageReadError, match="2 frames"):
            read_image(tmp_path / "frames.tif")

    def test_unsupported_colours(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "cmyk.tif", np.dstack([DEEP_COLOUR, DEEP_GREY]), photometric="separated")
        with pytest.raises(ImageReadError, match="SEPARATED"):
            read_image(tmp_path / "cmyk.tif")

    def test_white_is_zero(self, tmp_path: Path) -> None:
        """Pillow inverts 8 bits, but would return 16 bits as a negative."""
        tifffile.imwrite(tmp_path / "8.tif", GREY, photometric="miniswhite")
        assert_same(read_image(tmp_path / "8.tif"), 255 - GREY)
        for deep in (DEEP_GREY, GREY.astype(np.float32)):
            tifffile.imwrite(tmp_path / "deep.tif", deep, photometric="miniswhite")
            with pytest.raises(ImageReadError, match="MINISWHITE"):
                read_image(tmp_path / "deep.tif")


class TestReadLabels:
    def test_palette_gives_indices(self, tmp_path: Path) -> None:
        indices = np.array([[0, 1], [2, 8]], np.uint8)
        image = Image.fromarray(indices, "P")
        image.putpalette(list(range(255, 228, -1)))
        assert_same(read_labels(save(tmp_path / "labels.png", image)), indices)

    def test_grey_and_one_bit(self, tmp_path: Path) -> None:
        assert_same(read_labels(save(tmp_path / "8.png", Image.fromarray(GREY))), GREY)
        assert_same(read_labels(save(tmp_path / "16.png", Image.fromarray(DEEP_GREY))), DEEP_GREY)
        assert_same(read_labels(save(tmp_path / "1.png", Image.fromarray(GREY > 100))), (GREY > 100).astype(np.uint8))

    def test_what_holds_no_indices(self, tmp_path: Path) -> None:
        with pytest.raises(ImageReadError, match="colors"):
            read_labels(save(tmp_path / "colour.png", Image.fromarray(COLOUR)))
        with pytest.raises(ImageReadError, match="float32"):
            read_labels(save(tmp_path / "float.tif", Image.fromarray(GREY.astype(np.float32))))
        with pytest.raises(ImageReadError, match="JPEG"):
            read_labels(save(tmp_path / "lossy.jpg", Image.fromarray(GREY)))


class TestWriteImage:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF", ".webp"])
    def test_8_bits_without_loss(self, tmp_path: Path, suffix: str) -> None:
        for image in (GREY, COLOUR):
            write_image(tmp_path / f"image{suffix}", image)
            with Image.open(tmp_path / f"image{suffix}") as stored:
                np.testing.assert_array_equal(np.asarray(stored.convert("L" if image.ndim == 2 else "RGB")), image)

    @pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
    def test_jpeg_keeps_colour_resolution(self, tmp_path: Path, suffix: str) -> None:
        image = np.zeros((32, 32, 3), np.uint8)
        image[:, ::2] = (255, 0, 0)
        image[:, 1::2] = (0, 0, 255)
        write_image(tmp_path / f"stripes{suffix}", image)
        with Image.open(tmp_path / f"stripes{suffix}") as stored:
            assert np.abs(np.asarray(stored).astype(int) - image).mean() < 3

    @pytest.mark.parametrize("suffix", [".png", ".tif"])
    def test_16_bit_grey(self, tmp_path: Path, suffix: str) -> None:
        write_image(tmp_path / f"deep{suffix}", DEEP_GREY)
        with Image.open(tmp_path / f"deep{suffix}") as stored:
            assert_same(np.asarray(stored).astype(np.uint16), DEEP_GREY)
            assert stored.mode == "I;16"

    @pytest.mark.parametrize("image", [DEEP_COLOUR, (GREY / 7 - 3).astype(np.float32), COLOUR.astype(np.float32)])
    def test_deep_tiff(self, tmp_path: Path, image: np.ndarray) -> None:
        write_image(tmp_path / "deep.tif", image)
        assert_same(tifffile.imread(tmp_path / "deep.tif"), image)

    @pytest.mark.parametrize("name", ["image.png", "image.bmp", "image.webp"])
    def test_16_bits_are_rounded_where_8_is_all_there_is(self, tmp_path: Path, name: str) -> None:
        every_value = np.arange(65536, dtype=np.uint16).reshape(256, 256)
        write_image(tmp_path / name, np.dstack([every_value] * 3))
        with Image.open(tmp_path / name) as stored:
            np.testing.assert_array_equal(np.asarray(stored)[..., 0], np.rint(every_value / 65535 * 255))

    @pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
    def test_any_memory_layout(self, tmp_path: Path, suffix: str) -> None:
        view = np.dstack([COLOUR, GREY])[::-1, ::-1, :3]
        for name, image in (("view", view), ("copy", view.copy())):
            write_image(tmp_path / f"{name}{suffix}", image)
        assert (tmp_path / f"view{suffix}").read_bytes() == (tmp_path / f"copy{suffix}").read_bytes()

    def test_same_bytes_in_another_process(self, tmp_path: Path) -> None:
        program = (
            "import sys, numpy; from gffusion.data import write_image\n"
            "for name in sys.argv[1:]: write_image(name, numpy.full((4, 6, 3), 99, numpy.uint8))"
        )
        names = [f"image{suffix}" for suffix in IMAGE_SUFFIXES]
        repository = Path(__file__).parents[2]
        subprocess.run(
            [sys.executable, "-c", program, *names],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(repository)},
            check=True,
        )
        for name in names:
            write_image(tmp_path / f"here-{name}", np.full((4, 6, 3), 99, np.uint8))
            assert (tmp_path / name).read_bytes() == (tmp_path / f"here-{name}").read_bytes()

    def test_suffix(self, tmp_path: Path) -> None:
        for name in ("image.gif", "image"):
            with pytest.raises(ValueError, match=r"\.png, \.jpg"):
                write_image(tmp_path / name, GREY)

    @pytest.mark.parametrize("shape", [(4,), (4, 6, 1), (4, 6, 4), (3, 4, 6), (0, 6), (1, 4, 6, 3)])
    def test_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="shape") as error:
            write_image(tmp_path / "image.png", np.zeros(shape, np.uint8))
        assert str(shape) in str(error.value)

    @pytest.mark.parametrize("dtype", [bool, np.int16, np.int64, np.float16, np.float64])
    def test_dtype(self, tmp_path: Path, dtype: type) -> None:
        with pytest.raises(ValueError, match=np.dtype(dtype).name):
            write_image(tmp_path / "image.tif", GREY.astype(dtype))

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp"])
    def test_float_needs_tiff(self, tmp_path: Path, suffix: str) -> None:
        with pytest.raises(ValueError, match=r"write a \.tif"):
            write_image(tmp_path / f"image{suffix}", GREY.astype(np.float32))

    @pytest.mark.parametrize("suffix", [".jpg", ".webp"])
    def test_size_beyond_the_format(self, tmp_path: Path, suffix: str) -> None:
        with pytest.raises(ValueError, match="70000x1"):
            write_image(tmp_path / f"long{suffix}", np.zeros((1, 70000), np.uint8))
        assert not list(tmp_path.iterdir())

    def test_makes_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="create it first"):
            write_image(tmp_path / "new" / "image.png", GREY)
        assert not list(tmp_path.iterdir())

    def test_failure_leaves_the_old_file_alone(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "image.png"
        write_image(path, GREY)

        def full_disk(*_: object) -> None:
            raise OSError("No space left on device")

        for target, name in ((os, "replace"), (Path, "write_bytes")):
            with monkeypatch.context() as patch:
                patch.setattr(target, name, full_disk)
                with pytest.raises(OSError, match="No space left"):
                    write_image(path, COLOUR)
            assert_same(read_image(path), GREY)
            assert list(tmp_path.iterdir()) == [path]

    def test_permissions_are_those_of_any_new_file(self, tmp_path: Path) -> None:
        (tmp_path / "plain").touch()
        write_image(tmp_path / "image.png", GREY)
        assert (tmp_path / "image.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_importing_the_package_loads_neither_torch_nor_tifffile() -> None:
    """The command line answers at once because of this."""
    program = "import sys, gffusion.data; sys.exit(bool({'torch', 'tifffile'} & sys.modules.keys()))"
    repository = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(repository)}, check=True)
