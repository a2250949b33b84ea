"""Map infrared images in false colors back to intensities."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # imports ndimage on first use, which takes a quarter of a second
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

Colors = NDArray[np.float64]

GRAY = "gray"
"""Name of the palette of images without colors."""

# Distances are in 8-bit levels of RGB; larger ones count as this, so that a burnt-in display does not decide.
_CAP = 40.0
# Largest mean distance from a known palette: of all pixels, and of those whose chroma JPEG did not blur with others.
_MAX_DISTANCE, _MAX_SMOOTH_DISTANCE = 20.0, 10.0
# Maps that get darker with heat resemble reversed parts of iron palettes, and must match better.
_MAX_DARK_DISTANCE = 3.5
# A palette must explain the colors this much better than gray does: photographs of streets are nearly gray.
_MAX_RATIO_TO_GRAY = 0.5
_SMOOTH_SHARE, _SMOOTH = 0.3, 12.0
# Chroma (Cb, Cr) of the noise that JPEG leaves in gray images, of a tint, and of the rest around the tint.
_NOISE, _TINT, _REST = 3.0, 12.0, 4.0
_GRAY_SHARE = 0.95
# Chroma of 4:2:0 JPEG is blurred, its luma is not: chroma counts less.
_CHROMA_WEIGHT = 0.5
_OVERLAY_DISTANCE, _OVERLAY_SHARE, _EXACT = 40.0, 3e-4, 4.0
_MANY_COLORS = 4096
# Palettes are screened with the commonest colors; the nearest ones are compared with all colors.
_COMMON_COLORS, _CANDIDATES = 300, 10
# In small parts of their range, palettes look alike: these are the likeliest, and those of cameras the least exact.
_POPULAR = ("jet", "jet of OpenCV", "turbo", "hot", "inferno", "magma", "plasma", "viridis", "rainbow")
_POPULAR_FACTOR, _APPROXIMATE_FACTOR, _DARK_IS_HOT_FACTOR = 0.9, 1.3, 1.6
_UNUSED_FACTOR = 2.0  # of a palette of which the image uses nearly nothing
_UNEXPLAINED, _UNEXPLAINED_WEIGHT = 30.0, 200.0
# Palettes whose score is at most this many times the best one could be the right ones.
_RIVAL = 1.4
_SEAM_DISTANCE, _SEAM_SHARE = 40.0, 0.005
_COHERENCE = 0.5  # correlation of neighbors


@dataclass(frozen=True)
class Intensity:
    """Intensities of an image in false colors.

    Attributes:
        values: (H, W), position of every color in the palette, 0 is the cold end.
        palette: Name of the palette; `GRAY` if the image has no colors.
        has_overlay: Whether a display (text, a cross-hair, a color bar) with colors of its own is burnt in.
        hot: Color of the hot end.
    """

    values: NDArray[np.uint8]
    palette: str
    has_overlay: bool = False
    hot: tuple[int, int, int] = (255, 255, 255)


@cache
def load_palettes() -> dict[str, NDArray[np.float64]]:
    """Return the colors (256, 3) of the known palettes by name, from the cold to the hot end.

    Examples:
        >>> load_palettes()["autumn"][[0, 255]].tolist()
        [[255.0, 0.0, 0.0], [255.0, 255.0, 0.0]]
    """
    knots = json.loads(Path(__file__).with_name("palettes.json").read_text(encoding="utf-8"))
    return {name: _interpolate(np.array(points, float)) for name, points in knots.items()}


def recognize_palette(image: NDArray[np.uint8]) -> Intensity | None:
    """Recognize the palette of an infrared image and return its intensities; `None` if the palette is unknown.

    Known are the color maps of matplotlib and OpenCV and common palettes of cameras; and, whatever their exact colors,
    palettes from black over blue, purple or red and orange to white (iron), whose luma rises with heat. Noise and the
    blurred chroma of JPEG are allowed. Photographs in color have no palette.

    Args:
        image: (H, W, 3), RGB.
    """
    luma, chroma = _split(image)
    is_colored = np.abs(chroma).max(axis=-1) > _NOISE
    if is_colored.mean() <= 1 - _GRAY_SHARE:
        has_overlay = bool(np.mean(np.abs(chroma).max(axis=-1) > _TINT) >= _OVERLAY_SHARE)
        return Intensity(_to_uint8(luma), GRAY, has_overlay)
    is_tinted, is_iron = _describe_chroma(luma, chroma)
    if is_tinted:
        return Intensity(_to_uint8(luma), GRAY)
    name = _choose_palette(image, chroma, is_iron)
    if name is not None:
        values, distance = _decode(image, load_palettes()[name])
        if _is_ambiguous(name, image, distance) or not _is_coherent(values):
            return None
        has_overlay = _is_overlay(image, distance)
        red, green, blue = (int(level) for level in load_palettes()[name][-1])
        return Intensity(values, name.partition(" (")[0], has_overlay, (red, green, blue))
    return Intensity(_to_uint8(luma), "iron") if is_iron else None


def recover_indices(indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], str] | None:
    """Return the intensities of a palette image if its palette is ordered by heat, and the name of the order.

    A palette is ordered by heat if the colors in use follow a known palette in either direction, or if their luma rises
    or falls with the index: the camera then stored counts as indices.

    Args:
        indices: (H, W).
        palette: (N, 3), RGB.

    Examples:
        >>> recover_indices(np.array([[0, 2, 1]], np.uint8), np.array([[0, 0, 0], [0, 90, 0], [90, 255, 90]], np.uint8))
        (array([[  0, 255, 128]], dtype=uint8), 'luma')
    """
    used = np.unique(indices)
    if used.size == 0 or used[-1] >= len(palette) or len(used) < 3:
        return None
    order = _name_order(palette[used].astype(np.float64))
    if order is None:
        return None
    # TIFF fills its 256 entries with black: equal colors at the end are no part of the palette if they are not in use.
    differs = np.flatnonzero((palette != palette[-1]).any(axis=1))
    palette = palette[: max(int(used[-1]) + 1, int(differs[-1]) + 1)]
    # Palettes are often cut after the last color in use: the indices count from 0 to 255 then, too.
    size = len(palette) if len(palette) in (2, 4, 8, 16, 32, 64, 128, 256) or order == "luma" else 256
    scale = 255 / (size - 1)
    return np.rint(indices * scale).astype(np.uint8), order


def _interpolate(points: Colors) -> Colors:
    positions = np.arange(256)
    return np.stack([np.rint(np.interp(positions, points[:, 0], points[:, channel])) for channel in (1, 2, 3)], axis=1)


def _to_uint8(luma: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(luma).astype(np.uint8)


def _split(image: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return luma (..., ) and chroma Cb, Cr (..., 2) of RGB colors (..., 3) by ITU-R BT.601, in levels."""
    red, green, blue = (image[..., channel].astype(np.float32) for channel in range(3))
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return luma, np.stack([0.564 * (blue - luma), 0.713 * (red - luma)], axis=-1)


