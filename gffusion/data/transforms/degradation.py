"""Simulate misaligned cameras, bad thermal images, night exposures and glare."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.transform import SimilarityTransform, warp

from .base import Sample, check_fractions

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear sRGB (BT.709 primaries)
_WARM, _COLD = np.array([1.0, 0.72, 0.42]), np.array([0.85, 0.93, 1.0])  # linear RGB of about 3000 K and 8000 K


class Misalignment:
    """Move the infrared image relative to the visible image, as with cameras whose calibration has drifted.

    The infrared image is shifted, rotated and scaled around its center with bicubic interpolation and repeated borders.
    Labels and boxes stay aligned with the visible image. The clean image of a degraded one, `"infrared_target"`, moves alike.

    Args:
        shift: Shift along each axis in pixels, uniform in [-shift, shift].
        rotation: Angle in degrees, uniform in [-rotation, rotation].
        scale: Scale, uniform in [1 - scale, 1 + scale].

    Raises:
        ValueError: If `shift` is negative or not finite, `rotation` is outside [0, 180], or `scale` outside [0, 1).

    Examples:
        >>> sample = {"visible": np.zeros((8, 8, 3), np.float32), "infrared": np.eye(8, dtype=np.float32)[..., None]}
        >>> moved = Misalignment(shift=2, rotation=5)(sample, np.random.default_rng(0))
        >>> moved["visible"] is sample["visible"], bool((moved["infrared"] != sample["infrared"]).any())
        (True, True)
    """

    def __init__(self, shift: float = 0.0, rotation: float = 0.0, scale: float = 0.0) -> None:
        if not 0 <= shift < float("inf"):
            raise ValueError(f"shift must be a finite number of pixels, at least 0, got {shift}")
        if not 0 <= rotation <= 180:
            raise ValueError(f"rotation must be an angle in degrees in [0, 180], got {rotation}")
        if not 0 <= scale < 1:
            raise ValueError(f"scale must be in [0, 1), got {scale}")
        self.shift, self.rotation, self.scale = shift, rotation, scale
        self.variants = None if shift or rotation or scale else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Move the infrared image of `sample`."""
        shift = self.shift * rng.uniform(-1, 1, size=2)
        angle = np.deg2rad(self.rotation * rng.uniform(-1, 1))
        factor = 1 + self.scale * rng.uniform(-1, 1)
        center = (np.array(sample["infrared"].shape[1::-1]) - 1) / 2
        to_center = SimilarityTransform(translation=-center)
        motion = to_center + SimilarityTransform(scale=factor, rotation=angle, translation=center + shift)
        # Bicubic, because a network could recognize moved images by the blur of linear interpolation.
        orders = {"infrared": 3, "infrared_target": 3, "missing": 1}
        return sample | {
            name: warp(sample[name].copy(), motion.inverse, order=order, mode="edge")  # which refuses read-only arrays
            for name, order in orders.items()
            if name in sample
        }


