"""Check frames of two videos before they are fused."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from gffusion.cameras.swapped_images import are_swapped, describe_swap, find_swap
from gffusion.data.same_images import check_different_images

_MAX_FRAMES = 5


def check_frames(
    frames: Sequence[tuple[NDArray[Any], NDArray[Any]]], names: tuple[str, str], infrared_luma: bool
) -> None:
    """Check that both videos hold different images, and that they were not swapped.

    Args:
        frames: Visible and infrared images.
        names: The two files.
        infrared_luma: Whether infrared images can have any colors.

    Raises:
        ValueError: If the videos are the same, or were swapped.
    """
    for visible, infrared in frames:
        check_different_images(visible, infrared, names)
    if not infrared_luma and are_swapped(find_swap(*pair) for pair in frames[:_MAX_FRAMES]):
        raise ValueError(describe_swap(*names))
