"""Position of the infrared in the visible image by the georeferences of two GeoTIFF files, such as orthomosaics."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, InfraredFrame
from gffusion.cameras.rig import GEOREFERENCES, Rig

from .metadata import GEO_KEYS, GEO_NUMBERS, GEO_TEXTS, PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, read_metadata
from .tiff_tags import SHORT, Directory, Tag

_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072  # keys of GeoTIFF 1.1
_POINT = 2  # raster type: coordinates are those of the centers of pixels
_USER_DEFINED = 32767
_DOUBLE = 12  # type of tags
_CORNERS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float64)
_TOLERANCE = 1.0  # pixels of the visible image
_APART = (
    "the georeferences of the two files place their images more than a pixel apart: "
    'align="auto" (--align auto) uses the georeferences'
)


class _Grid(NamedTuple):
    """Map from pixel edges (column, row, 1) to coordinates (3, 3), and the coordinate reference system."""

    matrix: NDArray[np.float64]
    system: object


def add_georeference(
    frame: InfraredFrame, contents: tuple[bytes, bytes], visible_size: tuple[int, ...], align: Align
) -> tuple[InfraredFrame, tuple[str, ...]]:
    """Add to an infrared image its position in the visible image if both files are georeferenced and `align` is `"auto"`.

    Args:
        frame: The infrared image.
        contents: Contents of the files of the visible and the infrared image.
        visible_size: Height and width of the visible image.
        align: How the images will be aligned. A note tells if the georeferences contradict `"none"` or `"resize"`.

    Returns:
        The infrared image, and notes for the user.

    Raises:
        ValueError: If the georeferences have different coordinate systems or give no plausible position.
    """
    if isinstance(align, Rig) or frame.rig is not None or not all(map(_is_tiff, contents)):
        return frame, ()
    visible, infrared = map(_read_grid, contents)
    if visible is None or infrared is None or (align != "auto" and visible.system != infrared.system):
        return frame, ()
    if visible.system != infrared.system:
        raise ValueError(
            "the two files are georeferenced in different coordinate systems: bring both into one, such as with gdalwarp "
            "-t_srs, or pass a rig (--align RIG.json) that `gffusion align` estimates"
        )
    edges = [np.diag([size[1], size[0], 1.0]) for size in (visible_size, frame.values.shape)]
    try:
        with np.errstate(all="ignore"):  # of damaged files
            rig = Rig(np.linalg.inv(infrared.matrix @ edges[1]) @ visible.matrix @ edges[0], origin=GEOREFERENCES)
    except ValueError as error:  # also of a singular matrix
        if align != "auto":
            return frame, (_APART,)
        raise ValueError(f"the georeferences of the two files do not fit together: {error}") from error
    if align == "auto":
        return replace(frame, rig=rig), ()
    return frame, (_APART,) if _are_apart(rig.matrix, edges[0]) else ()


def check_same_place(file: Path, frames: Sequence[Path], size: tuple[int, ...]) -> None:
    """Raise ValueError if the georeferences of files of one size place them more than a pixel apart, as maps of another tile.

    Args:
        file: A label map or fused image.
        frames: The visible or infrared image in whose frame it should be; then, if both are taken as aligned, the other one,
            whose georeference it may have, too.
        size: Height and width of all.
    """
    apart = [_lie_apart(file, frame, size) for frame in frames]
    if apart[0] and False not in apart[1:]:
        raise ValueError(
            f"the georeferences of {file} and {frames[0]} place them more than a pixel apart, but their pixels are compared one by one: "
            f"warp {file} onto the grid of {frames[0]}, such as with gdalwarp -te and -ts, or give the file of this place; if its "
            "georeference is wrong, remove it, such as with gdal_edit.py -unsetgt"
        )


def _lie_apart(file: Path, frame: Path, size: tuple[int, ...]) -> bool | None:
    """Return whether georeferences place two files of one size more than a pixel apart; `None` if they are unknown or of two systems."""
    grids = _read_common_grids(file, frame)
    if grids is None or np.linalg.det(grids[0].matrix) == 0:
        return None
    edges = np.diag([size[1], size[0], 1.0])
    with np.errstate(all="ignore"):  # of damaged files
        moved = np.linalg.inv(grids[0].matrix @ edges) @ grids[1].matrix @ edges
    return _are_apart(moved, edges)


def are_georeferenced(visible: Path, infrared: Path) -> bool:
    """Return whether `align="auto"` uses the georeferences of two files."""
    return _read_common_grids(visible, infrared) is not None


def _read_common_grids(*files: Path) -> list[_Grid] | None:
    """Return the grids of files that are georeferenced in one coordinate system; else `None`."""
    grids: list[_Grid] = []
    for file in files:
        with file.open("rb") as opened:
            if not _is_tiff(opened.read(2)):
                return None
            opened.seek(0)
            grid = _read_grid(opened.read())
        if grid is None or (grids and grid.system != grids[0].system):
            return None
        grids.append(grid)
    return grids


def _are_apart(matrix: NDArray[np.float64], edges: NDArray[np.float64]) -> bool:
    """Return whether a map between relative coordinates moves a corner by more than a pixel."""
    distances = np.linalg.norm((_CORNERS @ (matrix - np.eye(3)).T @ edges)[:, :2], axis=1)
    return bool(distances.max() > _TOLERANCE)


def _is_tiff(content: bytes) -> bool:
    return content[:2] in (b"II", b"MM")


def _read_grid(content: bytes) -> _Grid | None:
    """Return the grid of an upright image with an affine georeference in a known coordinate system; else `None`."""
    metadata = read_metadata(content)
    tags = metadata.georeference or {}
    matrix, system = _read_matrix(tags), _read_keys(tags)
    is_point = system.pop(_RASTER_TYPE, 1) == _POINT
    if matrix is None or not system or metadata.orientation != 1:
        return None
    if is_point:
        matrix = matrix @ [[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]
    key = _PROJECTED if system.get(_PROJECTED) else _GEOGRAPHIC
    if system.get(key, 0) not in (0, _USER_DEFINED):  # writers add different further keys
        return _Grid(matrix, (key, system[key]))
    return _Grid(matrix, (system, tags.get(GEO_NUMBERS), tags.get(GEO_TEXTS)))


def _read_matrix(tags: Directory) -> NDArray[np.float64] | None:
    """Return the map from pixels to coordinates as stored, from a point and the size of pixels, or from its matrix."""
    scale, points = _read_numbers(tags, PIXEL_SCALE, 2), _read_numbers(tags, TIE_POINTS, 6)
    matrix = _read_numbers(tags, TRANSFORMATION, 8)
    if scale is not None and points is not None:
        width, height = scale[0], abs(scale[1])  # GDAL ignores the sign, too
        column, row, _, x, y, _ = points
        found = np.array([[width, 0, x - column * width], [0, -height, y + row * height], [0, 0, 1]])
    elif matrix is not None:
        found = np.array([*matrix.reshape(2, 4)[:, [0, 1, 3]], [0, 0, 1]])
    else:
        return None
    # Programs write an identity matrix for images without a georeference.
    return found if np.isfinite(found).all() and not np.array_equal(found, np.eye(3)) else None


def _read_numbers(tags: Directory, number: int, count: int) -> NDArray[np.float64] | None:
    tag = tags.get(number)
    if not isinstance(tag, Tag) or tag.kind != _DOUBLE or tag.length < count:
        return None
    return np.frombuffer(tag.data, "<f8")[:count]


def _read_keys(tags: Directory) -> dict[int, int]:
    """Return the keys of the coordinate system whose values are numbers."""
    tag = tags.get(GEO_KEYS)
    if not isinstance(tag, Tag) or tag.kind != SHORT or len(tag.data) % 8:
        return {}
    entries = np.frombuffer(tag.data, "<u2").reshape(-1, 4)[1:]
    return {int(key): int(value) for key, place, _, value in entries if place == 0}
