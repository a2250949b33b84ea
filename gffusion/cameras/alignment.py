"""Bring the images of a pair into one frame, as the options of the user say."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.array_checks import check_mask, unmask
from gffusion.models.gffusion.image_sizes import check_same_size
from gffusion.utils.notes import format_count

from .rig import ASPECT_TOLERANCE, Rig, describe_size, measure_size_misfit
from .warping import AlignedImages, Reference, apply_rig, check_reference

if TYPE_CHECKING:
    from .estimation import PairArrays, RigEstimate

Align = Literal["none", "resize", "auto"] | Rig


def align_images(
    visible: NDArray[Any],
    infrared: NDArray[Any],
    missing: NDArray[np.bool_] | None = None,
    align: Align = "none",
    reference: Reference = "visible",
    crop: bool = False,
    tags: Rig | None = None,
    names: tuple[str, str] = ("the visible image", "the infrared image"),
    border: NDArray[np.bool_] | None = None,
) -> tuple[AlignedImages, tuple[str, ...]]:
    """Bring the images of a pair into one frame.

    Args:
        visible: (H, W) or (H, W, 3).
        infrared: (h, w) or (h, w, 3).
        missing: (h, w), True where the infrared image has no measurement, or `None`.
        align: `"none"` refuses images of different sizes; `"resize"` scales one image, for cameras with the same field
            of view; `"auto"` uses `tags`, or estimates the rig from this pair; a [`Rig`] is applied.
        reference: The image whose frame and size the result has.
        crop: Whether to keep only the largest rectangle that both cameras see, without borders of the infrared image.
        tags: The rig that the file of the infrared image contains.
        names: Names of the images in messages.
        border: See [`apply_rig`].

    Returns:
        The images, and notes for the user.

    Raises:
        ValueError: If the sizes differ and `align` is `"none"`, the rig does not fit the images or cannot be estimated, an
            option is unknown, an image is a masked array, or the mask is not bool or has another size.

    Examples:
        >>> pair = np.zeros((480, 640, 3), np.uint8), np.zeros((240, 320), np.uint16)
        >>> aligned, notes = align_images(*pair, align="resize")
        >>> aligned.infrared.shape, notes
        ((480, 640), ())
    """
    visible, infrared = unmask(visible, "visible"), unmask(infrared, "infrared")
    check_mask(missing, infrared.shape[:2], "`missing`")
    check_reference(reference)
    check_align(align)
    sizes = visible.shape[:2], infrared.shape[:2]
    if align == "none":
        check_same_size(dict(zip(names, sizes, strict=True)))
        return AlignedImages(visible, infrared, missing), ()
    if isinstance(align, Rig):
        rig, notes = align, align.check_sizes(*sizes)
    elif align == "resize":
        rig, notes = Rig(np.eye(3)), _check_resize(sizes, names, tags)
    elif tags is not None:
        source = tags.origin.removeprefix("read from ") or "the tags of the file"
        rig, notes = tags, (f"aligned by {source}",)
    else:
        estimate = estimate_sure([(visible, infrared, missing)])
        rig, notes = estimate.rig, (f"aligned by an estimated {estimate.describe()}", *estimate.list_notes())
    aligned = apply_rig(visible, infrared, missing, rig, reference, crop, border)
    if rig is tags and aligned.outside is not None:
        notes = (f"{notes[0]}; outside of the infrared image, the visible image stays",)
    return aligned, notes


def check_align(align: Any) -> None:
    """Raise ValueError if images cannot be aligned in this way.

    Examples:
        >>> check_align("auto")
    """
    if not isinstance(align, Rig) and not (isinstance(align, str) and align in ("none", "resize", "auto")):
        raise ValueError(
            f'`align` must be "none", "resize", "auto" or a Rig, such as Rig.load("rig.json"), got {align!r:.200}'
        )


def estimate_sure(pairs: Sequence["PairArrays"]) -> "RigEstimate":
    """Return the estimate of [`estimate_rig`] for a similarity.

    Raises:
        ValueError: If the estimate is not sure, or as for [`estimate_rig`].
    """
    from .estimation import estimate_rig  # imports scipy and scikit-image, which takes a second
    from .search import describe_search

    estimate = estimate_rig(pairs)
    estimate.check_found()
    if not estimate.sure:
        raise ValueError(
            f"the position of the infrared image could not be estimated from {format_count(len(pairs), 'pair')} with certainty (residual "
            f"{estimate.residual:.1f} pixels, confidence {estimate.confidence:.2f}); {describe_search()}. Run `gffusion align` on ten pairs of the "
            "rig with structure at all distances, look at its overlay, and pass the rig (--align RIG.json); or pass "
            'align="resize" (--align resize) if both cameras have the same field of view'
            + "".join(f". {note}" for note in estimate.list_notes())
        )
    return estimate


def _check_resize(
    sizes: tuple[tuple[int, ...], tuple[int, ...]], names: tuple[str, str], tags: Rig | None
) -> tuple[str, ...]:
    """Return notes on images that may not have the same field of view; refuse a portrait and a landscape image."""
    (height, width), (other_height, other_width) = sizes
    difference = math.log(width * other_height / (height * other_width))
    words = f"{names[0]} measures {describe_size(sizes[0])} pixels, {names[1]} {describe_size(sizes[1])}"
    if abs(difference) > ASPECT_TOLERANCE and (width - height) * (other_width - other_height) < 0:
        raise ValueError(
            f"{words}: one of them is rotated by 90 degrees; rotate it first, or make a rig "
            "with gffusion align --infrared-turn 90 or 270"
        )
    notes = []
    if abs(difference) > ASPECT_TOLERANCE:
        notes.append(
            f"the images have different aspect ratios ({describe_size(sizes[0])} and {describe_size(sizes[1])} pixels), and "
            'align="resize" (--align resize) distorts one of them; '
            'align="auto" (--align auto) looks for the position instead'
        )
    elif misfit := measure_size_misfit(*sizes):
        notes.append(
            f'the images measure {describe_size(sizes[0])} and {describe_size(sizes[1])} pixels, and align="resize" (--align resize) is '
            f"about {misfit:.0f} pixels of the smaller one off if one was cropped or padded: cut off rows and columns that show "
            "nothing of the scene, such as telemetry and padding"
        )
    if tags is not None and not np.allclose(tags.matrix, np.eye(3), atol=0.01):
        notes.append(
            'the tags of the file say that the fields of view differ: align="auto" (--align auto) uses them, '
            'align="resize" (--align resize) does not'
        )
    return tuple(notes)
