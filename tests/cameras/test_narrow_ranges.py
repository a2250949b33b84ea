"""Images of a closed shutter are told from those of a camera of less contrast."""

import pytest

from gffusion.cameras.narrow_ranges import note_narrow


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
