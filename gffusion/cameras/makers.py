"""Radiometric JPEG of DJI, InfiRay, HIKMICRO and Parrot, and of cameras that follow the Chinese standard DL/T 664.

The layouts are not published by the makers, except DL/T 664. They are those of exiftool (APP3 of DJI, IJPEG of InfiRay,
APP1 of Parrot) and of several independent readers of HIKMICRO files, which agree.
"""

import struct
from io import BytesIO

import numpy as np

from .frames import RadiometricImage
from .jpeg_segments import Segment
from .temperatures import LinearScale

_APP1, _APP2, _APP3 = 0xE1, 0xE2, 0xE3
# Starts of APP3 segments that are not thermal data.
_OTHER_APP3 = (b"Meta\0", b"META\0", b"Exif\0", b"Stim\0", b"_JPSJPS_", b"\xff\xd8\xff")
# Sensors of DJI: cameras such as the M4T enlarge the JPEG, so that its size is not that of the thermal data.
_DJI_SIZES = ((512, 640), (256, 336), (120, 160), (1024, 1280), (384, 512), (240, 320), (480, 640))
MAX_PIXELS = 1 << 25  # far more than any thermal sensor has
_MAX_NAME = 64  # characters
_DLT664_END = bytes.fromhex("3766071a123a4c9fa95d21d2da7d26bc")


def clean_name(text: object) -> str:
    r"""Return the first 64 characters of the name of a camera in a file, without control characters, which would break messages into lines.

    Examples:
        >>> clean_name("Maker\0\n")
        'Maker'
    """
    return "".join(sign if sign.isprintable() else " " for sign in str(text)).strip()[:_MAX_NAME]


def decode_dji(segments: list[Segment], maker: str, jpeg_size: tuple[int, int]) -> RadiometricImage | None:
    """Decode the little-endian words that DJI stores in APP3, without their size.

    `maker` is make and model in the EXIF data, as in the other functions, and `jpeg_size` height and width.

    Raises:
        ValueError: If the number of words fits no known sensor.
    """
    chunks = [s.payload for s in segments if s.marker == _APP3 and not s.payload.startswith(_OTHER_APP3)]
    if not maker.upper().startswith("DJI") or not chunks:
        return None
    data = b"".join(chunks)
    height, width = jpeg_size
    for size in (jpeg_size, (height // 2, width // 2), *_DJI_SIZES):
        if 2 * size[0] * size[1] == len(data):
            return RadiometricImage(maker, np.frombuffer(data, "<u2").reshape(size).astype(np.uint16))
    raise ValueError(
        f"it is a radiometric JPEG of {maker} with {len(data)} bytes of thermal data, which fit no known sensor; convert it "
        "to TIFF with the DJI Thermal SDK"
    )


def decode_infiray(segments: list[Segment], maker: str) -> RadiometricImage | None:
    """Decode the IJPEG of InfiRay, also sold as Thermal Master and others: 1/64 kelvin as little-endian words in APP3.

    Raises:
        ValueError: If the data are incomplete.
    """
    headers = [s.payload for s in segments if s.marker == _APP2 and s.payload[4:10] == b"IJPEG\0"]
    if not headers or len(headers[0]) < 0x4F:
        return None
    data = b"".join(s.payload for s in segments if s.marker == _APP3)
    preview, thermal, visible = (struct.unpack_from("<Q", headers[0], at)[0] for at in (0x20, 0x30, 0x40))
    width = struct.unpack_from("<H", headers[0], 0x3A)[0] or struct.unpack_from("<H", headers[0], 0x2A)[0]
    # Some files give twice the height: two rows of bytes instead of one of words.
    height = thermal // (2 * width) if width else 0
    words = data[preview : preview + thermal]
    if not height or thermal != 2 * width * height or len(words) != thermal:
        raise ValueError(
            f"it is a radiometric JPEG of InfiRay ({maker}) whose thermal data are incomplete or not supported; export the "
            "temperatures as TIFF or CSV with the app of the camera"
        )
    image = data[preview + thermal : preview + thermal + visible]
    return RadiometricImage(
        maker or "InfiRay",
        np.frombuffer(words, "<u2").reshape(height, width).astype(np.uint16),
        visible=image if image.startswith((b"\xff\xd8\xff", b"\x89PNG")) else None,
        temperature=LinearScale(1 / 64),
    )


def decode_parrot(segments: list[Segment], maker: str) -> RadiometricImage | None:
    """Decode the TIFF file that Parrot stores in APP1.

    Raises:
        ValueError: If it is not a complete image of 16-bit words, or larger than that of any sensor.
    """
    data = b"".join(s.payload[7:] for s in segments if s.marker == _APP1 and s.payload.startswith(b"PARROT\0"))
    if not data:
        return None
    import tifffile  # here to save start-up time

    try:
        with tifffile.TiffFile(BytesIO(data)) as tiff:
            page = tiff.pages.first
            if page.size > MAX_PIXELS:
                raise ValueError(f"they have {page.size} values")
            values = page.asarray()
    except Exception as error:  # decoders raise almost anything on damaged files
        raise ValueError(f"its thermal data ({maker}) are damaged: {error}") from error
    if values.ndim != 2 or values.dtype != np.uint16:
        raise ValueError(f"its thermal data ({maker}) are not 16-bit gray: {values.dtype} of shape {values.shape}")
    return RadiometricImage(maker or "Parrot", values)


def decode_hikmicro(trailer: bytes, maker: str) -> RadiometricImage | None:
    """Decode the counts that HIKMICRO and Hikvision append to the JPEG file, from the bytes after the image.

    Raises:
        ValueError: If the data are incomplete.
    """
    if not trailer.startswith(b"HDRI"):
        return None
    data = trailer[44:]
    width, height = struct.unpack_from("<II", trailer, 12) if len(trailer) >= 44 else (0, 0)
    if not 0 < width * height <= len(data) // 2:
        raise ValueError(
            f"it is a radiometric JPEG of HIKMICRO ({maker}) whose thermal data are incomplete: {len(data)} bytes for "
            f"{width}x{height} words"
        )
    words = np.frombuffer(data, "<u2", width * height)
    return RadiometricImage(maker or "HIKMICRO", words.reshape(height, width).astype(np.uint16))


def decode_dlt664(content: bytes, maker: str) -> RadiometricImage | None:
    """Decode the degrees Celsius that cameras append to JPEG files by DL/T 664 (State Grid), appendix on file formats.

    Raises:
        ValueError: If the data are incomplete.
    """
    if not content.endswith(_DLT664_END) or len(content) < 20:
        return None
    start = struct.unpack_from("<I", content, len(content) - 20)[0]
    data = content[start:-20]
    width, height = struct.unpack_from("<HH", data, 2) if len(data) >= 20 else (0, 0)
    if not 0 < 4 * width * height <= len(data) - 20:
        raise ValueError(
            f"its temperatures by DL/T 664 ({maker}) are incomplete: {len(data)} bytes for {width}x{height}"
        )
    values = np.frombuffer(data, "<f4", width * height, 20).reshape(height, width).astype(np.float32)
    return RadiometricImage(maker or "a camera of DL/T 664", values, is_celsius=True)
