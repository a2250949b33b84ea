"""Read the two images of a pair."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, InfraredFrame, Reference, align_images
from gffusion.cameras.alignment import check_align
from gffusion.cameras.cleaning import BORDER_CUT, BORDER_FILLED, clean_frame, note_cut_border
from gffusion.cameras.common_frames import note_common_frame
from gffusion.cameras.missing import fill_missing
from gffusion.cameras.png_chunks import PNG_SIGNATURE
from gffusion.cameras.same_images import check_different_images
from gffusion.cameras.temperatures import TemperatureScale, check_unit
from gffusion.cameras.warping import check_reference
from gffusion.models.gffusion.argument_checks import check_flag
from gffusion.models.gffusion.image_sizes import check_same_size
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.utils.notes import name_in_errors

from .bounds import DEFAULT_MAX_PIXELS
from .contents import Source, is_content, is_same_file, name_source, read_source
from .decoded_image import DecodedImage, DecodeOptions, ImageReadError, Truncated, to_supported
from .decoding import check_end
from .georeference import add_georeference
from .headers import header_shows_one, may_lack_values
from .infrared_frames import to_frame
from .io import read_bytes, read_size
from .modalities import Modalities, split_both, split_modalities, to_visible_frame
from .raw_frames import RAW_SUFFIXES, RawFrame, explained_sides
from .visible_range import VisibleFrame, VisibleRange, check_visible_range, map_visible


class PairImages(NamedTuple):
    """Images of a pair, of one size, and what is known about them.

    Attributes:
        visible: (H, W) or (H, W, 3), as [`read_image`] returns it.
        infrared: (H, W) or (H, W, 3); its missing pixels are filled.
        missing: (H, W), True where the infrared image has no measurement; `None` if it has one everywhere.
        notes: What was changed or assumed while reading, one sentence each, for the user.
        temperature: Scale that turns the infrared values into degrees Celsius, or the unit of GDAL's scale, if the file contains it.
        is_raw: Whether the infrared values are counts or degrees of a radiometric file, whose range is not that of their type.
        window: Top, left, height and width in the frame of the reference, if the images were cropped.
        infrared_size: Height and width of the infrared image before it was aligned, if it was read from a file.
        outside: (H, W), True outside of the frame of the aligned infrared image; `None` if it covers the visible image.
    """

    visible: NDArray[Any]
    infrared: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    temperature: TemperatureScale | None = None
    is_raw: bool = False
    window: tuple[int, int, int, int] | None = None
    infrared_size: tuple[int, int] | None = None
    outside: NDArray[np.bool_] | None = None

    @property
    def thermal(self) -> NDArray[Any]:
        """Degrees Celsius, or the unit of the file, as float32 if their scale is known, or the infrared values; float32 with NaN where missing."""
        values = self.infrared if self.temperature is None else self.temperature.to_celsius(self.infrared)
        if self.missing is None:
            return values
        values = values.astype(np.float32)
        values[self.missing] = np.nan
        return values

    def adapt(self, options: InfraredOptions) -> InfraredOptions:
        """Return the infrared options for this pair.

        Raises:
            ValueError: If the range is in degrees Celsius, but the values are counts.
        """
        if self.temperature is not None and not isinstance(options.infrared_range, str):
            first, last = options.infrared_range
            check_unit((first, last), self.infrared, self.temperature)
        return options.for_counts() if self.is_raw else options


@dataclass(frozen=True)
class ReadOptions:
    """How the images of a pair are read.

    Attributes:
        align: `"none"` refuses images of different sizes; `"resize"` scales the infrared to the visible image, for
            cameras with the same field of view; `"auto"` takes the position of the infrared image from its file or
            from the georeferences of both, or estimates it; a [`Rig`] gives it.
        reference: The image whose frame and size the aligned images have.
        crop: Whether to keep only the largest rectangle that both cameras see, without borders of the infrared image.
        raw_frame: Format of infrared files with a suffix in `RAW_SUFFIXES`.
        infrared_luma: Whether to take the luma of infrared images in color. By default, false colors of a known palette become intensities; others are refused.
        keep_borders: Whether black or white borders of infrared images are measurements. By default, those of a registration are missing.
        visible_range: Values of the visible image that become black and white; values outside are clipped. For cameras
            with 10 to 14 bits in 16-bit files, such as `(0, 4095)`, and for reflectance. Images of 8 bits are refused.
        max_pixels: Largest number of pixels of an image.
        truncated: `"refuse"` raises for files that end early; `"fill"` fills their missing part, with a note.

    Raises:
        ValueError: If an option is not allowed, or `reference` or `crop` is set without `align`.
    """

    align: Align = "none"
    reference: Reference = "visible"
    crop: bool = False
    raw_frame: RawFrame | None = None
    infrared_luma: bool = False
    keep_borders: bool = False
    visible_range: VisibleRange | None = None
    max_pixels: int = DEFAULT_MAX_PIXELS
    truncated: Truncated = "refuse"

    @property
    def decoding(self) -> DecodeOptions:
        """How the files are decoded."""
        return DecodeOptions(self.max_pixels, self.truncated)

    @property
    def raw_suffixes(self) -> tuple[str, ...]:
        """Suffixes of infrared files besides `IMAGE_SUFFIXES`."""
        return () if self.raw_frame is None else RAW_SUFFIXES

    def check_raw_frames(self, files: Iterable[Path]) -> None:
        """Raise ValueError if a format of raw frames is given, but none of the infrared files is one."""
        suffixes = self.raw_suffixes
        if suffixes and not any(file.suffix.lower() in suffixes for file in files):
            raise ValueError(
                f"raw_frame (--raw-frame) is for infrared files ending in {', '.join(suffixes)}, but none does: leave it out, or put such "
                "files that are beside images into a folder of their own"
            )

    def __post_init__(self) -> None:
        check_align(self.align)
        check_reference(self.reference)
        if not isinstance(self.raw_frame, RawFrame | None):
            raise ValueError(
                f'`raw_frame` must be a RawFrame, such as RawFrame.parse("512x640,uint16"), got {self.raw_frame!r:.200}'
            )
        for name in ("crop", "infrared_luma", "keep_borders"):
            option = f"`{name}` (--{name.replace('_', '-')})"
            object.__setattr__(self, name, check_flag(option, getattr(self, name)))
        if self.align == "none" and (self.crop or self.reference != "visible"):
            raise ValueError("`crop` and `reference` need `align` (--align resize, auto or RIG.json)")
        object.__setattr__(self, "visible_range", check_visible_range(self.visible_range))
        object.__setattr__(self, "max_pixels", DecodeOptions(self.max_pixels, self.truncated).max_pixels)


def read_pair(visible: Source, infrared: Source, options: ReadOptions = ReadOptions()) -> PairImages:
    """Read the two images of a pair, from two files or from one file that holds both.

    A file holds both images if it is a radiometric JPEG with an embedded visible image, an image whose fourth channel
    is the infrared image, as in MFNet (Ha et al., IROS 2017), or a TIFF of a color and a gray page.

    Args:
        visible: Path of the visible image; or the content of its file, as bytes or a file object that is open in binary mode.
        infrared: Path or content of the infrared image, raw frames by path only; the same as `visible` if that holds both.
        options: See [`ReadOptions`].

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the sizes differ, both files hold the same image, a file holds other images than it is given
            for, or a file object cannot be read.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from gffusion.data import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     visible, infrared = f"{folder}/visible.png", f"{folder}/infrared.png"
        ...     write_image(visible, np.zeros((4, 6, 3), np.uint8))
        ...     write_image(infrared, np.full((4, 6), 7000, np.uint16))
        ...     pair = read_pair(visible, infrared)
        >>> pair.visible.shape, pair.infrared.dtype
        ((4, 6, 3), dtype('uint16'))
    """
    image, frame, notes = read_unaligned(visible, infrared, options)
    names = name_source(visible, "visible"), name_source(infrared, "infrared")
    if names[0] == names[1]:
        names = f"the visible image in {names[0]}", f"the infrared image in {names[0]}"
    return finish_pair(image, frame, notes, options, names)


def finish_pair(
    visible: NDArray[Any], frame: InfraredFrame, notes: tuple[str, ...], options: ReadOptions, names: tuple[str, str]
) -> PairImages:
    """Complete a pair of single images by [`complete_pair`], with notes from before, and on a frame that both images have."""
    pair = complete_pair(visible, frame, options, names)
    found = note_common_frame(visible, frame.values)
    if found and not any(note.endswith(BORDER_CUT) for note in pair.notes):
        notes += tuple(note for note in pair.notes if BORDER_FILLED not in note)  # the frame is the border
        return pair._replace(notes=notes + found)
    return pair._replace(notes=notes + pair.notes)


def read_pair_size(visible: Path, infrared: Path, options: ReadOptions) -> tuple[int, int]:
    """Read the height and width that [`read_pair`] gives the images of a pair, from headers where possible.

    Raises:
        OSError, ValueError: As for [`read_pair`]. Of 8-bit files, which are not decoded, only the end is checked.
    """
    content = read_bytes(visible, options.max_pixels)
    if visible == infrared and content.startswith(PNG_SIGNATURE):  # the channels have one size
        check_end(content, f"image {visible}", options.decoding)
        return read_size(visible, options.max_pixels, options.truncated)
    is_plain = visible != infrared and infrared.suffix.lower() not in RAW_SUFFIXES and options.align == "none"
    contents = {visible: content, infrared: read_bytes(infrared, options.max_pixels)}
    if not (is_plain and all(map(header_shows_one, contents.values()))):
        height, width = read_pair(visible, infrared, options).visible.shape[:2]
        return height, width
    for path, content in contents.items():
        check_end(content, f"image {path}", options.decoding)
    if may_lack_values(contents[infrared]):
        frame = decode_infrared(contents[infrared], str(infrared), options)
        _fill(frame.values, frame.missing, str(infrared))
    if may_lack_values(contents[visible]):
        map_visible(decode_visible(contents[visible], str(visible), options), str(visible), options.visible_range)
    return check_same_size({str(path): read_size(path, options.max_pixels, options.truncated) for path in contents})


def read_unaligned(
    visible: Source, infrared: Source, options: ReadOptions
) -> tuple[NDArray[Any], InfraredFrame, tuple[str, ...]]:
    """Read the two images of a pair before they are aligned: the visible image, the infrared image, and notes.

    Raises:
        OSError, ValueError: As for [`read_pair`].
    """
    names = name_source(visible, "visible"), name_source(infrared, "infrared")
    content = read_source(visible, names[0], options.max_pixels)
    if is_same_file(visible, infrared):
        return decode_both(content, names[0], options)
    other = read_source(infrared, names[1], options.max_pixels)
    if other == content and (is_content(visible) or is_content(infrared)):  # no path shows that they are one file
        return decode_both(content, names[0], options)
    return decode_unaligned(content, other, names, options)


def decode_both(content: bytes, name: str, options: ReadOptions) -> tuple[NDArray[Any], InfraredFrame, tuple[str, ...]]:
    """Decode a file that holds both images: the visible image, the infrared image, and notes.

    Raises:
        ImageReadError: If the file cannot be read.
        ValueError: If it holds one image.
    """
    visible, infrared = split_both(content, name, options.decoding)
    image, notes = map_visible(visible, name, options.visible_range)
    return image, clean(infrared, name, options), notes


def decode_unaligned(
    visible: bytes, infrared: bytes, names: tuple[str, str], options: ReadOptions = ReadOptions()
) -> tuple[NDArray[Any], InfraredFrame, tuple[str, ...]]:
    """Decode the contents of two files: the visible image, the infrared image, and notes.

    Raises:
        ImageReadError: If a file cannot be read.
        ValueError: If a file holds other images than it is given for, or both hold the same image.
    """
    stored = decode_visible(visible, names[0], options)
    frame = decode_infrared(infrared, names[1], options, (stored.values, names[0]))
    frame, found = add_georeference(frame, (visible, infrared), stored.values.shape, options.align)
    image, notes = map_visible(stored, names[0], options.visible_range)
    return image, frame, notes + found


def decode_visible(content: bytes, name: str, options: ReadOptions) -> VisibleFrame:
    """Decode the visible image of a file, as stored.

    Raises:
        ImageReadError: If the file cannot be read.
        ValueError: If it holds an infrared image.
    """
    decoded = split_modalities(content, name, options.decoding)
    if isinstance(decoded, DecodedImage):
        return to_visible_frame(decoded)
    if decoded.visible is None:
        raise ValueError(f"{name} is {decoded.kind}, an infrared image: give it as the infrared image")
    if not decoded.is_radiometric:
        raise ValueError(_refuse_both(decoded, name))
    return decoded.visible._replace(notes=("visible image embedded in the radiometric JPEG",))


def decode_infrared(
    content: bytes, name: str, options: ReadOptions = ReadOptions(), visible: tuple[NDArray[Any], str] | None = None
) -> InfraredFrame:
    """Decode the infrared image of a file, as measured. The suffix of its name shows raw frames.

    `visible` is the visible image of the pair, which must be another one, and its path or name.

    Raises:
        ImageReadError: If the file cannot be read.
        ValueError: If it holds other images, or colors of an unknown palette.
    """
    return clean(decode_stored(content, name, options, visible), name, options)


def decode_stored(
    content: bytes, name: str, options: ReadOptions, visible: tuple[NDArray[Any], str] | None = None
) -> InfraredFrame:
    """Decode an infrared image as [`decode_infrared`] does, but before [`clean`]."""
    if options.raw_frame is not None and Path(name).suffix.lower() in RAW_SUFFIXES:
        return InfraredFrame(to_supported(options.raw_frame.decode(content, name, options.max_pixels)))
    try:
        decoded = split_modalities(content, name, options.decoding)
    except ImageReadError as error:
        if Path(name).suffix.lower() not in RAW_SUFFIXES:
            raise
        raise ImageReadError(f"{error}; a raw frame needs its size and type: raw_frame (--raw-frame)") from error
    if isinstance(decoded, DecodedImage):
        if visible is not None:
            check_different_images(visible[0], to_supported(decoded.image), (visible[1], name))
        frame = to_frame(decoded, not options.infrared_luma)
        return replace(frame, notes=decoded.notes + frame.notes)
    if not decoded.is_radiometric:
        raise ValueError(_refuse_both(decoded, name))
    if visible is None or decoded.visible is None or not np.array_equal(visible[0], decoded.visible.values):
        return replace(decoded.infrared, rig=None)  # the tags hold for the embedded visible image
    return decoded.infrared


def clean(frame: InfraredFrame, name: str, options: ReadOptions) -> InfraredFrame:
    """Return an infrared image without false colors, and with its missing pixels and borders in the mask.

    Raises:
        ValueError: If the image has colors of no known palette.
    """
    return clean_frame(frame, name, infrared_luma=options.infrared_luma, keep_borders=options.keep_borders)


def _refuse_both(content: Modalities, name: str) -> str:
    """Return the message about a file that holds both images but is given as one."""
    return (
        f"{name} is {content.kind}: give the file alone to fuse its two images, or save the image you need without the "
        "other one"
    )


def complete_pair(
    visible: NDArray[Any],
    frame: InfraredFrame,
    options: ReadOptions = ReadOptions(),
    names: tuple[str, str] = ("the visible image", "the infrared image"),
    border: NDArray[np.bool_] | None = None,
) -> PairImages:
    """Find missing values, align the images, and fill what is missing; `border` is that of [`apply_rig`].

    Raises:
        ValueError: If the images cannot be aligned.
    """
    with explained_sides(options.raw_frame if isinstance(options.align, str) else None, visible, frame.values, names):
        aligned, notes = align_images(
            visible,
            frame.values,
            frame.missing,
            align="auto" if frame.rig is not None and options.align == "none" else options.align,
            reference=options.reference,
            crop=options.crop,
            tags=frame.rig,
            names=names,
            border=border,
        )
    return PairImages(
        aligned.visible,
        _fill(aligned.infrared, aligned.missing, names[1]),
        aligned.missing,
        note_cut_border(frame.notes, options.crop and border is None, aligned.missing is not None) + notes,
        frame.temperature,
        frame.is_raw,
        aligned.window,
        (frame.values.shape[0], frame.values.shape[1]),
        aligned.outside,
    )


def _fill(infrared: NDArray[Any], missing: NDArray[np.bool_] | None, name: str) -> NDArray[Any]:
    if missing is None:
        return infrared
    with name_in_errors(name):
        return fill_missing(infrared, missing)
