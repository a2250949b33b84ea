"""The torchmetrics class of each metric. Loaded on first use, because torchmetrics imports transformers, which takes seconds."""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from gffusion.utils.notes import name_in_errors

from .catalog import MetricInfo, get_info
from .options import check_options
from .segmentation import check_labels, check_settings, drop_ignored


class _CatalogMetric(Metric):
    """Metric whose declaration, `info`, is an entry of `METRICS`; `settings` are the options of its functional form."""

    info: MetricInfo
    settings: dict[str, Any]

    def __init_subclass__(cls, metric: str | None = None) -> None:
        super().__init_subclass__()
        if metric is not None:
            cls.info = get_info(metric)
            cls.higher_is_better = cls.info.higher_is_better

    def merge_state(self, incoming_state: "dict[str, Any] | Metric") -> None:
        """Add what another metric has measured: the metric, or its `metric_state`.

        Raises:
            ValueError: If its class or its settings are others.
        """
        states = incoming_state.metric_state if isinstance(incoming_state, Metric) else incoming_state
        if isinstance(states, dict) and not self._defaults.keys() <= states.keys():
            raise ValueError(
                f"The states of a metric with other settings cannot be merged: they are {', '.join(states)}, not "
                f"{', '.join(self._defaults)}."
            )
        super().merge_state(incoming_state)

    def _add_mark(self, name: str) -> None:
        """Add a constant state whose name encodes the metric and its options.

        Without it, `MetricCollection` could merge different metrics into one compute group if their states are equal after
        the first batch.
        """
        self.add_state("only_" + re.sub(r"\W", "_", name), torch.zeros(()), dist_reduce_fx="sum")


