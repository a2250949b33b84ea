"""The list of metrics, the protocols that say by whose conventions they are computed, and the whole suite at once."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from .base import FusionMetric
from .fidelity import VIF, VIFF
from .gradient import AG, SF, Nabf, Qabf
from .images import aligned
from .information import EN, MI, NMI
from .segmentation import ClassIoU, MeanIoU, PixelAccuracy, SegmentationMetric
from .sharing import sharing
from .statistics import CC, MSE, PSNR, SCD, SD
from .structure import MSSSIM, SSIM

_FUSION: Mapping[str, type[FusionMetric]] = {
    metric.name: metric for metric in (EN, SD, SF, AG, MI, NMI, CC, SCD, MSE, PSNR, VIF, VIFF, Qabf, Nabf, SSIM, MSSSIM)
}
_SEGMENTATION: Mapping[str, type[SegmentationMetric]] = {
    metric.name: metric for metric in (MeanIoU, ClassIoU, PixelAccuracy)
}

# FMI is left out: the published programs of that name use different features (edges, gradients, DCT, wavelets).
METRICS: Mapping[str, type[FusionMetric] | type[SegmentationMetric]] = {**_FUSION, **_SEGMENTATION}
"""All metrics by name. What a class declares (see `Described`) is the metric's entry."""


@dataclass(frozen=True)
class Protocol:
    """The conventions of one source of figures.

    Attributes:
        description: Whose figures these are, and what sets them apart.
        options: For each fusion metric that the source computes, the options of its functional form.
    """

    description: str
    options: Mapping[str, Mapping[str, Any]]


PROTOCOLS: Mapping[str, Protocol] = {
    "standard": Protocol(
        "Ours: the definition of each metric's paper on rounded 8-bit luma, in float64; sums over both sources.",
        {name: {} for name in _FUSION},
    ),
    "tang2022": Protocol(
        "The MATLAB collection of Tang as published until March 2023 (SeAFusion, PIAFusion and many others): SF, MSE, PSNR and "
        "Qabf on 0 to 1, SD and VIF in saturating uint8 arithmetic.",
        {
            "EN": {},
            "SD": {"saturating": True},
            "SF": {"data_range": 1.0},
            "AG": {"divisor": "intervals"},
            "MI": {"saturating": True},
            "CC": {},
            "SCD": {},
            "MSE": {"data_range": 1.0},
            "PSNR": {"data_range": 1.0},
            "VIF": {"saturating": True},
            "Qabf": {"tie_range": 1.0},
        },
    ),
    "tang2023": Protocol(
        "The same collection since March 2023: SD, SF, VIF and Qabf on 0 to 255 in double precision; the rest as before.",
        {
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
        },
    ),
    "cddfuse": Protocol(
        "The Python evaluator that CDDFuse published and many copied, which calls VIF VIFF: MI in nats, SSIM with a uniform "
        "7x7 window and a data range of 2, the peak of PSNR taken from the fused image. Computed in float64, it agrees with the "
        "evaluator's float32 to a relative 3e-5.",
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


def list_metrics(task: Literal["fusion", "segmentation"] = "fusion") -> list[str]:
    """Names of the metrics of a task, in the order of tables.

    Args:
        task: `"fusion"` for metrics of fused images, `"segmentation"` for those of label maps.

    Raises:
        ValueError: If the task is another one.

    Example:
        >>> list_metrics("segmentation")
        ['mIoU', 'IoU', 'Acc']
    """
    names = [name for name, metric in METRICS.items() if metric.task == task]
    if not names:
        raise ValueError(f"There is no task {task!r}. Allowed are 'fusion' and 'segmentation'.")
    return names


def get_metric(name: str, protocol: str = "standard", **kwargs: Any) -> Metric:
    """Make a metric by name.

    Args:
        name: A name from [`list_metrics`].
        protocol: Whose conventions a fusion metric follows, a name in `PROTOCOLS`.
        kwargs: Arguments of the metric's class, such as `num_classes` for segmentation.

    Returns:
        A `torchmetrics.Metric`: `update(fused, visible, infrared)` for fusion, `update(logits, labels)` for
        segmentation.

    Raises:
        ValueError: If the name or the protocol is unknown, or the protocol does not have the metric.

    Example:
        >>> get_metric("MI", protocol="cddfuse").options
        {'unit': 'nats'}
    """
    if name in _SEGMENTATION:
        return _SEGMENTATION[name](**kwargs)
    options = _options_of(name, protocol)
    return _FUSION[name](**options, **kwargs)


def _options(protocol: str) -> Mapping[str, Mapping[str, Any]]:
    if protocol not in PROTOCOLS:
        raise ValueError(f"There is no protocol {protocol!r}. Allowed are {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[protocol].options


def _options_of(name: str, protocol: str) -> Mapping[str, Any]:
    options = _options(protocol)
    if name not in options:
        raise ValueError(f"The protocol {protocol!r} has no fusion metric {name!r}. It has {', '.join(options)}.")
    return options[name]


def compute_metrics(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    metrics: Iterable[str] | None = None,
    protocol: str = "standard",
) -> dict[str, Tensor]:
    """Compute several fusion metrics of a batch; what they have in common is computed once.

    Args:
        fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255, see [`to_luma8`].
        visible: Visible sources of the same shape.
        infrared: Infrared sources of the same shape.
        metrics: Names of the metrics. Default: all that the protocol has.
        protocol: Whose conventions to follow, a name in `PROTOCOLS`.

    Returns:
        For each metric a `torch.float64` tensor of shape (B,).

    Raises:
        ValueError: If a name is unknown or the images do not suit a metric; the message says why.

    Example:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> compute_metrics(image, visible=image, infrared=image, metrics=["SCD", "Qabf"])
        {'SCD': tensor([0.], dtype=torch.float64), 'Qabf': tensor([0.9748], dtype=torch.float64)}
    """
    options = _options(protocol) if metrics is None else {name: _options_of(name, protocol) for name in metrics}
    images = aligned(fused=fused, visible=visible, infrared=infrared)
    values: dict[str, list[Tensor]] = {name: [] for name in options}
    # One image at a time: its intermediate results stay in the processor's cache, and memory does not grow with the batch.
    for triple in zip(*images, strict=True):
        with sharing():
            for metric in map(_FUSION.__getitem__, options):
                inputs = triple if metric.needs_sources else triple[:1]
                values[metric.name].append(metric.functional(*inputs, **options[metric.name]))
    return {name: torch.cat(tensors) for name, tensors in values.items()}
