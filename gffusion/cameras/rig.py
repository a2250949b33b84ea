"""Position of the infrared image in the visible image of a rig of two cameras."""

import json
import math
import operator
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gffusion.utils.atomic import replace_file
from gffusion.utils.notes import format_count

MAX_PAIRS = 10  # from which a rig is estimated; more do not improve it
GEOREFERENCES = "read from the georeferences of both files"
"""Origin of rigs that are read from georeferences, which are exact at any scale."""

_FORMAT, _VERSION = "gffusion-rig", 1
_MAX_SIDE = 10**6
_MAX_BYTES = 100_000  # a rig has a few hundred bytes
_CORNERS = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1]], np.float64)
# Fields of view that differ more than 50-fold leave no common detail to align.
_SCALES = (0.02, 50.0)
# Aspect ratios that differ by more are those of other cameras. Images are not scaled by less: they are cropped or padded.
ASPECT_TOLERANCE = 0.02
_ROUNDING = 1  # pixels, of sizes that are scaled: 1440 x 1080 and 160 x 121


@dataclass(frozen=True, eq=False)
class Rig:
    """Transform from the visible to the infrared image of a rig.

    Attributes:
        matrix: (3, 3), float64, maps homogeneous coordinates (x, y, 1) in the visible image to the infrared image. Both
            are relative: 0 and 1 are the outer edges of the first and last pixel, so that one rig serves every
            resolution.
        visible_size: Height and width of the visible images that the rig was made for, if known.
        infrared_size: Height and width of the infrared images that the rig was made for, if known.
        origin: Where the transform comes from, for messages: "estimated from 10 pairs".

    Raises:
        ValueError: If the matrix is not a plausible transform: not finite, folded, of another order of magnitude, or
            with its horizon inside the image; or if a size is no pair of positive integers.

    Examples:
        >>> rig = Rig(np.diag([2.0, 2.0, 1.0]))  # the infrared image shows the upper left quarter of the visible image
        >>> rig.to_pixels((480, 640), (240, 320)) @ (0, 0, 1)
        array([0., 0., 1.])
    """

    matrix: NDArray[np.float64]
    visible_size: tuple[int, int] | None = None
    infrared_size: tuple[int, int] | None = None
    origin: str = ""

    def __post_init__(self) -> None:
        matrix = _check_matrix(self.matrix, (0, math.inf) if self.origin == GEOREFERENCES else _SCALES)
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)
        for name in ("visible_size", "infrared_size"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, check_size(name, getattr(self, name)))

    @classmethod
    def from_flir(cls, real2ir: float, offset_x: float, offset_y: float, visible_size: tuple[int, int]) -> "Rig":
        """Return the rig of a radiometric JPEG of FLIR.

        The infrared image covers `1 / real2ir` of the width and height of the visible image, around the center of the
        visible image plus the offsets.

        Args:
            real2ir: Tag Real2IR.
            offset_x: Tag OffsetX, in pixels of the embedded visible image, to the right.
            offset_y: Tag OffsetY, in pixels of the embedded visible image, downwards.
            visible_size: Height and width of the embedded visible image.

        Raises:
            ValueError: If the tags give no plausible transform.

        Examples:
            >>> Rig.from_flir(2.0, 64, 0, (480, 640)).matrix[0]  # the infrared image spans 0.35 to 0.85 of the width
            array([ 2. ,  0. , -0.7])
        """
        height, width = visible_size
        if not (math.isfinite(real2ir) and real2ir > 0):
            raise ValueError(f"the tag Real2IR must be a positive number, got {real2ir}")
        left, top = 0.5 + offset_x / width - 0.5 / real2ir, 0.5 + offset_y / height - 0.5 / real2ir
        matrix = np.array([[real2ir, 0, -real2ir * left], [0, real2ir, -real2ir * top], [0, 0, 1]])
        return cls(matrix, visible_size, None, "read from the tags of the file")

    @classmethod
    def from_pixels(
        cls,
        matrix: ArrayLike,
        visible_size: tuple[int, int],
        infrared_size: tuple[int, int],
        origin: str = "",
        mirrored: bool = False,
    ) -> "Rig":
        """Return the rig of a calibration in pixels, the inverse of [`~Rig.to_pixels`].

        Args:
            matrix: (3, 3), maps pixels (column, row, 1) of the visible to pixels of the infrared image, as
                `cv2.findHomography(visible_points, infrared_points)` returns it. Whole numbers are the centers of pixels.
                An affine matrix (2, 3) needs a third row 0, 0, 1.
            visible_size: Height and width of the visible images of the calibration.
            infrared_size: Height and width of the infrared images of the calibration.
            origin: Where the transform comes from, for messages.
            mirrored: Whether one camera looks into a mirror. Otherwise, a matrix that mirrors comes from mixed-up points.

        Raises:
            ValueError: If the matrix is not 3 x 3 finite numbers or no plausible transform, mirrors against `mirrored`, or a
                size is no pair of positive integers.

        Examples:
            >>> half = [[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]]  # the same field of view, half as many pixels
            >>> Rig.from_pixels(half, (480, 640), (240, 320)).matrix
            array([[1., 0., 0.],
                   [0., 1., 0.],
                   [0., 0., 1.]])
        """
        visible_size = check_size("visible_size", visible_size)
        infrared_size = check_size("infrared_size", infrared_size)
        relative = np.linalg.inv(from_relative(infrared_size)) @ _check_numbers(matrix) @ from_relative(visible_size)
        # The sign of a homography has no meaning.
        rig = cls(relative * np.sign(relative[2, 2]), visible_size, infrared_size, origin)
        if (np.linalg.det(rig.matrix) < 0) != mirrored:
            raise ValueError(
                f"the matrix {'does not mirror' if mirrored else 'mirrors'} the image: check the order of the points, or pass "
                f"mirrored={not mirrored} if {'no' if mirrored else 'one'} camera looks into a mirror"
            )
        return rig

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Rig":
        """Read a rig from the JSON file that [`Rig.save`] writes.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If it is not a rig, is of a later version, or has values that are not allowed.
        """
        file = Path(path)
        if file.stat().st_size > _MAX_BYTES:
            raise ValueError(f"{file} is no rig of `gffusion align`: it has more than {_MAX_BYTES} bytes")
        try:
            content = json.loads(file.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{file} is no rig of `gffusion align`: it is not JSON ({error})") from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError(f'{file} is no rig of `gffusion align`: its "format" is not "{_FORMAT}"')
        if content.get("version") != _VERSION:
            raise ValueError(
                f"{file} has version {content.get('version')!r} of the format of rigs, this gffusion reads version "
                f"{_VERSION}: update gffusion, or run `gffusion align` again"
            )
        try:
            sizes = [_parse_size(content.get(name)) for name in ("visible_size", "infrared_size")]
            return cls(_parse_matrix(content.get("matrix")), sizes[0], sizes[1], str(content.get("origin") or ""))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the rig to a JSON file atomically, see [`~Rig.to_json`].

        Raises:
            OSError: If the file cannot be written, or is no regular file.

        Examples:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     Rig(np.eye(3), (480, 640)).save(f"{folder}/rig.json")
            ...     Rig.load(f"{folder}/rig.json").visible_size
            (480, 640)
        """
        file = Path(path)
        if file.is_dir():
            raise IsADirectoryError(f"cannot write {file}: it is a folder; choose another name")
        if not file.parent.is_dir():
            raise FileNotFoundError(f"cannot write {file}: the folder {file.parent} does not exist")
        replace_file(file, self.to_json().encode())

    def to_json(self) -> str:
        """Return the content of the file that [`~Rig.load`] reads."""
        sizes = {"visible_size": self.visible_size, "infrared_size": self.infrared_size}
        content: dict[str, Any] = {"format": _FORMAT, "version": _VERSION, "matrix": self.matrix.tolist()}
        content |= {name: {"height": size[0], "width": size[1]} for name, size in sizes.items() if size is not None}
        if self.origin:
            content["origin"] = self.origin
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"

    def to_pixels(self, visible_size: tuple[int, int], infrared_size: tuple[int, int]) -> NDArray[np.float64]:
        """Return the (3, 3) matrix that maps pixels (column, row, 1) of the visible to pixels of the infrared image.

        Whole numbers are the centers of pixels.
        """
        return from_relative(infrared_size) @ self.matrix @ np.linalg.inv(from_relative(visible_size))

    def check_sizes(self, visible_size: tuple[int, int], infrared_size: tuple[int, int]) -> tuple[str, ...]:
        """Check that images have the sizes that the rig was made for, up to scaling.

        Args:
            visible_size: Height and width of the visible image.
            infrared_size: Height and width of the infrared image.

        Returns:
            A note for the user if the sizes differ and the images can be scaled ones.

        Raises:
            ValueError: If they cannot, as with other cameras, added rows, or after cropping or rotating images.
        """
        notes = []
        sizes = (("visible", visible_size, self.visible_size), ("infrared", infrared_size, self.infrared_size))
        for name, size, expected in sizes:
            if expected is None or tuple(size) == tuple(expected):
                continue
            if abs(math.log(size[1] * expected[0] / (size[0] * expected[1]))) > ASPECT_TOLERANCE:
                raise ValueError(
                    f"the rig is for {name} images of {describe_size(expected)} pixels, this one has {describe_size(size)}: "
                    "another camera, or cropped, padded or rotated images. Run `gffusion align` on pairs of this kind"
                )
            notes.append(_describe_scaling(name, size, expected))
        return tuple(notes)


def describe_size(size: tuple[int, ...]) -> str:
    """Return a size as users write it, width first.

    Examples:
        >>> describe_size((480, 640))
        '640 x 480'
    """
    return f"{size[1]} x {size[0]}"


def measure_size_misfit(size: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Return the pixels of the smaller image by which two sizes of one field of view differ from scaled ones; 0 up to rounding.

    Sizes that differ by few pixels are those of a cropped or padded image.

    Examples:
        >>> measure_size_misfit((512, 640), (257, 320)), measure_size_misfit((512, 640), (516, 640))
        (0.0, 4.0)
        >>> measure_size_misfit((1080, 1920), (480, 848))
        3.0
    """
    (height, width), (large_height, large_width) = sorted((size, other), key=math.prod)
    if _is_near(size, other):
        misfit = float(max(abs(large_height - height), abs(large_width - width)))
    else:
        area = abs(height * large_width - width * large_height)
        misfit = area / max(large_height, large_width)
    return misfit if misfit > _ROUNDING else 0.0


def _is_near(size: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return all(abs(a - b) <= ASPECT_TOLERANCE * max(a, b) for a, b in zip(size, other, strict=True))


def _describe_scaling(name: str, size: tuple[int, ...], expected: tuple[int, ...]) -> str:
    """Return what is known about an image of nearly the expected aspect ratio; refuse a cropped one, of nearly the same size."""
    words = f"the rig is for {name} images of {describe_size(expected)} pixels, this one has {describe_size(size)}"
    misfit = measure_size_misfit(size, expected)
    if misfit == 0:
        return f"{words}, {'up to 1 pixel off' if _is_near(size, expected) else 'of the same aspect ratio'}"
    if not _is_near(size, expected):
        return (
            f"{words}, of nearly the same aspect ratio: right if it was scaled to this size, but about {misfit:.0f} pixels off "
            "if it was cropped or padded"
        )
    changes = {noun: side - other for noun, side, other in zip(("row", "column"), size, expected, strict=True)}
    counts = [
        f"{format_count(abs(change), noun)} {'more' if change > 0 else 'fewer'}"
        for noun, change in changes.items()
        if change
    ]
    raw = ", in raw frames at the top by the header of raw_frame (--raw-frame)" if name == "infrared" else ""
    raise ValueError(
        f"{words}, {' and '.join(counts)}, and would be up to {misfit:.0f} pixels off. Cut "
        f"off rows and columns that show nothing of the scene, such as telemetry and padding{raw}; give images that are not "
        "cropped; or run `gffusion align` on pairs of this size"
    )


def from_relative(size: tuple[float, float]) -> NDArray[np.float64]:
    """Return the matrix (3, 3) from relative coordinates to pixels of an image of a height and width.

    Examples:
        >>> from_relative((480, 640)) @ (1, 1, 1)
        array([639.5, 479.5,   1. ])
    """
    height, width = size
    return np.array([[width, 0, -0.5], [0, height, -0.5], [0, 0, 1]], np.float64)


def check_size(name: str, size: Any) -> tuple[int, int]:
    """Return a size as integers of Python, which JSON can hold."""
    try:
        height, width = (operator.index(side) for side in size if not isinstance(side, bool))
    except (TypeError, ValueError):
        height = width = 0
    if not 1 <= min(height, width) <= max(height, width) <= _MAX_SIDE:
        raise ValueError(
            f"`{name}` must be a height and a width in pixels, integers from 1 to {_MAX_SIDE}, got {size!r}"
        )
    return height, width


def _check_numbers(matrix: ArrayLike) -> NDArray[np.float64]:
    try:
        numbers = np.array(matrix, np.float64)
    except (TypeError, ValueError):  # complex numbers, rows of different lengths
        numbers = np.empty(0)
    if numbers.shape != (3, 3) or not np.isfinite(numbers).all():
        raise ValueError(
            f"the matrix of a rig must be 3 x 3 finite numbers, got {np.asarray(matrix, object).tolist()!r:.200}"
        )
    return numbers


def _check_matrix(given: ArrayLike, scales: tuple[float, float]) -> NDArray[np.float64]:
    """Return the matrix scaled so that its last entry is 1."""
    matrix = _check_numbers(given)
    if not matrix[2, 2] > 0:
        raise ValueError("the matrix of a rig must have a positive last entry")
    matrix = matrix / matrix[2, 2]
    x, y, depth = matrix @ _CORNERS.T
    if depth.min() <= 0.1 or depth.max() >= 10:
        raise ValueError("the matrix of a rig is no view of a camera: its perspective is too strong")
    corners = np.stack([x / depth, y / depth], axis=1)
    edges = corners[[1, 3, 2, 0]] - corners[[0, 1, 3, 2]]  # around the quadrilateral
    following = edges[[1, 2, 3, 0]]
    turns = edges[:, 0] * following[:, 1] - edges[:, 1] * following[:, 0]
    turns *= np.sign(turns[0])  # of an image in a mirror, all are negative
    if not (turns > scales[0] ** 2).all() or not (turns < scales[1] ** 2).all():
        raise ValueError(
            f"the matrix of a rig is not plausible: it folds the image, or scales it more than {_SCALES[1]:.0f}-fold"
        )
    return matrix


def _parse_matrix(rows: Any) -> NDArray[np.float64]:
    numbers = isinstance(rows, list) and len(rows) == 3 and all(isinstance(row, list) and len(row) == 3 for row in rows)
    if not numbers or not all(type(value) in (int, float) for row in rows for value in row):
        raise ValueError('"matrix" must be three lists of three numbers')
    try:
        return np.array(rows, np.float64)
    except OverflowError as error:
        raise ValueError('"matrix" has numbers that are too large') from error


def _parse_size(entry: Any) -> tuple[Any, Any] | None:
    if entry is not None and not (isinstance(entry, dict) and {"height", "width"} <= entry.keys()):
        raise ValueError('sizes must be like {"height": 480, "width": 640}')
    return None if entry is None else (entry["height"], entry["width"])
