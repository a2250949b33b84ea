"""Render a pixel-aligned visible and infrared image of a street at night, with labels and boxes, from a seed."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import find_objects, gaussian_filter, map_coordinates
from scipy.signal import fftconvolve

from ._road_users import build_street
from ._scene import CAMERA_HEIGHT, Light, Thing

CLASS_NAMES = ("background", "person", "bicycle", "car")
MIN_SIDE = 32
MAX_PIXELS = 16_000_000  # which take 8 GB of memory

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Box:
    """The half-open pixel box around the visible part of an object: columns left <= x < right, rows top <= y < bottom."""

    class_id: int
    left: int
    top: int
    right: int
    bottom: int


@dataclass(frozen=True)
class RenderedScene:
    """A rendered pair with its labels.

    Attributes:
        visible: (H, W, 3) uint8, RGB.
        infrared: (H, W) uint8, brighter is warmer.
        labels: (H, W) uint8, indices into `CLASS_NAMES`.
        boxes: One `Box` per object with at least one visible pixel, farthest object first.
    """

    visible: NDArray[np.uint8]
    infrared: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    boxes: tuple[Box, ...]


@np.errstate(under="ignore")  # also in programs in which NumPy raises
def render_scene(seed: int = 0, height: int = 480, width: int = 640) -> RenderedScene:
    """Render a street at night as seen by a visible and an infrared camera on one optical axis.

    Dark clothes and the glare of headlights hide people from the visible camera; the infrared camera shows them, but no
    colors and hardly any lettering or lane markings. The objects depend only on the seed, not on the size, and the same
    arguments give the same bytes.

    Args:
        seed: At least 0; determines people, vehicles, houses, lamps, colors and noise.
        height: Height of both images in pixels, at least 32.
        width: Width of both images in pixels, at least 32.

    Raises:
        ValueError: If a side is shorter than 32 pixels, there are more than 16 million pixels, or the seed is negative.

    Examples:
        >>> scene = render_scene(seed=1, height=32, width=48)
        >>> scene.visible.shape, scene.infrared.shape, str(scene.labels.dtype)
        ((32, 48, 3), (32, 48), 'uint8')
        >>> CLASS_NAMES[scene.boxes[0].class_id] in ("person", "bicycle", "car")
        True
    """
    check_scene(seed, height, width)
    rng = np.random.default_rng(seed)
    street = build_street(rng)
    surfaces = _Surfaces(street, _Camera(height, width), _cloudy_noise(rng))
    labels, boxes = _annotate(street, surfaces)
    return RenderedScene(
        visible=_expose_visible(surfaces.reduce(_radiance(street, surfaces)), rng),
        infrared=_expose_infrared(surfaces.reduce(_temperature(surfaces)), rng),
        labels=labels,
        boxes=boxes,
    )


def check_scene(seed: int, height: int, width: int) -> None:
    """Raise ValueError if [`render_scene`] does not take the arguments.

    Examples:
        >>> check_scene(0, 480, 640)
    """
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"height and width must be at least {MIN_SIDE} pixels, got {height} x {width}")
    if height * width > MAX_PIXELS:
        raise ValueError(
            f"height and width must give at most {MAX_PIXELS:,} pixels, got {height} x {width}: choose a smaller size"
        )
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")


class _Camera:
    """A pinhole camera that looks along the road, with `oversampling` x `oversampling` samples per pixel."""

    def __init__(self, height: int, width: int) -> None:
        self.oversampling = 2 if height * width > 50_000 else 4
        self.height, self.width = height * self.oversampling, width * self.oversampling
        self.focal = 1.15 * min(self.height, 0.75 * self.width)
        self.center = (self.width / 2, 0.5 * self.height)

    def project(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Project world points (N, 3) with z > 0 to image points (N, 2) as (x, y)."""
        x, y, z = points.T
        across, down = self.center
        return np.stack([across + self.focal * x / z, down - self.focal * (y - CAMERA_HEIGHT) / z], axis=1)

    def rays(self) -> tuple[Floats, Floats]:
        """Return the slopes x/z (1, W) and y/z (H, 1) of the rays through all samples."""
        across = (np.arange(self.width, dtype=np.float32) + 0.5 - self.center[0]) / self.focal
        up = (self.center[1] - np.arange(self.height, dtype=np.float32) - 0.5) / self.focal
        return across[None, :], up[:, None]


