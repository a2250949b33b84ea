"""Build the empty street that `rendering.py` renders, from flat faces with a color and a temperature.

World coordinates are in meters: x to the right, y up from the road, z away from the camera, which stands mid-road.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

BACKGROUND, PERSON, BICYCLE, CAR = range(4)
CAMERA_HEIGHT = 1.8
NEAR, FAR = 0.05, 80.0  # extent of the street along z
ROAD_EDGE, FACADE = 5.2, 9.2  # distance from the middle of the road
CURB = 0.12  # height of the sidewalk


@dataclass(frozen=True)
class Material:
    """The appearance of a face in both spectra.

    Attributes:
        albedo: Linear RGB.
        temperature: In degrees Celsius.
        emission: Linear RGB.
        gloss: Scale of highlights.
        grain: Relative scale of texture in the visible spectrum.
        thermal_grain: Scale of texture in kelvins.
        tiles: (width, height) of bricks or slabs in meters; (0, 0) for none.
    """

    albedo: ArrayLike
    temperature: float
    emission: ArrayLike = (0.0, 0.0, 0.0)
    gloss: float = 0.0
    grain: float = 0.0
    thermal_grain: float = 0.0
    tiles: tuple[float, float] = (0.0, 0.0)

    def at(self, temperature: float) -> "Material":
        """Return the same material at another temperature."""
        return replace(self, temperature=temperature)


class Face(NamedTuple):
    """A flat polygon with corners `points` (N, 3)."""

    points: Array
    material: Material


class Light(NamedTuple):
    """A point light of linear RGB `power`; `focus` > 0 narrows it to a beam towards the camera."""

    position: ArrayLike
    power: ArrayLike
    focus: float = 0.0


@dataclass(frozen=True)
class Thing:
    """An object: its faces from back to front, its distance (inf for decals on the ground), class and lights."""

    faces: Sequence[Face]
    distance: float = np.inf
    class_id: int = BACKGROUND
    lights: Sequence[Light] = ()


class Plane:
    """A plane in the world that converts shapes in (across, up) meters to world polygons."""

    def __init__(self, origin: ArrayLike, across: ArrayLike = (1, 0, 0), up: ArrayLike = (0, 1, 0)) -> None:
        self.origin = np.asarray(origin, float)
        self.axes = np.asarray([across, up], float)

    def polygon(self, points: ArrayLike) -> Array:
        """Convert points (N, 2) to world points (N, 3)."""
        return self.origin + np.asarray(points, float) @ self.axes

    def rectangle(self, left: float, bottom: float, right: float, top: float) -> Array:
        """Return the corners (4, 3) of a rectangle."""
        return self.polygon([(left, bottom), (right, bottom), (right, top), (left, top)])

    def disc(self, center: ArrayLike, radius: float) -> Array:
        """Return a polygon of 24 points (24, 3) that approximates a disc."""
        return self.polygon(np.asarray(center) + radius * _arc(0, 2 * np.pi, 24))

    def ring(self, center: ArrayLike, radius: float, width: float) -> Array:
        """Return a ring as one polygon (66, 3): its outer edge and back along its inner edge."""
        circle = _arc(0, 2 * np.pi, 33)
        return self.polygon(np.asarray(center) + np.concatenate([radius * circle, (radius - width) * circle[::-1]]))

    def limb(self, start: ArrayLike, end: ArrayLike, start_radius: float, end_radius: float | None = None) -> Array:
        """Return a stroke with round ends (14, 3), tapered if the radii differ, such as an arm, a pole or part of a letter."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        right, up = end - start
        angle = np.arctan2(up, right)
        tail = start + start_radius * _arc(angle + np.pi / 2, angle + 3 * np.pi / 2, 7)
        tip = end + (end_radius or start_radius) * _arc(angle - np.pi / 2, angle + np.pi / 2, 7)
        return self.polygon(np.concatenate([tail, tip]))

    def limbs(self, points: Sequence[ArrayLike], radius: float) -> list[Array]:
        """Return the strokes between consecutive points."""
        return [self.limb(start, end, radius) for start, end in pairwise(points)]


