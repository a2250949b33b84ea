"""Decoded images, and how they are decoded."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras.orientation import Orientation
from gffusion.models.gffusion.argument_checks import to_plain
from gffusion.models.gffusion.array_checks import is_opacity

from .bounds import DEFAULT_MAX_PIXELS

Truncated: TypeAlias = Literal["refuse", "fill"]

UPRIGHT = {
    1: Orientation(), 2: Orientation(mirror=True), 3: Orientation(180), 4: Orientation(180, mirror=True),
    5: Orientation(90, mirror=True), 6: Orientation(270), 7: Orientation(270, mirror=True), 8: Orientation(90),
}  # fmt: skip
"""What turns an image upright, by Orientation tag (EXIF 2.32, section 4.6.4)."""


class ImageReadError(OSError):
    """The file exists, but is not an image that can be read completely."""


@dataclass(frozen=True)
class DecodeOptions:
    """What image files are decoded.

    Attributes:
        max_pixels: Largest number of pixels.
        truncated: `"refuse"` raises for files that end early; `"fill"` fills their missing part.

    Raises:
        ValueError: If an option is not allowed.
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    truncated: Truncated = "refuse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_pixels", to_plain(self.max_pixels))
        if type(self.max_pixels) is not int or self.max_pixels < 1:
            raise ValueError(f"`max_pixels` must be a positive integer, got {self.max_pixels!r}")
        if self.truncated not in get_args(Truncated):
            raise ValueError(f'`truncated` must be "refuse" or "fill", got {self.truncated!r}')


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """Image file as stored, upright.

    Attributes:
        pixels: (H, W) or (H, W, C) with 2 (gray), 3 or 4 channels, in the type of the file.
        format: "PNG", "JPEG", "TIFF", "WEBP" or "BMP".
        indices: (H, W) uint8, indices into `palette`; `pixels` are then its colors.
        palette: (N, 3) uint8.
        no_data: Stored value or index that marks pixels without measurement, from the tag GDAL_NODATA.
        transparent: (H, W), True where the color of a palette, or the one transparent value of a PNG file, is fully transparent,
            or where the mask of a TIFF file marks missing pixels; `None` if no pixel is.
        scales: Factor and offset that turn the values of a channel into those of its unit, by channel, as GDAL stores them in a
            TIFF file; channels without a scale are left out.
        second: Second page of a TIFF file with two images.
        is_filled: Whether the file ends early and its missing part was filled.
    """

    pixels: NDArray[Any]
    format: str = ""
    indices: NDArray[np.uint8] | None = None
    palette: NDArray[np.uint8] | None = None
    no_data: float | None = None
    scales: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    second: "DecodedImage | None" = None
    transparent: NDArray[np.bool_] | None = None
    is_filled: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed while decoding, one sentence each, for the user."""
        return ("the file ends early, and its missing part is filled (--truncated fill)",) if self.is_filled else ()

    @property
    def extra_channel(self) -> NDArray[Any] | None:
        """The channel after gray or red, green and blue, (H, W)."""
        return self.pixels[..., -1] if self.pixels.ndim == 3 and self.pixels.shape[-1] in (2, 4) else None

    @cached_property
    def opacity(self) -> NDArray[Any] | None:
        """The extra channel, (H, W), if it looks like opacity, and not like an infrared image."""
        extra = self.extra_channel
        if extra is None:
            return None
        measured = extra[extra != self.no_data] if self.no_data else extra  # 0 is also that of transparent pixels
        return extra if is_opacity(measured if measured.size else extra) else None

    @property
    def image(self) -> NDArray[Any]:
        """(H, W) gray or (H, W, 3) RGB."""
        if self.extra_channel is None:
            return self.pixels
        return self.pixels[..., 0] if self.pixels.shape[-1] == 2 else self.pixels[..., :3]


def to_supported(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return values as uint8, uint16 or float32.

    8- and 16-bit signed integers and 16- and 64-bit floats become float32; wider integers become uint16 if all are in
    [0, 65535], else float32.

    Examples:
        >>> to_supported(np.array([[-200, 147]], np.int16)).dtype, to_supported(np.array([[0, 65535]], np.int32)).dtype
        (dtype('float32'), dtype('uint16'))
    """
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels
    is_wide = pixels.dtype.kind in "iu" and pixels.dtype.itemsize >= 4
    if is_wide and pixels.size and pixels.min() >= 0 and pixels.max() <= np.iinfo(np.uint16).max:
        return pixels.astype(np.uint16)
    with np.errstate(over="ignore"):  # infinite, which is missing
        return pixels.astype(np.float32)
