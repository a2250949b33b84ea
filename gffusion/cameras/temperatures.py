"""Degrees Celsius from the counts of thermal cameras."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gffusion.models.gffusion.infrared_options import Limits

_ZERO_CELSIUS = 273.15  # kelvin
_CELSIUS = "degrees Celsius"


@dataclass(frozen=True)
class LinearScale:
    """Absolute temperature in proportion to the counts, or another straight line.

    Attributes:
        kelvin_per_count: Step of a count.
        celsius_of_zero: Degrees Celsius of a count of 0.
        unit: Unit of the result, for messages, if it is not known to be degrees Celsius.
    """

    kelvin_per_count: float
    celsius_of_zero: float = -_ZERO_CELSIUS
    unit: str = _CELSIUS

    def to_celsius(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Return degrees Celsius.

        Examples:
            >>> LinearScale(1 / 64).to_celsius(np.array([64 * 300], np.uint16))
            array([26.85], dtype=float32)
        """
        return (counts * self.kelvin_per_count + self.celsius_of_zero).astype(np.float32)

    def find_counts(self, celsius: Limits) -> NDArray[np.float64]:
        """Return the counts of two temperatures, not rounded."""
        return (np.asarray(celsius, np.float64) - self.celsius_of_zero) / self.kelvin_per_count


@dataclass(frozen=True)
class PlanckScale:
    r"""Temperature from counts by Planck's law, with the object, atmosphere and window that the camera was set to.

    A blackbody of T kelvin gives S = R1 / (R2 (exp(B / T) - F)) - O counts. The counts of the image also contain
    reflections and the radiation of the atmosphere and the window, which is at the camera (Minkina and Dudzik, "Infrared
    Thermography: Errors and Uncertainties", Wiley 2009, chapter 2). The transmission of the atmosphere over a distance d
    at a water vapor content h is X exp(-sqrt(d) (alpha1 + beta1 sqrt(h))) + (1 - X) exp(-sqrt(d) (alpha2 + beta2 sqrt(h))).
    Thermimage and flyr split the path into two of d / 2, whose product attenuates like a path of 2 d.

    Attributes:
        r1: R1.
        r2: R2.
        b: B, in kelvin.
        f: F.
        o: O, in counts.
        emissivity: Of the object, in (0, 1].
        distance: Of the object, in meters.
        reflected: Apparent temperature of what the object reflects, in kelvin.
        atmosphere: Temperature of the air, in kelvin.
        window: Temperature of the external window, in kelvin.
        window_transmission: Transmission of the external window, in (0, 1]; 1 without a window.
        humidity: Relative humidity of the air, in [0, 1].
        attenuation: alpha1, alpha2, beta1, beta2 and X.
    """

    r1: float
    r2: float
    b: float
    f: float
    o: float
    emissivity: float = 1.0
    distance: float = 0.0
    reflected: float = 293.15
    atmosphere: float = 293.15
    window: float = 293.15
    window_transmission: float = 1.0
    humidity: float = 0.0
    attenuation: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def to_counts(self, kelvin: float | NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the counts of a blackbody."""
        return np.asarray(self.r1 / (self.r2 * (np.exp(self.b / np.asarray(kelvin)) - self.f)) - self.o)

    def to_celsius(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Return degrees Celsius; NaN for counts that no temperature gives.

        Examples:
            >>> scale = PlanckScale(r1=16556, r2=0.0125, b=1428, f=1, o=-342)
            >>> scale.to_celsius(scale.to_counts(np.array([273.15, 310.15])))
            array([ 0., 37.], dtype=float32)
        """
        air = self.transmit()
        through = air * self.window_transmission
        # Radiation besides that of the object, from the object to the sensor.
        others = (
            (1 - self.emissivity) * through * self.to_counts(self.reflected)
            + (1 - air) * self.window_transmission * self.to_counts(self.atmosphere)
            + (1 - self.window_transmission) * self.to_counts(self.window)
        )
        signal = (counts.astype(np.float64) - others) / (self.emissivity * through)
        with np.errstate(divide="ignore", invalid="ignore"):
            kelvin = self.b / np.log(self.r1 / (self.r2 * (signal + self.o)) + self.f)
        return np.where(kelvin > 0, kelvin - _ZERO_CELSIUS, np.nan).astype(np.float32)

    def find_counts(self, celsius: Limits) -> NDArray[np.float64]:
        """Return the counts of 16 bits of two temperatures, not rounded."""
        known = np.arange(np.iinfo(np.uint16).max + 1)
        found = self.to_celsius(known)
        return np.interp(celsius, found[np.isfinite(found)], known[np.isfinite(found)])

    @property
    def unit(self) -> str:
        """Unit of the result, for messages."""
        return _CELSIUS

    def transmit(self) -> float:
        """Return the transmission of the air between the object and the camera."""
        celsius = self.atmosphere - _ZERO_CELSIUS
        # Water vapor of saturated air, g/m3: a polynomial in degrees Celsius.
        vapor = self.humidity * np.exp(1.5587 + 6.939e-2 * celsius - 2.7816e-4 * celsius**2 + 6.8455e-7 * celsius**3)
        alpha1, alpha2, beta1, beta2, x = self.attenuation
        path, root = np.sqrt(self.distance), np.sqrt(vapor)
        return float(x * np.exp(-path * (alpha1 + beta1 * root)) + (1 - x) * np.exp(-path * (alpha2 + beta2 * root)))


TemperatureScale = LinearScale | PlanckScale


def check_unit(limits: Limits, counts: NDArray[Any], scale: TemperatureScale) -> None:
    """Raise ValueError if a range for counts was given in degrees Celsius: most counts are outside, and most temperatures inside.

    Args:
        limits: Low and high, or high and low to invert.
        counts: Values of the image.
        scale: Scale of these values.

    Examples:
        >>> check_unit((10, 40), np.full((2, 2), 64 * 300, np.uint16), LinearScale(1 / 64))
        Traceback (most recent call last):
            ...
        ValueError: the infrared values of this file are counts, 19200 to 19200, not degrees Celsius: for 10 to 40 degrees Celsius, give infrared_range=[18122, 20042] (--infrared-range 18122,20042)
    """
    low, high = sorted(limits)
    outside, outside_celsius = (
        np.mean((values < low) | (values > high)) for values in (counts, scale.to_celsius(counts))
    )
    if outside <= 0.5 or outside_celsius > 0.5:
        return
    form = ".0f" if counts.dtype.kind in "iu" else ".7g"
    first, last = (f"{count:z{form}}" for count in scale.find_counts(limits))  # z: no -0
    sign = "=" if first.startswith("-") else " "
    raise ValueError(
        f"the infrared values of this file are counts, {counts.min():.7g} to {counts.max():.7g}, not {scale.unit}: for {limits[0]:g} to "
        f"{limits[1]:g} {scale.unit}, give infrared_range=[{first}, {last}] (--infrared-range{sign}{first},{last})"
    )