def _arc(start: float, stop: float, count: int) -> Array:
    angles = np.linspace(start, stop, count)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def paint(material: Material, *polygons: Array) -> list[Face]:
    """Return faces of one material."""
    return [Face(points, material) for points in polygons]


def glowing(color: ArrayLike, strength: float, temperature: float) -> Material:
    """Return a material that emits `strength` times its color."""
    return Material(color, temperature, emission=strength * np.asarray(color))


ASPHALT = Material((0.10, 0.10, 0.11), 9.5, gloss=0.12, grain=0.5, thermal_grain=0.5)
MARKING = Material((0.50, 0.50, 0.47), 9.3, gloss=0.05, grain=0.5, thermal_grain=0.5)
SIDEWALK = Material((0.20, 0.19, 0.18), 8.4, grain=0.35, thermal_grain=0.4, tiles=(0.8, 0.8))
CURBSTONE = Material((0.34, 0.33, 0.31), 8.8, grain=0.2, tiles=(1.0, 1.0))
TRIM = Material((0.42, 0.40, 0.37), 7.0, grain=0.3)
STEEL = Material((0.09, 0.10, 0.10), 7.0)
RUBBER = Material((0.02, 0.02, 0.02), 9.0)
GLASS = Material((0.03, 0.04, 0.05), 6.0, (0.004, 0.005, 0.008), gloss=0.2)
WHITE = Material((0.70, 0.70, 0.68), 8.0)
BARK = Material((0.12, 0.09, 0.07), 9.6, grain=0.5, thermal_grain=0.5)

# Palettes: one linear RGB color per row.
LAMPLIGHT = np.array([(1.0, 0.66, 0.34), (1.0, 0.78, 0.52), (0.88, 0.93, 1.0)])
ROOM_LIGHT = np.array([(1.0, 0.55, 0.20), (1.0, 0.68, 0.34), (0.75, 0.88, 1.0)])
SIGNS = np.array([(1.0, 0.03, 0.04), (0.03, 0.8, 0.25), (0.05, 0.2, 1.0), (1.0, 0.35, 0.02), (0.9, 0.05, 0.5)])
GO, CAUTION, STOP = np.array([(0.01, 1.0, 0.35), (1.0, 0.45, 0.02), (1.0, 0.02, 0.012)])
WALLS = np.array([(0.36, 0.16, 0.11), (0.45, 0.36, 0.24), (0.30, 0.30, 0.29), (0.26, 0.31, 0.36), (0.42, 0.40, 0.36)])

WORDS = ("HOTEL", "KINO", "CAFE", "BAR", "SUSHI", "BOOKS", "MARKET", "TAXI", "LUNA", "OPTIK")
# Strokes of capital letters over the keys of a number pad, with 7 8 9 on top and 1 2 3 at the bottom.
STROKES = {
    "A": "1793 46", "B": "17931 46", "C": "9713", "E": "9713 46", "F": "971 46", "H": "17 39 46", "I": "28",
    "K": "17 943", "L": "713", "M": "17593", "N": "1739", "O": "17931", "P": "17964", "R": "17964 53", "S": "974631",
    "T": "79 28", "U": "7139", "X": "19 37",
}  # fmt: skip


