"""Decoded infrared images, and the content of radiometric files, with what is known about them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rig import Rig
from .temperatures import TemperatureScale


@dataclass(frozen=True)
class InfraredFrame:
    """Infrared image as measured.

    Attributes:
        values: (H, W) gray values, counts or temperatures, in the dtype of the file; (H, W, 3) if it has colors.
        missing: (H, W), True where nothing was measured: no-data values, dead pixels, or outside the field of view.
        rig: Position of the infrared in the visible image, if the file contains it.
        no_data: Value that marks pixels without measurement, if the file names it.
        temperature: Scale of the counts, if the file contains it.
        is_raw: Whether the values are counts or degrees of a radiometric file.
        notes: What was changed or assumed while decoding, one sentence each, for the user.
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    rig: Rig | None = None
    no_data: float | None = None
    temperature: TemperatureScale | None = None
    is_raw: bool = False
    notes: tuple[str, ...] = ()


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
