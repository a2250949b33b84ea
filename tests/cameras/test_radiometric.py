"""Radiometric JPEG files: the counts, the embedded visible image, its tags and degrees."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from camera_files import (
    PLANCK,
    dji_jpeg,
    dlt664_jpeg,
    encode,
    flir_camera_record,
    flir_container,
    flir_image_record,
    flir_jpeg,
    hikmicro_jpeg,
    infiray_jpeg,
    insert_segments,
    parrot_jpeg,
    render_pair,
    screen_jpeg,
    to_counts,
    wrap_flir,
)
from PIL import Image

from gffusion.cameras.byte_order import is_byte_swapped
from gffusion.cameras.jpeg_segments import read_segments, read_trailer
from gffusion.cameras.radiometric import decode_radiometric, inspect_radiometric, restore_colors

VISIBLE, INFRARED = render_pair()
COUNTS = to_counts(INFRARED)
WIDTH_80, WIDTH_10_MILLION = (struct.pack("<HHII", 256, 4, 1, width) for width in (80, 10_000_000))
POSITION = (1.4, 14, -14)


class TestFlir:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("storage", ["swapped png", "png", "words"])
    # A narrow range within and across a step of the high byte, a wide one, and left-aligned 14 bits.
    @pytest.mark.parametrize("counts", [COUNTS, 12545 + COUNTS // 200, 12500 + COUNTS // 100, (COUNTS - 12500) * 8])
    def test_counts(self, counts: np.ndarray, storage: str, order: str) -> None:
        image = decode_radiometric(flir_jpeg(counts.astype(np.uint16), None, storage=storage, order=order))
        assert image is not None and image.camera == "FLIR E60" and image.visible is None
        np.testing.assert_array_equal(image.values, counts)

    def test_constant_image(self) -> None:
        counts = np.full((6, 8), 12545, np.uint16)
        np.testing.assert_array_equal(decode_radiometric(flir_jpeg(counts, None)).values, counts)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG"])
    def test_visible_image_and_position(self, kind: str) -> None:
        visible = encode(VISIBLE, kind)
        image = decode_radiometric(flir_jpeg(COUNTS, visible, VISIBLE.shape[:2], POSITION))
        assert image.visible == visible
        np.testing.assert_allclose(image.position, POSITION, rtol=1e-6)

    @pytest.mark.parametrize("real_to_ir", [0.0, -1.0, float("nan"), 1e9])
    def test_position_that_is_none(self, real_to_ir: float) -> None:
        image = decode_radiometric(flir_jpeg(COUNTS, encode(VISIBLE, "JPEG"), (96, 128), (real_to_ir, 0, 0)))
        assert image.position is None

    def test_colors_of_an_embedded_png(self) -> None:
        """FLIR stores Y, Cb and Cr, other software red, green and blue."""
        coded = np.asarray(Image.fromarray(VISIBLE).convert("YCbCr"))
        assert np.abs(restore_colors(coded).astype(int) - VISIBLE).max() <= 3
        assert restore_colors(VISIBLE) is VISIBLE

    def test_little_endian_directory_and_many_segments(self) -> None:
        counts = np.random.default_rng(0).integers(2000, 60000, (300, 400)).astype(np.uint16)
        record = flir_image_record(400, 300, counts.tobytes())
        content = wrap_flir(flir_container({0: b"", 1: record}, "<", 101), screen_jpeg())
        assert content.count(b"FLIR\0\x01") == 4
        np.testing.assert_array_equal(decode_radiometric(content).values, counts)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_degrees_of_a_blackbody(self, order: str) -> None:
        celsius, planck = 20 + 60 * INFRARED, PLANCK | {"f": 1.4, "o": 250.0}
        counts = planck["r1"] / (planck["r2"] * (np.exp(planck["b"] / (celsius + 273.15)) - planck["f"])) - planck["o"]
        content = flir_jpeg(counts.round().astype(np.uint16), None, order=order, emissivity=1.0, distance=0.0, **planck)
        image = decode_radiometric(content)
        np.testing.assert_allclose(image.temperature.to_celsius(image.values), celsius, atol=0.02)

    @pytest.mark.parametrize("humidity", [0.0, 0.4, 40.0])  # some cameras write percent
    @pytest.mark.parametrize("window_transmission", [1.0, 0.8])
    @pytest.mark.parametrize("distance", [0.0, 1.0, 30.0])
    def test_degrees_of_a_gray_body_in_air(self, distance: float, window_transmission: float, humidity: float) -> None:
        """Reflections, air and a window at the camera, each of another temperature, are taken out."""
        celsius = np.array([-10.0, 20, 60, 300])

        def emit(celsius: float | np.ndarray) -> float | np.ndarray:
            photons = 1 / (np.exp(PLANCK["b"] / (celsius + 273.15)) - PLANCK["f"])
            return PLANCK["r1"] / PLANCK["r2"] * photons - PLANCK["o"]

        # Air of 32 degrees Celsius holds 33.8 g of water in a cubic meter.
        vapor = 33.8 * (0.4 if humidity else 0)
        first, second = (
            np.exp(-(distance**0.5) * (alpha + beta * vapor**0.5))
            for alpha, beta in ((0.006569, -0.002276), (0.01262, -0.00667))
        )
        air = 1.9 * first - 0.9 * second
        before_window = air * (0.7 * emit(celsius) + 0.3 * emit(-3)) + (1 - air) * emit(32)
        counts = window_transmission * before_window + (1 - window_transmission) * emit(52)
        around = {"emissivity": 0.7, "reflected": 270.15, "atmosphere": 305.15, "window": 325.15}
        around |= {"humidity": humidity, "distance": distance, "window_transmission": window_transmission}
        scale = decode_radiometric(flir_jpeg(COUNTS, None, **around)).temperature
        np.testing.assert_allclose(scale.to_celsius(counts), celsius, atol=0.02)

    def test_no_degrees(self) -> None:
        """There are none without the calibration, nor for counts that no temperature gives."""
        assert decode_radiometric(flir_jpeg(COUNTS, None, r1=0.0)).temperature is None
        scale = decode_radiometric(flir_jpeg(COUNTS, None)).temperature
        assert np.isnan(scale.to_celsius(np.array([0.0])))

    def test_constants_that_were_not_set(self) -> None:
        """No surface has an emissivity of 0, nothing 0 kelvin, and no object is behind the camera."""
        unset = {"emissivity": 0, "reflected": 0, "atmosphere": np.nan, "window_transmission": 0, "distance": -1}
        usual = {"emissivity": 1, "reflected": 293.15, "atmosphere": 293.15, "window_transmission": 1, "distance": 0}
        scales = [decode_radiometric(flir_jpeg(COUNTS, None, **given)).temperature for given in (unset, usual)]
        np.testing.assert_allclose(*(scale.to_celsius(COUNTS) for scale in scales), atol=1e-3)

    def test_agrees_with_flyr(self, tmp_path: Any) -> None:
        """Also on what reflections and a window add, but without air, whose path flyr splits at the window."""
        flyr = pytest.importorskip("flyr")
        around = {"emissivity": 0.7, "reflected": 270.0, "atmosphere": 305.0, "window": 325.0}
        around |= {"window_transmission": 0.8, "humidity": 0.4, "distance": 0.0}
        content = flir_jpeg(COUNTS, encode(VISIBLE, "JPEG"), VISIBLE.shape[:2], POSITION, **around)
        (tmp_path / "a.jpg").write_bytes(content)
        image = decode_radiometric(content)
        expected = flyr.unpack(str(tmp_path / "a.jpg")).celsius
        np.testing.assert_allclose(image.temperature.to_celsius(image.values), expected, atol=0.05)

    def test_orientation(self) -> None:
        """That of the container turns the raw image, unless this is stored upright already."""
        assert decode_radiometric(flir_jpeg(COUNTS, None, orientation=6)).orientation == 6
        container = flir_container({1: flir_image_record(96, 128, COUNTS.T.tobytes())})
        content = wrap_flir(container, screen_jpeg(96, 128, "FLIR", "FLIR C5", orientation=6))
        assert decode_radiometric(content).orientation == 1
        assert decode_radiometric(flir_jpeg(COUNTS, None, orientation=9)).orientation == 1  # no orientation of EXIF

    @pytest.mark.parametrize(
        ("container", "message"),
        [
            (b"FFF\0", "damaged"),
            (b"XXX\0" + bytes(100), "FFF header"),
            (flir_container({1: b""}, version=7), "version"),
            (flir_container({1: flir_image_record(8, 6, bytes(10))}), "10 bytes for a raw image of 8x6"),
            (flir_container({1: flir_image_record(0, 0, b"")}), "not supported"),
            (flir_container({1: b"\2\0"}), "cut off"),
            (flir_container({1: flir_image_record(8, 6, b"\x89PNG\r\n\x1a\n")}), "complete PNG"),
            (flir_container({1: flir_image_record(8, 6, encode(VISIBLE, "PNG"))}), "16-bit gray"),
            (flir_container({1: flir_image_record(128, 96, COUNTS.tobytes())})[:-100], "cut off"),
            (flir_container({1: b"1"})[:80], "directory"),
        ],
    )
    def test_damaged_records(self, container: bytes, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            decode_radiometric(wrap_flir(container, screen_jpeg()))

    def test_first_of_several_raw_images(self) -> None:
        records = [flir_image_record(128, 96, values.tobytes()) for values in (COUNTS, COUNTS + 9)]
        container = bytearray(flir_container(dict(enumerate(records, start=1))))
        container[96:98] = container[64:66]  # the type of the second record
        content = wrap_flir(bytes(container), screen_jpeg())
        np.testing.assert_array_equal(decode_radiometric(content).values, COUNTS)

    def test_missing_segment(self) -> None:
        content = wrap_flir(flir_container({1: flir_image_record(300, 300, bytes(180000))}), screen_jpeg())
        first = read_segments(content)[0]
        with pytest.raises(ValueError, match="2 of 3 segments"):
            decode_radiometric(
                content.replace(b"\xff\xe1" + struct.pack(">H", len(first.payload) + 2) + first.payload, b"", 1)
            )

    def test_records_without_raw_image(self) -> None:
        """A visible photo of a FLIR camera, or one without radiometric data, is an ordinary JPEG."""
        assert decode_radiometric(wrap_flir(flir_container({0x20: flir_camera_record()}), screen_jpeg())) is None


class TestOtherMakers:
    @pytest.mark.parametrize(
        ("size", "jpeg_size"),
        [
            ((512, 640), (512, 640)),
            ((512, 640), (1024, 1280)),
            ((256, 336), (256, 336)),
            ((512, 640), (480, 640)),
            ((1024, 1280), (1024, 1280)),
            ((120, 160), (480, 640)),
            ((96, 128), (192, 256)),  # unknown, and enlarged by two
        ],
    )
    def test_dji(self, size: tuple[int, int], jpeg_size: tuple[int, int]) -> None:
        counts = to_counts(render_pair(*size)[1])
        image = decode_radiometric(dji_jpeg(counts, jpeg_size))
        assert image.camera == "DJI M3T" and image.visible is None and image.temperature is None
        np.testing.assert_array_equal(image.values, counts)

    def test_dji_of_unknown_size(self) -> None:
        with pytest.raises(ValueError, match=r"DJI M3T with 24 bytes.*Thermal SDK"):
            decode_radiometric(dji_jpeg(np.zeros((3, 4), np.uint16), (96, 128)))

    def test_long_names(self) -> None:
        """They would fill messages."""
        assert decode_radiometric(dji_jpeg(COUNTS, COUNTS.shape, "M" * 1000)).camera == "DJI " + 64 * "M"

    def test_app3_of_other_makers(self) -> None:
        assert decode_radiometric(dji_jpeg(COUNTS, (96, 128), make="Canon")) is None
        other = insert_segments(screen_jpeg(make="DJI", model="FC220"), 0xE3, [b"Meta\0\0more"])
        assert decode_radiometric(other) is None

    @pytest.mark.parametrize("height", [None, 2 * 96])  # some files give rows of bytes
    def test_infiray(self, height: int | None) -> None:
        visible = encode(VISIBLE, "JPEG")
        image = decode_radiometric(infiray_jpeg(COUNTS, visible, height))
        np.testing.assert_array_equal(image.values, COUNTS)
        assert image.visible == visible and image.camera == "InfiRay P2 Pro"
        assert decode_radiometric(infiray_jpeg(COUNTS)).visible is None
        np.testing.assert_allclose(image.temperature.to_celsius(COUNTS), COUNTS / 64 - 273.15, rtol=1e-5)

    @pytest.mark.parametrize(("at", "width"), [(0x2A, 64), (0x3A, 0)])
    def test_width_of_infiray(self, at: int, width: int) -> None:
        """It is that of the thermal image, or that of the preview if there is none."""
        content = bytearray(infiray_jpeg(COUNTS))
        struct.pack_into("<H", content, content.index(b"IJPEG\0") - 4 + at, width)
        np.testing.assert_array_equal(decode_radiometric(bytes(content)).values, COUNTS)

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (flir_jpeg(COUNTS, None), (False, False)),
            (flir_jpeg(COUNTS, encode(VISIBLE, "JPEG"), VISIBLE.shape[:2]), (True, False)),
            (infiray_jpeg(COUNTS, encode(VISIBLE, "JPEG")), (True, False)),
            (dlt664_jpeg(INFRARED.astype(np.float32)), (False, True)),
            (screen_jpeg(), None),
        ],
    )
    def test_kinds(self, content: bytes, kind: tuple[bool, bool] | None) -> None:
        assert inspect_radiometric(content) == kind

    def test_appended_data(self) -> None:
        np.testing.assert_array_equal(decode_radiometric(hikmicro_jpeg(COUNTS)).values, COUNTS)
        celsius = (20 + 30 * INFRARED).astype(np.float32)
        image = decode_radiometric(dlt664_jpeg(celsius))
        np.testing.assert_array_equal(image.values, celsius)
        assert image.is_celsius and image.camera == "Hikvision TP42"

    def test_parrot(self) -> None:
        np.testing.assert_array_equal(decode_radiometric(parrot_jpeg(COUNTS[:60, :80])).values, COUNTS[:60, :80])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (infiray_jpeg(COUNTS).replace(b"\xff\xe3", b"\xff\xee"), "InfiRay"),
            (hikmicro_jpeg(COUNTS)[:-10000], "HIKMICRO"),
            (parrot_jpeg(COUNTS[:60, :80]).replace(b"PARROT\0II", b"PARROT\0XX"), "Parrot"),
            (parrot_jpeg(COUNTS[:60, :80]).replace(WIDTH_80, WIDTH_10_MILLION), "damaged: they have 600000000 values"),
            (parrot_jpeg(COUNTS[:60, :80].astype(np.uint8)), "not 16-bit gray: uint8"),
            (screen_jpeg(make="Testo", model="885") + bytes(20000), "radiometric JPEG of Testo 885.*not public"),
            (screen_jpeg(make="Guide", model="D400") + bytes(20000), "Guide"),
        ],
    )
    def test_refused_by_name(self, content: bytes, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            decode_radiometric(content)


class TestOrdinaryFiles:
    @pytest.mark.parametrize("content", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", encode(VISIBLE, "PNG")])
    def test_not_a_jpeg(self, content: bytes) -> None:
        assert decode_radiometric(content) is None

    def test_jpeg_without_thermal_data(self) -> None:
        assert decode_radiometric(screen_jpeg(make="FLIR", model="E60")) is None
        assert decode_radiometric(screen_jpeg(make="Testo", model="885") + b"note") is None
        assert decode_radiometric(screen_jpeg(make="samsung", model="S24") + bytes(20000)) is None

    @pytest.mark.parametrize(
        "make", [lambda: flir_jpeg(COUNTS, encode(VISIBLE, "JPEG"), (96, 128), POSITION), lambda: infiray_jpeg(COUNTS)]
    )
    def test_damaged_bytes(self, make: Callable[[], bytes]) -> None:
        rng, content = np.random.default_rng(0), np.frombuffer(make(), np.uint8)
        for _ in range(300):
            damaged = content.copy()
            damaged[rng.integers(min(len(damaged), 3000), size=3)] = rng.integers(256, size=3)
            try:
                decode_radiometric(damaged.tobytes()[: rng.integers(100, len(damaged))])
            except ValueError as error:
                assert "\n" not in str(error)

    @pytest.mark.parametrize("options", [{"progressive": True}, {"quality": 100}, {"restart_marker_rows": 1}])
    def test_trailer(self, options: dict[str, Any]) -> None:
        content = insert_segments(encode(VISIBLE, "JPEG", **options), 0xE1, [encode(VISIBLE[:8, :8], "JPEG")])
        assert read_trailer(content) == b""
        assert read_trailer(content + b"\xff\xd9more") == b"\xff\xd9more"


class TestByteOrder:
    def test_images_of_other_depths(self) -> None:
        gray = (255 * INFRARED).astype(np.uint16)
        for values in (gray, gray << 8, gray * 257, gray << 4, (gray << 6) + 3, COUNTS, np.zeros((4, 4), np.uint16)):
            assert not is_byte_swapped(values.astype(np.uint16))
        noise = np.random.default_rng(0).integers(0, 65536, (96, 128)).astype(np.uint16)
        assert not is_byte_swapped(noise) and not is_byte_swapped(noise.byteswap())

    def test_dead_pixels_and_noise(self) -> None:
        rng = np.random.default_rng(0)
        counts = COUNTS + rng.normal(0, 20, COUNTS.shape).astype(np.uint16)
        counts[rng.random(counts.shape) < 0.01] = 0
        counts[rng.random(counts.shape) < 0.01] = 65535
        assert not is_byte_swapped(counts) and is_byte_swapped(counts.byteswap())

    @pytest.mark.parametrize("span", [60, 200, 800, 3000])
    def test_narrow_ranges_with_noise(self, span: int) -> None:
        """A range can cross a step of the high byte."""
        rng = np.random.default_rng(0)
        for low in rng.integers(300, 60000, 50):
            counts = low + span * INFRARED + rng.normal(0, span / 50, INFRARED.shape)
            words = counts.astype(np.uint16)
            assert not is_byte_swapped(words) and is_byte_swapped(words.byteswap())


def test_names_of_cameras_are_one_line() -> None:
    content = dlt664_jpeg(np.ones((48, 64), np.float32)).replace(b"Hikvision", b"H\0\nvision")
    image = decode_radiometric(content)
    assert image is not None and image.camera == "H  vision TP42"
