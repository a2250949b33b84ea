"""Read the two images of a pair."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, InfraredFrame, Reference, Rig, align_images
from gffusion.cameras.byte_order import is_byte_swapped
from gffusion.cameras.temperatures import TemperatureScale
from gffusion.cameras.warping import REFERENCES

from .decoding import DecodedImage, to_supported
from .io import read_bytes
from .modalities import Modalities, has_one_image, split_modalities
from .raw_frames import RAW_SUFFIXES, RawFrame
from .same_images import check_different_images


class PairImages(NamedTuple):
    """Images of a pair, of one size, and what is known about them.

    Attributes:
        visible: (H, W) or (H, W, 3), as [`read_image`] returns it.
        infrared: (H, W) or (H, W, 3); its missing pixels are filled.
        missing: (H, W), True where the infrared image has no measurement; `None` if it has one everywhere.
        notes: What was changed or assumed while reading, one sentence each, for the user.
        temperature: Scale that turns the infrared values into degrees Celsius, if the file contains it.
        is_raw: Whether the infrared values are counts or degrees of a radiometric file, whose range is not that of their type.
    """

    visible: NDArray[Any]
    infrared: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    temperature: TemperatureScale | None = None
    is_raw: bool = False

    @property
    def thermal(self) -> NDArray[Any]:
        """Degrees Celsius as float32 if their scale is known, or the infrared values; float32 with NaN where missing."""
        values = self.infrared if self.temperature is None else self.temperature.to_celsius(self.infrared)
        if self.missing is None:
            return values
        values = values.astype(np.float32)
        values[self.missing] = np.nan
        return values


@dataclass(frozen=True)
class ReadOptions:
    """How the images of a pair are read.

    Attributes:
        align: `"none"` refuses images of different sizes; `"resize"` scales the infrared to the visible image, for cameras
            with the same field of view; `"auto"` estimates the position of the infrared image; a [`Rig`] gives it.
        reference: The image whose frame and size the aligned images have.
        crop: Whether to keep only the largest rectangle that both cameras see.
        raw_frame: Format of infrared files with a suffix in `RAW_SUFFIXES`.

    Raises:
        ValueError: If an option is not allowed, or `reference` or `crop` is set without `align`.
    """

    align: Align = "none"
    reference: Reference = "visible"
    crop: bool = False
    raw_frame: RawFrame | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.align, Rig) and self.align not in ("none", "resize", "auto"):
            raise ValueError(f'`align` must be "none", "resize", "auto" or a Rig, got {self.align!r}')
        if self.reference not in REFERENCES:
            raise ValueError(f'`reference` must be "visible" or "infrared", got {self.reference!r}')
        if self.align == "none" and (self.crop or self.reference != "visible"):
            raise ValueError("`crop` and `reference` need `align` (--align resize, auto or RIG.json)")


def read_pair(visible: Path, infrared: Path, options: ReadOptions = ReadOptions()) -> PairImages:
    """Read the two images of a pair, from two files or from one file that holds both.

    A file holds both images if it is a radiometric JPEG with an embedded visible image, an image whose fourth channel is
    the infrared image, as in MFNet (Ha et al., IROS 2017), or a TIFF of a color and a gray page.

    Args:
        visible: File of the visible image.
        infrared: File of the infrared image; the same as `visible` if that holds both.
        options: See [`ReadOptions`].

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the sizes differ, both files hold the same image, or a file holds other images than it is given for.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from gffusion.data import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     visible, infrared = Path(folder, "visible.png"), Path(folder, "infrared.png")
        ...     write_image(visible, np.zeros((4, 6, 3), np.uint8))
        ...     write_image(infrared, np.zeros((4, 6), np.uint16))
        ...     pair = read_pair(visible, infrared)
        >>> pair.visible.shape, pair.infrared.dtype
        ((4, 6, 3), dtype('uint16'))
    """
    names = str(visible), str(infrared)
    if _is_same_file(visible, infrared):
        content = split_modalities(read_bytes(visible), names[0])
        if not isinstance(content, Modalities) or content.visible is None:
            raise ValueError(refuse_single(content, names[0]))
        return _complete(content.visible, content.infrared, options, names)
    image, notes = _read_visible(visible)
    frame, embedded = _read_infrared(infrared, options)
    check_different_images(image, frame.values, names)
    if embedded is None or not np.array_equal(image, embedded):
        frame = replace(frame, rig=None)  # the tags hold for the embedded visible image
    pair = _complete(image, frame, options, names)
    return pair._replace(notes=notes + pair.notes)


def holds_both(path: Path) -> bool:
    """Return whether a file holds a visible and an infrared image, without decoding files that cannot.

    Raises:
        OSError: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> from gffusion.data import write_image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_image(Path(folder, "a.png"), np.zeros((4, 6, 3), np.uint8))
        ...     holds_both(Path(folder, "a.png"))
        False
    """
    content = read_bytes(path)
    if has_one_image(content):
        return False
    decoded = split_modalities(content, str(path))
    return isinstance(decoded, Modalities) and decoded.visible is not None


def _is_same_file(visible: Path, infrared: Path) -> bool:
    return visible == infrared or (visible.exists() and infrared.exists() and os.path.samefile(visible, infrared))


def refuse_single(content: Modalities | DecodedImage, path: str) -> str:
    """Return the message about a file that should hold both images but holds one."""
    if isinstance(content, Modalities):
        return f"{path} is {content.kind} without a visible image: give the visible image, too"
    extra = " Its last channel is opacity." if content.extra_channel is not None else ""
    return (
        f"{path} holds one image, not a visible and an infrared one: give both files.{extra} Files that hold both are "
        "radiometric JPEG, images with the infrared image as fourth channel, and TIFF of a color and a gray page"
    )


def _read_visible(path: Path) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the visible image of a file, and notes."""
    content = split_modalities(read_bytes(path), str(path))
    if isinstance(content, DecodedImage):
        return to_supported(content.image), ()
    if content.visible is None:
        raise ValueError(f"{path} is {content.kind}, an infrared image: give it as the infrared image")
    if not content.is_radiometric:
        raise ValueError(_refuse_both(content, path))
    return content.visible, ("visible image embedded in the radiometric JPEG",)


