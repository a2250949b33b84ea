"""Metrics of fused images and of segmentation: a functional form, a torchmetrics class and a registry entry each."""

from .base import FusionMetric
from .fidelity import VIF, VIFF
from .gradient import AG, SF, Nabf, Qabf
from .images import to_luma8
from .information import EN, MI, NMI
from .registry import METRICS, PROTOCOLS, Protocol, compute_metrics, get_metric, list_metrics
from .segmentation import ClassIoU, MeanIoU, PixelAccuracy
from .statistics import CC, MSE, PSNR, SCD, SD
from .structure import MSSSIM, SSIM

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
    "FusionMetric",
    "MeanIoU",
    "Nabf",
    "PixelAccuracy",
    "Protocol",
    "Qabf",
    "compute_metrics",
    "get_metric",
    "list_metrics",
    "to_luma8",
]
