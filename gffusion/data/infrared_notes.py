"""Notes on infrared images that only the other images of a run show to be of no use. Does not import torch."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras.cleaning import describe_only_value
from gffusion.cameras.frozen_images import FrozenImages
from gffusion.cameras.missing import format_share
from gffusion.cameras.narrow_ranges import measure_width, note_narrow

from .reading import PairImages

if TYPE_CHECKING:
    from .sources import PairSource  # imports parts that a fusion leaves out


def measure_range(images: PairImages, file: Path | None = None) -> tuple[str, float]:
    """Return the kind of an infrared image, which may be of a file, and the width of its range, for [`note_narrow`]."""
    kind = _describe_kind(file, images.infrared, images.infrared_size)
    return kind, measure_width(images.infrared, images.missing)


def note_thermal(images: PairImages, thermal: NDArray[Any]) -> tuple[str, ...]:
    """Return notes on thermal values that are kept, those of [`PairImages.thermal`]."""
    if images.temperature is None:
        # Radiometric files with floating-point values hold degrees.
        if not images.is_raw or images.infrared.dtype.kind == "f":
            return ()
        return ("kept thermal values are counts: the file has no scale that turns them into degrees Celsius",)
    unknown = np.isnan(thermal) if images.missing is None else np.isnan(thermal) & ~images.missing
    if not unknown.any():
        return ()
    return (
        f"kept thermal values are NaN for {format_share(unknown)} of the pixels: no temperature gives their counts with the "
        "settings of the camera in the file, such as emissivity and reflected temperature",
    )


def note_infrared(source: "PairSource", indices: Iterable[int]) -> list[tuple[str, str]]:
    """Read infrared images in order, and return notes on those of no use, each after the file or row.

    They have one value, are noise behind a closed shutter, compared with the images of the same folder, type and size, or
    repeat the image of the pair before. Images that cannot be read are left out.
    """
    frozen, widths = FrozenImages(), []
    notes: list[tuple[str, str]] = []
    for index in indices:
        file = source.pairs[index].infrared if source.pairs else None
        name = str(file or source.describe(index))
        try:
            infrared, missing = source.read_infrared(index)
            constant = describe_only_value(infrared, missing)
            found = constant or frozen.add(name, infrared, partial(_read_visible, source, index))
        except (OSError, ValueError, MemoryError):  # reported when the pair is used
            continue
        notes += [(name, note) for note in found]
        widths.append((name, _describe_kind(file, infrared), measure_width(infrared, missing)))
    return notes + note_narrow(widths)


def _describe_kind(file: Path | None, infrared: NDArray[Any], size: tuple[int, int] | None = None) -> str:
    """Return the folder, which is that of one camera, type and size as measured."""
    return f"{file and file.parent} {infrared.dtype} {size or infrared.shape[:2]}"


def _read_visible(source: "PairSource", index: int) -> NDArray[Any]:
    return source.read(index)["visible"]
