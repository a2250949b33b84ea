"""The smallest image size of the model, and the check that the images of a pair have one size. Does not import torch."""

from collections.abc import Mapping

MINIMUM_SIZE = 32
"""Smallest height and width of an image that the model fuses, in pixels."""


def check_same_size(sizes: Mapping[str, tuple[int, ...]]) -> tuple[int, int]:
    """Return the height and width that all images of a pair share.

    Args:
        sizes: Height and width by name of the image; the names are used in the error message.

    Raises:
        ValueError: If sizes differ.

    Example:
        >>> check_same_size({"visible.png": (480, 640), "infrared.png": (480, 640)})
        (480, 640)
    """
    (first, (height, width)), *others = sizes.items()
    for other, size in others:
        if size != (height, width):
            raise ValueError(
                f"{first} measures {width} x {height} pixels, but {other} {size[1]} x {size[0]} (width x height): the "
                "images of a pair must be aligned pixel by pixel; register and resize them first"
            )
    return height, width