def pavement(rng: Generator) -> Iterator[Thing]:
    """Return sidewalks and road."""
    road, sidewalk = Plane((0, 0, 0), up=(0, 0, 1)), Plane((0, CURB, 0), up=(0, 0, 1))
    yield Thing(paint(SIDEWALK, road.rectangle(-400, NEAR, 400, 400)))
    faces = paint(ASPHALT, road.rectangle(-ROAD_EDGE, NEAR, ROAD_EDGE, FAR))
    for x, z, width, length in rng.uniform((-4.5, 4, 0.6, 2), (3, 30, 1.6, 7), (5, 4)):  # repaired patches
        patch = replace(ASPHALT, albedo=(0.065, 0.065, 0.07), temperature=rng.uniform(9.0, 9.9))
        faces += paint(patch, road.rectangle(x, z, x + width, z + length))
    zebra = rng.uniform(7.2, 8.0)
    faces += paint(MARKING, *(road.rectangle(x, zebra, x + 0.5, zebra + 3.0) for x in np.arange(-4.75, 4.5, 1.0)))
    faces += paint(MARKING, *(road.rectangle(-0.07, z, 0.07, z + 3) for z in np.arange(zebra + 4.5, FAR, 6)))
    faces += paint(MARKING, *(road.rectangle(x, zebra + 4, x + 0.1, FAR) for x in (-3.3, 3.2)))
    faces += paint(MARKING, road.rectangle(-0.05, NEAR, 0.05, zebra - 1))
    manhole = road.disc((rng.uniform(-2.5, 2.5), rng.uniform(5.5, 6.5)), 0.33)
    faces += paint(replace(STEEL, grain=0.5).at(11.5), manhole)
    for side in (-1, 1):
        edge = Plane((side * ROAD_EDGE, 0, 0), across=(0, 0, 1))
        faces += paint(SIDEWALK, sidewalk.rectangle(side * ROAD_EDGE, NEAR, side * 400, FAR))
        faces += paint(CURBSTONE, sidewalk.rectangle(side * ROAD_EDGE, NEAR, side * (ROAD_EDGE + 0.2), FAR))
        faces += paint(CURBSTONE, edge.rectangle(NEAR, 0, FAR, CURB))
    yield Thing(faces)


def houses(rng: Generator) -> Iterator[Thing]:
    """Return the houses and shops along the street, and the skyline."""
    for distance, spacing, lowest, highest in ((190, 18, 6, 26), (140, 18, 6, 26), (FAR, 12, 6.5, 10.5)):
        for x in np.arange(-120.0, 120.0, spacing):  # skyline, then the end of the street
            yield Thing(_facade(rng, Plane((x, 0, distance)), spacing, rng.uniform(lowest, highest), lit=0.2))
    for side in (-1, 1):
        end = FAR
        while end > NEAR:
            start = max(NEAR, end - rng.uniform(8, 14))
            corner, width, height = (side * FACADE, 0, start), end - start, rng.uniform(6.2, 11.5)
            gable = Plane(corner, across=(side, 0, 0)).rectangle(0, 0, 40, height)
            front = _facade(rng, Plane(corner, across=(0, 0, 1)), width, height, lit=0.45)
            yield Thing([*paint(_masonry(rng), gable), *front])
            if 5 < start < 35:
                yield _shop(rng, side, start, width)
            end = start


def _masonry(rng: Generator) -> Material:
    bricks = (0.5, 0.22) if rng.random() < 0.5 else (0.0, 0.0)
    albedo, temperature = rng.uniform(0.7, 1.0) * rng.choice(WALLS), rng.uniform(6.5, 9.0)
    return Material(albedo, temperature, grain=0.35, thermal_grain=0.35, tiles=bricks)


def _facade(rng: Generator, wall: Plane, width: float, height: float, lit: float) -> list[Face]:
    faces = paint(_masonry(rng), wall.rectangle(0, 0, width, height))
    faces += paint(TRIM, wall.rectangle(0, height - 0.35, width, height), wall.rectangle(0, 3.55, width, 3.7))
    columns = int(width / 2.5)
    for bottom in np.arange(4.0, height - 2.0, 2.9):
        for left in (np.arange(columns) + 0.5) * width / max(columns, 1) - 0.6:
            faces += _window(rng, wall, left, bottom, lit)
    return faces


