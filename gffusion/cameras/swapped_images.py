"""Find out whether the visible and the infrared images of a camera were swapped."""

from collections.abc import Iterable
from typing import Any, Literal

from numpy.typing import NDArray

from .cleaning import to_8_bits
from .palettes import GRAY, recognize_palette

Evidence = Literal["none", "weak", "strong"]


def find_swap(visible: NDArray[Any], infrared: NDArray[Any]) -> Evidence:
    """Return the evidence that two images were swapped: the visible one is gray or in false colors, the infrared one is not.

    Args:
        visible: (H, W) or (H, W, 3), given as the visible image.
        infrared: (h, w) or (h, w, 3), given as the infrared image.

    Returns:
        "strong" if [`clean_frame`] would refuse the colors of the infrared image; "weak" if nearly all of its pixels are gray;
        "none" if it is gray or in false colors, or the visible image is neither.

    Examples:
        >>> import numpy as np
        >>> noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        >>> find_swap(noise[..., 0], noise), find_swap(noise, noise[..., 0])
        ('strong', 'none')
    """
    if _is_gray(infrared) or not (_is_gray(visible) or recognize_palette(to_8_bits(visible)) is not None):
        return "none"
    found = recognize_palette(to_8_bits(infrared))
    if found is None:
        return "strong"
    return "weak" if found.palette == GRAY else "none"


def _is_gray(image: NDArray[Any]) -> bool:
    return image.ndim == 2 or bool((image == image[..., :1]).all())


def are_swapped(evidence: Iterable[Evidence]) -> bool:
    """Return whether pairs were swapped: no pair speaks against it, and one is sure. Stops at the first pair that does.

    Examples:
        >>> are_swapped(["weak", "strong"]), are_swapped(["strong", "none"]), are_swapped(["weak", "weak"])
        (True, False, False)
    """
    found = set()
    for item in evidence:
        found.add(item)
        if item == "none":
            return False
    return "strong" in found


def describe_swap(visible: object, infrared: object) -> str:
    """Return the message about swapped files or folders."""
    return (
        f"the visible and the infrared images are swapped: {visible} has images in gray or false colors, and {infrared} has "
        "photographs in color. Swap the two; if they are right, take the brightness of the infrared images with "
        "infrared_luma=True (--infrared-luma)"
    )
