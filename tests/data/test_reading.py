"""Pairs from files of cameras: files with both modalities, raw frames, byte order and values that 16 bits do not hold."""

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from camera_files import (
    dji_jpeg,
    encode,
    encode_deep_png,
    flir_jpeg,
    hikmicro_jpeg,
    infiray_jpeg,
    render_pair,
    to_counts,
    write,
)
from hostile_images import chunk
from PIL import Image
from scipy import ndimage

from gffusion.cameras import Rig
from gffusion.data import ImageReadError, PairImages, ReadOptions, read_image, read_labels, read_pair, write_image
from gffusion.data.decoded_image import UPRIGHT, DecodedImage, DecodeOptions
from gffusion.data.decoding import decode_image
from gffusion.data.modalities import check_holds_both
from gffusion.data.png_writing import encode_png
from gffusion.data.raw_frames import RawFrame
from gffusion.data.reading import read_pair_size
from gffusion.models.gffusion.infrared_options import InfraredOptions

VISIBLE, INFRARED = render_pair()
COUNTS = to_counts(INFRARED)
THERMAL = (250 * INFRARED).astype(np.uint8)
RGBT = np.dstack([VISIBLE, THERMAL])


def read_alone(path: Path, options: ReadOptions | None = None) -> PairImages:
    check_holds_both(path, False, DecodeOptions())
    return read_pair(path, path, options or ReadOptions())


