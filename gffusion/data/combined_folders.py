"""Find the pairs of one folder with files of both kinds, or with files that hold both images."""

from collections.abc import Sequence
from pathlib import Path

from .file_names import is_listed, natural_key
from .headers import header_shows_both
from .io import IMAGE_SUFFIXES, read_bytes
from .modalities import Modalities, explain_single, holds_both, refuse_single, split_modalities
from .other_files import describe_unread, find_unread
from .pairs import ImagePair, PairMatch, match_pairs
from .reading import ReadOptions

_FOUR_CHANNEL_FOLDER = "images"  # of MFNet as downloaded


def find_combined(folder: Path, options: ReadOptions = ReadOptions()) -> PairMatch:
    """Find the pairs of one folder: files that hold both images, or files of which the names match.

    A folder without images of its own, but with a folder `images`, is that of MFNet as downloaded. Only headers are
    read where they suffice, and images with a further channel are decoded up to the first one that holds both. The
    other ones and damaged files are taken as pairs, too, so that they are reported when they are fused.

    Returns:
        The pairs in natural order; files that hold one image and have no partner are `visible_only`.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If there are no pairs.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as root:
        ...     channels = np.random.default_rng(0).integers(0, 256, (8, 10, 4), np.uint8)
        ...     Image.fromarray(channels).save(f"{root}/00001D.png")
        ...     [pair.name for pair in find_combined(Path(root)).pairs]
        ['00001D']
    """
    files = [file for file in sorted(folder.iterdir(), key=natural_key) if is_listed(file, IMAGE_SUFFIXES)]
    if not files and (folder / _FOUR_CHANNEL_FOLDER).is_dir():
        return find_combined(folder / _FOUR_CHANNEL_FOLDER, options)
    found = {file: header_shows_both(file, options.max_pixels) for file in files}
    if any(found.values()) or any(_holds_both(file, options) for file in files if found[file] is None):
        combined = tuple(ImagePair(file.stem, file, file) for file in files if found[file] is not False)
        named, notes = _match_rest(folder, {file for file in files if found[file] is False})
        ordered = sorted(combined + named, key=lambda pair: natural_key(pair.visible))
        return PairMatch(tuple(ordered), _leave_out(files, ordered), (), notes=notes)
    match = match_pairs(folder, folder)
    pairs = tuple(pair for pair in match.pairs if pair.visible != pair.infrared)
    if not pairs:
        unread = find_unread(folder, files)
        reason = f". {describe_unread(unread)}" if unread else _explain_first(files[0], options)
        raise ValueError(
            f"no file in {folder} holds a visible and an infrared image, and no two files have names such as 1_vis.png and "
            "1_ir.png: give two files, the folder of the visible and that of the infrared images, or two lists (@visible.txt @infrared.txt)"
            f"{reason}"
        )
    return PairMatch(pairs, _leave_out(files, pairs), (), notes=match.notes)


def _explain_first(file: Path, options: ReadOptions) -> str:
    """Return why the first file of a folder does not hold both images, as the end of a message, or "" if nothing is known."""
    try:
        content = split_modalities(read_bytes(file, options.max_pixels), str(file), options.decoding)
    except (OSError, ValueError) as error:
        return f". {error}"
    if isinstance(content, Modalities):
        return f". {refuse_single(content, str(file))}"
    reason = explain_single(content)
    return f". {file}: {reason}" if reason else ""


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


def _holds_both(path: Path, options: ReadOptions) -> bool:
    """Return whether a file holds both images; a damaged file holds none."""
    try:
        return holds_both(path, options.decoding)
    except (OSError, ValueError):
        return False
