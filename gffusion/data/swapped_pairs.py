"""Refuse pairs whose visible and infrared images were swapped, before any of them is used."""

from collections.abc import Sequence

from gffusion.cameras.swapped_images import Evidence, are_swapped, describe_swap, find_swap

from .decoded_image import DecodedImage, to_supported
from .io import read_bytes
from .modalities import split_modalities
from .pairs import ImagePair
from .raw_frames import RAW_SUFFIXES
from .reading import ReadOptions

MAX_PAIRS = 5


def check_not_swapped(pairs: Sequence[ImagePair], options: ReadOptions = ReadOptions()) -> None:
    """Check that the visible and the infrared images of several pairs were not swapped, from the first ones.

    Images are refused here only if they would be refused singly, for their colors; `options.infrared_luma` allows them. If the
    first infrared image is gray, no further pair is read. A single pair is left to [`read_pair`].

    Raises:
        ValueError: If the first pairs look swapped.
    """
    chosen = [pair for pair in pairs if pair.visible != pair.infrared][:MAX_PAIRS]
    if options.infrared_luma or len(pairs) < 2 or not are_swapped(_find_evidence(pair, options) for pair in chosen):
        return
    files = chosen[0].visible, chosen[0].infrared
    folders = tuple(file.parent for file in files)
    raise ValueError(describe_swap(*(files if folders[0] == folders[1] else folders)))


def _find_evidence(pair: ImagePair, options: ReadOptions) -> Evidence:
    if pair.infrared.suffix.lower() in RAW_SUFFIXES:
        return "none"
    try:
        infrared, visible = (
            split_modalities(read_bytes(file, options.max_pixels), str(file), options.decoding)
            for file in (pair.infrared, pair.visible)
        )
        if not isinstance(infrared, DecodedImage):
            return "none"
        if not isinstance(visible, DecodedImage):
            return "strong" if visible.visible is None else "none"
        return find_swap(to_supported(visible.image), to_supported(infrared.image))
    except (OSError, ValueError, MemoryError):  # reported when the pair is used
        return "none"