def _measure_roughness(chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the largest difference of chroma in windows of 5 x 5, (H, W)."""
    window = (5, 5, 1)
    return (scipy.ndimage.maximum_filter(chroma, window) - scipy.ndimage.minimum_filter(chroma, window)).max(axis=-1)


def _describe_chroma(luma: NDArray[np.float32], chroma: NDArray[np.float32]) -> tuple[bool, bool]:
    """Return whether the image is gray with a tint, and whether its chroma follows luma as in iron palettes."""
    roughness = _measure_roughness(chroma)
    smooth = roughness <= np.quantile(roughness, _SMOOTH_SHARE)
    level = (luma[smooth] / 8).astype(int)  # 32 bins
    bins = [np.flatnonzero(level == index) for index in range(32)]
    curve = {index: np.median(chroma[smooth][pixels], axis=0) for index, pixels in enumerate(bins) if len(pixels) >= 8}
    if not curve:
        return False, False
    positions = (np.array(list(curve)) + 0.5) * 8
    tints = np.array(list(curve.values()))
    expected = np.stack([np.interp(luma, positions, tints[:, channel]) for channel in range(2)], axis=-1)
    rest = np.abs(chroma - expected).max(axis=-1)
    is_tinted = bool(np.abs(tints).max() <= _TINT and np.mean(rest <= _REST) >= _GRAY_SHARE)
    return is_tinted, bool(np.mean(rest[smooth] <= 3 * _REST) >= 0.85 and _is_iron(positions, tints))


def _is_iron(luma: Colors, chroma: Colors) -> bool:
    """Return whether colors go from dark over red to light, with more red than green and growing red and green."""
    blue, red = luma + chroma[:, 0] / 0.564, luma + chroma[:, 1] / 0.713
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    grows = all(np.all(np.maximum.accumulate(levels) - levels <= 16) for levels in (red, green))
    is_dark = len(luma) >= 6 and luma[0] <= 48 and red[0] <= 100
    return bool(is_dark and grows and np.all(red - green >= -16) and np.max(red - green) >= 100)


def _count_colors(pixels: NDArray[np.uint8]) -> tuple[Colors, Colors]:
    """Return distinct colors (N, 3) of pixels (M, 3), or means of similar ones if there are many, and their shares."""
    packed = pixels.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    colors, counts = np.unique(packed, return_counts=True)
    if len(colors) > _MANY_COLORS:  # 6 bits per channel
        _, inverse = np.unique(colors & 0xFCFCFC, return_inverse=True)
        total = np.bincount(inverse, counts)
        means = [np.bincount(inverse, counts * ((colors >> shift) & 255)) / total for shift in (16, 8, 0)]
        return np.stack(means, axis=1), total / total.sum()
    return np.stack([(colors >> shift) & 255 for shift in (16, 8, 0)], axis=1).astype(float), counts / counts.sum()


@cache
def _trees() -> dict[str, "cKDTree"]:
    from scipy.spatial import cKDTree  # saves start-up time for gray images

    return {name: cKDTree(colors) for name, colors in load_palettes().items()}


def _choose_palette(image: NDArray[np.uint8], chroma: NDArray[np.float32], is_iron: bool) -> str | None:
    """Return the name of the palette that is nearest to the colors, if it is near enough."""
    # Black and white are in displays and at borders of every palette.
    neutral = (image.max(axis=-1) < 12) | (image.min(axis=-1) > 243)
    used = ~neutral if neutral.mean() < 0.95 else np.ones_like(neutral)
    roughness = _measure_roughness(chroma)[used]
    smooth = _count_colors(image[used][roughness <= np.maximum(np.quantile(roughness, _SMOOTH_SHARE), _SMOOTH)])
    common = np.argsort(-smooth[1])[:_COMMON_COLORS]
    screened = {name: _measure_distance(tree, smooth[0][common], smooth[1][common]) for name, tree in _trees().items()}
    candidates = sorted(screened, key=screened.__getitem__)[:_CANDIDATES]
    colors, shares = _count_colors(image[used])
    to_gray = float(shares @ np.minimum(np.linalg.norm(colors - colors.mean(axis=1, keepdims=True), axis=1), _CAP))
    scores, found = {}, {}
    for name in candidates:
        tree = _trees()[name]
        distance, smooth_distance = _measure_distance(tree, colors, shares), _measure_distance(tree, *smooth)
        limit = _MAX_DARK_DISTANCE if is_iron and _is_dark_hot(name) else _MAX_SMOOTH_DISTANCE
        if distance <= min(_MAX_DISTANCE, _MAX_RATIO_TO_GRAY * to_gray) and smooth_distance <= limit:
            # Palettes share parts: the one that the image uses completely is the likelier one.
            found[name] = np.asarray(tree.query(colors)[1], float)
            order = np.argsort(found[name])
            low, high = np.interp((0.01, 0.99), np.cumsum(shares[order]), found[name][order])
            unexplained = smooth[1][tree.query(smooth[0])[0] > _UNEXPLAINED].sum()
            distance += 2 * smooth_distance + _UNEXPLAINED_WEIGHT * unexplained
            scores[name] = distance * (_UNUSED_FACTOR - (_UNUSED_FACTOR - 1) * (high - low) / 255) * _weigh(name)
    if not scores:
        return None
    best = min(scores, key=scores.__getitem__)
    # A part of a palette can be the reverse of a part of another one.
    rivals = [name for name in scores if scores[name] <= _RIVAL * scores[best]]
    if any(_correlate(found[name], found[best], shares) < 0 for name in rivals):
        return None
    return best


def _correlate(first: Colors, second: Colors, weights: Colors) -> float:
    """Return the weighted correlation of two lists of values."""
    first, second = first - weights @ first, second - weights @ second
    norm = np.sqrt((weights @ first**2) * (weights @ second**2))
    return float(weights @ (first * second) / norm) if norm > 0 else 1.0


def _weigh(name: str) -> float:
    """Return the factor of the score of a palette by how usual it is."""
    if name in _POPULAR:
        return _POPULAR_FACTOR
    names = list(load_palettes())  # those of cameras follow the exact maps
    if names.index(name) >= names.index("iron"):
        return _APPROXIMATE_FACTOR
    return _DARK_IS_HOT_FACTOR if _is_dark_hot(name) else 1.0


def _is_dark_hot(name: str) -> bool:
    colors = load_palettes()[name]
    return bool(colors[0].sum() > colors[-1].sum() + 150)


def _measure_distance(tree: "cKDTree", colors: Colors, shares: Colors) -> float:
    """Return the mean distance of colors from a palette."""
    distances = tree.query(colors, distance_upper_bound=_CAP)[0]
    return float(shares @ np.minimum(distances, _CAP) / shares.sum())


def _decode(image: NDArray[np.uint8], palette: Colors) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return the position of the nearest color of the palette for every pixel, and the distance to it, (H, W)."""
    from scipy.spatial import cKDTree  # saves start-up time for gray images

    packed = image.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    colors, inverse = np.unique(packed, return_inverse=True)
    rgb = np.stack([(colors >> shift) & 255 for shift in (16, 8, 0)], axis=1).astype(np.float64)
    weights = np.array([1, _CHROMA_WEIGHT, _CHROMA_WEIGHT])
    distinct, first, counts = np.unique(palette, axis=0, return_index=True, return_counts=True)
    middle = first + (counts - 1) // 2  # equal colors follow each other
    points, queries = (np.column_stack(_split(part)) * weights for part in (distinct, rgb))
    nearest = cKDTree(points).query(queries)[1]
    distance = np.linalg.norm(distinct[nearest] - rgb, axis=1)
    shape = image.shape[:2]
    return middle[nearest].astype(np.uint8)[inverse].reshape(shape), distance[inverse].reshape(shape)


def _is_overlay(image: NDArray[np.uint8], distance: NDArray[Any]) -> bool:
    """Return whether colors far from the palette are those of a display, not mixtures at edges, as in JPEG.

    Black is not counted, because it is also the color of borders.
    """
    foreign = distance > _OVERLAY_DISTANCE
    is_exact = np.mean(distance <= _EXACT) >= 1 - 1e-2
    display = image.max(axis=-1) > 20 if is_exact else image.min(axis=-1) >= 235
    return bool(np.mean(foreign & display) >= _OVERLAY_SHARE)


def _is_ambiguous(name: str, image: NDArray[np.uint8], distance: NDArray[np.float64]) -> bool:
    """Return whether the palette shows the coldest and the hottest values in the same color, and the image uses it."""
    colors = load_palettes()[name]
    if name.startswith("twilight"):  # the same circle of colors begins at two places
        return True
    # Without JPEG, colors are exact.
    if np.linalg.norm(colors[0] - colors[-1]) >= 30 or np.mean(distance <= _EXACT) >= 0.9:
        return False
    return bool(np.mean(np.linalg.norm(image - colors[0], axis=-1) < _SEAM_DISTANCE) >= _SEAM_SHARE)


def _is_coherent(values: NDArray[np.uint8]) -> bool:
    """Return whether neighbors have similar values: with a palette of the same colors in another order, they have not."""
    left, right = values[:, :-1].astype(float), values[:, 1:].astype(float)
    if left.size < 64 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return True
    return bool(np.corrcoef(left.ravel(), right.ravel())[0, 1] >= _COHERENCE)


def _name_order(colors: Colors) -> str | None:
    """Return the name of the order of colors (N, 3), or `None` if they are not ordered by heat."""
    is_known = False
    for name, tree in _trees().items():
        distances, positions = tree.query(colors)
        if np.max(distances) > 8 or np.ptp(positions) < 8:
            continue
        is_known, steps = True, np.diff(positions)
        if np.mean(steps >= 0) >= 0.95 or np.mean(steps <= 0) >= 0.95:
            return name.partition(" (")[0]
    steps = np.diff(_split(colors)[0])
    # Programs that reduce colors sort them by luma, which is not the order of heat in a palette such as jet.
    return "luma" if not is_known and (np.all(steps >= 0) or np.all(steps <= 0)) else None
