"""Notes on infrared images that only the other images of a run show to be of no use. Does not import torch."""

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from gffusion.cameras.frozen_images import FrozenImages
from gffusion.cameras.narrow_ranges import measure_width, note_narrow

from .reading import PairImages

if TYPE_CHECKING:
    from .sources import PairSource  # imports parts that a fusion leaves out


def measure_range(images: PairImages) -> tuple[str, float]:
    """Return the kind of an infrared image and the width of its range, for [`note_narrow`]."""
    kind = f"{images.infrared.dtype} {images.infrared_size or images.infrared.shape[:2]}"
    return kind, measure_width(images.infrared, images.missing)


def note_infrared(source: "PairSource", indices: Iterable[int]) -> list[tuple[str, str]]:
    """Read infrared images in order, and return notes on those of no use, each after the file or row.

    They are noise behind a closed shutter, compared with the images of the same folder, type and size, and repetitions of the image of the pair
    before. Images that cannot be read are left out.
    """
    frozen, widths = FrozenImages(), []
    notes: list[tuple[str, str]] = []
    for index in indices:
        file = source.pairs[index].infrared if source.pairs else None
        name = str(file or source.describe(index))
        try:
            infrared, missing = source.read_infrared(index)
            found = frozen.add(name, infrared, partial(_read_visible, source, index))
        except (OSError, ValueError, MemoryError):  # reported when the pair is used
            continue
        notes += [(name, note) for note in found]
        kind = f"{file and file.parent} {infrared.dtype} {infrared.shape[:2]}"
        widths.append((name, kind, measure_width(infrared, missing)))
    return notes + note_narrow(widths)


def _read_visible(source: "PairSource", index: int) -> NDArray[Any]:
    return source.read(index)["visible"]
