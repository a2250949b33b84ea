"""Create metrics by name, and compute several metrics at once."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gffusion.utils.notes import name_in_errors

from .catalog import METRICS, list_metrics
from .images import check_aligned, describe_small_images, warn_about_range
from .memoization import memoizing
from .protocols import check_protocol, find_minimum_size, find_options, select_options

if TYPE_CHECKING:
    from torchmetrics import Metric


def get_metric(name: str, protocol: str = "standard", **kwargs: Any) -> "Metric":
    """Create a metric by name.

    Args:
        name: A name from [`list_metrics`][gffusion.metrics.list_metrics], which has registered metrics, too.
        protocol: The protocol of a fusion metric, a name in `PROTOCOLS`. It changes nothing for segmentation.
        kwargs: Arguments of the metric's class, such as `num_classes` for segmentation. They override options of the protocol.

    Returns:
        A metric with `update(fused, visible, infrared)` for fusion, `update(logits, labels)` for segmentation.

    Raises:
        TypeError: If the name is no text.
        ValueError: If the name or the protocol is unknown, the protocol does not have the metric, or an argument is wrong.

    Examples:
        >>> get_metric("MI", protocol="cddfuse").settings
        {'unit': 'nats'}
    """
    if not isinstance(name, str):
        raise TypeError(f"`name` must be the name of one metric, got {name!r}")
    check_protocol(protocol)
    options = {} if name in list_metrics("segmentation") else find_options(protocol, name)
    from .classes import CLASSES, RegisteredMetric  # imported here, because torchmetrics takes seconds to import

    if METRICS[name].is_registered:
        return RegisteredMetric(name, **kwargs)
    return CLASSES[name](**{**options, **kwargs})


def compute_metrics(
    fused: Tensor,
    visible: Tensor,
    infrared: Tensor,
    metrics: Iterable[str] | str | None = None,
    protocol: str = "standard",
) -> dict[str, Tensor]:
    """Return several fusion metrics of a batch, (B,) `torch.float64` each; shared steps are computed once.

    Metrics round gray levels, so values have no gradient. Values of images on MPS, which has no float64, are on the CPU.

    Args:
        fused: (B, 1, H, W) or (H, W), gray levels from 0 to 255, see [`to_luma8`][gffusion.metrics.to_luma8].
        visible: Visible sources of the same shape.
        infrared: Infrared sources of the same shape.
        metrics: Names of the metrics, or one name. Default: all metrics of the protocol, `"all"`.
        protocol: The protocol to follow, a name in `PROTOCOLS`.

    Raises:
        TypeError: If `metrics` is neither a name nor names.
        ValueError: If a name is unknown or the images do not suit a metric; the message begins with the metric. If they are
            too small, it lists the metrics that they suit.

    Warns:
        UserWarning: If a fused image holds only 0 and 1, but one of its sources does not.

    Examples:
        >>> image = torch.arange(0, 250, 10).reshape(5, 5)
        >>> compute_metrics(image, visible=image, infrared=image, metrics=["SCD", "Qabf"])
        {'SCD': tensor([0.], dtype=torch.float64), 'Qabf': tensor([0.9748], dtype=torch.float64)}
    """
    options = select_options(protocol, metrics)
    images = check_aligned(fused=fused, visible=visible, infrared=infrared)
    check_size(images[0].shape[-2:], list(options), protocol)
    values: dict[str, list[Tensor]] = {name: [] for name in options}
    # One image at a time keeps intermediate results in the processor's cache, and memory independent of the batch size.
    for triple in zip(*images, strict=True):
        with memoizing():
            for name in options:
                inputs = triple if METRICS[name].needs_sources else triple[:1]
                with name_in_errors(name):
                    values[name].append(METRICS[name].functional(*inputs, **options[name]))
    if not any(METRICS[name].needs_sources for name in options):  # those that do have warned already
        warn_about_range(*(image.double() for image in images))
    return {name: torch.cat(tensors) for name, tensors in values.items()}


def check_size(size: Sequence[int], metrics: Sequence[str], protocol: str = "standard") -> None:
    """Raise ValueError, with the metrics that they suit, if images of a height and width are too small for one of several."""
    minimums = {name: find_minimum_size(protocol, name) for name in metrics}
    suited = [name for name, minimum in minimums.items() if minimum <= min(size)]
    for name, minimum in minimums.items():
        if name not in suited:
            advice = (
                f" Pass those that suit the size: `metrics={suited}` (--metrics {','.join(suited)})." if suited else ""
            )
            raise ValueError(f"{name}: {describe_small_images(size, minimum)}{advice}")
