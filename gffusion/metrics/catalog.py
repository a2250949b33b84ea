"""The list of metrics and their properties. FMI is left out, because published programs for it use different features."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature
from typing import Literal

from torch import Tensor

from . import fidelity, gradient, information, segmentation, statistics, structure


@dataclass(frozen=True)
class MetricInfo:
    """Declaration of a metric.

    Attributes:
        name: Short name, as in tables.
        title: What the metric measures, in one line.
        functional: Function that computes one value per fused image, or the values of a batch of label maps.
        value_range: Minimum and maximum, in the unit of the metric, under the protocol `standard`.
        reference: Paper that defines the metric, ending with its DOI, as in "..., 2008, doi:10.1117/1.2945910".
        higher_is_better: Whether a higher value is better.
        minimum_size: Minimum height and width of the images, in pixels, under the protocol `standard`.
        uniform_minimum_size: The same with the option `window="uniform"`, for metrics that have it.
        is_registered: Whether the metric was added by [`register_metric`][gffusion.metrics.register_metric].
        version: Digest of the version of a registered metric, or `None` if it has none.
    """

    name: str
    title: str
    functional: Callable[..., Tensor]
    value_range: tuple[float, float]
    reference: str
    higher_is_better: bool = True
    minimum_size: int = 1
    uniform_minimum_size: int | None = None
    is_registered: bool = False
    version: str | None = None

    @cached_property
    def task(self) -> Literal["fusion", "segmentation"]:
        """What the metric evaluates."""
        return "fusion" if "fused" in signature(self.functional).parameters else "segmentation"

    @cached_property
    def needs_sources(self) -> bool:
        """Whether a fusion metric compares the fused image with its sources."""
        return "visible" in signature(self.functional).parameters

    @cached_property
    def options(self) -> tuple[str, ...]:
        """Names of the options of the function."""
        parameters = signature(self.functional).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY)


_MA = (
    "J. Ma, Y. Ma and C. Li, Infrared and visible image fusion methods and applications: A survey, Information Fusion "
    "45, 2019, doi:10.1016/j.inffus.2018.02.004"
)
_JAGALINGAM = (
    "P. Jagalingam and A. V. Hegde, A review of quality metrics for fused image, Aquatic Procedia 4, 2015, "
    "doi:10.1016/j.aqpro.2015.02.019"
)
_EVERINGHAM = (
    "M. Everingham, L. Van Gool, C. K. I. Williams, J. Winn and A. Zisserman, The PASCAL visual object classes (VOC) "
    "challenge, International Journal of Computer Vision 88, 2010, doi:10.1007/s11263-009-0275-4"
)

METRICS: dict[str, MetricInfo] = {
    metric.name: metric
    for metric in (
        MetricInfo(
            "EN",
            "Entropy of the fused image, in bits",
            information.entropy,
            (0, 8),
            "J. W. Roberts, J. van Aardt and F. Ahmed, Assessment of image fusion procedures using entropy, image "
            "quality, and multispectral classification, Journal of Applied Remote Sensing 2, 2008, doi:10.1117/1.2945910",
        ),
        MetricInfo("SD", "Standard deviation of the fused image", statistics.standard_deviation, (0, 127.5), _MA),
        MetricInfo(
            "SF",
            "Spatial frequency of the fused image",
            gradient.spatial_frequency,
            (0, 255 * math.sqrt(2)),
            "A. M. Eskicioglu and P. S. Fisher, Image quality measures and their performance, IEEE Transactions on "
            "Communications 43(12), 1995, doi:10.1109/26.477498",
            minimum_size=2,
        ),
        MetricInfo(
            "AG",
            "Average gradient of the fused image",
            gradient.average_gradient,
            (0, 255),
            "G. Cui, H. Feng, Z. Xu, Q. Li and Y. Chen, Detail preserved fusion of visible and infrared images using "
            "regional saliency extraction and multi-scale image decomposition, Optics Communications 341, 2015, "
            "doi:10.1016/j.optcom.2014.12.032",
            minimum_size=2,
        ),
        MetricInfo(
            "MI",
            "Mutual information with both sources, summed, in bits",
            information.mutual_information,
            (0, 16),
            "G. Qu, D. Zhang and P. Yan, Information measure for performance of image fusion, Electronics Letters 38(7), "
            "2002, doi:10.1049/el:20020212",
        ),
        MetricInfo(
            "NMI",
            "Mutual information with each source, divided by the mean entropy of the two images, summed",
            information.normalized_mutual_information,
            (0, 2),
            "M. Hossny, S. Nahavandi and D. Creighton, Comments on 'Information measure for performance of image "
            "fusion', Electronics Letters 44(18), 2008, doi:10.1049/el:20081754",
        ),
        MetricInfo(
            "CC",
            "Correlation coefficient with the sources, mean of both",
            statistics.correlation_coefficient,
            (-1, 1),
            _MA,
        ),
        MetricInfo(
            "SCD",
            "Sum of the correlations of differences",
            statistics.sum_of_correlations_of_differences,
            (-2, 2),
            "V. Aslantas and E. Bendes, A new image quality metric for image fusion: The sum of the correlations of "
            "differences, AEU International Journal of Electronics and Communications 69(12), 2015, "
            "doi:10.1016/j.aeue.2015.09.004",
        ),
        MetricInfo(
            "MSE",
            "Mean squared error against the sources, mean of both",
            statistics.mean_squared_error,
            (0, 65025),
            _JAGALINGAM,
            higher_is_better=False,
        ),
        MetricInfo(
            "PSNR",
            "Peak signal-to-noise ratio against both sources, in dB",
            statistics.peak_signal_to_noise_ratio,
            (0, math.inf),
            _JAGALINGAM,
        ),
        MetricInfo(
            "VIF",
            "Sum of the pixel-domain visual information fidelities against both sources",
            fidelity.vif,
            (0, math.inf),
            "H. R. Sheikh and A. C. Bovik, Image information and visual quality, IEEE Transactions on Image Processing "
            "15(2), 2006, doi:10.1109/TIP.2005.859378",
            minimum_size=41,
        ),
        MetricInfo(
            "VIFF",
            "Visual information fidelity for fusion, of Han et al.",
            fidelity.viff,
            (0, math.inf),
            "Y. Han, Y. Cai, Y. Cao and X. Xu, A new image fusion performance metric based on visual information "
            "fidelity, Information Fusion 14(2), 2013, doi:10.1016/j.inffus.2011.08.002",
            minimum_size=41,
        ),
        MetricInfo(
            "Qabf",
            "Edges of both sources that the fused image keeps",
            gradient.qabf,
            (0, 1),
            "C. S. Xydeas and V. Petrovic, Objective image fusion performance measure, Electronics Letters 36(4), 2000, "
            "doi:10.1049/el:20000267",
            minimum_size=3,
        ),
        MetricInfo(
            "Nabf",
            "Edges of the fused image that no source has",
            gradient.nabf,
            (0, 1),
            "B. K. Shreyamsha Kumar, Multifocus and multispectral image fusion based on pixel significance using "
            "discrete cosine harmonic wavelet transform, Signal, Image and Video Processing 7(6), 2013, "
            "doi:10.1007/s11760-012-0361-x",
            higher_is_better=False,
            minimum_size=3,
        ),
        MetricInfo(
            "SSIM",
            "Structural similarity with the sources, summed",
            structure.ssim,
            (-2, 2),
            "Z. Wang, A. C. Bovik, H. R. Sheikh and E. P. Simoncelli, Image quality assessment: From error visibility to "
            "structural similarity, IEEE Transactions on Image Processing 13(4), 2004, doi:10.1109/TIP.2003.819861",
            minimum_size=11,
            uniform_minimum_size=7,
        ),
        MetricInfo(
            "MS-SSIM",
            "Structural similarity at five scales with the sources, summed",
            structure.ms_ssim,
            (0, 2),
            "Z. Wang, E. P. Simoncelli and A. C. Bovik, Multiscale structural similarity for image quality assessment, "
            "Asilomar Conference on Signals, Systems and Computers, 2003, doi:10.1109/ACSSC.2003.1292216",
            minimum_size=176,
        ),
        MetricInfo(
            "mIoU", "Mean intersection over union of the classes that occur", segmentation.mean_iou, (0, 1), _EVERINGHAM
        ),
        MetricInfo("IoU", "Intersection over union of each class", segmentation.class_iou, (0, 1), _EVERINGHAM),
        MetricInfo(
            "Acc", "Share of pixels that have the right class", segmentation.pixel_accuracy, (0, 1), _EVERINGHAM
        ),
    )
}
"""All metrics by name, in the order of tables; `register_metric` adds others."""


def get_info(name: str) -> MetricInfo:
    """Return the entry of a metric; raise ValueError if there is none."""
    if name not in METRICS:
        raise ValueError(f"Unknown metric {name!r}: register it with gffusion.metrics.register_metric.")
    return METRICS[name]


def list_metrics(task: Literal["fusion", "segmentation"] = "fusion") -> list[str]:
    """Return the names of the metrics of a task, in the order of tables.

    Raises:
        ValueError: If the task is unknown.

    Examples:
        >>> list_metrics("segmentation")
        ['mIoU', 'IoU', 'Acc']
    """
    names = [name for name, metric in METRICS.items() if metric.task == task]
    if not names:
        raise ValueError(f"Unknown task {task!r}. Allowed are 'fusion' and 'segmentation'.")
    return names
