"""The content of a radiometric JPEG file, of whatever maker."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from numpy.typing import NDArray

from .temperatures import TemperatureScale


class PictureInPicture(NamedTuple):
    """Position of the infrared image in the embedded visible image.

    Attributes:
        real2ir: Width of the visible image divided by the width of the part that the infrared image covers.
        offset_x: Center of that part, to the right of the center of the visible image, in its pixels.
        offset_y: Center of that part, below the center of the visible image, in its pixels.
    """

    real2ir: float
    offset_x: int
    offset_y: int


@dataclass(frozen=True)
class RadiometricImage:
    """Content of a radiometric JPEG file.

    Attributes:
        camera: Make and model, for messages.
        values: (H, W) counts as uint16, or degrees Celsius as float32, in the orientation of the sensor.
        visible: JPEG or PNG file of the embedded visible image.
        position: Position of the infrared in the visible image.
        temperature: Scale of the counts; None if it is not known or the values are degrees already.
        is_celsius: Whether the values are degrees Celsius.
        orientation: EXIF orientation that turns both images upright.
    """

    camera: str
    values: NDArray[Any]
    visible: bytes | None = None
    position: PictureInPicture | None = None
    temperature: TemperatureScale | None = None
    is_celsius: bool = False
    orientation: int = 1
