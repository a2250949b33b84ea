"""The sheet to check an alignment by eye: what its colors and squares show."""

import numpy as np
import pytest

from gffusion.visualization.alignment import draw_alignment


def test_edges_and_squares() -> None:
    """Edges at column 16 of the visible image, at 48 of the infrared one, and at row 24 of both; squares of 8 pixels."""
    rows, columns = np.indices((48, 64))
    steps = {edge: 100 * (columns >= edge) + 100 * (rows >= 24) for edge in (16, 48)}
    visible = np.zeros((48, 64, 3), np.uint8)
    visible[..., 0] = steps[16]
    sheet = np.asarray(draw_alignment(visible, steps[48], rows >= 40)).astype(int)
    board, edges = sheet[:, :64], sheet[:, 72:] // 128
    assert edges[8, 48].tolist() == [1, 0, 0]
    assert edges[8, 16].tolist() == [0, 1, 1]
    assert edges[24, 32].tolist() == [1, 1, 1]
    assert edges[8, 32].tolist() == [0, 0, 0]
    # Neighbors in two rows, of red and of gray, and one where the infrared image is missing.
    assert [board[4, column].tolist() for column in (36, 44, 52, 60)] == [[128, 0, 0], [0] * 3, [128, 0, 0], [128] * 3]
    assert [board[36, column].tolist() for column in (36, 44, 52, 60)] == [
        [255, 0, 0],
        [128] * 3,
        [255, 0, 0],
        [255] * 3,
    ]
    assert board[44, 52].tolist() == [255, 0, 0]


def test_masks_of_numbers_are_refused() -> None:
    images = np.zeros((48, 64, 3), np.uint8), np.eye(48, 64)
    for missing in (np.eye(48, 64, dtype=np.uint8), np.eye(64, 48) > 0):
        with pytest.raises(ValueError, match=r"`missing` must be bool of shape \(48, 64\), got "):
            draw_alignment(*images, missing)
