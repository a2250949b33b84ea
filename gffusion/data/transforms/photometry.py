"""Vary the exposure of the visible camera and the gain of the infrared camera."""

import numpy as np

from .base import Sample, check_fractions


class VisiblePhotometric:
    """Vary brightness, contrast and gamma of the visible image, as with another exposure.

    `(mean + c * (visible ** g - mean)) + b`, clipped to [0, 1], with the same values for all three channels.

    Args:
        brightness: `b` is uniform in [-brightness, brightness].
        contrast: `c`, the factor around the mean of the image, is uniform in [1 - contrast, 1 + contrast].
        gamma: `g` is uniform in [1 - gamma, 1 + gamma].

    Raises:
        ValueError: If `brightness` or `contrast` is outside [0, 1], or `gamma` outside [0, 1).

    Examples:
        >>> sample = {"visible": np.full((4, 6, 3), 0.5, np.float32)}
        >>> bright = VisiblePhotometric(brightness=0.2)(sample, np.random.default_rng(0))["visible"]
        >>> bool(0.3 <= bright.min() <= bright.max() <= 0.7)
        True
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0, gamma: float = 0.0) -> None:
        check_fractions(brightness=brightness, contrast=contrast)
        if not 0 <= gamma < 1:
            raise ValueError(f"gamma must be in [0, 1), got {gamma}")
        self.brightness, self.contrast, self.gamma = brightness, contrast, gamma
        self.variants = None if brightness or contrast or gamma else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Vary the visible image of `sample`."""
        exponent = np.float32(1 + self.gamma * rng.uniform(-1, 1))
        factor = np.float32(1 + self.contrast * rng.uniform(-1, 1))
        offset = np.float32(self.brightness * rng.uniform(-1, 1))
        visible = sample["visible"] ** exponent
        mean = visible.mean()
        return sample | {"visible": np.clip(mean + factor * (visible - mean) + offset, 0, 1)}


class ThermalGain:
    """Vary gain and offset of the infrared image, as with the automatic gain control of a thermal camera.

    `a * infrared + b`, clipped to [0, 1]. The clean image of a degraded one, `"infrared_target"`, is changed alike.

    Args:
        gain: `a` is uniform in [1 - gain, 1 + gain].
        offset: `b` is uniform in [-offset, offset].

    Raises:
        ValueError: If an argument is outside [0, 1].

    Examples:
        >>> sample = {"infrared": np.full((4, 6, 1), 0.5, np.float32)}
        >>> changed = ThermalGain(gain=0.2)(sample, np.random.default_rng(0))["infrared"]
        >>> bool(0.4 <= changed.min() <= changed.max() <= 0.6)
        True
    """

    def __init__(self, gain: float = 0.0, offset: float = 0.0) -> None:
        check_fractions(gain=gain, offset=offset)
        self.gain, self.offset = gain, offset
        self.variants = None if gain or offset else 1

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Vary the infrared image of `sample`."""
        factor = np.float32(1 + self.gain * rng.uniform(-1, 1))
        offset = np.float32(self.offset * rng.uniform(-1, 1))
        names = {"infrared", "infrared_target"} & sample.keys()
        return sample | {name: np.clip(factor * sample[name] + offset, 0, 1) for name in names}
