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
_RESIZE = "Resize it with nearest neighbor (in Pillow, resize with Image.Resampling.NEAREST): other filters mix the numbers of classes"


def check_same_size(sizes: Mapping[str, tuple[int, ...]], advice: str | None = None) -> tuple[int, int]:
    """Return the height and width that all images of a pair share; raise ValueError if they differ.

    `sizes` has them by the name for error messages: the visible and the infrared image, then label maps. `advice` is what to
    do about images of different sizes, by default to pass `align`.
    """
    (first, (height, width)), *others = sizes.items()
    for index, (other, size) in enumerate(others):
        if size != (height, width):
            words = f"{first} measures {width} x {height} pixels, but {other} {size[1]} x {size[0]} (width x height)"
            if index > 0:
                raise ValueError(
                    f"{words}: a label map must have the size of the visible image. {_advise_on_labels((height, width), size)}"
                )
            is_rotated = (width - height) * (size[1] - size[0]) < 0  # portrait and landscape
            raise ValueError(
                f"{words}: the images of a pair must be aligned pixel by pixel. {_ROTATED * is_rotated}{advice or _ALIGN}"
            )
    return height, width


def _advise_on_labels(size: tuple[int, int], labels_size: tuple[int, ...]) -> str:
    """Return what to do about a label map of another size than its image: resizing one of another part would misplace it."""
    height, width = labels_size
    if _have_same_shape(size, (height, width)):
        return _RESIZE
    if _have_same_shape(size, (width, height)):
        resize = "" if size == (width, height) else f". {_RESIZE}"
        return (
            "It is rotated by 90 degrees, as if it was drawn without the EXIF orientation of the image: rotate it as this "
            f"orientation says, or set the same orientation in its file{resize}"
        )
    return (
        "Its aspect ratio differs, so that it seems to be cropped or padded: cut off the padding, or draw it on the whole image. "
        "Resize it, with nearest neighbor, only if it shows the whole image"
    )


def _have_same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Return whether two sizes have the same aspect ratio and orientation, up to a pixel of rounding."""
    difference = first[0] * second[1] - first[1] * second[0]
    return abs(difference) <= max(first) and (first[0] - first[1]) * (second[0] - second[1]) >= 0


def check_size_divisor(size_divisor: Any) -> int:
    """Return an integer from 1 to 4096, to multiples of which images are padded; raise ValueError for other values."""
    plain = to_plain(size_divisor)
    if type(plain) is not int or not 1 <= plain <= _MAX_DIVISOR:
        raise ValueError(f"`size_divisor` must be an integer from 1 to {_MAX_DIVISOR}, got {size_divisor!r}.")
    return plain
