"""The smallest image size of the model, and checks of sizes and of the divisor of padding. Does not import torch."""

from collections.abc import Mapping
from typing import Any

from .argument_checks import to_plain

MIN_SIZE = 32
"""Smallest height and width of an image that the model fuses, in pixels."""

ALIGN_FIRST = (
    'Align them first: the pipeline takes align="auto" or a rig, and `read_pair` takes ReadOptions(align="auto").'
)
"""Advice of functions that do not align."""

_MAX_DIVISOR = 4096

_ALIGN = (
    'Pass align="auto" (--align auto) to find the position of the infrared image, align="resize" (--align resize) if '
    "both cameras have the same field of view, or a rig (--align RIG.json) that `gffusion align` saved"
)
_ROTATED = "One of them is rotated by 90 degrees: rotate it, or set its EXIF orientation. "


def check_same_size(sizes: Mapping[str, tuple[int, ...]], advice: str | None = None) -> tuple[int, int]:
    """Return the height and width that all images of a pair share.

    `sizes` has them by the name for error messages: the visible and the infrared image, then label maps. `advice` is what to
    do about images of different sizes, by default to pass `align`.

    Raises:
        ValueError: If sizes differ.

    Examples:
        >>> check_same_size({"visible.png": (480, 640), "infrared.png": (480, 640)})
        (480, 640)
    """
    (first, (height, width)), *others = sizes.items()
    for index, (other, size) in enumerate(others):
        if size != (height, width):
            words = f"{first} measures {width} x {height} pixels, but {other} {size[1]} x {size[0]} (width x height)"
            if index > 0:
                raise ValueError(
                    f"{words}: a label map must have the size of the visible image. Resize it with nearest neighbor (in Pillow, "
                    "resize with Image.Resampling.NEAREST): other filters mix the numbers of classes"
                )
            is_rotated = (width - height) * (size[1] - size[0]) < 0  # portrait and landscape
            raise ValueError(
                f"{words}: the images of a pair must be aligned pixel by pixel. {_ROTATED * is_rotated}{advice or _ALIGN}"
            )
    return height, width


def check_size_divisor(size_divisor: Any) -> int:
    """Return an integer from 1 to 4096, to multiples of which images are padded; raise ValueError for other values."""
    plain = to_plain(size_divisor)
    if type(plain) is not int or not 1 <= plain <= _MAX_DIVISOR:
        raise ValueError(f"`size_divisor` must be an integer from 1 to {_MAX_DIVISOR}, got {size_divisor!r}.")
    return plain
