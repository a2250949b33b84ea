"""The interface that models and their exported files share, for type checkers."""

from typing import Any, Protocol

import torch
from torch import Tensor

from gffusion.models.gffusion.configuration_gffusion import GFFusionConfig
from gffusion.models.gffusion.modeling_gffusion import GFFusionOutput


class FusionModel(Protocol):
    """A [`GFFusionModel`], or an exported file that is run in its place, which has none of its parts."""

    config: GFFusionConfig
    training: bool

    @property
    def device(self) -> torch.device:
        """Device of the inputs and outputs."""

    def __call__(self, visible_values: Tensor, infrared_values: Tensor, *args: Any, **kwargs: Any) -> GFFusionOutput:
        """Fuse a batch of pairs."""

    def __getattr__(self, name: str) -> Any:
        """Return a part, such as `funet`."""
