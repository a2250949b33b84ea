"""Build cars, people and bicycles, and place them in the empty street of `_scene.py`."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike

from ._scene import (
    BICYCLE,
    CAMERA_HEIGHT,
    CAR,
    CURB,
    FACADE,
    GLASS,
    PERSON,
    ROAD_EDGE,
    RUBBER,
    STOP,
    WHITE,
    Array,
    Face,
    Light,
    Material,
    Plane,
    Thing,
    glowing,
    houses,
    paint,
    pavement,
    street_furniture,
)

SKIN = Material((0.36, 0.24, 0.18), 33.5)
HAIR = Material((0.03, 0.022, 0.018), 28.0)

# Palettes: one linear RGB color per row.
LACQUER = np.array([(0.45, 0.05, 0.05), (0.06, 0.12, 0.35), (0.5, 0.5, 0.52), (0.05, 0.06, 0.06), (0.08, 0.25, 0.16)])
CLOTHES = np.array([(0.020, 0.020, 0.024), (0.028, 0.022, 0.018), (0.018, 0.022, 0.034), (0.030, 0.016, 0.018)])


def build_street(rng: Generator) -> list[Thing]:
    """Return the things of a street at night in painting order: ground, houses and decals, then the others by distance."""
    standing = [*street_furniture(rng), *_traffic(rng), *_people(rng)]
    return [*pavement(rng), *houses(rng), *sorted(standing, key=lambda thing: -thing.distance)]


def _shadow(x: float, y: float, z: float, width: float, length: float, temperature: float = 9.0) -> Thing:
    """Return the shadow under a thing, as a decal on the ground that belongs to no object."""
    ground, faces = Plane((x, y, z), (width / 2, 0, 0), (0, 0, length / 2)), []
    for radius, tone in ((1.25, 0.07), (1.1, 0.045), (0.95, 0.02)):
        faces += paint(Material((tone, tone, tone), temperature), ground.disc((0, 0), radius))
    return Thing(faces)


# From the front bumper over the roof to the rear bumper: (meters behind the front, height, half the width).
OUTLINE = np.array([
    (0.14, 0.22, 0.76), (0.00, 0.46, 0.80), (0.06, 0.70, 0.80), (0.30, 0.83, 0.82), (1.25, 0.98, 0.84),
    (1.95, 1.42, 0.62), (3.15, 1.44, 0.62), (3.85, 1.03, 0.82), (4.18, 0.97, 0.80), (4.30, 0.58, 0.79),
    (4.22, 0.24, 0.76),
])  # fmt: skip
# The strips between these points.
FRONT_BUMPER, GRILLE, LIP, HOOD, WINDSHIELD, ROOF, REAR_WINDOW, TRUNK, TAIL, REAR_BUMPER = range(10)
LENGTH = 4.3
Area = tuple[float, float, float, float]  # (left, bottom, right, top) relative to the width and height of a face


def _traffic(rng: Generator) -> Iterator[Thing]:
    """Return an oncoming car with a person hidden by its headlights, parked cars, and sometimes one that drives away."""
    x, z = rng.uniform((-2.0, 15), (-1.5, 20))
    yield from _car(rng, x, z, oncoming=True, running=True)
    yield from _pedestrian(rng, x + rng.choice((-1.25, 1.25)), 0.0, z + rng.uniform(0.3, 1.5))
    if rng.random() < 0.6:
        yield from _car(rng, rng.uniform(1.6, 2.0), rng.uniform(19, 34), oncoming=False, running=True)
    for side, nearest in ((1, rng.uniform(11.5, 13.5)), (-1, z + rng.uniform(2, 9))):  # never in front of that person
        for z in np.arange(nearest, 44, 5.7):
            if rng.random() < 0.65 or z == nearest:
                yield from _car(rng, 4.15 * side, z, oncoming=side < 0, running=False)


def _car(rng: Generator, x: float, z: float, *, oncoming: bool, running: bool) -> Iterator[Thing]:
    """Return a car whose near end, the front if `oncoming`, is at `z`; `running` warms its engine and lights its lamps."""
    engine = rng.uniform(23, 27) if running else rng.choice((9.0, rng.uniform(13, 19)))
    lacquer = Material(rng.choice(LACQUER), 7.5, gloss=0.12)
    behind, height, half_width = OUTLINE.T
    depth = z + (behind if oncoming else LENGTH - behind)
    left, right = (np.stack([x + side * half_width, height, depth], axis=1) for side in (-1, 1))
    details = _car_details(lacquer, engine, running)
    parts = []
    for strip in range(len(OUTLINE) - 1):
        quad = np.stack([left[strip], right[strip], right[strip + 1], left[strip + 1]])
        skin = lacquer.at((7.5 + engine) / 2 if strip <= HOOD else 4.5 if strip == ROOF else 7.5)
        parts.append([Face(quad, skin), *(Face(_patch(quad, area), material) for area, material in details[strip])])
    parts += [_car_side(side, lacquer, 17.0 if running else 9.5) for side in (left, right)]
    center = np.array((x, 0.7, z + LENGTH / 2))
    visible = [part for part in parts if _turned_to_camera(part[0].points, center)]
    visible.sort(key=lambda part: part[0].points[:, 2].mean(), reverse=True)
    tires = [Plane((x + side, 0, z + 0.6)).rectangle(-0.11, 0, 0.11, 0.35) for side in (-0.68, 0.68)]
    faces = paint(RUBBER.at(17.0 if running else 9.5), *tires) + [face for part in visible for face in part]
    headlight = Light((x, 0.62, z - 0.4), (26.0, 26.5, 28.0), focus=6.0)
    tail_light = Light((x, 0.8, z - 0.5), (1.2 if running else 0.4) * STOP)
    yield _shadow(x, 0.0, z + LENGTH / 2, 1.75, LENGTH, 9.5 + 0.35 * (engine - 9))
    yield Thing(faces, z, CAR, [tail_light] if not oncoming else [headlight] if running else [])


def _turned_to_camera(points: Array, center: Array) -> bool:
    """Return whether a face of the convex body around `center` shows its outside to the camera."""
    normal, middle = np.cross(points[1] - points[0], points[-1] - points[0]), points.mean(axis=0)
    return bool((normal @ (middle - center)) * (normal @ (middle - (0, CAMERA_HEIGHT, 0))) < 0)


def _patch(quad: Array, area: Area) -> Array:
    """Return a part of a quadrilateral face."""
    left, bottom, right, top = area
    across, up = np.array([(left, right, right, left), (bottom, bottom, top, top)])[..., None]
    low, high = quad[0] + across * (quad[1] - quad[0]), quad[3] + across * (quad[2] - quad[3])
    return low + up * (high - low)


def _car_details(lacquer: Material, engine: float, running: bool) -> dict[int, list[tuple[Area, Material]]]:
    """Return the areas and materials on each strip of the outline."""
    headlamp = glowing((1.0, 0.98, 0.94), 1500.0, 21.0) if running else Material((0.5, 0.5, 0.5), 8.0, gloss=0.5)
    tail_lamp = glowing(STOP, 6.0 if running else 0.8, 12.0)
    exhaust = RUBBER.at(48.0 if running else engine)
    over_engine = [((0.08, 0.05, 0.92, 0.85), lacquer.at(engine)), ((0.22, 0.1, 0.78, 0.7), lacquer.at(engine + 2))]
    pane = [((0.05, 0.06, 0.95, 0.93), GLASS)]
    return {
        FRONT_BUMPER: [((0.2, 0.15, 0.8, 0.75), RUBBER.at(engine))],
        GRILLE: [
            ((0.28, 0.2, 0.72, 0.95), RUBBER.at(engine + 4)), ((0.38, 0.05, 0.62, 0.5), WHITE),
            ((0.04, 0.3, 0.22, 0.9), headlamp), ((0.78, 0.3, 0.96, 0.9), headlamp),
        ],
        LIP: over_engine, HOOD: over_engine, WINDSHIELD: pane, ROOF: [], REAR_WINDOW: pane, TRUNK: [],
        TAIL: [
            ((0.37, 0.4, 0.63, 0.75), WHITE),
            ((0.02, 0.15, 0.19, 0.52), tail_lamp), ((0.81, 0.15, 0.98, 0.52), tail_lamp),
        ],
        REAR_BUMPER: [((0.0, 0.6, 1.0, 1.0), RUBBER), ((0.74, 0.6, 0.83, 0.95), exhaust)],
    }  # fmt: skip


def _car_side(edge: Array, lacquer: Material, warmth: float) -> list[Face]:
    """Return body, cabin, windows and wheels of the side with the outline `edge` (11, 3)."""
    cabin = edge[[4, 7, 6, 5]]
    faces = paint(lacquer, edge[[0, 1, 2, 3, 4, 7, 8, 9, 10]], cabin)
    faces += paint(GLASS, _patch(cabin, (0.14, 0.08, 0.50, 0.88)), _patch(cabin, (0.54, 0.08, 0.88, 0.88)))
    flank = Plane((edge[1, 0], 0, edge[1, 2]), across=(0, 0, np.sign(edge[-1, 2] - edge[0, 2])))
    for hub in ((0.85, 0.31), (3.45, 0.31)):
        faces += paint(RUBBER, flank.disc(hub, 0.36)) + paint(RUBBER.at(warmth), flank.disc(hub, 0.31))
        faces += paint(Material((0.3, 0.3, 0.3), 1.4 * warmth - 4), flank.disc(hub, 0.19))
    return faces


class Pose(NamedTuple):
    """Joints of a body in (across, up) meters; arms and legs run outwards."""

    head: ArrayLike
    neck: ArrayLike
    hip: ArrayLike
    arms: Sequence[Sequence[ArrayLike]]
    legs: Sequence[Sequence[ArrayLike]]


RIDING = Pose(
    head=(0.20, 1.66), neck=(0.10, 1.46), hip=(-0.20, 1.0),
    arms=[[(0.1, 1.42), (0.26, 1.2), (0.44, 1.08)], [(0.06, 1.4), (0.22, 1.16), (0.42, 1.06)]],
    legs=[[(-0.2, 0.97), (0.16, 0.62), (-0.06, 0.2)], [(-0.2, 0.97), (0.2, 0.82), (-0.04, 0.46)]],
)  # fmt: skip


def _people(rng: Generator) -> Iterator[Thing]:
    """Return a person on the zebra crossing, a cyclist behind it, pedestrians, and sometimes a parked bicycle."""
    yield from _pedestrian(rng, rng.uniform(-3.2, 3.2), 0.0, rng.uniform(7.8, 10.0))
    for _ in range(rng.integers(3, 7)):
        x, z = rng.uniform((ROAD_EDGE + 0.9, 13), (FACADE - 0.9, 32))
        yield from _pedestrian(rng, x * rng.choice((-1, 1)), CURB, z)
    x, z = rng.uniform((0.6, 11.0), (2.6, 14.0))
    turn = rng.uniform(-0.9, 0.9) + rng.choice((0, np.pi))
    board = Plane((x, 0, z), across=(np.cos(turn), 0, np.sin(turn)))
    yield _shadow(x, 0.0, z, 1.2, 0.5)
    yield Thing(_bicycle(rng, board), z + 0.01, BICYCLE)
    yield Thing(_body(rng, board, RIDING), z, PERSON)
    if rng.random() < 0.5:
        x, z = rng.choice((-1, 1)) * (FACADE - 1.6), rng.uniform(13, 20)
        yield Thing(_bicycle(rng, Plane((x, CURB, z), across=(0.8, 0, 0.6))), z, BICYCLE)


def _pedestrian(rng: Generator, x: float, ground: float, z: float) -> Iterator[Thing]:
    size = rng.uniform(0.92, 1.06)
    board = Plane((x, ground, z), across=(size * rng.choice((-1, 1)), 0, 0), up=(0, size, 0))
    yield _shadow(x, ground, z, 0.6, 0.4)
    yield Thing(_body(rng, board, _walking(rng)), z, PERSON)


def _walking(rng: Generator) -> Pose:
    """Return a walking pose seen from a random angle between front and side."""
    profile = rng.random()
    swing, spread, splay = rng.uniform(0.2, 0.5) * (profile + 0.05), 0.17 - 0.14 * profile, 0.1 - 0.1 * profile
    hip, neck, head = np.array([(0, 0.92), (0.03 * profile, 1.46), (0.06 * profile, 1.66)])

    def chain(start: Array, angle: float, bend: float, length: float) -> list[ArrayLike]:
        angles = angle + np.array((0, bend))
        return [start, *(start + length * np.stack([np.sin(angles), -np.cos(angles)], axis=1).cumsum(axis=0))]

    arms, legs = [], []
    for side in (-1, 1):
        arms.append(chain(neck + (1.1 * side * spread, -0.06), side * (splay - swing), 0.25 * profile, 0.28))
        legs.append(chain(hip + (0.5 * side * spread, 0), side * (splay / 4 + swing), -0.3 * profile, 0.44))
    return Pose(head, neck, hip, arms, legs)


def _body(rng: Generator, board: Plane, pose: Pose) -> list[Face]:
    coat = Material(rng.choice(CLOTHES), rng.uniform(23.0, 26.0), thermal_grain=1.0)
    trousers = Material(rng.choice(CLOTHES), rng.uniform(22.5, 25.5), thermal_grain=0.8)

    def limb(points: Sequence[ArrayLike], radii: Sequence[float], cloth: Material) -> list[Face]:
        faces = []
        for share, core in ((1.0, 0.0), (0.55, 3.0)):  # cloth at a grazing angle, along the edge, looks cooler
            ends = zip(points[:-1], points[1:], share * np.array(radii[:-1]), share * np.array(radii[1:]), strict=True)
            faces += paint(cloth.at(cloth.temperature + core), *(board.limb(*end) for end in ends))
        return faces

    def arm(points: Sequence[ArrayLike]) -> list[Face]:
        return limb(points, (0.065, 0.055, 0.042), coat) + paint(SKIN, board.disc(points[-1], 0.048))

    def leg(points: Sequence[ArrayLike]) -> list[Face]:
        heel = np.asarray(points[-1]) - (0.02, 0.01)
        shoe = paint(RUBBER.at(15.0), board.limb(heel, heel + (0.15, -0.02), 0.045))
        return shoe + limb(points, (0.095, 0.065, 0.048), trousers)

    head = np.asarray(pose.head)
    return [
        *arm(pose.arms[0]), *leg(pose.legs[0]), *leg(pose.legs[1]),
        *paint(SKIN, board.limb(pose.neck, head, 0.05)),
        *limb([pose.hip, pose.neck], (0.15, 0.17), coat),
        *paint(HAIR, board.limb(head, head + (0, 0.04), 0.10)),
        *paint(SKIN, board.limb(head + (0.025, -0.05), head + (0.025, 0.02), 0.075)),
        *arm(pose.arms[1]),
    ]  # fmt: skip


def _bicycle(rng: Generator, board: Plane) -> list[Face]:
    rear, front, crank, saddle = (-0.52, 0.34), (0.54, 0.34), (-0.06, 0.3), (-0.22, 0.92)
    head, bar, grip, joint = (0.38, 0.86), (0.4, 1.04), (0.5, 1.06), (-0.18, 0.8)
    frame = Material(rng.choice(LACQUER), 8.0, gloss=0.2)
    faces = paint(RUBBER.at(12.0), *(board.ring(hub, 0.34, 0.05) for hub in (rear, front)))
    for tubes in ([rear, crank, head, joint, rear], [saddle, crank], [front, head, bar, grip]):
        faces += paint(frame, *board.limbs(tubes, 0.024))
    faces += paint(RUBBER.at(16.0), board.limb((-0.32, 0.93), (-0.12, 0.94), 0.035))
    return faces + paint(glowing(STOP, 3.0, 9.0), board.disc((-0.62, 0.7), 0.035))