class ThermalArtifacts:
    """Add what cheap thermal cameras add: noise, stripes and blocks of JPEG compression, and a shift by less than two pixels.

    The sample keeps the clean image as `"infrared_target"`, so that a network learns to remove them.

    Args:
        probability: Probability that the infrared image of a sample is changed.
        noise: Standard deviation of the noise, uniform in [0, noise]; that of the stripes is up to half as large.
        quality: Range (low, high) of the JPEG quality, 1 to 100; every second changed image is compressed.
        shift: Shift along each axis in pixels, uniform in [-shift, shift], with bilinear interpolation.

    Raises:
        ValueError: If `probability` or `noise` is outside [0, 1], `shift` outside [0, 2], or unless
            `1 <= quality[0] <= quality[1] <= 100`.

    Examples:
        >>> sample = {"infrared": np.full((16, 16, 1), 0.5, np.float32)}
        >>> changed = ThermalArtifacts(probability=1)(sample, np.random.default_rng(0))
        >>> bool((changed["infrared"] != 0.5).any()), changed["infrared_target"] is sample["infrared"]
        (True, True)
    """

    variants = None

    def __init__(
        self, probability: float = 0.5, noise: float = 0.03, quality: tuple[int, int] = (15, 60), shift: float = 0.7
    ) -> None:
        check_fractions(probability=probability, noise=noise)
        if not 1 <= quality[0] <= quality[1] <= 100:
            raise ValueError(f"quality must be a range (low, high) in [1, 100], got {quality}")
        if not 0 <= shift <= 2:
            raise ValueError(f"shift must be in [0, 2] pixels, got {shift}")
        self.probability, self.noise, self.quality, self.shift = probability, noise, quality, shift

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Change the infrared image of `sample`, or leave it as it is."""
        infrared = sample["infrared"]
        clean = sample.get("infrared_target", infrared)
        if rng.random() < self.probability:
            shift = self.shift * rng.uniform(-1, 1, size=2)[::-1]  # of rows and columns
            infrared = ndimage.shift(infrared[..., 0], -shift, order=1, mode="nearest")
            infrared = infrared + self.noise * rng.random() * rng.standard_normal(infrared.shape, np.float32)
            stripes = rng.standard_normal((1, infrared.shape[1]), np.float32)
            infrared = (infrared + self.noise / 2 * rng.random() * stripes).clip(0, 1).astype(np.float32)
            if rng.random() < 0.5:
                infrared = _compress(infrared, int(rng.integers(*self.quality, endpoint=True)))
            infrared = infrared[..., None]
        return sample | {"infrared": infrared, "infrared_target": clean}


def _compress(image: NDArray[np.float32], quality: int) -> NDArray[np.float32]:
    """Write an image (H, W) in [0, 1] as JPEG, and read it."""
    file = io.BytesIO()
    Image.fromarray((255 * image).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / np.float32(255)


class Night:
    """Darken the visible image to a night exposure.

    The image is decoded to linear light. The sensor counts `Poisson(exposure * full_well * light)` electrons per pixel
    and channel (shot noise), plus Gaussian read noise; `full_well` electrons are white. Colors are faded along with
    their noise, as cameras do with dark images. See [`Glare`] for lamps.

    Args:
        probability: Probability that a sample is darkened.
        exposure: Range (low, high) of the factor on the light, drawn uniformly on a logarithmic scale.
        color_loss: Lost share of color, uniform in [0, color_loss].
        full_well: Number of electrons of a white pixel; fewer electrons mean more noise.
        read_noise: Standard deviation of the read noise in electrons.

    Raises:
        ValueError: If `probability` or `color_loss` is outside [0, 1], unless `0 < exposure[0] <= exposure[1] <= 1`, or
            if `full_well` is not positive, `read_noise` is negative, or one of them is not finite.

    Examples:
        >>> sample = {"visible": np.full((8, 8, 3), 0.8, np.float32)}
        >>> dark = Night(probability=1, exposure=(0.1, 0.1))(sample, np.random.default_rng(0))["visible"]
        >>> bool(dark.mean() < 0.4)
        True
    """

    def __init__(
        self,
        probability: float = 0.5,
        exposure: tuple[float, float] = (0.03, 0.2),
        color_loss: float = 0.6,
        full_well: float = 4000.0,
        read_noise: float = 4.0,
    ) -> None:
        check_fractions(probability=probability, color_loss=color_loss)
        if not 0 < exposure[0] <= exposure[1] <= 1:
            raise ValueError(f"exposure must be a range of factors (low, high) in (0, 1], got {exposure}")
        if not 0 < full_well < float("inf"):
            raise ValueError(f"full_well must be a finite, positive number of electrons, got {full_well}")
        if not 0 <= read_noise < float("inf"):
            raise ValueError(f"read_noise must be a finite number of electrons, at least 0, got {read_noise}")
        self.probability, self.exposure, self.color_loss = probability, exposure, color_loss
        self.full_well, self.read_noise = full_well, read_noise
        self.variants = None if probability else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Darken the visible image of `sample`, or leave it unchanged."""
        if rng.random() >= self.probability:
            return dict(sample)
        exposure = np.exp(rng.uniform(*np.log(self.exposure)))
        loss = np.float32(self.color_loss * rng.random())
        expected = exposure * self.full_well * _decode(sample["visible"])
        electrons = rng.poisson(expected) + self.read_noise * rng.standard_normal(expected.shape, dtype=np.float32)
        light = (electrons / self.full_well).astype(np.float32)
        light += loss * ((light @ _LUMINANCE)[..., None] - light)
        return sample | {"visible": _encode(light)}


class Glare:
    """Add lamps to the visible image whose glare saturates the camera.

    A lamp adds `(radius / distance)²` in linear light: it saturates the sensor within its radius and adds scattered
    light to the rest of the image, which falls with the squared distance (disability glare, CIE 146:2002).
    Positions are uniform; colors range from warm to cold white.

    Args:
        probability: Probability that a sample gets lamps.
        lamps: Maximum number of lamps; the minimum is one.
        radius: Range (low, high) of the radius of a lamp as a share of the shorter side of the image, drawn uniformly.

    Raises:
        ValueError: If `probability` is outside [0, 1], `lamps` is less than 1, or unless `0 < radius[0] <= radius[1] <=
            1`.

    Examples:
        >>> sample = {"visible": np.zeros((40, 40, 3), np.float32)}
        >>> lit = Glare(probability=1)(sample, np.random.default_rng(0))["visible"]
        >>> float(lit.max())
        1.0
    """

    def __init__(self, probability: float = 0.5, lamps: int = 3, radius: tuple[float, float] = (0.01, 0.05)) -> None:
        check_fractions(probability=probability)
        if lamps < 1:
            raise ValueError(f"lamps must be at least 1, got {lamps}; pass probability=0 for no lamps")
        if not 0 < radius[0] <= radius[1] <= 1:
            raise ValueError(
                f"radius must be a range of shares of the shorter side (low, high) in (0, 1], got {radius}"
            )
        self.probability, self.lamps, self.radius = probability, lamps, radius
        self.variants = None if probability else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Add lamps to the visible image of `sample`, or leave it unchanged."""
        if rng.random() >= self.probability:
            return dict(sample)
        light = _decode(sample["visible"])
        height, width = light.shape[:2]
        rows, columns = np.ogrid[:height, :width]
        for _ in range(rng.integers(1, self.lamps, endpoint=True)):
            row, column = rng.uniform(0, (height, width))
            radius = rng.uniform(*self.radius) * min(height, width)
            color = (_WARM + rng.random() * (_COLD - _WARM)).astype(np.float32)
            square = ((rows - row) ** 2 + (columns - column) ** 2).astype(np.float32)
            light += color * (radius**2 / np.maximum(square, 1e-6))[..., None].astype(np.float32)
        return sample | {"visible": _encode(light)}


def _decode(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the linear light of sRGB values (IEC 61966-2-1)."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encode(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sRGB values of linear light, clipped to [0, 1]."""
    light = light.clip(0, 1)
    # 1.055 x - 0.055 of the standard, rearranged so that white is exactly 1 in float32.
    return np.where(light <= 0.0031308, light * 12.92, 1 + 1.055 * (light ** (1 / 2.4) - 1)).astype(np.float32)
