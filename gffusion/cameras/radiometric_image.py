"""The content of a radiometric JPEG file, of whatever maker."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .temperatures import TemperatureScale


@dataclass(frozen=True)
class RadiometricImage:
    """Content of a radiometric JPEG file.

    Attributes:
        camera: Make and model, for messages.
        values: (H, W) counts as uint16, or degrees Celsius as float32, in the orientation of the sensor.
        visible: JPEG or PNG file of the embedded visible image.
        position: Position of the infrared in the visible image, the first three arguments of [`Rig.from_flir`].
        temperature: Scale of the counts; None if it is not known or the values are degrees already.
        is_celsius: Whether the values are degrees Celsius.
        orientation: EXIF orientation that turns both images upright.
    """

    camera: str
    values: NDArray[Any]
    visible: bytes | None = None
    position: tuple[float, int, int] | None = None
    temperature: TemperatureScale | None = None
    is_celsius: bool = False
    orientation: int = 1
