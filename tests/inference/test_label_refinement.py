"""Guided filter for label maps: against numpy, and on known edges."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gffusion.inference.label_refinement import CELLS_PER_TOKEN, FLAT_VARIANCE, refine_logits


def test_equals_ridge_regressions_on_both_guides() -> None:
    """Against least squares with a ridge in numpy, window by window; the image has one pixel per cell."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = 2 * CELLS_PER_TOKEN, 1 * CELLS_PER_TOKEN
    logits = torch.randn(1, 3, rows, columns, generator=generator)
    guides = torch.rand(1, 2, rows, columns, generator=generator)
    classes, images = (part[0].double().numpy() for part in (logits.softmax(dim=1), guides))
    windows = [
        [(slice(max(0, r - 2), r + 3), slice(max(0, c - 2), c + 3)) for c in range(columns)] for r in range(rows)
    ]

    def regress(window: tuple[slice, slice]) -> NDArray[Any]:
        design = np.stack([*(image[window].ravel() for image in images), np.ones(classes[0][window].size)], axis=1)
        ridge = np.diag([FLAT_VARIANCE, FLAT_VARIANCE, 0.0]) * len(design)
        targets = classes[(slice(None), *window)].reshape(3, -1).T
        return np.linalg.solve(design.T @ design + ridge, design.T @ targets)

    fits = np.array([[regress(window) for window in line] for line in windows])  # (rows, columns, 3 terms, 3 classes)
    means = np.array([[fits[window].mean(axis=(0, 1)) for window in line] for line in windows])
    terms = np.stack([*images, np.ones((rows, columns))])
    expected = np.einsum("rctk,trc->krc", means, terms)
    found = refine_logits(logits, guides, (2, 1), radius=2 / CELLS_PER_TOKEN)[0].exp()
    np.testing.assert_allclose(found, expected.clip(1e-6), atol=1e-4)


STEP = (torch.arange(48) >= 26).float().expand(1, 1, 32, 48)
FLAT = torch.full((1, 1, 32, 48), 0.5)


@pytest.mark.parametrize(
    ("guides", "column"), [((STEP, 0 * STEP), 26), ((0 * STEP, STEP), 26), ((FLAT, FLAT), 24)], ids=["1", "2", "flat"]
)
def test_border_follows_the_edge_of_either_guide(guides: tuple[torch.Tensor, torch.Tensor], column: int) -> None:
    """The logits put the border of two classes at column 24 of 48."""
    logits = torch.zeros(1, 2, 32, 48)
    logits[:, 1] = (torch.arange(48.0) - 23.5) / 3
    refined = refine_logits(logits, torch.cat(guides, dim=1), (4, 6), radius=1)
    assert torch.equal(refined.argmax(dim=1), (torch.arange(48) >= column).long().expand(1, 32, 48))
    torch.testing.assert_close(refined.exp().sum(dim=1), torch.ones(1, 32, 48))
    assert refine_logits(100 * logits, torch.cat(guides, dim=1), (4, 6), radius=1).isfinite().all()
