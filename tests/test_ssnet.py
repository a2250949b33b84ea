"""SSNet: Eq. (9) with numpy and scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gffusion.ssnet import SSNet, join_windows, split_windows


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


def test_windows_are_parts_of_the_grid_with_the_class_token_each() -> None:
    tokens = torch.randn(2, 1 + 4 * 6, 5, generator=torch.Generator().manual_seed(0))
    windows = split_windows(tokens, (4, 6), (2, 3))
    scene = tokens[1, 1:].reshape(4, 6, 5)
    expected = torch.cat([tokens[1, :1], scene[2:4, 4:6].reshape(-1, 5)])  # the last window of the second image
    assert windows.shape == (12, 5, 5)
    torch.testing.assert_close(windows[-1], expected, rtol=0, atol=0)
    torch.testing.assert_close(join_windows(windows, (4, 6), (2, 3)), tokens[:, 1:], rtol=0, atol=0)
    torch.testing.assert_close(split_windows(tokens, (4, 6), (1, 1)), tokens, rtol=0, atol=0)
