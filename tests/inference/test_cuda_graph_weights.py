"""Changes that the kernels and graphs of a GPU must follow are seen, here on a CPU."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from gffusion import GFFusionModel
from gffusion.inference.cuda_graphs import _Weights

LAYER = "decoder.0.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.funet.get_parameter(LAYER).mul_(1.01),
        lambda model: model.funet.get_parameter(LAYER).data.mul_(-1),
        lambda model: model.funet.get_parameter(LAYER).data.copy_(model.funet.get_parameter(LAYER).flip(0)),
        lambda model: torch._foreach_mul_([value.data for value in model.funet.parameters()], 1.01),
        lambda model: setattr(
            model.funet.decoder[0], "weight", torch.nn.Parameter(model.funet.decoder[0].weight.clone())
        ),
        lambda model: model.funet.decoder[1].running_mean.data.add_(0.01),
        lambda model: setattr(model.funet.decoder[1], "eps", 0.5),
        lambda model: setattr(model.funet.decoder[2], "negative_slope", 0.5),
    ],
    ids=["version", "data", "order", "foreach", "parameter", "buffer", "eps", "slope"],
)
@pytest.mark.parametrize("is_inference", [False, True])
def test_changes_are_seen(
    tiny_model: Callable[..., GFFusionModel], change: Callable[[GFFusionModel], Any], is_inference: bool
) -> None:
    model = tiny_model().eval()
    with torch.inference_mode(is_inference), torch.no_grad():
        if is_inference:
            model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
        weights = _Weights(model)
        assert weights.are_unchanged()
        change(model)
        assert not weights.are_unchanged()
