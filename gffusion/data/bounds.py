"""Bounds on images and files, which are checked before anything is decoded."""

import math

DEFAULT_MAX_PIXELS = 100_000_000
"""Largest number of pixels of an image by default; 100 megapixels take up to 400 MB when decoded."""

# Decoded bytes per byte of the file that a compression can reach: 2 bits per block in JPEG, runs in the other ones.
_MAX_RATIOS = {"JPEG": 4096, "PNG": 1040, "TIFF": 1 << 17, "WEBP": 1 << 18, "BMP": 512}
_BYTES_PER_PIXEL, _HEADER_BYTES = 16, 1 << 26


def check_pixels(width: int, height: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
    """Raise ValueError if an image has more pixels than allowed, or none.

    Examples:
        >>> check_pixels(640, 480)
    """
    if width < 1 or height < 1:
        raise ValueError(f"its header declares {width} x {height} pixels")
    if width * height > max_pixels:
        raise ValueError(
            f"its {width} x {height} pixels are more than {max_pixels:,}: if the file can be trusted, pass "
            f"max_pixels={width * height} (--max-pixels {width * height})"
        )


def check_ratio(kind: str, width: int, height: int, bits: int, size: int) -> None:
    """Raise ValueError if an image with these `bits` per pixel is too large for a file of `size` bytes.

    Such files are decompression bombs, or have damaged headers.
    """
    if height * math.ceil(width * bits / 8) > _MAX_RATIOS[kind] * size:
        raise ValueError(
            f"its header declares {width} x {height} pixels, which {size} bytes of {kind} cannot hold: it is damaged, cut off, "
            "or a decompression bomb"
        )


def max_image_bytes(max_pixels: int = DEFAULT_MAX_PIXELS) -> int:
    """Return the largest size of an image file: that of uncompressed pixels of four floats, and of metadata.

    Examples:
        >>> max_image_bytes(1_000_000)
        83108864
    """
    return _BYTES_PER_PIXEL * max_pixels + _HEADER_BYTES
