"""Decode files that hold a visible and an infrared image: radiometric JPEG, four-channel images and TIFF of two pages."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gffusion.cameras import InfraredFrame, Rig
from gffusion.cameras.frames import RadiometricImage
from gffusion.cameras.radiometric import decode_radiometric, restore_colors

from .bounds import check_pixels
from .contents import Source, name_source, read_source
from .decoded_image import UPRIGHT, DecodedImage, DecodeOptions, ImageReadError, to_supported
from .decoding import decode_image
from .headers import JPEG_SIGNATURE, header_shows_one
from .infrared_frames import find_transparent, to_frame
from .io import read_bytes
from .visible_range import VisibleFrame

_SIGNATURES = (b"\x89PNG", JPEG_SIGNATURE)  # of embedded images that are no camera-specific data


class Modalities(NamedTuple):
    """Content of a file that holds an infrared image, and mostly a visible one.

    Attributes:
        kind: Kind of the file, for messages.
        infrared: The infrared image.
        visible: The visible image; None if the file has none.
        is_radiometric: Whether the file is a radiometric JPEG.
    """

    kind: str
    infrared: InfraredFrame
    visible: VisibleFrame | None
    is_radiometric: bool = False


# Share of a fourth channel that is 0 or its largest value, from which 0 hides a visible image.
_OPACITY_SHARE = 0.9


def split_modalities(content: bytes, path: str, options: DecodeOptions) -> Modalities | DecodedImage:
    """Decode a file, and split it if it holds both modalities or a radiometric image. Messages name its path.

    Returns:
        The modalities, or the single image of an ordinary file.

    Raises:
        ImageReadError: If the file is damaged or not supported, or has too many pixels.
    """
    name = path.removeprefix("the ") if path.startswith("the ") else f"image {path}"  # also "the infrared image"
    try:
        radiometric = decode_radiometric(content)
        if radiometric is not None:
            check_pixels(radiometric.values.shape[1], radiometric.values.shape[0], options.max_pixels)
    except ValueError as error:
        raise ImageReadError(f"cannot read the {name}: {error}") from error
    if radiometric is not None:
        return _split_radiometric(radiometric, path, options)
    decoded = decode_image(content, name, options)
    if decoded.second is not None:
        return _split_pages(decoded, decoded.second, path)
    extra = decoded.extra_channel
    if extra is None or decoded.opacity is not None:
        return decoded
    scale = decoded.scales.get(decoded.pixels.shape[-1] - 1)
    scales = {} if scale is None else {0: scale}
    frame = to_frame(DecodedImage(extra, no_data=decoded.no_data, scales=scales, transparent=decoded.transparent))
    frame = replace(frame, notes=(*frame.notes, "the extra channel is the infrared image"))
    kind = "an image whose last channel is an infrared image, not opacity"
    return Modalities(kind, frame, to_visible_frame(decoded))


def split_both(
    content: bytes, path: str, options: DecodeOptions, is_given_twice: bool = False
) -> tuple[VisibleFrame, InfraredFrame]:
    """Decode a file that holds both images, given alone or as both files of a pair: the visible and the infrared one.

    Raises:
        ImageReadError: As for [`split_modalities`].
        ValueError: If it holds one image.
    """
    decoded = split_modalities(content, path, options)
    if not isinstance(decoded, Modalities) or decoded.visible is None:
        raise ValueError(refuse_single(decoded, path, is_given_twice))
    return decoded.visible, decoded.infrared


def check_holds_both(path: Path, is_given_twice: bool, options: DecodeOptions) -> None:
    """Raise ValueError if a file, given alone or as both files of a pair, holds one image only."""
    split_both(read_bytes(path, options.max_pixels), str(path), options, is_given_twice)


def holds_both(file: Source, options: DecodeOptions) -> bool:
    """Return whether a file holds a visible and an infrared image, without decoding files that cannot.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from gffusion.data import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(Path(folder, "a.png"), np.zeros((4, 6, 3), np.uint8))
        ...     holds_both(Path(folder, "a.png"), DecodeOptions())
        False
    """
    name = name_source(file, "given")
    content = read_source(file, name, options.max_pixels)
    if header_shows_one(content):
        return False
    decoded = split_modalities(content, name, options)
    return isinstance(decoded, Modalities) and decoded.visible is not None


def refuse_single(content: Modalities | DecodedImage, path: str, is_given_twice: bool = False) -> str:
    """Return the message about a file that should hold both images but holds one."""
    if is_given_twice:
        return f"the visible and the infrared image are the same file, {path}, which holds one image: give two files"
    if isinstance(content, Modalities):
        return f"{path} is {content.kind} without a visible image: give the visible image, too"
    hint = f"; {hint}" if (hint := explain_single(content)) else ""
    return (
        f"{path} holds one image, not a visible and an infrared one: give both files{hint}. Files that hold both are "
        "radiometric JPEG, images with the infrared image as fourth channel, and TIFF of a color and a gray page"
    )


def explain_single(content: DecodedImage) -> str:
    """Return why a file that seems to hold both images holds one, in words; "" for other files."""
    if content.extra_channel is not None:
        return (
            "its last channel looks like opacity (mostly 0 and the largest value, or few values): if it is the infrared image, save "
            "it separately"
        )
    if content.format == "JPEG":
        return (
            "if it is from a thermal camera, a messenger, editing or an export has removed the thermal data: take the file from "
            "the card of the camera"
        )
    return ""


def _split_radiometric(image: RadiometricImage, path: str, options: DecodeOptions) -> Modalities:
    turn = UPRIGHT[image.orientation].apply
    rig, visible = None, None
    notes: tuple[str, ...] = ()
    if image.visible is not None and image.visible.startswith(_SIGNATURES):
        decoded = decode_image(image.visible, f"visible image in {path}", options)
        notes = decoded.notes
        if image.position is not None:
            rig = _turn_rig(Rig.from_flir(*image.position, visible_size=decoded.image.shape[:2]), image.orientation)
        is_coded = decoded.format == "PNG" and decoded.image.ndim == 3 and decoded.image.dtype == np.uint8
        visible = VisibleFrame(turn(restore_colors(decoded.image) if is_coded else to_supported(decoded.image)))
    kind = "degrees Celsius" if image.is_celsius else "counts"
    frame = InfraredFrame(
        turn(image.values),
        rig=rig,
        temperature=image.temperature,
        is_raw=True,
        notes=(
            *notes,
            f"{kind} of {image.camera} instead of its screen image; without --infrared-range, from their 0.1st to 99.9th "
            "percentile",
        ),
    )
    return Modalities(f"a radiometric JPEG of {image.camera}", frame, visible, is_radiometric=True)


def _split_pages(first: DecodedImage, second: DecodedImage, path: str) -> Modalities:
    pages = [first, second]
    kinds = [(page.image.ndim, -page.image.dtype.itemsize) for page in pages]  # color and few bits are visible
    if kinds[0] == kinds[1] or all(page.image.ndim == 3 for page in pages):
        names = " and ".join(f"{'color' if p.image.ndim == 3 else 'gray'} {p.image.dtype}" for p in pages)
        raise ImageReadError(
            f"cannot read a pair from {path}: it has 2 frames, {names}, so that the infrared image cannot be recognized; "
            "save them as separate files"
        )
    visible, infrared = pages if kinds[0] > kinds[1] else reversed(pages)
    frame = to_frame(infrared)
    note = f"page {pages.index(infrared) + 1} of the file is the infrared image"
    visible = replace(visible, is_filled=first.is_filled or second.is_filled)  # for one note
    frame = replace(frame, notes=(*frame.notes, note))
    return Modalities("a TIFF of a visible and an infrared page", frame, to_visible_frame(visible))


def to_visible_frame(decoded: DecodedImage) -> VisibleFrame:
    """Return an image of a file as a visible image."""
    values, opacity, transparent = to_supported(decoded.image), decoded.opacity, find_transparent(decoded)
    if opacity is not None and np.mean((opacity == 0) | (opacity == opacity.max())) < _OPACITY_SHARE:
        transparent = decoded.transparent  # the channel may hold data, such as depth, and must not hide the image
    is_key = decoded.extra_channel is None and decoded.indices is None  # also of a mask
    if transparent is not None and (transparent.all() or (is_key and not values[transparent].any())):
        transparent = None  # nothing would be left, or the transparent value is 0, which is also that of shadows
    return VisibleFrame(values, None if decoded.indices is not None else decoded.no_data, decoded.notes, transparent)


def _turn_rig(rig: Rig, orientation: int) -> Rig:
    """Return the rig of images that were turned upright."""
    back = UPRIGHT[orientation].matrix
    size = rig.visible_size if rig.visible_size is None or orientation < 5 else rig.visible_size[::-1]
    return Rig(np.linalg.inv(back) @ rig.matrix @ back, size, None, rig.origin)
