"""Metrics of fused images and segmentation. Each has a functional form, a torchmetrics class and an entry in `METRICS`.

`Flicker`, of videos, is a plain class.
"""

from typing import TYPE_CHECKING

from gffusion.utils import forks as forks  # for processes that are forked after the import
from gffusion.utils.lazy_names import load_on_use

from .catalog import METRICS, MetricInfo, list_metrics
from .compute import compute_metrics, get_metric
from .images import to_luma8
from .protocols import PROTOCOLS, Protocol
from .registration import register_metric

if TYPE_CHECKING:
    from .classes import (
        AG,
        CC,
        EN,
        MI,
        MSE,
        MSSSIM,
        NMI,
        PSNR,
        SCD,
        SD,
        SF,
        SSIM,
        VIF,
        VIFF,
        ClassIoU,
        FusionMetric,
        MeanIoU,
        Nabf,
        PixelAccuracy,
        Qabf,
    )
    from .flicker import Flicker

__all__ = [
    "AG",
    "CC",
    "EN",
    "METRICS",
    "MI",
    "MSE",
    "MSSSIM",
    "NMI",
    "PROTOCOLS",
    "PSNR",
    "SCD",
    "SD",
    "SF",
    "SSIM",
    "VIF",
    "VIFF",
    "ClassIoU",
    "Flicker",
    "FusionMetric",
    "MeanIoU",
    "MetricInfo",
    "Nabf",
    "PixelAccuracy",
    "Protocol",
    "Qabf",
    "compute_metrics",
    "get_metric",
    "list_metrics",
    "register_metric",
    "to_luma8",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = load_on_use(__name__, dict.fromkeys(__all__, "classes") | {"Flicker": "flicker"})
