"""SSNet: Eq. (9) with numpy and scipy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gffusion import GFFusionModel
from gffusion.models.gffusion.image_ops import rgb_to_luma
from gffusion.models.gffusion.losses import segmentation_loss
from gffusion.models.gffusion.ssnet import (
    CELLS_PER_TOKEN,
    FLAT_VARIANCE,
    SSNet,
    join_windows,
    refine_logits,
    split_windows,
)


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


def test_refined_probabilities_are_told_by_regressions_on_both_guides() -> None:
    """Against least squares with a ridge, window by window, in numpy, where the picture has a pixel to a cell."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = 2 * CELLS_PER_TOKEN, 1 * CELLS_PER_TOKEN
    logits = torch.randn(1, 3, rows, columns, generator=generator)
    guides = torch.rand(1, 2, rows, columns, generator=generator)
    classes, pictures = (image[0].double().numpy() for image in (logits.softmax(dim=1), guides))
    windows = [
        [(slice(max(0, r - 2), r + 3), slice(max(0, c - 2), c + 3)) for c in range(columns)] for r in range(rows)
    ]

    def regress(window: tuple[slice, slice]) -> NDArray[Any]:
        design = np.stack(
            [*(picture[window].ravel() for picture in pictures), np.ones(classes[0][window].size)], axis=1
        )
        ridge = np.diag([FLAT_VARIANCE, FLAT_VARIANCE, 0.0]) * len(design)
        targets = classes[(slice(None), *window)].reshape(3, -1).T
        return np.linalg.solve(design.T @ design + ridge, design.T @ targets)

    fits = np.array([[regress(window) for window in line] for line in windows])  # (rows, columns, 3 terms, 3 classes)
    means = np.array([[fits[window].mean(axis=(0, 1)) for window in line] for line in windows])
    terms = np.stack([*pictures, np.ones((rows, columns))])
    expected = np.einsum("rctk,trc->krc", means, terms)
    found = refine_logits(logits, guides, (2, 1), radius=2 / CELLS_PER_TOKEN)[0].exp()
    np.testing.assert_allclose(found, expected.clip(1e-6), atol=1e-4)


def test_a_label_map_takes_the_edge_of_either_guide() -> None:
    """Tokens say that the border of two classes is column 24 of 48, a picture that it is column 26."""
    logits = torch.zeros(1, 2, 32, 48)
    logits[:, 1] = (torch.arange(48.0) - 23.5) / 3
    step = (torch.arange(48) >= 26).float().expand(1, 1, 32, 48)
    for guides in (torch.cat([step, step * 0], dim=1), torch.cat([step * 0, step], dim=1)):
        refined = refine_logits(logits, guides, (4, 6), radius=1)
        torch.testing.assert_close(refined.argmax(dim=1).float(), step[:, 0])
        torch.testing.assert_close(refined.exp().sum(dim=1), torch.ones(1, 32, 48))


def test_flat_guides_leave_the_border_where_it_was() -> None:
    logits = torch.zeros(1, 2, 32, 48)
    logits[:, 1] = (torch.arange(48.0) - 23.5) / 3
    refined = refine_logits(logits, torch.full((1, 2, 32, 48), 0.5), (4, 6), radius=1)
    torch.testing.assert_close(refined.argmax(dim=1), logits.argmax(dim=1))


@pytest.mark.parametrize("choices", [{"paradigm": "parallel"}, {"color_space": "rgb"}, {"segmenter_windows": [2, 2]}])
def test_a_model_returns_refined_logits_and_learns_from_those_of_its_head(
    tiny_model: Callable[..., GFFusionModel], make_inputs: Callable[..., dict[str, Tensor]], choices: dict[str, Any]
) -> None:
    inputs = make_inputs(labels=True)
    model = tiny_model(segmenter_image_size=[32, 32], **choices).eval()
    plain = model(**inputs)
    model.config.segmenter_refinement = 1.5
    output = model(**inputs)
    luma = rgb_to_luma(output.fused_values)
    guides = torch.cat([luma, inputs["infrared_values"]], dim=1)
    expected = refine_logits(plain.logits, guides, (4, 4), 1.5)
    torch.testing.assert_close(output.logits, expected)
    torch.testing.assert_close(output.loss_segmentation, plain.loss_segmentation)
    assert not torch.equal(output.logits, plain.logits.log_softmax(dim=1))
    learning = model.train()(**inputs)
    expected = segmentation_loss(learning.logits, inputs["labels"])
    torch.testing.assert_close(learning.loss_segmentation, expected)


@pytest.mark.parametrize("choices", [{}, {"color_space": "rgb"}, {"paradigm": "cascading"}])
def test_a_model_averages_what_it_reads_at_several_scales(
    tiny_model: Callable[..., GFFusionModel], make_inputs: Callable[..., dict[str, Tensor]], choices: dict[str, Any]
) -> None:
    """As models do that read at one scale each; 1.5 times two windows a side are three."""
    inputs = make_inputs(labels=True)
    sizes = {"segmenter_image_size": [32, 32], "segmenter_windows": [2, 2]}
    model = tiny_model(**sizes, segmenter_scales=[1, 1.5], **choices).eval()
    output, both = model(**inputs), []
    for side, windows in ((32, 2), (48, 3)):
        single = tiny_model(segmenter_image_size=[side, side], segmenter_windows=[windows, windows], **choices).eval()
        single.load_state_dict(model.state_dict())
        both.append(single(**inputs))
    expected = (both[0].logits.softmax(dim=1) + both[1].logits.softmax(dim=1)) / 2
    torch.testing.assert_close(output.logits.softmax(dim=1), expected)
    torch.testing.assert_close(output.loss_segmentation, both[0].loss_segmentation)
    assert not torch.equal(both[0].logits, both[1].logits)
    model.config.segmenter_scales = [1]
    torch.testing.assert_close(model(**inputs).logits, both[0].logits)
    model.config.segmenter_scales = [1, 1.5]
    learning = model.train()(**inputs)
    torch.testing.assert_close(learning.loss_segmentation, segmentation_loss(learning.logits, inputs["labels"]))
