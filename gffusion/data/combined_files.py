"""Find files that hold both images of a pair, and infrared files of another type than the rest."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import TiffImagePlugin

from gffusion.cameras.radiometric import inspect_radiometric

from .contents import Source, name_source, read_source
from .decoded_image import DEFAULT_OPTIONS, DecodeOptions
from .decoding import open_header
from .file_names import is_listed, natural_key
from .io import IMAGE_SUFFIXES, read_bytes
from .modalities import Modalities, can_hold_both, has_one_image, is_jpeg, split_modalities
from .pairs import ImagePair, match_pairs
from .raw_frames import RAW_SUFFIXES, RawFrame
from .reading import ReadOptions, refuse_single
from .tiff_pages import count_frames

_FOUR_CHANNEL_FOLDER = "images"  # of MFNet as downloaded


class CombinedFiles(NamedTuple):
    """Files of a folder.

    Attributes:
        pairs: Pairs whose visible and infrared image are in one file, or pairs of files in this folder, in natural order.
        others: Files that hold one image and have no partner.
        notes: What was assumed to match the files, one sentence each, for the user.
    """

    pairs: tuple[ImagePair, ...]
    others: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def check_holds_both(path: Path, is_given_twice: bool = False, options: DecodeOptions = DEFAULT_OPTIONS) -> None:
    """Check that a file, given alone or as both files of a pair, holds a visible and an infrared image.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it holds one image.
    """
    content = split_modalities(read_bytes(path, options.max_pixels), str(path), options)
    if not isinstance(content, Modalities) or content.visible is None:
        raise ValueError(refuse_single(content, str(path), is_given_twice))


def find_combined(folder: Path, options: ReadOptions = ReadOptions()) -> CombinedFiles:
    """Find the pairs of one folder: files that hold both images, or files of which the names match.

    A folder without images of its own, but with a folder `images`, is that of MFNet as downloaded. Only headers are
    read where they suffice, and images with a further channel are decoded up to the first one that holds both. The
    other ones and damaged files are taken as pairs, too, so that they are reported when they are fused.

    Args:
        folder: The folder.
        options: How its files are read.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If there are no pairs.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     channels = np.random.default_rng(0).integers(0, 256, (8, 10, 4), np.uint8)
        ...     Image.fromarray(channels).save(f"{root}/00001D.png")
        ...     [pair.name for pair in find_combined(Path(root)).pairs]
        ['00001D']
    """
    files = _list_images(folder)
    if not files and (folder / _FOUR_CHANNEL_FOLDER).is_dir():
        return find_combined(folder / _FOUR_CHANNEL_FOLDER, options)
    found = {file: can_hold_both(file, options.max_pixels) for file in files}
    if any(found.values()) or any(_holds_both(file, options) for file in files if found[file] is None):
        combined = tuple(ImagePair(file.stem, file, file) for file in files if found[file] is not False)
        named, notes = _match_rest(folder, {file for file in files if found[file] is False})
        ordered = sorted(combined + named, key=lambda pair: natural_key(pair.visible))
        return CombinedFiles(tuple(ordered), _leave_out(files, ordered), notes)
    match = match_pairs(folder, folder)
    pairs = tuple(pair for pair in match.pairs if pair.visible != pair.infrared)
    if not pairs:
        raise ValueError(
            f"no file in {folder} holds a visible and an infrared image, and no two files have names such as 1_vis.png and "
            "1_ir.png: give two files, the folder of the visible and that of the infrared images, or two lists (@visible.txt @infrared.txt)"
        )
    return CombinedFiles(pairs, _leave_out(files, pairs), match.notes)


def _leave_out(files: Sequence[Path], pairs: Sequence[ImagePair]) -> tuple[Path, ...]:
    """Return the files that are in no pair."""
    taken = {file for pair in pairs for file in (pair.visible, pair.infrared)}
    return tuple(file for file in files if file not in taken)


def _match_rest(folder: Path, singles: set[Path]) -> tuple[tuple[ImagePair, ...], tuple[str, ...]]:
    """Return the pairs among files that hold one image each, such as 1_vis.png and 1_ir.png, and notes."""
    try:
        match = match_pairs(folder, folder)
    except ValueError:  # the names are ambiguous
        return (), ()
    pairs = tuple(
        pair for pair in match.pairs if pair.visible != pair.infrared and {pair.visible, pair.infrared} <= singles
    )
    return pairs, match.notes if pairs else ()


def find_odd_types(files: Sequence[Path], raw_frame: RawFrame | None = None) -> dict[Path, str]:
    """Return the files of a camera whose type differs from that of most, with the reason.

    Frames of one camera have one type: another one has other units, and would look different.

    Args:
        files: Infrared or visible files, or files that hold both images.
        raw_frame: Format of raw frames.
    """
    types = {file: _read_type(file, raw_frame) for file in files}
    counts = Counter(kind for kind in types.values() if kind is not None)
    if len(counts) < 2:
        return {}
    usual = counts.most_common(1)[0][0]
    return {
        file: f"{file} holds {kind} values, but {counts[usual]} of {len(types)} images hold {usual} values: the "
        "units differ. Convert it, or fuse it separately"
        for file, kind in types.items()
        if kind not in (None, usual)
    }


def check_same_types(files: Sequence[Path]) -> None:
    """Check that the infrared files of every folder have one type.

    Raises:
        ValueError: If a file has another type than most files of its folder.
    """
    folders = {file.parent for file in files}
    odd = [
        reason
        for folder in sorted(folders)
        for reason in find_odd_types([file for file in files if file.parent == folder]).values()
    ]
    if odd:
        raise ValueError(f"{odd[0]}{f' ({len(odd) - 1} more files)' if len(odd) > 1 else ''}")


def holds_both(file: Source, options: ReadOptions = ReadOptions()) -> bool:
    """Return whether a file holds a visible and an infrared image, without decoding files that cannot.

    Raises:
        OSError: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from gffusion.data import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(Path(folder, "a.png"), np.zeros((4, 6, 3), np.uint8))
        ...     holds_both(Path(folder, "a.png"))
        False
    """
    name = name_source(file, "given")
    content = read_source(file, name, options.max_pixels)
    if has_one_image(content):
        return False
    decoded = split_modalities(content, name, options.decoding)
    return isinstance(decoded, Modalities) and decoded.visible is not None


def _list_images(folder: Path) -> list[Path]:
    files: Iterable[Path] = sorted(folder.iterdir(), key=natural_key)
    return [file for file in files if is_listed(file, IMAGE_SUFFIXES)]


def _holds_both(path: Path, options: ReadOptions) -> bool:
    """Return whether a file holds both images; a damaged file holds none."""
    try:
        return holds_both(path, options)
    except (OSError, ValueError):
        return False


def _read_type(path: Path, raw_frame: RawFrame | None) -> str | None:
    """Return the type of the values of an infrared file, from its header; None if it cannot be read."""
    if raw_frame is not None and path.suffix.lower() in RAW_SUFFIXES:
        return raw_frame.dtype.name
    try:
        if is_jpeg(path):
            kind = inspect_radiometric(read_bytes(path))
            return "8-bit" if kind is None else ("Celsius" if kind.is_celsius else "radiometric")
        with open_header(path) as image:
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                return _read_tiff_type(image)
            return "16-bit" if image.mode.startswith("I") or ";16" in str(image.tile[0][3]) else "8-bit"
    except Exception:  # decoders raise almost anything on damaged files; reading the pair raises the documented error
        return None


def _read_tiff_type(image: TiffImagePlugin.TiffImageFile) -> str | None:
    if count_frames(image) > 1:
        return None
    bits = max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    kind = max(image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    if kind == 3:
        return "floating-point"
    return f"{'signed ' if kind == 2 else ''}{max(bits, 8)}-bit"
