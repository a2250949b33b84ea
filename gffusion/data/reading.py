"""Read the two images of a pair."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, Reference, Rig, align_images
from gffusion.cameras.warping import REFERENCES

from .io import read_image, read_rgbt


class PairImages(NamedTuple):
    """Images of a pair, of one size, and what is known about them.

    Attributes:
        visible: (H, W) or (H, W, 3), as [`read_image`] returns it.
        infrared: (H, W) or (H, W, 3); its missing pixels are filled.
        missing: (H, W), True where the infrared image has no measurement; `None` if it has one everywhere.
        notes: What was changed or assumed while reading, one sentence each, for the user.
    """

    visible: NDArray[Any]
    infrared: NDArray[Any]
    missing: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadOptions:
    """How the images of a pair are read.

    Attributes:
        align: `"none"` refuses images of different sizes; `"resize"` scales the infrared to the visible image, for cameras
            with the same field of view; `"auto"` estimates the position of the infrared image; a [`Rig`] gives it.
        reference: The image whose frame and size the aligned images have.
        crop: Whether to keep only the largest rectangle that both cameras see.

    Raises:
        ValueError: If an option is not allowed, or `reference` or `crop` is set without `align`.
    """

    align: Align = "none"
    reference: Reference = "visible"
    crop: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.align, Rig) and self.align not in ("none", "resize", "auto"):
            raise ValueError(f'`align` must be "none", "resize", "auto" or a Rig, got {self.align!r}')
        if self.reference not in REFERENCES:
            raise ValueError(f'`reference` must be "visible" or "infrared", got {self.reference!r}')
        if self.align == "none" and (self.crop or self.reference != "visible"):
            raise ValueError("`crop` and `reference` need `align` (--align resize, auto or RIG.json)")


def read_pair(visible: Path, infrared: Path, options: ReadOptions = ReadOptions()) -> PairImages:
    """Read the two images of a pair, from two files or from one four-channel file.

    Args:
        visible: File of the visible image.
        infrared: File of the infrared image; the same as `visible` if that has four channels (see [`read_rgbt`]).
        options: See [`ReadOptions`].

    Raises:
        OSError: If a file cannot be read.
        ValueError: If the sizes differ.

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
    if visible == infrared:
        return PairImages(*read_rgbt(visible))
    aligned, notes = align_images(
        read_image(visible),
        read_image(infrared),
        align=options.align,
        reference=options.reference,
        crop=options.crop,
        names=(str(visible), str(infrared)),
    )
    return PairImages(aligned.visible, aligned.infrared, aligned.missing, notes)
