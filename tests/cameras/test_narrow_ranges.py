"""Images of a closed shutter are told from those of a camera of less contrast."""

import numpy as np
import pytest

from gffusion.cameras.narrow_ranges import measure_width, note_narrow


def find_narrow(widths: list[tuple[str, float]]) -> list[int]:
    return [int(name) for name, _ in note_narrow([(str(index), *width) for index, width in enumerate(widths)])]


@pytest.mark.parametrize(
    ("scenes", "dim", "is_found"),
    [(2, 1, True), (4, 2, True), (40, 10, True), (6, 4, False), (9, 4, False), (2, 3, False)],
)
def test_a_second_camera_is_not_named(scenes: int, dim: int, is_found: bool) -> None:
    widths = [("uint16", 60000.0)] * scenes + [("uint16", 1500.0)] * dim
    assert find_narrow(widths) == (list(range(scenes, scenes + dim)) if is_found else [])


def test_each_folder_has_a_usual_range() -> None:
    assert find_narrow([("a", 60000.0)] * 12 + [("b", 1500.0)] * 2 + [("b", 20.0)]) == [14]


@pytest.mark.parametrize("channels", [0, 3])
def test_the_width_is_that_of_measured_pixels(channels: int) -> None:
    values, missing = np.tile(np.linspace(290, 310, 160), (120, 1)), np.zeros((120, 160), bool)
    values[:20], missing[:20] = -9999, True
    values[20:40] = np.nan
    if channels:
        values = np.repeat(values[..., None], channels, axis=-1)
        values[40:44, :, 1] = np.nan
    assert measure_width(values, missing) == pytest.approx(20, abs=1)
    assert measure_width(values, ~missing) == measure_width(values[:40], missing[:40]) == 0
