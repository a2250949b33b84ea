"""SSNet: Eq. (9) with numpy and scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
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


def test_windows_are_parts_of_the_grid_half_a_window_apart_with_the_class_token_each() -> None:
    tokens = torch.randn(2, 1 + 4 * 9, 5, generator=torch.Generator().manual_seed(0))
    windows = split_windows(tokens, (4, 9), (2, 3))  # of 2 x 3 tokens
    scene = tokens[1, 1:].reshape(4, 9, 5)
    assert windows.shape == (2 * 3 * 5, 7, 5)
    for index, (top, left) in {0: (0, 0), 1: (0, 1), 2: (0, 3), 6: (1, 1), 14: (2, 6)}.items():
        expected = torch.cat([tokens[1, :1], scene[top : top + 2, left : left + 3].reshape(-1, 5)])
        torch.testing.assert_close(windows[15 + index], expected, rtol=0, atol=0)
    torch.testing.assert_close(split_windows(tokens, (4, 9), (1, 1)), tokens, rtol=0, atol=0)


@pytest.mark.parametrize("windows", [(1, 1), (2, 1), (2, 3), (4, 9)])
def test_windows_make_up_the_grid(windows: tuple[int, int]) -> None:
    tokens = torch.randn(2, 1 + 4 * 9, 5, generator=torch.Generator().manual_seed(0))
    joined = join_windows(split_windows(tokens, (4, 9), windows), (4, 9), windows)
    torch.testing.assert_close(joined, tokens[:, 1:], rtol=0, atol=0 if windows == (1, 1) else 1e-6)


def test_windows_that_overlap_count_by_nearness_to_their_middles() -> None:
    # A row of 8 tokens in windows of 4, whose values are their numbers 0, 1, 2. Tokens are 0.25, 0.75, 0.75, 0.25 near.
    numbers = torch.arange(3.0)[:, None, None].expand(3, 1 + 4, 1)
    joined = join_windows(numbers, (1, 8), (1, 2))
    torch.testing.assert_close(joined.flatten(), torch.tensor([0, 0, 0.25, 0.75, 1.25, 1.75, 2, 2]))