class TestFourChannels:
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_formats(self, tmp_path: Path, kind: str) -> None:
        pair = read_alone(write(tmp_path / "a.png", encode(RGBT, kind, **{"lossless": True} if kind == "WEBP" else {})))
        np.testing.assert_array_equal(pair.visible, VISIBLE)
        np.testing.assert_array_equal(pair.infrared, THERMAL)
        assert pair.notes == ("the extra channel is the infrared image",)

    def test_16_bits(self, tmp_path: Path) -> None:
        deep = np.dstack([VISIBLE.astype(np.uint16) * 257, COUNTS])
        pair = read_alone(write(tmp_path / "a.png", encode_deep_png(deep)))
        np.testing.assert_array_equal(pair.infrared, COUNTS)
        np.testing.assert_array_equal(pair.visible, deep[..., :3])

    @pytest.mark.parametrize("extra", ["unspecified", "unassalpha", "assocalpha"])
    @pytest.mark.parametrize("planar", ["contig", "separate"])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_tiff(self, tmp_path: Path, extra: str, planar: str, dtype: type) -> None:
        stored = RGBT.astype(dtype) if planar == "contig" else np.moveaxis(RGBT, -1, 0).astype(dtype)
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, extrasamples=[extra])
        pair = read_alone(tmp_path / "a.tif")
        np.testing.assert_array_equal(np.dstack([pair.visible, pair.infrared]), RGBT.astype(dtype))

    @pytest.mark.parametrize("planar", [None, "contig", "separate"])
    def test_gray_and_thermal(self, tmp_path: Path, planar: str | None) -> None:
        stored, path = np.dstack([VISIBLE[..., 0], THERMAL]), write(tmp_path / "a", b"")
        if planar is None:
            write(path, encode(stored, "PNG"))
        else:
            planes = stored if planar == "contig" else np.moveaxis(stored, -1, 0)
            tifffile.imwrite(path, planes, photometric="minisblack", planarconfig=planar, extrasamples=["unspecified"])
        pair = read_alone(path)
        np.testing.assert_array_equal(np.dstack([pair.visible, pair.infrared]), stored)

    def test_orientation(self, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        pair = read_alone(write(tmp_path / "a.png", encode(RGBT, "PNG", exif=exif)))
        np.testing.assert_array_equal(np.dstack([pair.visible, pair.infrared]), np.rot90(RGBT, -1))

    @pytest.mark.parametrize("alpha", ["opaque", "half", "mask", "soft mask"])
    def test_opacity(self, tmp_path: Path, alpha: str) -> None:
        """An ordinary visible image is no pair, and black where it is fully transparent."""
        y, x = np.mgrid[:96, :128]
        soft = np.clip((40 - np.hypot(x - 64, y - 48)) * 100 + 128, 0, 255)
        channels = {"opaque": 255 + 0 * x, "half": 128 + 0 * x, "mask": 255 * (soft > 128), "soft mask": soft}
        opacity = channels[alpha].astype(np.uint8)
        path = write(tmp_path / "a.png", encode(np.dstack([VISIBLE, opacity]), "PNG"))
        infrared = write(tmp_path / "b.png", encode(THERMAL, "PNG"))
        np.testing.assert_array_equal(read_pair(path, infrared).visible, np.where(opacity[..., None], VISIBLE, 0))
        with pytest.raises(ValueError, match=r"a\.png holds one image.*looks like opacity.*save it separately"):
            read_alone(path)

    def test_given_as_one_of_two_files(self, tmp_path: Path) -> None:
        both, other = write(tmp_path / "a.png", encode(RGBT, "PNG")), write(tmp_path / "b.png", encode(THERMAL, "PNG"))
        for files in ((both, other), (other, both)):
            with pytest.raises(ValueError, match=r"a\.png is .* an infrared image, not opacity: give the file alone"):
                read_pair(*files)

    def test_same_file_by_another_path(self, tmp_path: Path) -> None:
        both = write(tmp_path / "a.png", encode(RGBT, "PNG"))
        (tmp_path / "link.png").symlink_to(both)
        np.testing.assert_array_equal(read_pair(both, tmp_path / "link.png").infrared, THERMAL)
        plain = write(tmp_path / "b.png", encode(VISIBLE, "PNG"))
        with pytest.raises(ValueError, match=r"b\.png holds one image"):
            read_pair(plain, plain)


class TestPages:
    @pytest.mark.parametrize("swapped", [False, True])
    @pytest.mark.parametrize("infrared", [THERMAL, COUNTS, INFRARED.astype(np.float32)])
    def test_color_and_gray(self, tmp_path: Path, infrared: np.ndarray, swapped: bool) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            for page in (infrared, VISIBLE) if swapped else (VISIBLE, infrared):
                writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", compression="lzw")
        pair = read_alone(tmp_path / "a.tif")
        np.testing.assert_array_equal(pair.visible, VISIBLE)
        np.testing.assert_array_equal(pair.infrared, infrared)
        assert pair.notes == (f"page {1 if swapped else 2} of the file is the infrared image",)

    def test_page_that_pillow_cannot_read(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            writer.write(VISIBLE, photometric="rgb")
            writer.write(THERMAL > 100, photometric=4, subfiletype=4)  # a transparency mask
            writer.write(THERMAL)
        np.testing.assert_array_equal(read_alone(tmp_path / "a.tif").infrared, THERMAL)

    def test_gray_pages_of_two_depths(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            writer.write(COUNTS)
            writer.write(VISIBLE[..., 0])
        np.testing.assert_array_equal(read_alone(tmp_path / "a.tif").infrared, COUNTS)

    def test_pages_of_one_kind(self, tmp_path: Path) -> None:
        for pages in ((THERMAL, THERMAL), (VISIBLE, VISIBLE), (VISIBLE, COUNTS, COUNTS)):
            with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
                for page in pages:
                    writer.write(page, photometric="rgb" if page.ndim == 3 else "minisblack")
            with pytest.raises(ImageReadError, match=f"{len(pages)} frames.*save"):
                read_alone(tmp_path / "a.tif")

    def test_premultiplied_opacity_before_another_page(self, tmp_path: Path) -> None:
        """Pillow reads the first page only, and divides its colors by the opacity."""
        page = np.dstack([VISIBLE, np.where(THERMAL > 100, 255, 0).astype(np.uint8)])
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            writer.write(page, photometric="rgb", extrasamples=["assocalpha"])
            writer.write(THERMAL)
        np.testing.assert_array_equal(read_alone(tmp_path / "a.tif").infrared, THERMAL)
        with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
            for image in (page, page[::-1]):
                writer.write(image, photometric="rgb", extrasamples=["assocalpha"])
        with pytest.raises(ImageReadError, match="2 frames"):
            read_image(tmp_path / "b.tif")

    @pytest.mark.parametrize("compression", [None, "deflate"])
    def test_the_only_page_is_marked_as_an_overview(self, tmp_path: Path, compression: str | None) -> None:
        tifffile.imwrite(tmp_path / "a.tif", VISIBLE, photometric="rgb", subfiletype=1, compression=compression)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), VISIBLE)

    @pytest.mark.parametrize("is_first", [False, True])
    def test_overviews_are_no_pages(self, tmp_path: Path, is_first: bool) -> None:
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            for is_overview in (is_first, not is_first):
                writer.write(COUNTS[::2, ::2] if is_overview else COUNTS, subfiletype=int(is_overview))
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), COUNTS)

    @pytest.mark.parametrize(
        ("image", "options"),
        [
            (THERMAL % 3, {"photometric": "palette", "colormap": np.arange(3 * 256, dtype=np.uint16).reshape(3, 256)}),
            (VISIBLE, {"photometric": "rgb", "compression": "jpeg"}),  # tifffile stores YCbCr
            (THERMAL > 90, {"photometric": "minisblack"}),
        ],
    )
    def test_overviews_and_masks_change_nothing(self, tmp_path: Path, image: np.ndarray, options: dict) -> None:
        """GDAL adds them to orthomosaics and to label maps, in the colors of the image."""
        tifffile.imwrite(tmp_path / "a.tif", image, **options)
        with tifffile.TiffWriter(tmp_path / "b.tif") as writer:
            writer.write(image, **options)
            writer.write(np.full(THERMAL.shape, True), photometric=4, subfiletype=4)
            writer.write(image[::2, ::2], subfiletype=1, **options)
            writer.write(np.full(THERMAL[::2, ::2].shape, True), photometric=4, subfiletype=5)
        np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), read_image(tmp_path / "a.tif"))
        if image.ndim == 2:
            np.testing.assert_array_equal(read_labels(tmp_path / "b.tif"), image)

    @pytest.mark.parametrize("orientation", [1, 6])
    @pytest.mark.parametrize("palette", [False, True])
    def test_masked_infrared_pixels_are_missing(self, tmp_path: Path, palette: bool, orientation: int) -> None:
        """GDAL stores masks (GDAL_TIFF_INTERNAL_MASK) after the image, also after its overviews."""
        colors = np.stack([np.arange(256, dtype=np.uint16) << 8] * 3)
        options: Any = {"photometric": "palette", "colormap": colors} if palette else {"photometric": "minisblack"}
        valid = np.full(THERMAL.shape, True)
        valid[:20, :30] = False
        with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
            writer.write(THERMAL, extratags=[(274, 3, 1, orientation, True)], **options)
            writer.write(THERMAL[::2, ::2], subfiletype=1, **options)
            writer.write(valid[::2, ::2], photometric=4, subfiletype=5)
            writer.write(valid, photometric=4, subfiletype=4)
        turn = UPRIGHT[orientation].apply
        write_image(tmp_path / "v.png", turn(VISIBLE))
        pair = read_pair(tmp_path / "v.png", tmp_path / "t.tif")
        np.testing.assert_array_equal(pair.missing, turn(~valid))
        assert "transparent infrared pixels (4.9 %) filled" in pair.notes

    def test_masks_belong_to_the_page_before(self, tmp_path: Path) -> None:
        for names in (("visible", "mask", "infrared"), ("visible", "infrared", "mask")):
            with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
                for name in names:
                    if name == "mask":
                        writer.write(THERMAL > 100, photometric=4, subfiletype=4)
                    else:
                        writer.write(VISIBLE if name == "visible" else THERMAL)
            missing = read_alone(tmp_path / "a.tif").missing
            if names[-1] == "mask":
                np.testing.assert_array_equal(missing, THERMAL <= 100)
            else:
                assert missing is None

    @pytest.mark.parametrize("kind", ["opacity", "mask", "channel"])
    def test_visible_pixels_of_files_with_both_images(self, tmp_path: Path, kind: str) -> None:
        valid = np.full(THERMAL.shape, True)
        valid[:, :30] = False
        infrared = np.maximum(THERMAL, 1)
        opacity = {"opacity": [255 * valid.astype(np.uint8)], "mask": [], "channel": [infrared]}[kind]
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            writer.write(np.dstack([VISIBLE, *opacity]), photometric="rgb", extrasamples=["unassalpha"] * len(opacity))
            if kind != "opacity":
                writer.write(valid, photometric=4, subfiletype=4)
            if kind != "channel":
                writer.write(infrared)
        pair = read_alone(tmp_path / "a.tif")
        np.testing.assert_array_equal(pair.visible, np.where(valid[..., None], VISIBLE, 0))
        np.testing.assert_array_equal(pair.infrared[valid], infrared[valid])
        assert "transparent visible border (23 %) black" in pair.notes

    @pytest.mark.parametrize("photometric", ["palette", "minisblack"])
    def test_mask_is_cut_off(self, tmp_path: Path, photometric: str) -> None:
        """The image before it is complete."""
        colors = np.arange(3 * 256, dtype=np.uint16).reshape(3, 256)
        with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
            writer.write(THERMAL, photometric=photometric, colormap=colors if photometric == "palette" else None)
            writer.write(THERMAL > 0, photometric=4, subfiletype=4)
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            start = tiff.pages[1].offset
        os.truncate(tmp_path / "a.tif", start)
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), THERMAL)

    def test_no_pixel_is_valid(self, tmp_path: Path) -> None:
        write_image(tmp_path / "v.png", VISIBLE)
        with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
            writer.write(THERMAL)
            writer.write(np.zeros(THERMAL.shape, bool), photometric=4, subfiletype=4)
        for read in (read_pair, read_pair_size):
            with pytest.raises(ValueError, match="no measured pixel"):
                read(tmp_path / "v.png", tmp_path / "t.tif", ReadOptions())
        with tifffile.TiffWriter(tmp_path / "v.tif") as writer:
            writer.write(VISIBLE, photometric="rgb")
            writer.write(np.zeros(THERMAL.shape, bool), photometric=4, subfiletype=4)
        write_image(tmp_path / "t.png", THERMAL)
        np.testing.assert_array_equal(read_pair(tmp_path / "v.tif", tmp_path / "t.png").visible, VISIBLE)

    @pytest.mark.parametrize(
        ("image", "no_data", "options"),
        [
            (INFRARED.astype(np.float32), -9999, {}),
            (INFRARED.astype(np.float32), None, {"compression": "lzw"}),
            (VISIBLE, None, {"photometric": "rgb", "compression": "jpeg"}),
            (VISIBLE, 255, {"photometric": "rgb", "compression": "deflate", "planarconfig": "separate"}),
            (THERMAL % 3, 7, {"photometric": "palette", "colormap": np.arange(768, dtype=np.uint16).reshape(3, 256)}),
        ],
    )
    def test_tiles_without_values_are_left_out(
        self, tmp_path: Path, image: np.ndarray, no_data: float | None, options: dict
    ) -> None:
        """GDAL writes such files (SPARSE_OK), and reads the no-data value, or 0, there."""
        tags = [] if no_data is None else [(42113, "s", 0, str(no_data), True)]
        planes = list(np.moveaxis(image, -1, 0)) if "planarconfig" in options else [image]
        rows, columns = range(0, image.shape[0], 32), range(0, image.shape[1], 32)
        tiles = [plane[y : y + 32, x : x + 32] if x != 32 else None for plane in planes for y in rows for x in columns]
        shape = (len(planes), *image.shape[:2]) if len(planes) > 1 else image.shape
        tile_options: Any = {"shape": shape, "dtype": image.dtype, "tile": (32, 32), "extratags": tags, **options}
        tifffile.imwrite(tmp_path / "a.tif", iter(tiles), **tile_options)
        expected = image.copy()
        expected[:, 32:64] = no_data or 0
        decoded = decode_image((tmp_path / "a.tif").read_bytes(), "a.tif")
        found = decoded.image if decoded.indices is None else decoded.indices
        np.testing.assert_allclose(found, expected, atol=30 if options.get("compression") == "jpeg" else 0)
        if decoded.indices is not None:
            np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), expected)

    def test_no_tile_has_values(self, tmp_path: Path) -> None:
        """A program that was interrupted leaves such a file, too."""
        tifffile.imwrite(tmp_path / "a.tif", THERMAL[:64, :64], tile=(32, 32))
        with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
            for number in (324, 325):  # offsets and sizes
                tiff.pages.first.tags[number].overwrite([0] * 4)
        with pytest.raises(ImageReadError, match="truncated, strip or tile 1 of 4"):
            read_image(tmp_path / "a.tif")

    def test_missing_part_has_the_no_data_value(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", COUNTS, rowsperstrip=32, extratags=[(42113, "s", 0, "9", True)])
        content = (tmp_path / "a.tif").read_bytes()
        with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
            cut = content[: tiff.pages.first.dataoffsets[1]]  # the tags are before the values
        filled = decode_image(cut, "a.tif", DecodeOptions(truncated="fill"))
        np.testing.assert_array_equal(filled.pixels[:32], COUNTS[:32])
        assert (filled.pixels[32:] == 9).all()

    def test_thermal_page_of_an_output(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.tif", VISIBLE, thermal=COUNTS)
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), VISIBLE)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif", key=1), COUNTS)
        with pytest.raises(ValueError, match="only TIFF"):
            write_image(tmp_path / "a.png", VISIBLE, thermal=COUNTS)