def _refuse_both(content: Modalities, path: Path) -> str:
    """Return the message about a file that holds both images but is given as one."""
    return (
        f"{path} is {content.kind}, which is no opacity: give the file alone to fuse its two images "
        f"(gffusion fuse {path.name} -o OUT), or save the image you need without the other one"
    )


def _read_infrared(path: Path, options: ReadOptions) -> tuple[InfraredFrame, NDArray[Any] | None]:
    """Return the infrared image of a file as measured, and the visible image embedded in a radiometric JPEG."""
    content = read_bytes(path)
    if options.raw_frame is not None and path.suffix.lower() in RAW_SUFFIXES:
        return InfraredFrame(to_supported(options.raw_frame.decode(content, str(path)))), None
    decoded = split_modalities(content, str(path))
    if isinstance(decoded, DecodedImage):
        return _to_frame(decoded), None
    if not decoded.is_radiometric:
        raise ValueError(_refuse_both(decoded, path))
    return decoded.infrared, decoded.visible


def _to_frame(decoded: DecodedImage) -> InfraredFrame:
    """Return the measured values of an ordinary infrared image."""
    values = to_supported(decoded.image)
    if decoded.format == "PNG" and values.ndim == 2 and values.dtype == np.uint16 and is_byte_swapped(values):
        note = "bytes of 16-bit values swapped, as FLIR stores them in PNG"
        return InfraredFrame(values.byteswap(), notes=(note,))
    return InfraredFrame(values, no_data=decoded.no_data)


def _complete(visible: NDArray[Any], frame: InfraredFrame, options: ReadOptions, names: tuple[str, str]) -> PairImages:
    """Find missing values, align, and fill what is missing."""
    uses_tags = frame.rig is not None and options.align == "none"
    aligned, notes = align_images(
        visible,
        frame.values,
        frame.missing,
        align="auto" if uses_tags else options.align,
        reference=options.reference,
        crop=options.crop,
        tags=frame.rig,
        names=names,
    )
    return PairImages(
        aligned.visible, aligned.infrared, aligned.missing, frame.notes + notes, frame.temperature, frame.is_raw
    )
