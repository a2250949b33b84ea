"""Find pairs whose visible images are thermal images, such as `DJI_0001_T.JPG` with the converted `DJI_0001_T.tiff`."""

from collections.abc import Sequence

from gffusion.cameras.thermal_visible import shows_infrared

from .pairs import ImagePair
from .reading import ReadOptions, read_unaligned

MAX_PAIRS = 5


def describe_thermal_visible(pairs: Sequence[ImagePair], options: ReadOptions = ReadOptions()) -> str | None:
    """Return a warning if the visible images of the first pairs show the infrared values, or None.

    No pair is read after the first one that does not.
    """
    if not pairs or not all(_shows_infrared(pair, options) for pair in pairs[:MAX_PAIRS]):
        return None
    return (
        f"the visible images look like thermal images: {pairs[0].visible} shows the values of {pairs[0].infrared}. Give the "
        "photographs of the shots as visible images"
    )


def _shows_infrared(pair: ImagePair, options: ReadOptions) -> bool:
    try:
        visible, frame, _ = read_unaligned(pair.visible, pair.infrared, options)
    except (OSError, ValueError, MemoryError):  # reported when the pair is used
        return False
    return shows_infrared(visible, frame.values, frame.missing)