def gdal_scale(factor: str, offset: str, channel: int = 0) -> tuple[Any, ...]:
    """Return the tag in which GDAL stores the scale of a channel."""
    parts = {"SCALE": factor, "OFFSET": offset}
    items = (f'<Item name="{n}" sample="{channel}" role="{n.lower()}">{v}</Item>' for n, v in parts.items())
    return 42112, "s", 0, f"<GDALMetadata>{''.join(items)}</GDALMetadata>", True


class TestScales:
    CELSIUS = (10 + 20 * INFRARED).astype(np.float32)

    def test_advice_for_floating_point_values(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "t.tif", self.CELSIUS / 100, extratags=[gdal_scale("100", "0")])
        write_image(tmp_path / "v.png", VISIBLE)
        pair = read_pair(tmp_path / "v.png", tmp_path / "t.tif")
        with pytest.raises(ValueError, match=r"--infrared-range 0\.11,0\.3\)"):
            pair.adapt(InfraredOptions((11, 30)))

    @pytest.mark.parametrize(
        ("dtype", "factor", "offset", "advice"),
        [
            ("uint16", 0.01, -100, "11000,13000"),
            ("int16", 0.01, 15, "=-500,1500"),
            ("uint8", 0.125, 0, "80,240"),
            ("uint16", -0.01, 500, "49000,47000"),
        ],
    )
    def test_thermal_values_are_scaled(
        self, tmp_path: Path, dtype: str, factor: float, offset: float, advice: str
    ) -> None:
        """Fusion, and the range, use the stored values; kept thermal values are those of the unit."""
        stored = np.rint((self.CELSIUS - offset) / factor).astype(dtype)
        no_data = np.iinfo(stored.dtype).max - 1
        stored[:9, :9] = no_data
        tags = [gdal_scale(str(factor), str(offset)), (42113, "s", 0, str(no_data), True)]
        tifffile.imwrite(tmp_path / "t.tif", stored, extratags=tags)
        write_image(tmp_path / "v.png", VISIBLE)
        pair = read_pair(tmp_path / "v.png", tmp_path / "t.tif")
        np.testing.assert_array_equal(pair.infrared[9:], stored[9:])
        np.testing.assert_allclose(pair.thermal[9:], self.CELSIUS[9:], atol=abs(factor))
        assert np.isnan(pair.thermal[:9, :9]).all()
        with pytest.raises(ValueError, match=rf"--infrared-range ?{advice}\)"):
            pair.adapt(InfraredOptions([10, 30]))
        low, high = advice.strip("=").split(",")
        pair.adapt(InfraredOptions([float(low), float(high)]))

    @pytest.mark.parametrize(("factor", "offset"), [("1", "0"), ("0", "3"), ("nan", "1"), ("1e999", "0"), ("a", "1")])
    def test_scales_without_effect_or_damaged(self, tmp_path: Path, factor: str, offset: str) -> None:
        tifffile.imwrite(tmp_path / "t.tif", COUNTS, extratags=[gdal_scale(factor, offset)])
        write_image(tmp_path / "v.png", VISIBLE)
        np.testing.assert_array_equal(read_pair(tmp_path / "v.png", tmp_path / "t.tif").thermal, COUNTS)

    def test_scale_of_the_infrared_channel(self, tmp_path: Path) -> None:
        for channel in (0, 3):
            tags = [gdal_scale("0.5", "-20", channel)]
            tifffile.imwrite(tmp_path / "a.tif", RGBT, photometric="rgb", extrasamples=[0], extratags=tags)
            expected = THERMAL * 0.5 - 20 if channel else THERMAL
            np.testing.assert_array_equal(read_alone(tmp_path / "a.tif").thermal, expected)

    def test_visible_images_and_labels_are_as_stored(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", THERMAL, extratags=[gdal_scale("0.5", "-20")])
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), THERMAL)
        np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), THERMAL)


