"""Options of the mapping of infrared values to [0, 1]. Imports nothing heavy, so that the command line can check them first."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from .argument_checks import check_flag, is_number, to_plain

NamedRange = Literal["auto", "type", "percentile", "folder"]
InfraredRange = NamedRange | Sequence[float]
Agc = Literal["linear", "plateau", "clahe"]
Limits = tuple[float, float]

NAMED_RANGES: tuple[str, ...] = get_args(NamedRange)
AGCS: tuple[str, ...] = get_args(Agc)
DEFAULT_PLATEAU_LIMIT = 1.0


@dataclass(frozen=True)
class InfraredOptions:
    """How the values of infrared images are mapped to [0, 1].

    Attributes:
        infrared_range: Values that are mapped to 0 and 1. `"type"`: the range of the image's type. `"percentile"`: the
            0.1st and 99.9th percentile of each image. `"auto"`: `"percentile"` for counts and degrees of radiometric
            files, else `"type"`. `"folder"`: the percentiles of all images of a run together. `[low, high]`: these
            values, in the unit of the image. `[high, low]`: the same, inverted.
        invert: Whether cold objects are bright in the images, which are then inverted.
        agc: Automatic gain control within the range: `"linear"`; `"plateau"`, histogram equalization in which no bin
            counts more than a limit; or `"clahe"`, contrast-limited adaptive histogram equalization.
        plateau_limit: The limit of `"plateau"` as a multiple of the mean count of the bins that are not empty: a small
            limit gives nearly a linear mapping, a large one full equalization. Defaults to 1.
        smooth_range: Number of frames over which the range of ordered frames follows their percentiles; 0 gives each
            frame its own range.

    Raises:
        ValueError: If an option is wrong, or options exclude each other.

    Examples:
        >>> InfraredOptions([255, 0]).is_inverted
        True
    """

    infrared_range: InfraredRange = "auto"
    invert: bool = False
    agc: Agc = "linear"
    plateau_limit: float | None = None
    smooth_range: float = 0

    def __post_init__(self) -> None:
        for name in OPTION_NAMES:
            object.__setattr__(self, name, to_plain(getattr(self, name)))
        _check_range(self.infrared_range)
        check_flag("`invert`", self.invert)
        if self.agc not in AGCS:
            raise ValueError(f"`agc` (--agc) must be one of {', '.join(AGCS)}, got {self.agc!r}.")
        if self.plateau_limit is not None and not (is_number(self.plateau_limit) and self.plateau_limit > 0):
            raise ValueError(
                f"`plateau_limit` (--plateau-limit) must be a finite number greater than 0, got {self.plateau_limit!r}."
            )
        if not is_number(self.smooth_range) or self.smooth_range < 0 or 0 < self.smooth_range < 1:
            raise ValueError(
                "`smooth_range` (--smooth-range) must be a number of frames of at least 1, or 0 for none, "
                f"got {self.smooth_range!r}."
            )
        self._check_combination()

    def _check_combination(self) -> None:
        if self.limits is not None and self.invert and self._is_reversed:
            low, high = self.limits
            raise ValueError(
                f"`infrared_range` {high:g},{low:g} inverts already: give {low:g},{high:g} with `invert`, or pass "
                "`invert=False`."
            )
        if self.plateau_limit is not None and self.agc != "plateau":
            raise ValueError(
                f'`plateau_limit` (--plateau-limit) needs agc="plateau" (--agc plateau), but `agc` is "{self.agc}".'
            )
        if self.smooth_range and self.infrared_range != "percentile":
            raise ValueError(
                '`smooth_range` (--smooth-range) follows the percentiles of the frames: give infrared_range="percentile" '
                f"(--infrared-range percentile) instead of {self.infrared_range!r}, or pass `smooth_range=0`."
            )

    @property
    def limits(self) -> Limits | None:
        """The low and the high value of a fixed range, or `None`."""
        if isinstance(self.infrared_range, str):
            return None
        low, high = sorted(map(float, self.infrared_range))
        return low, high

    @property
    def is_inverted(self) -> bool:
        """Whether high values are mapped to 0."""
        return self.invert or self._is_reversed

    @property
    def _is_reversed(self) -> bool:
        return self.limits is not None and self.infrared_range[0] != self.limits[0]

    @property
    def needs_measuring(self) -> bool:
        """Whether the range of an image depends on other images."""
        return self.infrared_range == "folder" or self.smooth_range > 0

    def maps_like(self, other: "InfraredOptions") -> bool:
        """Return whether other options map values in the same way: `[255, 0]` is `[0, 255]` with inversion."""
        first, second = (
            (options.limits or options.infrared_range, options.is_inverted, options.agc, options.plateau_limit)
            for options in (self, other)
        )
        return (first, self.smooth_range) == (second, other.smooth_range)

    def override(self, **given: Any) -> "InfraredOptions":
        """Return the options with those in `given` that are not `None`.

        Options that depend on a replaced one are reset: the limit with another `agc`, and smoothing with another range.

        Raises:
            ValueError: If a name is unknown, or the options exclude each other.
        """
        if unknown := sorted(set(given) - set(OPTION_NAMES)):
            raise ValueError(f"Unknown options {unknown}. Allowed: {', '.join(OPTION_NAMES)}.")
        given = {name: to_plain(value) for name, value in given.items() if value is not None}
        if given.get("agc", "plateau") != "plateau":
            given.setdefault("plateau_limit", None)
        if given.get("infrared_range", "percentile") != "percentile":
            given.setdefault("smooth_range", 0)
        return replace(self, **given)

    def for_counts(self) -> "InfraredOptions":
        """Return the options for values of a radiometric file, which fill too little of the range of their type."""
        return self.override(infrared_range="percentile") if self.infrared_range == "auto" else self

    def with_limits(self, limits: Limits) -> "InfraredOptions":
        """Return the options with the range that was measured for an image; that of a flat image has one value."""
        low, high = limits
        return replace(self, infrared_range=(low, max(high, math.nextafter(low, math.inf))), smooth_range=0)

    def to_dict(self) -> dict[str, Any]:
        """Return the options by name."""
        return asdict(self)

    def to_diff_dict(self) -> dict[str, Any]:
        """Return the options that are not the defaults by name.

        Examples:
            >>> InfraredOptions("percentile", invert=True).to_diff_dict()
            {'infrared_range': 'percentile', 'invert': True}
        """
        return {name: value for name, value in asdict(self).items() if value != getattr(InfraredOptions, name)}


OPTION_NAMES = tuple(field.name for field in fields(InfraredOptions))


def check_options(options: Any, count: int) -> None:
    """Raise ValueError unless there is one [`InfraredOptions`] for every pair."""
    if not isinstance(options, (list, tuple)) or not all(hasattr(item, "is_inverted") for item in options):
        raise ValueError(f"`infrared_options` must be a list of one InfraredOptions per pair, got {options!r}.")
    if len(options) != count:
        raise ValueError(f"`infrared_options` must have one entry per pair, got {len(options)} for {count} pairs.")


def _check_range(infrared_range: Any) -> None:
    if isinstance(infrared_range, str):
        valid = infrared_range in NAMED_RANGES
    else:
        valid = isinstance(infrared_range, (tuple, list)) and len(infrared_range) == 2
        valid = valid and all(map(is_number, infrared_range)) and infrared_range[0] != infrared_range[1]
    if not valid:
        raise ValueError(
            '`infrared_range` must be "auto", "type", "percentile", "folder", [low, high], or [high, low] to invert, '
            f"got {infrared_range!r:.200}."
        )