def _window(rng: Generator, wall: Plane, left: float, bottom: float, lit: float) -> list[Face]:
    right, top, middle, bar = left + 1.2, bottom + 1.6, left + 0.6, bottom + 1.05
    faces = paint(TRIM, wall.rectangle(left - 0.12, bottom - 0.15, right + 0.12, top + 0.1))
    if rng.random() < lit:
        color, strength = rng.choice(ROOM_LIGHT), rng.uniform(0.12, 0.9)
        faces += paint(glowing(color, strength, 12.5), wall.rectangle(left, bottom, right, top))
        blind = wall.rectangle(left, top - rng.uniform(0.1, 1.1), right, top)
        faces += paint(glowing(color, 0.35 * strength, 11.5), blind)
    else:
        faces += paint(GLASS.at(rng.uniform(9.5, 11.5)), wall.rectangle(left, bottom, right, top))
    bars = (middle - 0.04, bottom, middle + 0.04, top), (left, bar - 0.04, right, bar + 0.04)
    return faces + paint(TRIM, *(wall.rectangle(*edges) for edges in bars))


def _shop(rng: Generator, side: int, start: float, width: float) -> Thing:
    """Return a shop: lit windows, its name along the wall, and a sign above the sidewalk that faces the camera."""
    wall = Plane((side * (FACADE - 0.02), 0, start), across=(0, 0, 1))
    color, word, dark = rng.choice(SIGNS), rng.choice(WORDS), Material((0.06, 0.05, 0.05), 8.0)
    faces = paint(dark, wall.rectangle(0.9, 0.3, width - 0.9, 2.6), wall.rectangle(0.8, 2.7, width - 0.8, 3.5))
    light, strength = rng.choice(ROOM_LIGHT), rng.uniform(0.05, 0.4)
    for left in np.arange(1.1, width - 2.9, 2.1):
        faces += paint(glowing(light, strength, 13.0), wall.rectangle(left, 0.6, left + 1.9, 2.5))
        for shelf in (0.6, 1.2):
            goods = glowing(rng.choice(WALLS), 0.8 * strength * rng.random(), 12.5)
            near, far, top = rng.uniform((0.1, 1.0, 0.2), (0.6, 1.8, 0.5))
            faces += paint(goods, wall.rectangle(left + near, shelf, left + far, shelf + top))
    first = 1.3 if side < 0 else width - 1.3  # both walls are read from left to right
    name = Plane(wall.polygon((first, 2.82)), across=(0, 0, -side))
    faces += _lettering(name, word, 0.55, glowing(color, 1.6, 12.0))
    length = 0.4 * len(word) + 0.1
    board = Plane(wall.polygon((rng.uniform(1, width - 1), 3.5)) - (0.15 * side + length * (side > 0), 0, 0))
    faces += paint(glowing(color, 0.25, 11.0), board.rectangle(0, 0, length, 0.75))
    faces += _lettering(Plane(board.polygon((0.12, 0.16))), word, 0.44, glowing((1.0, 0.95, 0.9), 1.3, 12.0))
    return Thing(faces, lights=[Light((side * (FACADE - 1.2), 1.8, start + width / 2), 5 * strength * light)])


def _lettering(board: Plane, word: str, size: float, ink: Material) -> list[Face]:
    """Return `word` in letters `size` meters high, from the origin of the board to the right."""
    faces = []
    for place, letter in enumerate(word):
        for stroke in STROKES[letter].split():
            rows, columns = np.divmod([int(key) - 1 for key in stroke], 3)
            points = size * np.stack([0.28 * columns + 0.85 * place, 0.5 * rows], axis=1)
            faces += paint(ink, *board.limbs(list(points), 0.06 * size))
    return faces


