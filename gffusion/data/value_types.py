"""Find infrared files whose values have another type than those of the rest."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import TiffImagePlugin

from gffusion.cameras.radiometric import inspect_radiometric
from gffusion.utils.progress import show_progress

from .decoding import open_header
from .headers import is_jpeg
from .io import read_bytes
from .raw_frames import RAW_SUFFIXES
from .reading import ReadOptions
from .tiff_pages import count_frames


def find_odd_types(files: Sequence[Path], options: ReadOptions) -> dict[Path, str]:
    """Return the files of a camera whose type differs from that of most, with the reason.

    Frames of one camera have one type: another one has other units, and would look different.
    """
    bar = show_progress(files, description="Reading headers", unit="file")  # minutes for 100,000 files
    types = {file: _read_type(file, options) for file in bar}
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
    """Raise ValueError if an infrared file has another type than most files of its folder."""
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    odd = [reason for folder in sorted(folders) for reason in find_odd_types(folders[folder], ReadOptions()).values()]
    if odd:
        raise ValueError(f"{odd[0]}{f' ({len(odd) - 1} more files)' if len(odd) > 1 else ''}")


def _read_type(path: Path, options: ReadOptions) -> str | None:
    """Return the type of the values of an infrared file, from its header; None if it cannot be read."""
    if options.raw_frame is not None and path.suffix.lower() in RAW_SUFFIXES:
        return options.raw_frame.dtype.name
    try:
        if is_jpeg(path):
            kind = inspect_radiometric(read_bytes(path, options.max_pixels))
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