class TestRadiometric:
    """The infrared camera sees the 1.4th part of the visible image, 10 pixels to the right and 6 up."""

    RIG = Rig.from_flir(1.4, 10, -6, (96, 128))

    def make(self, path: Path, kind: str = "PNG", orientation: int = 1) -> Path:
        left, top, width, height = 64 + 10 - 128 / 2.8, 48 - 6 - 96 / 2.8, 128 / 1.4, 96 / 1.4
        rows, columns = top + (np.arange(60) + 0.5) * height / 60 - 0.5, left + (np.arange(80) + 0.5) * width / 80 - 0.5
        seen = ndimage.map_coordinates(INFRARED, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")
        visible = encode(VISIBLE, kind)
        return write(path, flir_jpeg(to_counts(seen), visible, (96, 128), (1.4, 10, -6), orientation=orientation))

    def test_alone(self, tmp_path: Path) -> None:
        pair = read_alone(self.make(tmp_path / "FLIR0001.jpg"))
        np.testing.assert_array_equal(pair.visible, VISIBLE)
        assert pair.missing is not None and 0.45 < pair.missing.mean() < 0.52
        errors = [
            np.abs(pair.infrared.astype(float) - np.roll(COUNTS, shift, (0, 1)))[~pair.missing].mean()
            for shift in ((0, 0), (0, 1), (0, -1), (1, 0), (-1, 0))
        ]
        assert errors[0] < 10 and min(errors[1:]) > 4 * errors[0]  # a shift of a pixel would be seen
        assert (
            pair.notes[0]
            == "counts of FLIR E60 instead of its screen image; without --infrared-range, from their 0.1st to 99.9th percentile"
            and "tags" in pair.notes[1]
        )
        degrees = pair.thermal
        assert degrees.dtype == np.float32 and np.isnan(degrees[pair.missing]).all()
        np.testing.assert_allclose(degrees[~pair.missing], pair.temperature.to_celsius(COUNTS)[~pair.missing], atol=1)
        limits = float(np.nanmin(degrees)) - 1, float(np.nanmax(degrees)) + 1
        for given in (limits, limits[::-1]):  # the second one inverts
            with pytest.raises(
                ValueError, match=r"are counts, .* not degrees Celsius: .*--infrared-range \d+,\d+\)"
            ) as error:
                pair.adapt(InfraredOptions(given))
            counts = np.array(str(error.value).split("--infrared-range ")[1].rstrip(")").split(","), int)
            np.testing.assert_allclose(pair.temperature.to_celsius(counts), given, atol=0.1)
            pair.adapt(InfraredOptions(counts.tolist()))
        for others in ((0, 65535), (70000, 80000)):  # of both units, and of none
            pair.adapt(InfraredOptions(others))

    def test_extracted_visible_image(self, tmp_path: Path) -> None:
        """`exiftool -b -EmbeddedImage` gives the visible image, for which the tags hold."""
        radiometric = self.make(tmp_path / "FLIR0001.jpg", "JPEG")
        visible = write(tmp_path / "rgb.jpg", encode(VISIBLE, "JPEG"))
        two, alone = read_pair(visible, radiometric), read_alone(radiometric)
        np.testing.assert_array_equal(two.infrared, alone.infrared)
        np.testing.assert_array_equal(two.visible, alone.visible)

    def test_another_visible_image(self, tmp_path: Path) -> None:
        radiometric = self.make(tmp_path / "FLIR0001.jpg")
        other = write(tmp_path / "other.jpg", encode(VISIBLE[::-1].copy(), "JPEG"))
        with pytest.raises(ValueError, match=r"--align"):
            read_pair(other, radiometric)
        same_size = write(tmp_path / "small.jpg", encode(VISIBLE[:60, :80].copy(), "JPEG"))
        assert read_pair(same_size, radiometric).missing is None

    def test_given_as_the_visible_image(self, tmp_path: Path) -> None:
        radiometric = self.make(tmp_path / "FLIR0001.jpg")
        infrared = write(tmp_path / "ir.png", encode(THERMAL, "PNG"))
        pair = read_pair(radiometric, infrared)
        np.testing.assert_array_equal(pair.visible, VISIBLE)
        assert pair.notes == ("visible image embedded in the radiometric JPEG",)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation_turns_both(self, tmp_path: Path, orientation: int) -> None:
        plain = read_alone(self.make(tmp_path / "a.jpg"))
        turned = read_alone(self.make(tmp_path / "b.jpg", orientation=orientation))
        turn = UPRIGHT[orientation].apply
        np.testing.assert_array_equal(turned.visible, turn(plain.visible))
        seen = ~turn(plain.missing) & ~turned.missing
        assert seen.mean() > 0.5
        difference = turned.infrared.astype(int) - turn(plain.infrared)
        assert np.abs(difference[seen]).max() <= 1

    def test_align_replaces_the_tags(self, tmp_path: Path) -> None:
        path = self.make(tmp_path / "a.jpg")
        resized = read_alone(path, ReadOptions(align="resize"))
        assert resized.missing is None
        rig = read_alone(path, ReadOptions(align=Rig(np.diag([2.0, 2.0, 1.0]))))
        assert rig.missing[60:].all()
        auto = read_alone(path, ReadOptions(align="auto"))
        np.testing.assert_array_equal(auto.infrared, read_alone(path).infrared)

    def test_infrared_only(self, tmp_path: Path) -> None:
        dji = write(tmp_path / "DJI_0001_T.JPG", dji_jpeg(to_counts(render_pair(256, 336)[1]), (256, 336)))
        with pytest.raises(ValueError, match=r"DJI M3T without a visible image: give the visible image"):
            read_alone(dji)
        visible = write(tmp_path / "DJI_0001_W.JPG", encode(render_pair(256, 336)[0], "JPEG"))
        pair = read_pair(visible, dji)
        np.testing.assert_array_equal(pair.infrared, to_counts(render_pair(256, 336)[1]))
        assert pair.thermal is pair.infrared
        with pytest.raises(ValueError, match="an infrared image: give it as the infrared image"):
            read_pair(dji, visible)

    def test_other_makers(self, tmp_path: Path) -> None:
        visible = write(tmp_path / "v.png", encode(VISIBLE, "PNG"))
        for content in (hikmicro_jpeg(COUNTS), infiray_jpeg(COUNTS)):
            np.testing.assert_array_equal(read_pair(visible, write(tmp_path / "i.jpg", content)).infrared, COUNTS)
        damaged = write(tmp_path / "i.jpg", hikmicro_jpeg(COUNTS)[:-5000])
        with pytest.raises(ImageReadError, match=r"i\.jpg: .*HIKMICRO"):
            read_pair(visible, damaged)


class TestValues:
    def test_swapped_bytes(self, tmp_path: Path) -> None:
        """`exiftool -b -RawThermalImage` gives the words of FLIR as they are."""
        visible = write(tmp_path / "v.png", encode(VISIBLE, "PNG"))
        pair = read_pair(visible, write(tmp_path / "raw.png", encode(COUNTS.byteswap(), "PNG")))
        np.testing.assert_array_equal(pair.infrared, COUNTS)
        assert pair.notes == ("bytes of 16-bit values swapped, as FLIR stores them in PNG",)
        assert read_pair(visible, write(tmp_path / "raw.png", encode(COUNTS, "PNG"))).notes == ()

    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            (COUNTS, "u2"),
            ((COUNTS - 13000.0) / 5, "i2"),
            (COUNTS - float(COUNTS.mean()), "i2"),
            ((COUNTS - 13000.0) / 41, "f4"),
            (VISIBLE[..., 1] * 16.0, "f4"),
        ],
    )
    def test_swapped_bytes_of_other_files_are_noted(self, tmp_path: Path, values: np.ndarray, dtype: str) -> None:
        visible = write(tmp_path / "visible.png", encode(VISIBLE, "PNG"))
        stored = values.astype(dtype)
        tifffile.imwrite(tmp_path / "counts.tif", stored.byteswap())
        write(tmp_path / "counts.raw", stored.astype(f">{dtype}").tobytes())
        for name, order, is_noted in (("tif", "<", True), ("raw", "<", True), ("raw", ">", False)):
            options = ReadOptions(raw_frame=RawFrame.parse(f"96x128,{order}{dtype}"))
            pair = read_pair(visible, tmp_path / f"counts.{name}", options)
            assert any("bytes of the infrared values look swapped" in note for note in pair.notes) == is_noted
            if order == ">" or stored.dtype.kind != "f":  # of floating-point values, magnitudes from 1e30 are filled
                np.testing.assert_array_equal(pair.infrared, stored if order == ">" else stored.byteswap())

    @pytest.mark.parametrize(
        "image", [VISIBLE.astype(np.uint16) * 200, VISIBLE[..., 0] * np.uint16(16), VISIBLE / np.float32(255)]
    )
    def test_swapped_bytes_of_visible_images_are_noted(self, tmp_path: Path, image: np.ndarray) -> None:
        infrared = write(tmp_path / "infrared.png", encode(COUNTS, "PNG"))
        for values, is_noted in ((image, False), (image.byteswap(), True)):
            tifffile.imwrite(tmp_path / "visible.tif", values)
            notes = read_pair(tmp_path / "visible.tif", infrared).notes
            assert any("bytes of the visible values look swapped" in note for note in notes) == is_noted

    @pytest.mark.parametrize(
        ("text", "dtype", "header"),
        [
            ("96x128,uint16", "<u2", 0),
            ("96x128,<u2", "<u2", 0),
            ("96x128,>u2", ">u2", 0),
            ("96x128,int16", "<i2", 0),
            ("96x128,float32,64", "<f4", 64),
        ],
    )
    def test_raw_frames(self, tmp_path: Path, text: str, dtype: str, header: int) -> None:
        visible, frame = write(tmp_path / "v.png", encode(VISIBLE, "PNG")), RawFrame.parse(text)
        values = (COUNTS if "u" in dtype else COUNTS.astype(int) - 13000).astype(dtype)
        path = write(tmp_path / ("i.dat" if header else "i.raw"), bytes(header) + values.tobytes())
        pair = read_pair(visible, path, ReadOptions(raw_frame=frame))
        np.testing.assert_array_equal(pair.infrared, values)
        assert pair.infrared.dtype in (np.uint16, np.float32)
        with pytest.raises(ImageReadError, match=rf"{path.name}.*--raw-frame"):
            read_pair(visible, path)

    @pytest.mark.parametrize("name", ["i.raw", "i.jpg"])
    def test_more_values_than_pixels_are_allowed(self, tmp_path: Path, name: str) -> None:
        content = COUNTS.tobytes() if name == "i.raw" else flir_jpeg(COUNTS, None)
        visible = write(tmp_path / "v.png", encode(VISIBLE[:60, :80], "PNG"))
        options = ReadOptions(raw_frame=RawFrame.parse("96x128,uint16"), max_pixels=5000)
        with pytest.raises((OSError, ValueError), match=rf"{name}: its 128 x 96 pixels .*--max-pixels 12288"):
            read_pair(visible, write(tmp_path / name, content), options)

    def test_raw_frames_of_another_size(self, tmp_path: Path) -> None:
        visible = write(tmp_path / "v.png", encode(VISIBLE, "PNG"))
        path = write(tmp_path / "i.raw", COUNTS.tobytes() * 2)
        with pytest.raises(ValueError, match=r"49152 bytes, but a frame of 96 rows and 128 columns .*uint16 has 24576"):
            read_pair(visible, path, ReadOptions(raw_frame=RawFrame.parse("96x128,uint16")))

    @pytest.mark.parametrize("align", ["none", "resize"])
    def test_swapped_sides_of_raw_frames(self, tmp_path: Path, align: Any) -> None:
        """Not an image that is rotated, unless it is no raw frame or the visible image is upright, too."""
        visible = write(tmp_path / "v.png", encode(VISIBLE, "PNG"))
        options = ReadOptions(raw_frame=RawFrame.parse("128x96,>u2"), align=align)
        path = write(tmp_path / "i.raw", COUNTS.tobytes())
        with pytest.raises(ValueError, match=r"i\.raw has 128 rows .* check raw_frame .*: 96x128\. If the camera"):
            read_pair(visible, path, options)
        with pytest.raises(ValueError, match=r"rotated by 90 degrees[:;] rotate it"):
            read_pair(visible, write(tmp_path / "i.png", encode(COUNTS.T, "PNG")), options)
        upright = write(tmp_path / "upright.png", encode(VISIBLE[:, :64], "PNG"))
        if align == "none":
            with pytest.raises(ValueError, match=r"Pass align="):
                read_pair(upright, path, options)
        else:
            read_pair(upright, path, options)

    @pytest.mark.parametrize(
        "text", ["", "96,128", "96x128", "0x4,uint8", "96x128,uint13", "96x128,complex64", "4x4,u2,-1"]
    )
    def test_wrong_raw_frames(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"--raw-frame"):
            RawFrame.parse(text)

    @pytest.mark.parametrize("dtype", ["uint16", np.uint16, ">u2", np.dtype(">u2")])
    def test_types_of_numpy(self, dtype: Any) -> None:
        values = COUNTS.astype(dtype)
        frame = RawFrame(np.int64(96), 128, dtype)
        np.testing.assert_array_equal(frame.decode(values.tobytes(), "i.raw"), COUNTS)
        assert ReadOptions(raw_frame=frame).raw_frame == RawFrame(96, 128, np.dtype(dtype))

    @pytest.mark.parametrize(
        "values",
        [(0, 128, "u2"), (96, True, "u2"), (96, 128.0, "u2"), (96, 128, "u2", -3), (96, 128, None), (96, 128, "c8")],
    )
    def test_other_values_are_refused(self, values: Any) -> None:
        with pytest.raises(ValueError, match=r"a raw frame must have .* uint8, uint16, .* got RawFrame"):
            RawFrame(*values)
        with pytest.raises(ValueError, match=r"`raw_frame` must be a RawFrame, .*, got \("):
            ReadOptions(raw_frame=values)


