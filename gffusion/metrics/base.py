"""What every metric of the house declares, and the torchmetrics class of those that score fused images."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchmetrics import Metric


class Described:
    """What the registry tells of a metric, beside torchmetrics' `higher_is_better`.

    Attributes:
        name: Short name, as in tables.
        title: What it measures, in one line.
        task: What it judges.
        value_range: Least and greatest value, in the unit of the metric, under the standard protocol.
        minimum_size: Least height and width of the images, in pixels, under the standard protocol.
        reference: The paper that defines it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    task: ClassVar[Literal["fusion", "segmentation"]]
    value_range: ClassVar[tuple[float, float]]
    minimum_size: ClassVar[int] = 1
    reference: ClassVar[str]


class FusionMetric(Described, Metric):
    """Mean over images of a metric of fused images; its states add up across processes.

    Args:
        kwargs: Options of the metric's functional form, by name, and those of `torchmetrics.Metric`.
    """

    task = "fusion"
    functional: ClassVar[Callable[..., Tensor]]
    needs_sources: ClassVar[bool] = True
    full_state_update = False
    is_differentiable = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        parameters = inspect.signature(self.functional).parameters.values()
        options = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
        self.options = {option: kwargs.pop(option) for option in options if option in kwargs}
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, fused: Tensor, visible: Tensor | None = None, infrared: Tensor | None = None) -> None:
        """Add the images of one batch.

        Args:
            fused: Tensor of shape (B, 1, H, W) or (H, W), grey levels from 0 to 255.
            visible: The visible sources, of the same shape. Not used by metrics that look at the fused image alone.
            infrared: The infrared sources, likewise.

        Raises:
            ValueError: If the images do not suit the metric; the message says why.
        """
        images = (fused, visible, infrared) if self.needs_sources else (fused,)
        values = type(self).functional(*images, **self.options)
        self.total += values.sum()
        self.count += values.numel()

    def compute(self) -> Tensor:
        """Mean over all images so far."""
        return self.total / self.count