def street_furniture(rng: Generator) -> Iterator[Thing]:
    """Return lamps, trees, traffic lights and signs."""
    lamplight = rng.choice(LAMPLIGHT)
    for number, z in enumerate(np.arange(rng.uniform(8.8, 9.7), 70, 11.0)):
        yield _lamp(-1 if number % 2 else 1, z, lamplight)
    for side in (-1, 1):
        for z in np.arange(rng.uniform(16, 24), 60, rng.uniform(12, 16)):
            yield _tree(rng, side * (ROAD_EDGE + 1.4), z)
    yield _traffic_light(rng, ROAD_EDGE + 0.45, rng.uniform(11.2, 12.5))
    yield _crossing_sign(-ROAD_EDGE - 0.5, rng.uniform(10.8, 11.8))


def _lamp(side: int, z: float, color: Array) -> Thing:
    board = Plane((side * (ROAD_EDGE + 0.4), CURB, z), across=(-side, 0, 0))
    faces = paint(STEEL, board.limb((0, 0), (0, 5.6), 0.09, 0.05), board.limb((0, 5.55), (1.3, 5.75), 0.045))
    faces += paint(STEEL.at(22.0), board.limb((1.1, 5.76), (1.7, 5.76), 0.11))
    faces += paint(glowing(color, 150.0, 55.0), board.limb((1.15, 5.68), (1.65, 5.68), 0.08))
    return Thing(faces, z, lights=[Light((side * (ROAD_EDGE - 1.0), 5.6, z), 24 * color)])


def _tree(rng: Generator, x: float, z: float) -> Thing:
    board, top = Plane((x, CURB, z)), rng.uniform(3.8, 4.6)
    branches = [board.limb((0.05, top - 1.6), (reach, top), 0.07, 0.03) for reach in (-0.9, 0.8)]
    faces = paint(BARK, board.limb((0, 0), (0.1, top), 0.17, 0.08), *branches)
    spots = rng.normal(size=(420, 3))
    spots *= rng.uniform(0.4, 1.4, (420, 1)) / np.linalg.norm(spots, axis=1, keepdims=True)
    for spot in spots[np.argsort(-spots[:, 2])]:
        outline = _arc(0, 2 * np.pi, 9)[:-1] * rng.uniform(0.06, 0.22, (8, 1))
        across, up = rng.normal(np.eye(3)[:2], 0.45)
        leaves = Material(rng.uniform(0.5, 1.3) * np.array((0.07, 0.13, 0.035)), rng.uniform(6.3, 7.8))
        faces += paint(leaves, Plane(spot + (x, top + 0.4, z), across, up).polygon(outline))
    return Thing(faces, z)


def _traffic_light(rng: Generator, x: float, z: float) -> Thing:
    board, shining = Plane((x, CURB, z)), rng.choice((0, 2))
    faces = paint(STEEL, board.limb((0, 0), (0, 2.4), 0.06))
    faces += paint(RUBBER, board.rectangle(-0.2, 2.3, 0.2, 3.45))
    for place, color in enumerate((GO, CAUTION, STOP)):
        lens = glowing(color, 4.0, 16.0) if place == shining else RUBBER.at(9.5)
        faces += paint(lens, board.disc((0, 2.51 + 0.36 * place), 0.14))
    return Thing(faces, z, lights=[Light((x, 2.7, z - 0.6), (GO, CAUTION, STOP)[shining])])


def _crossing_sign(x: float, z: float) -> Thing:
    board, blue = Plane((x, CURB, z)), Material((0.02, 0.08, 0.5), 7.0, (0.004, 0.02, 0.12))
    faces = paint(STEEL, board.limb((0, 0), (0, 2.9), 0.04))
    faces += paint(WHITE, board.rectangle(-0.37, 2.18, 0.37, 2.92))
    faces += paint(blue, board.rectangle(-0.33, 2.22, 0.33, 2.88))
    faces += paint(WHITE, board.polygon([(-0.27, 2.30), (0.27, 2.30), (0, 2.80)]))
    walker = board.limbs([(-0.08, 2.33), (0, 2.48), (0.01, 2.6), (0, 2.48), (0.09, 2.33)], 0.025)
    return Thing(faces + paint(RUBBER, board.disc((0.02, 2.67), 0.035), *walker), z)