class TestDeepGrayAsColors:
    @pytest.mark.parametrize("swapped", [False, True])
    def test_png(self, tmp_path: Path, swapped: bool) -> None:
        stored = np.repeat((COUNTS.byteswap() if swapped else COUNTS)[..., None], 3, axis=-1)
        visible = write(tmp_path / "v.png", encode(VISIBLE, "PNG"))
        pair = read_pair(visible, write(tmp_path / "i.png", encode_deep_png(stored)))
        np.testing.assert_array_equal(pair.infrared, COUNTS)

    def test_dead_pixels(self, tmp_path: Path) -> None:
        counts = COUNTS.copy()
        counts[40, 60] = 65535
        tifffile.imwrite(tmp_path / "i.tif", np.repeat(counts[..., None], 3, axis=-1), photometric="rgb")
        pair = read_pair(write(tmp_path / "v.png", encode(VISIBLE, "PNG")), tmp_path / "i.tif")
        assert np.argwhere(pair.missing).tolist() == [[40, 60]] and pair.infrared.max() == COUNTS.max()


@pytest.mark.parametrize("kind", ["LA", "RGBA", "counts"])
def test_transparent_infrared_pixels_are_missing(tmp_path: Path, kind: str) -> None:
    """Orthomosaics are transparent where no image covers the ground."""
    opacity = np.zeros((96, 128), np.uint8)
    opacity[20:, 30:] = 255
    values = np.where(opacity > 0, COUNTS if kind == "counts" else THERMAL, 0)
    if kind == "counts":
        stored = np.dstack([values, opacity]).astype(np.uint16)
        tifffile.imwrite(tmp_path / "i.tif", stored, photometric="minisblack", extrasamples=["unassalpha"])
    else:
        write(tmp_path / "i.tif", encode(np.dstack([values] * (len(kind) - 1) + [opacity]).astype(np.uint8), "PNG"))
    pair = read_pair(write(tmp_path / "v.png", encode(VISIBLE, "PNG")), tmp_path / "i.tif")
    np.testing.assert_array_equal(pair.missing, opacity == 0)
    assert pair.notes == ("transparent infrared pixels (39 %) filled",)
    visible = write(tmp_path / "cut.png", encode(np.dstack([VISIBLE, opacity]), "PNG"))
    pair = read_pair(visible, write(tmp_path / "t.png", encode(THERMAL, "PNG")))
    assert pair.missing is None and pair.notes == ("transparent visible border (39 %) black",)
    np.testing.assert_array_equal(pair.visible, np.where(opacity[..., None] > 0, VISIBLE, 0))