class _Surfaces:
    """The face that each sample shows, and its geometry.

    Attributes:
        index: (H, W), the number of the face, 0 for the sky.
        owner: (H, W), the number of the thing that the face belongs to, 0 for the sky.
        sky: (H, W) bool.
        normal: (3, H, W), x, y, z of the unit normal on the camera's side of the face.
        position: (3, H, W), x, y, z in meters.
        view: (3, H, W), x, y, z of the unit vector to the camera.
        relief: (H, W), texture of about unit variance, shared by both spectra.
    """

    def __init__(self, street: list[Thing], camera: _Camera, noise: Floats) -> None:
        self.camera, self.noise = camera, noise
        self._faces = [face for thing in street for face in thing.faces]
        self.index = self._paint()
        owners = np.repeat(np.arange(1, len(street) + 1), [len(thing.faces) for thing in street])
        self.owner = np.concatenate([[0], owners])[self.index]
        self.sky = self.index == 0
        self.normal, self.position = self._locate()
        self.view = np.array((0, CAMERA_HEIGHT, 0), np.float32)[:, None, None] - self.position
        self.view /= np.sqrt(_dot(self.view, self.view))
        self.relief = self._relief()

    def look_up(self, name: str) -> Floats:
        """Return an attribute of the material of each sample, 0 in the sky: (H, W) or (H, W, channels)."""
        values = np.array([getattr(face.material, name) for face in self._faces], np.float32)
        return np.concatenate([np.zeros_like(values[:1]), values])[self.index]

    def reduce(self, samples: Floats) -> Floats:
        """Average the samples of each pixel: (H, W, ...) -> (height, width, ...)."""
        step = self.camera.oversampling
        height, width, *channels = samples.shape
        return samples.reshape(height // step, step, width // step, step, *channels).mean(axis=(1, 3))

    def _paint(self) -> NDArray[np.int32]:
        canvas = Image.new("I", (self.camera.width, self.camera.height))
        draw = ImageDraw.Draw(canvas)
        outlines = self.camera.project(np.concatenate([face.points for face in self._faces]))
        ends = np.cumsum([len(face.points) for face in self._faces])
        for number, outline in enumerate(np.split(outlines, ends[:-1]), start=1):
            draw.polygon(outline.ravel().tolist(), fill=number)
        return np.asarray(canvas)

    def _locate(self) -> tuple[Floats, Floats]:
        """Intersect the ray of each sample with the plane of its face; return normals and positions."""
        corners = np.array([face.points[[0, len(face.points) // 3, 2 * len(face.points) // 3]] for face in self._faces])
        corners -= (0, CAMERA_HEIGHT, 0)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        offsets = np.einsum("nc,nc->n", normals, corners[:, 0])
        planes = np.column_stack([-np.sign(offsets)[:, None] * normals, -np.abs(offsets)])
        planes = np.concatenate([[(0, 0, -1, -1e4)], planes]).astype(np.float32)  # the sky is a distant wall
        normal = np.stack([planes[:, axis][self.index] for axis in range(3)])
        across, up = np.broadcast_arrays(*self.camera.rays())
        ray = np.stack([across, up, np.ones_like(up)])
        depth = planes[:, 3][self.index] / np.minimum(_dot(normal, ray), -1e-4)
        position = ray * depth.clip(0, 1e4)
        position[1] += CAMERA_HEIGHT
        return normal, position

    def _relief(self) -> Floats:
        """Return grain, stains and joints between bricks or slabs (H, W); details finer than a sample fade out."""
        textured = self.look_up("grain") + self.look_up("thermal_grain") > 0
        x, y, z = self.position[:, textured]
        lying = np.abs(self.normal[1])[textured] > 0.7
        along, up = np.where(lying, x, x + z), np.where(lying, z, y)
        resolution = self.camera.focal / z  # samples per meter
        relief = 0.5 * self.texture_at(along / 0.2, up / 0.2)
        relief += 0.8 * self.texture_at(along / 0.02, up / 0.02) * (0.03 * resolution).clip(0, 1)
        tiles = self.look_up("tiles")[textured]
        tiled = tiles[:, 0] > 0
        place = np.asarray(np.stack([along, up], axis=1)[tiled] / tiles[tiled], np.float32)
        relief[tiled] += self._masonry(place, 0.03 / tiles[tiled]) * (0.04 * resolution[tiled]).clip(0, 1)
        field = np.zeros(self.sky.shape, np.float32)
        field[textured] = relief
        return field

    def _masonry(self, place: Floats, joint: Floats) -> Floats:
        """Return relief (N,) at places (N, 2) in units of tiles: every other row shifted, a tone per tile, dark joints."""
        row = np.floor(place[:, 1])
        column = place[:, 0] + 0.5 * (row % 2)
        in_joint = (place[:, 1] - row < joint[:, 1]) | (column % 1 < joint[:, 0])
        tone = self.texture_at(13 * np.floor(column), 7 * row)  # any cell of the noise that differs between tiles
        return np.where(in_joint, np.float32(-1.6), 0.5 * tone)

    def texture_at(self, across: Floats, down: Floats) -> Floats:
        """Interpolate the noise, which repeats periodically."""
        return map_coordinates(self.noise, [down, across], order=1, mode="grid-wrap")


def _cloudy_noise(rng: Generator) -> Floats:
    """Return periodic noise (256, 256) of zero mean and unit variance, on several scales."""
    noise = np.zeros((256, 256))
    for sigma, share in ((0.6, 1.0), (1.5, 0.8), (4, 0.4), (10, 0.25)):
        octave = gaussian_filter(rng.normal(size=noise.shape), sigma, mode="wrap")
        noise += share * octave / octave.std()
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def _annotate(street: list[Thing], surfaces: _Surfaces) -> tuple[NDArray[np.uint8], tuple[Box, ...]]:
    """Return the class of the middle sample of each pixel, and the boxes around the objects in these samples."""
    step = surfaces.camera.oversampling
    owner = surfaces.owner[step // 2 :: step, step // 2 :: step]
    boxes = []
    for thing, extent in zip(street, find_objects(owner), strict=False):  # extents end at the last visible thing
        if thing.class_id and extent:
            rows, columns = extent
            boxes.append(Box(thing.class_id, columns.start, rows.start, columns.stop, rows.stop))
    classes = np.array([0, *(thing.class_id for thing in street)], np.uint8)
    return classes[owner], tuple(boxes)


def _radiance(street: list[Thing], surfaces: _Surfaces) -> Floats:
    """Return linear RGB light (H, W, 3): emitted, and reflected from the dusk sky and all lights of the street."""
    diffuse, mirrored = _illuminate([light for thing in street for light in thing.lights], surfaces)
    albedo = surfaces.look_up("albedo") * np.exp(surfaces.look_up("grain") * surfaces.relief - 0.1)[..., None]
    radiance: Floats = albedo * diffuse + surfaces.look_up("gloss")[..., None] * mirrored + surfaces.look_up("emission")
    radiance[surfaces.sky] = _dusk(surfaces)
    return radiance


def _illuminate(lights: list[Light], surfaces: _Surfaces) -> tuple[Floats, Floats]:
    """Return the light of the sky and of `lights` on each sample: diffuse (Lambert) and mirrored (Blinn-Phong), (H, W, 3)."""
    skylight = np.array((0.016, 0.020, 0.034), np.float32)[:, None, None]
    diffuse = (0.7 + 0.3 * surfaces.normal[1]) * skylight
    mirrored = np.zeros_like(diffuse)
    for top in range(0, diffuse.shape[1], 16):  # blocks of rows fit into the cache: twice as fast
        rows = np.s_[:, top : top + 16]
        normal, position, view = surfaces.normal[rows], surfaces.position[rows], surfaces.view[rows]
        for light in lights:
            color = np.array(light.power, np.float32)[:, None, None]
            direction = np.array(light.position, np.float32)[:, None, None] - position
            distance = np.sqrt(_dot(direction, direction)) + np.float32(0.3)
            direction /= distance
            strength = 1 / distance**2
            if light.focus:
                strength *= direction[2].clip(0) ** np.float32(light.focus)
            incidence = _dot(normal, direction).clip(0)
            halfway = direction + view
            highlight = (_dot(normal, halfway) / np.sqrt(_dot(halfway, halfway) + 1e-3)).clip(0)
            for _ in range(6):  # to the 64th power
                highlight *= highlight
            diffuse[rows] += strength * incidence * color
            mirrored[rows] += strength * highlight * color
    return np.moveaxis(diffuse, 0, -1), np.moveaxis(mirrored, 0, -1)


def _dot(left: Floats, right: Floats) -> Floats:
    """Return the scalar product over the first axis; `np.einsum` takes twice the time."""
    return left[0] * right[0] + left[1] * right[1] + left[2] * right[2]


def _dusk(surfaces: _Surfaces) -> Floats:
    """Return the color of each sky sample (N, 3): a glow over the roofs, deep blue above, clouds."""
    elevation, clouds = _look_at_sky(surfaces)
    zenith, glow = np.array((0.004, 0.008, 0.024), np.float32), np.array((0.10, 0.045, 0.035), np.float32)
    fading = np.exp(-elevation / 0.11)[:, None]
    return np.asarray((zenith + fading * glow) * (1 + 0.22 * clouds)[:, None], np.float32)


def _temperature(surfaces: _Surfaces) -> Floats:
    """Return the apparent temperature (H, W) in degrees Celsius; the clear sky gets colder towards the zenith."""
    temperature = surfaces.look_up("temperature") + surfaces.look_up("thermal_grain") * surfaces.relief
    elevation, clouds = _look_at_sky(surfaces)
    temperature[surfaces.sky] = 3 - 14 * np.sqrt(elevation) + 0.8 * clouds
    return temperature


def _look_at_sky(surfaces: _Surfaces) -> tuple[Floats, Floats]:
    """Return the elevation (N,) and the clouds (N,) of each sky sample."""
    across, up = np.broadcast_arrays(*surfaces.camera.rays())
    elevation = up[surfaces.sky].clip(0)
    return elevation, surfaces.texture_at(40 * across[surfaces.sky] / (elevation + 0.25), 40 / (elevation + 0.25))


def _expose_visible(radiance: Floats, rng: Generator) -> NDArray[np.uint8]:
    """Apply glare of the lens, film-like exposure, shot and read noise, and gamma."""
    height, width, _ = radiance.shape
    radiance = gaussian_filter(radiance, (0.45, 0.45, 0))
    radiance = radiance * _vignette(height, width, 0.35)[..., None] + _glare(radiance)
    signal = 1 - np.exp(-1.4 * radiance)
    noise = rng.normal(size=radiance.shape) * np.sqrt(4e-4 * signal + 6e-6)
    return _quantize((signal + noise).clip(0, 1) ** (1 / 2.2))


def _glare(radiance: Floats) -> Floats:
    """Return the light scattered by the lens (H, W, 3), which decays with the squared angle and has a faint iris star."""
    radius = min(radiance.shape[:2]) // 2
    down, across = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    distance = np.hypot(across, down)
    unit = min(radiance.shape[:2]) / 480  # the lens scatters by angle, so the pattern scales with the image
    veil = 1 / (distance**2 + (2.5 * unit) ** 2)
    for angle in np.deg2rad((15, 75, 135)):
        offside = across * np.sin(angle) - down * np.cos(angle)
        ray = np.exp(-((offside / (1.2 * unit)) ** 2))
        veil += 0.12 * ray / (distance + 4 * unit) / (1 + distance / (40 * unit))
    veil *= (1 - distance / radius).clip(0)
    scattered: Floats = fftconvolve(radiance, (0.06 * veil / veil.sum())[..., None], mode="same", axes=(0, 1))
    return scattered.clip(0)


def _expose_infrared(temperature: Floats, rng: Generator) -> NDArray[np.uint8]:
    """Apply automatic gain, a softer lens, row and column drift of the bolometer, and noise."""
    height, width = temperature.shape
    signal = ((temperature - 0.5) / 34).clip(0, 1)
    signal = gaussian_filter(signal, max(0.5, 0.9 * min(height, width) / 480)) * _vignette(height, width, 0.08)
    columns, rows = rng.normal(0, 0.004, (1, width)), rng.normal(0, 0.0015, (height, 1))
    return _quantize(signal + columns + rows + rng.normal(0, 0.007, (height, width)))


def _vignette(height: int, width: int, loss: float) -> Floats:
    """Return the share of light that reaches each pixel (H, W): 1 in the middle, 1 - `loss` in the corners."""
    down, across = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    return np.asarray(1 - loss * (down[:, None] ** 2 + across[None, :] ** 2) / 2, np.float32)


def _quantize(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * values.clip(0, 1)), np.uint8)
