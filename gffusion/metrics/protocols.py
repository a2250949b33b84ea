"""Protocols: the conventions of published metric values, as options of the metrics."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .catalog import METRICS, list_metrics
from .names import ALL, list_given, suggest

_OWN_METRICS = "; register functions of your own with gffusion.metrics.register_metric, and give their names"


@dataclass(frozen=True)
class Protocol:
    """The conventions of one source of metric values.

    Attributes:
        description: The source, and how its values differ from others.
        options: Options of the functional form, for each fusion metric that the source computes.
    """

    description: str
    options: Mapping[str, Mapping[str, Any]]


_TANG: dict[str, dict[str, Any]] = {
    "EN": {},
    "SD": {},
    "SF": {},
    "AG": {"divisor": "intervals"},
    "MI": {"saturating": True},
    "CC": {},
    "SCD": {},
    "MSE": {"data_range": 1.0},
    "PSNR": {"data_range": 1.0},
    "VIF": {},
    "Qabf": {"tie_range": 255.0},
}

PROTOCOLS: Mapping[str, Protocol] = {
    "standard": Protocol(
        "Ours: the definition in the paper of each metric, on rounded 8-bit luma, in float64; sums over both sources, but "
        "means for CC and MSE.",
        {name: {} for name in list_metrics()},
    ),
    "tang2022": Protocol(
        "The MATLAB collection of Tang as published until March 2023 (SeAFusion, PIAFusion and many others): SF, MSE, PSNR and "
        "Qabf on 0 to 1, SD and VIF in saturating uint8 arithmetic.",
        _TANG
        | {
            "SD": {"saturating": True},
            "SF": {"data_range": 1.0},
            "VIF": {"saturating": True},
            "Qabf": {"tie_range": 1.0},
        },
    ),
    "tang2023": Protocol(
        "The same collection since March 2023: SD, SF, VIF and Qabf on 0 to 255 in double precision; the rest as before.",
        _TANG,
    ),
    "cddfuse": Protocol(
        "The Python evaluator of CDDFuse, copied by many: VIF under the name VIFF, MI in nats, SSIM with a uniform 7x7 window and "
        "a data range of 2, the maximum of the fused image as the peak of PSNR, and Qabf as in tang2023. It computes in float32; "
        "our float64 values differ by at most a relative 3e-5.",
        {
            "EN": {},
            "SD": {},
            "SF": {},
            "AG": {},
            "MI": {"unit": "nats"},
            "CC": {},
            "SCD": {},
            "MSE": {},
            "PSNR": {"peak": "fused"},
            "VIF": {},
            "Qabf": {"tie_range": 255.0},
            "SSIM": {"window": "uniform", "data_range": 2.0},
        },
    ),
}


def check_protocol(protocol: str) -> None:
    """Raise ValueError if there is no protocol of a name."""
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise ValueError(f"Unknown protocol {protocol!r}. Allowed are {', '.join(PROTOCOLS)}.")


def select_options(protocol: str, metrics: Iterable[str] | None = None) -> Mapping[str, Mapping[str, Any]]:
    """Return the options of fusion metrics, `"all"` or by default of all, under a protocol of `PROTOCOLS`.

    Registered metrics have none, and are not part of `"all"`.

    Raises:
        TypeError: If the metrics are neither a name nor names.
        ValueError: If the protocol is unknown or lacks one of the metrics.

    Examples:
        >>> select_options("tang2022", ["SD", "EN"])
        {'SD': {'saturating': True}, 'EN': {}}
    """
    check_protocol(protocol)
    names = (ALL,) if metrics is None else list_given(metrics, "metrics", advice=_OWN_METRICS)
    chosen = {name: find_options(protocol, name) for name in names if name != ALL}
    return {**PROTOCOLS[protocol].options, **chosen} if ALL in names else chosen


def find_options(protocol: str, metric: str) -> Mapping[str, Any]:
    """Return the options of one fusion metric under a protocol; raise ValueError if it is unknown or lacks the metric."""
    check_protocol(protocol)
    registered: dict[str, Mapping[str, Any]] = {name: {} for name, info in METRICS.items() if info.is_registered}
    options = {**PROTOCOLS[protocol].options, **registered}
    if metric not in options:
        raise ValueError(
            f"The protocol {protocol!r} has no fusion metric {metric!r}.{suggest(metric, options)} Allowed are {', '.join(options)}."
        )
    return options[metric]


def find_minimum_size(protocol: str, metric: str) -> int:
    """Return the minimum height and width of the images of a fusion metric under a protocol, in pixels."""
    window, info = find_options(protocol, metric).get("window"), METRICS[metric]
    return info.uniform_minimum_size if window == "uniform" and info.uniform_minimum_size else info.minimum_size
