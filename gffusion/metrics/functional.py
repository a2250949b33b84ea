"""Functional forms of all metrics."""

from .fidelity import vif, viff
from .flicker import flicker
from .gradient import average_gradient, nabf, qabf, spatial_frequency
from .information import entropy, mutual_information, normalized_mutual_information
from .segmentation import class_iou, mean_iou, pixel_accuracy
from .statistics import (
    correlation_coefficient,
    mean_squared_error,
    peak_signal_to_noise_ratio,
    standard_deviation,
    sum_of_correlations_of_differences,
)
from .structure import ms_ssim, ssim

__all__ = [
    "average_gradient",
    "class_iou",
    "correlation_coefficient",
    "entropy",
    "flicker",
    "mean_iou",
    "mean_squared_error",
    "ms_ssim",
    "mutual_information",
    "nabf",
    "normalized_mutual_information",
    "peak_signal_to_noise_ratio",
    "pixel_accuracy",
    "qabf",
    "spatial_frequency",
    "ssim",
    "standard_deviation",
    "sum_of_correlations_of_differences",
    "vif",
    "viff",
]
