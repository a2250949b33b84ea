"""Exposure of the visible and gain of the infrared camera."""

import numpy as np

from .base import Sample, check_fractions


class VisiblePhotometric:
    """Changes brightness, contrast and gamma of the visible image, as another exposure would; the rest stays.

    `(mean + c * (visible ** g - mean)) + b`, clipped to [0, 1], with one draw for all three channels.

    Args:
        brightness: `b` is uniform in [-brightness, brightness].
        contrast: `c`, the factor about the image's mean, is uniform in [1 - contrast, 1 + contrast].
        gamma: `g` is uniform in [1 - gamma, 1 + gamma].

    Raises:
        ValueError: If `brightness` or `contrast` lies outside [0, 1], or `gamma` outside [0, 1).
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, gamma: float = 0.0) -> None:
        check_fractions(brightness=brightness, contrast=contrast)
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma must lie in [0, 1), got {gamma}")
        self.brightness = brightness
        self.contrast = contrast
        self.gamma = gamma
        self.variants = None if brightness or contrast or gamma else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Changes the visible image of `sample`."""
        exponent = np.float32(1 + self.gamma * rng.uniform(-1, 1))
        factor = np.float32(1 + self.contrast * rng.uniform(-1, 1))
        offset = np.float32(self.brightness * rng.uniform(-1, 1))
        visible = sample["visible"] ** exponent
        mean = visible.mean()
        return sample | {"visible": np.clip(mean + factor * (visible - mean) + offset, 0, 1)}


class ThermalGain:
    """Changes gain and offset of the infrared image, as a thermal camera's automatic gain control does; the rest stays.

    `a * infrared + b`, clipped to [0, 1].

    Args:
        gain: `a` is uniform in [1 - gain, 1 + gain].
        offset: `b` is uniform in [-offset, offset].

    Raises:
        ValueError: If an argument lies outside [0, 1].
    """

    def __init__(self, gain: float = 0.0, offset: float = 0.0) -> None:
        check_fractions(gain=gain, offset=offset)
        self.gain = gain
        self.offset = offset
        self.variants = None if gain or offset else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Changes the infrared image of `sample`."""
        factor = np.float32(1 + self.gain * rng.uniform(-1, 1))
        offset = np.float32(self.offset * rng.uniform(-1, 1))
        return sample | {"infrared": np.clip(factor * sample["infrared"] + offset, 0, 1)}
