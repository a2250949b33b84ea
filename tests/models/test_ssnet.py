"""SSNet: Eq. (9) with numpy and scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion.models.gffusion.ssnet import SSNet


def test_is_a_linear_layer_upsampled_to_the_image(upsample: Callable[..., NDArray[Any]]) -> None:
    network = SSNet(hidden_size=5, num_labels=3).double()
    tokens = torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    logits = network(tokens, grid=(2, 3), size=(9, 13)).detach()
    weight, bias = (parameter.detach().numpy() for parameter in network.classifier.parameters())
    scores = (tokens.numpy() @ weight.T + bias).reshape(2, 2, 3, 3).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(logits, upsample(scores, (9, 13)), atol=1e-6)


def test_logits_are_float32() -> None:
    network = SSNet(hidden_size=5, num_labels=3).bfloat16()
    assert network(torch.zeros(1, 6, 5, dtype=torch.bfloat16), grid=(2, 3), size=(4, 6)).dtype == torch.float32
