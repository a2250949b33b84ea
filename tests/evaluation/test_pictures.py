"""The page of pictures: every picture is on it, and the enlarged part is where methods differ."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion.data import ImagePair
from gffusion.evaluation.methods import Baseline, FusedFolder
from gffusion.evaluation.pictures import _telling_part, draw_pictures


def test_the_part_is_where_details_differ_not_brightness() -> None:
    flat = np.full((80, 120), 100.0)
    other = flat + np.linspace(0, 100, 120)  # much brighter on the right, but smoothly so
    other[50:60, 20:30] += np.indices((10, 10)).sum(axis=0) % 2 * 40
    left, top, right, bottom = _telling_part([flat, other])
    assert (right - left, bottom - top) == (30, 20)
    assert left <= 20 < 30 <= right
    assert top <= 50 < 60 <= bottom


@pytest.mark.parametrize("corner", [(0, 0), (0, 110), (70, 0), (70, 110)])
def test_the_part_stays_inside(corner: tuple[int, int]) -> None:
    flat = np.zeros((80, 120))
    other = flat.copy()
    other[corner[0] : corner[0] + 10, corner[1] : corner[1] + 10] = 255 * np.eye(10)
    left, top, right, bottom = _telling_part([flat, other])
    assert 0 <= left < right <= 120
    assert 0 <= top < bottom <= 80
    assert left <= corner[1] + 5 < right
    assert top <= corner[0] + 5 < bottom


def test_every_picture_in_its_own_colour(tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]) -> None:
    colours = {"visible": (200, 40, 40), "infrared": (90, 90, 90), "mine": (20, 180, 60)}
    for kind, colour in colours.items():
        save(tmp_path / f"{kind}.png", np.full((40, 60, 3), colour, np.uint8))
    pair = ImagePair("scene", tmp_path / "visible.png", tmp_path / "infrared.png")
    methods = [FusedFolder("mine", {"scene": tmp_path / "mine.png"}, tmp_path), Baseline("maximum")]
    page = np.asarray(draw_pictures(methods, [pair, pair]))
    single = np.asarray(draw_pictures(methods, [pair]))
    assert page.shape == (2 * single.shape[0], *single.shape[1:])
    # The luma of the visible picture is 88, the maximum 90: nearly the same red.
    expected = [*colours.values(), (202, 42, 42)]
    shares = [(abs(single.astype(int) - colour).max(axis=-1) <= 1).mean() for colour in expected]
    assert all(share > 0.15 for share in shares), shares


def test_sixteen_bits_and_more_methods_than_a_row_holds(
    tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]
) -> None:
    picture = np.full((40, 60), 128 * 257, np.uint16)
    for kind in ("visible", "infrared"):
        save(tmp_path / f"{kind}.png", picture)
    pair = ImagePair("scene", tmp_path / "visible.png", tmp_path / "infrared.png")
    page = np.asarray(draw_pictures([Baseline("average") for _ in range(7)], [pair]))
    assert (page == 128).all(axis=-1).mean() > 0.6
