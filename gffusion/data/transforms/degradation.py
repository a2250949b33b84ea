"""What mounting, darkness and lamps do to a pair: misalignment, night and glare."""

import numpy as np
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform, warp

from .base import Sample, check_fractions

_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # of linear sRGB (BT.709 primaries)
_WARM, _COLD = np.array([1.0, 0.72, 0.42]), np.array([0.85, 0.93, 1.0])  # linear RGB of about 3000 K and 8000 K


class Misalignment:
    """Moves the infrared image against the visible one, as cameras that were calibrated long ago stand to each other.

    The infrared image is shifted, turned and enlarged about its centre, interpolated bicubically, its border repeated where
    nothing was seen. Labels and boxes stay where they are, with the visible image.

    Args:
        shift: Shift along each axis in pixels, uniform in [-shift, shift].
        rotation: Angle in degrees, uniform in [-rotation, rotation].
        scale: The factor is uniform in [1 - scale, 1 + scale].

    Raises:
        ValueError: If `shift` is negative or not finite, `rotation` lies outside [0, 180] or `scale` outside [0, 1).
    """

    def __init__(self, shift: float = 0.0, rotation: float = 0.0, scale: float = 0.0) -> None:
        if not 0 <= shift < float("inf"):
            raise ValueError(f"shift must be a finite number of pixels, at least 0, got {shift}")
        if not 0 <= rotation <= 180:
            raise ValueError(f"rotation is an angle in degrees in [0, 180], got {rotation}")
        if not 0 <= scale < 1:
            raise ValueError(f"scale must lie in [0, 1), got {scale}")
        self.shift = shift
        self.rotation = rotation
        self.scale = scale
        self.variants = None if shift or rotation or scale else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Moves the infrared image of `sample`."""
        shift = self.shift * rng.uniform(-1, 1, size=2)
        angle = np.deg2rad(self.rotation * rng.uniform(-1, 1))
        factor = 1 + self.scale * rng.uniform(-1, 1)
        infrared = sample["infrared"].copy()  # scikit-image refuses read-only arrays
        centre = (np.array(infrared.shape[1::-1]) - 1) / 2
        to_centre = SimilarityTransform(translation=-centre)
        motion = to_centre + SimilarityTransform(scale=factor, rotation=angle, translation=centre + shift)
        # Cubic, because a linear half-pixel shift blurs: a network could tell moved images by that alone.
        return sample | {"infrared": warp(infrared, motion.inverse, order=3, mode="edge")}


class Night:
    """Turns the visible image into a night exposure of the same scene; the rest stays.

    The image is decoded to linear light, of which the sensor receives a small part. It counts photons:
    `Poisson(exposure * full_well * light)` electrons per pixel and channel (shot noise), plus Gaussian read noise, out of a
    `full_well` that stands for white. The colours fade, their noise with them, as in a camera's processing of dark pictures.
    No lamp is lit: `Glare` does that.

    Args:
        probability: How often a sample is darkened; the others stay as they are.
        exposure: Range of the factor on the light, drawn uniformly on a logarithmic scale.
        color_loss: The share of the colour that is lost is uniform in [0, color_loss].
        full_well: Electrons of a white pixel; the fewer, the more noise.
        read_noise: Standard deviation of the noise of reading a pixel, in electrons.

    Raises:
        ValueError: If `probability` or `color_loss` lies outside [0, 1], unless `0 < exposure[0] <= exposure[1] <= 1`, or if
            `full_well` is not positive or `read_noise` negative, or one of them not finite.
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
        self.probability = probability
        self.exposure = exposure
        self.color_loss = color_loss
        self.full_well = full_well
        self.read_noise = read_noise
        self.variants = None if probability else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Darkens the visible image of `sample`, or does not."""
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
    """Lights lamps in the visible image that blind its camera; the infrared image, labels and boxes stay.

    In linear light a lamp adds `(radius / distance)²`: it saturates the sensor within its radius, and beyond it scatters
    in the optics with the inverse square of the distance, which lays a veil over the whole image (the law of disability
    glare, CIE 146:2002). Lamps stand anywhere; their colour lies between warm and cold white.

    Args:
        probability: How often a sample gets lamps; the others stay as they are.
        lamps: Largest number of lamps; at least one is lit.
        radius: Range of a lamp's radius in shares of the image's shorter side, drawn uniformly.

    Raises:
        ValueError: If `probability` lies outside [0, 1], `lamps` is less than 1, or unless `0 < radius[0] <= radius[1] <= 1`.
    """

    def __init__(self, probability: float = 0.5, lamps: int = 3, radius: tuple[float, float] = (0.01, 0.05)) -> None:
        check_fractions(probability=probability)
        if lamps < 1:
            raise ValueError(f"lamps must be at least 1, got {lamps}; leave them dark with probability=0")
        if not 0 < radius[0] <= radius[1] <= 1:
            raise ValueError(
                f"radius must be a range of shares of the shorter side (low, high) in (0, 1], got {radius}"
            )
        self.probability = probability
        self.lamps = lamps
        self.radius = radius
        self.variants = None if probability else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Lights lamps in the visible image of `sample`, or does not."""
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
    """Returns the linear light of sRGB values (IEC 61966-2-1)."""
    return np.where(image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _encode(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the sRGB values of linear light, clipped to [0, 1]."""
    light = light.clip(0, 1)
    # The standard's 1.055 x - 0.055 in a form that gives exactly 1 for white in float32.
    return np.where(light <= 0.0031308, light * 12.92, 1 + 1.055 * (light ** (1 / 2.4) - 1)).astype(np.float32)
