"""Windows of DINOv2 tokens: split, joined and weighted."""

import pytest
import torch

from gffusion.models.gffusion.windows import join_windows, split_windows


def test_split_gives_every_window_its_tokens_and_the_class_token() -> None:
    tokens = torch.randn(2, 1 + 4 * 9, 5, generator=torch.Generator().manual_seed(0))
    windows = split_windows(tokens, (4, 9), (2, 3))  # of 2 x 3 tokens
    scene = tokens[1, 1:].reshape(4, 9, 5)
    assert windows.shape == (2 * 3 * 5, 7, 5)
    for index, (top, left) in {0: (0, 0), 1: (0, 1), 2: (0, 3), 6: (1, 1), 14: (2, 6)}.items():
        expected = torch.cat([tokens[1, :1], scene[top : top + 2, left : left + 3].reshape(-1, 5)])
        torch.testing.assert_close(windows[15 + index], expected, rtol=0, atol=0)
    torch.testing.assert_close(split_windows(tokens, (4, 9), (1, 1)), tokens, rtol=0, atol=0)


@pytest.mark.parametrize("windows", [(1, 1), (2, 1), (2, 3), (4, 9)])
def test_join_inverts_split(windows: tuple[int, int]) -> None:
    tokens = torch.randn(2, 1 + 4 * 9, 5, generator=torch.Generator().manual_seed(0))
    joined = join_windows(split_windows(tokens, (4, 9), windows), (4, 9), windows)
    torch.testing.assert_close(joined, tokens[:, 1:], rtol=0, atol=0 if windows == (1, 1) else 1e-6)


def test_overlapping_windows_are_weighted_by_distance_to_their_center() -> None:
    # Windows 0, 1, 2 of 4 tokens over a row of 8, filled with their number. Weights in a window: 0.25, 0.75, 0.75, 0.25.
    values = torch.arange(3.0)[:, None, None].expand(3, 1 + 4, 1)
    joined = join_windows(values, (1, 8), (1, 2))
    torch.testing.assert_close(joined.flatten(), torch.tensor([0, 0, 0.25, 0.75, 1.25, 1.75, 2, 2]))
