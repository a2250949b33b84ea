"""Position of the infrared in the visible image by the georeferences of two GeoTIFF files, such as orthomosaics."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gffusion.cameras import Align, InfraredFrame
from gffusion.cameras.rig import Rig

from .metadata import GEO_KEYS, GEO_NUMBERS, GEO_TEXTS, PIXEL_SCALE, TIE_POINTS, TRANSFORMATION, read_metadata
from .tiff_tags import SHORT, Directory, Tag

_RASTER_TYPE, _GEOGRAPHIC, _PROJECTED = 1025, 2048, 3072  # keys of GeoTIFF 1.1
_POINT = 2  # raster type: coordinates are those of the centers of pixels
_USER_DEFINED = 32767
_DOUBLE = 12  # type of tags
_CORNERS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float64)
_TOLERANCE = 1.0  # pixels of the visible image


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
        align: How the images will be aligned; otherwise, a note says if the georeferences contradict it.

    Returns:
        The infrared image, and notes for the user.

    Raises:
        ValueError: If the georeferences give no plausible position.
    """
    if (
        isinstance(align, Rig)
        or frame.rig is not None
        or any(content[:2] not in (b"II", b"MM") for content in contents)
    ):
        return frame, ()
    visible, infrared = map(_read_grid, contents)
    if visible is None or infrared is None:
        return frame, ()
    if visible.system != infrared.system:
        note = "the two files have georeferences in different coordinate systems, which are not used: bring both into one, such as with gdalwarp"
        return frame, (note,) if align == "auto" else ()
    size = frame.values.shape[:2]
    scales = [np.diag([width, height, 1.0]) for height, width in (visible_size[:2], size)]
    matrix = np.linalg.inv(infrared.matrix @ scales[1]) @ visible.matrix @ scales[0]
    if align == "auto":
        try:
            rig = Rig(matrix, None, None, "read from the georeferences of both files")
        except ValueError as error:
            raise ValueError(f"the georeferences of the two files do not fit together: {error}") from error
        return replace(frame, rig=rig), ()
    moved = _CORNERS @ (matrix - np.eye(3)).T @ scales[0]
    distance = np.linalg.norm(moved[:, :2], axis=1).max()
    if distance <= _TOLERANCE:
        return frame, ()
    return frame, (
        f"by the georeferences of the two files, their images are up to {distance:.0f} pixels apart: "
        'align="auto" (--align auto) uses the georeferences',
    )


def _read_grid(content: bytes) -> _Grid | None:
    """Return the grid of an upright image with an affine georeference in a known coordinate system; else `None`."""
    metadata = read_metadata(content)
    tags = metadata.georeference or {}
    matrix, system = _read_matrix(tags), _read_keys(tags)
    if matrix is None or not system or metadata.orientation != 1:
        return None
    is_point = system.pop(_RASTER_TYPE, 1) == _POINT
    to_centers = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]]) if is_point else np.eye(3)
    codes = [(key, system[key]) for key in (_PROJECTED, _GEOGRAPHIC) if system.get(key, 0) not in (0, _USER_DEFINED)]
    if codes:  # a projected system names its geographic one only sometimes
        return _Grid(matrix @ to_centers, codes[0])
    return _Grid(matrix @ to_centers, (system, tags.get(GEO_NUMBERS), tags.get(GEO_TEXTS)))


def _read_matrix(tags: Directory) -> NDArray[np.float64] | None:
    """Return the map from pixels to coordinates as stored, from its matrix, or from a point and the size of pixels."""
    matrix, scale, points = (
        _read_numbers(tags, tag, count) for tag, count in ((TRANSFORMATION, 16), (PIXEL_SCALE, 3), (TIE_POINTS, 6))
    )
    if matrix is not None:
        found = matrix.reshape(4, 4)[np.ix_([0, 1, 3], [0, 1, 3])]
    elif scale is not None and points is not None:
        column, row, _, x, y, _ = points
        found = np.array([[scale[0], 0, x - column * scale[0]], [0, -scale[1], y + row * scale[1]], [0, 0, 1]])
    else:
        return None
    return found if np.isfinite(found).all() and np.linalg.det(found[:2, :2]) else None


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