@pytest.mark.parametrize("key", [0, 255])
def test_transparent_values_of_visible_images(tmp_path: Path, key: int) -> None:
    """A transparent value of 0 is also that of shadows, which stay as they are."""
    values = np.clip(VISIBLE[..., 0], 10, 200)
    values[:, :30] = values[50:60, 60:70] = key
    image = Image.fromarray(values)
    image.save(tmp_path / "v.png", transparency=key)
    pair = read_pair(tmp_path / "v.png", write(tmp_path / "i.png", encode(THERMAL, "PNG")))
    assert len(pair.notes) == (0 if key == 0 else 2)
    assert (pair.visible[:, :30] == 0).all()
    assert (pair.visible[50:60, 60:70] == 0).all() if key == 0 else 10 <= pair.visible[50:60, 60:70].max() <= 200
    values[:] = key
    Image.fromarray(values).save(tmp_path / "v.png", transparency=key)
    assert read_pair(tmp_path / "v.png", tmp_path / "i.png").notes == ()  # the whole image is no image


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_transparent_values_of_png_are_missing(tmp_path: Path, depth: type, channels: int) -> None:
    values = np.maximum(THERMAL, 1).astype(depth) * (257 if depth is np.uint16 else 1)
    values[20:, 30:] = 260 % np.iinfo(depth).max
    values[5, 5] += 1  # equal in the upper byte only
    image = values if channels == 1 else np.dstack([values] * 3)
    content = encode_png(image)
    transparent = chunk(b"tRNS", struct.pack(">H", values[-1, -1]) * channels)  # section 11.3.1.1
    pair = read_pair(
        write(tmp_path / "v.png", encode(VISIBLE, "PNG")),
        write(tmp_path / "i.png", content[:33] + transparent + content[33:]),
    )
    np.testing.assert_array_equal(pair.missing, values == values[-1, -1])
    assert any(note.startswith("transparent infrared pixels") for note in pair.notes)