class FusionMetric(_CatalogMetric):
    """Mean over images of a metric of fused images; its states are sums, also across processes.

    Args:
        kwargs: Options of the metric's functional form, by name, and those of `torchmetrics.Metric`.

    Raises:
        TypeError: If a subclass names no metric.
        ValueError: If an option is unknown, or has a value that is not allowed.

    Examples:
        >>> image = torch.tensor([[0, 85], [170, 255]])
        >>> metric = MI(unit="nats")
        >>> metric.update(image, visible=image, infrared=torch.zeros(2, 2))
        >>> metric.compute()
        tensor(1.3863, dtype=torch.float64)
    """

    full_state_update = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        if not hasattr(self, "info"):
            raise TypeError(
                f"{type(self).__name__} names no metric: register a function of your own with gffusion.metrics.register_metric, "
                "and call gffusion.metrics.get_metric with its name"
            )
        self.settings = {option: kwargs.pop(option) for option in self.info.options if option in kwargs}
        with name_in_errors(self.info.name):
            check_options(self.info.functional, **self.settings)
        super().__init__(**kwargs)
        self._add_mark("_".join((self.info.name, *(f"{option}_{value}" for option, value in self.settings.items()))))
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, fused: Tensor, visible: Tensor | None = None, infrared: Tensor | None = None) -> None:
        """Add the images of one batch: (B, 1, H, W) or (H, W), gray levels from 0 to 255.

        Metrics of the fused image alone do not use the sources.

        Raises:
            ValueError: If the images do not suit the metric; the message begins with its name.
        """
        images = (fused, visible, infrared) if self.info.needs_sources else (fused,)
        with name_in_errors(self.info.name):
            values = self.info.functional(*images, **self.settings)
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """Return the mean over all images so far, a tensor without dimensions."""
        return self.total / self.count

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Return figure and axes with values of `compute` or `forward`, by default that of `compute`; needs matplotlib."""
        return self._plot(val, ax)


class SegmentationMetric(_CatalogMetric):
    """Metric of label maps, counted over all pixels: a class of torchmetrics that also checks its inputs.

    Args:
        num_classes: Number of classes, the background included.
        ignore_index: Label of ignored pixels.
        kwargs: Options of `torchmetrics.Metric`.

    Raises:
        ValueError: If `num_classes` or `ignore_index` is no integer, or there is only one class.

    Examples:
        >>> metric = MeanIoU(num_classes=3)
        >>> metric.update(torch.tensor([[[0, 1, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]))
        >>> metric.compute()
        tensor(1.)
    """

    defaults: ClassVar[dict[str, Any]] = {}
    num_classes: Any
    ignore_index: Any

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        num_classes, ignore_index = check_settings(num_classes, ignore_index)
        super().__init__(num_classes, ignore_index=ignore_index, **self.defaults, **kwargs)
        self._add_mark(f"{num_classes}_without_{ignore_index}")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add one batch: logits (B, C, H, W) or integer predicted labels (B, H, W), and integer labels (B, H, W).

        Raises:
            ValueError: If the shapes do not match, a label is out of range, or logits hold NaN.
        """
        super().update(*check_labels(logits, labels, self.num_classes, self.ignore_index))


class EN(FusionMetric, metric="EN"):
    """Entropy, see `functional.entropy`."""


class SD(FusionMetric, metric="SD"):
    """Standard deviation, see `functional.standard_deviation`."""


class SF(FusionMetric, metric="SF"):
    """Spatial frequency, see `functional.spatial_frequency`."""


class AG(FusionMetric, metric="AG"):
    """Average gradient, see `functional.average_gradient`."""


class MI(FusionMetric, metric="MI"):
    """Mutual information, see `functional.mutual_information`."""


class NMI(FusionMetric, metric="NMI"):
    """Normalized mutual information, see `functional.normalized_mutual_information`."""


class CC(FusionMetric, metric="CC"):
    """Correlation coefficient, see `functional.correlation_coefficient`."""


class SCD(FusionMetric, metric="SCD"):
    """Sum of the correlations of differences, see `functional.sum_of_correlations_of_differences`."""


class MSE(FusionMetric, metric="MSE"):
    """Mean squared error, see `functional.mean_squared_error`."""


class PSNR(FusionMetric, metric="PSNR"):
    """Peak signal-to-noise ratio, see `functional.peak_signal_to_noise_ratio`.

    One pair with an infinite value, such as three equal images, makes the mean infinite; `gffusion.evaluation.evaluate`
    leaves such pairs out.
    """


class VIF(FusionMetric, metric="VIF"):
    """Visual information fidelity, see `functional.vif`."""


class VIFF(FusionMetric, metric="VIFF"):
    """Visual information fidelity for fusion, see `functional.viff`."""


class Qabf(FusionMetric, metric="Qabf"):
    """Edge transfer, see `functional.qabf`."""


class Nabf(FusionMetric, metric="Nabf"):
    """Fusion artifacts, see `functional.nabf`."""


class SSIM(FusionMetric, metric="SSIM"):
    """Structural similarity, see `functional.ssim`."""


class MSSSIM(FusionMetric, metric="MS-SSIM"):
    """Multi-scale structural similarity, see `functional.ms_ssim`."""


class MeanIoU(SegmentationMetric, MulticlassJaccardIndex, metric="mIoU"):
    """Mean intersection over union of the classes that occur, see `functional.mean_iou`."""


class ClassIoU(SegmentationMetric, MulticlassJaccardIndex, metric="IoU"):
    """Intersection over union of each class, see `functional.class_iou`."""

    defaults: ClassVar[dict[str, Any]] = {"average": "none", "zero_division": torch.nan}

    def compute(self) -> Tensor:
        """Return the score of each class over all pixels so far, or NaN if it is absent or ignored."""
        return drop_ignored(super().compute(), self.ignore_index)


class PixelAccuracy(SegmentationMetric, MulticlassAccuracy, metric="Acc"):
    """Share of the pixels that have the right class, see `functional.pixel_accuracy`."""

    defaults: ClassVar[dict[str, Any]] = {"average": "micro"}
    tp: Tensor
    fn: Tensor

    def compute(self) -> Tensor:
        """Return the share over all pixels so far, or NaN if all are ignored."""
        return super().compute().where((self.tp + self.fn).any(), torch.nan)


CLASSES: dict[str, type[FusionMetric] | type[SegmentationMetric]] = {
    metric.info.name: metric for base in (FusionMetric, SegmentationMetric) for metric in base.__subclasses__()
}
"""The class of each metric, by the metric's name."""


class RegisteredMetric(FusionMetric):
    """Metric, by its name, of a function that was registered with [`register_metric`][gffusion.metrics.register_metric]."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        self.info = get_info(name)
        super().__init__(**kwargs)

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher value is better."""
        return self.info.higher_is_better
