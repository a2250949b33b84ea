"""Find pairs of wrong files: equal ones, swapped ones, and thermal images that are given as visible ones."""

import filecmp
from collections.abc import Sequence
from pathlib import Path

from gffusion.cameras.swapped_images import Evidence, are_swapped, describe_swap, find_swap
from gffusion.cameras.thermal_visible import shows_infrared
from gffusion.utils.notes import format_count

from .contents import is_same_file
from .decoded_image import DecodedImage, to_supported
from .file_names import NEAR_INFRARED, find_core, normalize_name
from .io import read_bytes
from .modalities import check_holds_both, split_modalities
from .pairs import ImagePair
from .raw_frames import RAW_SUFFIXES
from .reading import ReadOptions, read_unaligned

MAX_PAIRS = 5  # of which images are compared


def check_different_files(
    pairs: Sequence[ImagePair], every: bool = False, options: ReadOptions = ReadOptions()
) -> None:
    """Check that the two files of pairs are no links to or copies of each other, as when a folder is given twice.

    Args:
        pairs: The pairs. Files that cannot be read are left to the code that uses them.
        every: Whether to check every pair. By default, only the first pair is checked, and only if all pairs are of
            equal files; other pairs fail when they are read.
        options: How they are read. They are not aligned here.

    Raises:
        ValueError: If a pair of equal files does not hold both images, and is not flat.
    """
    same = []
    for pair in pairs:
        if _have_same_content(pair.visible, pair.infrared):
            same.append(pair)
        elif not every:
            return
    for pair in same if every else same[:1]:
        try:
            if not every and pair.visible.samefile(pair.infrared):
                check_holds_both(pair.visible, is_given_twice=True, options=options.decoding)
            read_unaligned(pair.visible, pair.infrared, options)
        except OSError:
            continue
        except ValueError as error:
            others = f" (like {format_count(len(same) - 1, 'other pair')})" if len(same) > 1 else ""
            is_folder = not every and len(same) > 1 and pair.visible == pair.infrared  # given twice
            lists = ". If the folder holds both kinds, give lists: @visible.txt @infrared.txt" if is_folder else ""
            raise ValueError(f"{error}{others}{lists}") from error


def check_not_swapped(pairs: Sequence[ImagePair], options: ReadOptions) -> None:
    """Raise ValueError if the first of several pairs look as if visible and infrared images were swapped.

    Images are refused here only if they would be refused singly, for their colors; `options.infrared_luma` allows them. If the
    first infrared image is gray, no further pair is read. A single pair is left to [`read_pair`].
    """
    chosen = [pair for pair in pairs if pair.visible != pair.infrared][:MAX_PAIRS]
    if options.infrared_luma or len(pairs) < 2 or not are_swapped(_find_evidence(pair, options) for pair in chosen):
        return
    files = chosen[0].visible, chosen[0].infrared
    folders = tuple(file.parent for file in files)
    raise ValueError(describe_swap(*(files if folders[0] == folders[1] else folders)))


def describe_thermal_visible(pairs: Sequence[ImagePair], options: ReadOptions) -> str | None:
    """Return a warning if the visible images of the first pairs show the infrared values, or None.

    An example is `DJI_0001_T.JPG` with the converted `DJI_0001_T.tiff`. No pair is read after the first one that does not.
    Images of near infrared can resemble visible ones as much: names tell them.
    """
    if (
        not pairs
        or any(map(_is_near_infrared, pairs))
        or not all(_shows_infrared(pair, options) for pair in pairs[:MAX_PAIRS])
    ):
        return None
    return (
        f"the visible images look like thermal images: {pairs[0].visible} shows the values of {pairs[0].infrared}. Give the "
        "photographs of the shots as visible images"
    )


def _is_near_infrared(pair: ImagePair) -> bool:
    names = (normalize_name(name) for name in (pair.infrared.stem, pair.infrared.parent.name))
    return any(find_core(name, NEAR_INFRARED) != name for name in names)


def _have_same_content(first: Path, second: Path) -> bool:
    try:
        return is_same_file(first, second) or (first.stat().st_size > 0 and filecmp.cmp(first, second, shallow=False))
    except OSError:
        return False


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


def _shows_infrared(pair: ImagePair, options: ReadOptions) -> bool:
    try:
        visible, frame, _ = read_unaligned(pair.visible, pair.infrared, options)
    except (OSError, ValueError, MemoryError):  # reported when the pair is used
        return False
    return shows_infrared(visible, frame.values, frame.missing)