def test_options_hold_for_sizes_of_pairs_that_are_decoded(tmp_path: Path) -> None:
    files = tmp_path / "visible.png", tmp_path / "infrared.png"
    for file in files:
        write_image(file, np.arange(200, dtype=np.uint8).reshape(10, 20))
    late = chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0text")
    files[0].write_bytes(files[0].read_bytes()[:-12] + late[:-1])
    with pytest.raises(ImageReadError, match="truncated"):
        read_pair_size(*files, ReadOptions())
    assert read_pair_size(*files, ReadOptions(truncated="fill")) == (10, 20)
    with pytest.raises(ImageReadError, match="more than 5"):
        read_pair_size(*files, ReadOptions(truncated="fill", max_pixels=5))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".bmp"])
def test_sizes_need_files_with_an_end(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def decode(content: bytes, name: str, options: DecodeOptions) -> DecodedImage:
        decoded.append(name)
        return decode_image(content, name, options)

    monkeypatch.setattr("gffusion.data.decoding.decode_image", decode)
    files = tmp_path / f"visible{suffix}", tmp_path / "infrared.png"
    for file in files:
        write_image(file, np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8))
    content = files[0].read_bytes()
    assert read_pair_size(*files, ReadOptions()) == (30, 40) and not decoded
    files[0].write_bytes(content[: len(content) * 3 // 4])
    with pytest.raises(ImageReadError, match=rf"cannot read the image .*visible\{suffix}: "):
        read_pair_size(*files, ReadOptions())
    files[0].write_bytes(content + b"\xff\xda")  # what follows an image does not matter
    assert read_pair_size(*files, ReadOptions()) == (30, 40)


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, None), (127, None), (128, 8), (255, 8), (4095, 12), (16383, 14), (16384, None)]
)
def test_visible_values_of_few_bits_are_noted(tmp_path: Path, largest: int, bits: int | None) -> None:
    """As cameras of 12 bits store them in 16 bits, where they look black."""
    visible = np.linspace(0, largest, 48 * 64).reshape(48, 64).astype(np.uint16)
    write_image(tmp_path / "visible.png", visible)
    write_image(tmp_path / "infrared.png", np.tile(np.arange(64, dtype=np.uint8), (48, 1)))
    notes = read_pair(tmp_path / "visible.png", tmp_path / "infrared.png").notes
    end = max(largest, 255)
    advice = f"set `visible_range=(0, {end})` (--visible-range 0,{end})"
    expected = f"the visible image has 16 bits but uses {bits}: if it looks too dark, {advice}"
    assert (expected in notes) == (bits is not None)
    assert bits is not None or not notes


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG"])
def test_filled_parts_are_noted(tmp_path: Path, kind: str) -> None:
    content = encode(VISIBLE, kind)
    visible = write(tmp_path / "cut", content[: len(content) * 2 // 3])
    infrared = write(tmp_path / "infrared.png", encode(THERMAL, "PNG"))
    pair = read_pair(visible, infrared, ReadOptions(truncated="fill"))
    assert pair.notes == ("the file ends early, and its missing part is filled (--truncated fill)",)


@pytest.mark.parametrize("name", ["infrared_luma", "keep_borders", "crop"])
def test_flags_are_bools(name: str) -> None:
    for value in ("no", "false", 1):
        with pytest.raises(
            ValueError, match=rf"`{name}` \(--{name.replace('_', '-')}\) must be True or False, got {value!r}"
        ):
            ReadOptions(**{"align": "resize", name: value})  # type: ignore[arg-type]
    assert getattr(ReadOptions(**{name: np.bool_(False)}), name) is False  # type: ignore[arg-type]


def test_other_words_for_files_that_end_early_are_refused() -> None:
    with pytest.raises(ValueError, match='`truncated` must be "refuse" or "fill", got \'cut\''):
        ReadOptions(truncated="cut")  # type: ignore[arg-type]


def test_numbers_of_pixels_are_integers() -> None:
    assert type(ReadOptions(max_pixels=np.int64(9)).max_pixels) is int  # type: ignore[arg-type]
    for value in (0, True, 9.0):
        with pytest.raises(ValueError, match=f"`max_pixels` must be a positive integer, got {value}"):
            ReadOptions(max_pixels=value)  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "cut"), [("bars", 2), ("NaN", 0)])
def test_crop_cuts_borders_off(tmp_path: Path, kind: str, cut: int) -> None:
    """Recognized bars with the two pixels along their step, which are mixtures; both files in one window, but --keep-borders."""
    noise = np.random.default_rng(0)
    infrared = noise.integers(90, 160, (60, 80)).astype(np.uint8 if kind == "bars" else np.float32)
    infrared[:20] = infrared[50:] = 0 if kind == "bars" else np.nan
    write_image(tmp_path / "visible.png", visible := noise.integers(0, 256, (60, 80, 3), np.uint8))
    tifffile.imwrite(tmp_path / "infrared.tif", infrared)
    paths, rig = (tmp_path / "visible.png", tmp_path / "infrared.tif"), Rig(np.eye(3))
    pair = read_pair(*paths, ReadOptions(align=rig, crop=True))
    assert pair.window == (20 + cut, 0, 30 - 2 * cut, 80) and pair.missing is None
    np.testing.assert_array_equal(pair.infrared, infrared[20 + cut : 50 - cut])
    np.testing.assert_array_equal(pair.visible, visible[20 + cut : 50 - cut])
    (note,) = pair.notes
    assert note.endswith("cut off; --keep-borders keeps it" if kind == "bars" else "(50 %) cut off")
    kept = read_pair(*paths, ReadOptions(align=rig, crop=True, keep_borders=True))
    assert kept.window == ((0, 0, 60, 80) if kind == "bars" else pair.window)
