"""Checks of label maps before they are used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gffusion.data.label_values import check_class_values, check_label_files, replace_values
from gffusion.data.layouts.known import FMB_CLASSES


def test_maps_are_read_up_to_the_given_size(tmp_path: Path) -> None:
    """Larger ones are left to the code that uses them, which refuses them."""
    file = tmp_path / "a.png"
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(file)
    with pytest.raises(ValueError, match="hold only 255"):
        check_label_files([file], 100)
    check_label_files([file], 99)
    Image.fromarray(np.full((10, 10), 77, np.uint8)).save(file)
    with pytest.raises(ValueError, match=r"a\.png holds 77"):
        check_class_values([file], ["background", "person"], {}, 100)
    check_class_values([file], ["background", "person"], {}, 99)


def test_numbers_that_start_at_1(tmp_path: Path) -> None:
    def check(*values: int, names: Sequence[str] = ("background", "person", "car")) -> str:
        for index, value in enumerate(values):
            Image.fromarray(np.full((2, 2), value, np.uint8)).save(tmp_path / f"{index}.png")
        return check_class_values(sorted(tmp_path.iterdir())[: len(values)], names, {}, 100)

    note = "is 0 (background), which is right only if every pixel has another class: if their numbers start at 1, subtract 1"
    assert note in check(1, 2, 255)
    assert not check(0, 1, 2)
    assert not check(1, 2, names=("road", "person", "car"))
    assert not check(1, 2, names=("background", *(name.title() for name in FMB_CLASSES)))
    with pytest.raises(
        ValueError, match=r"2\.png holds 3, .* 2 car: no pixel .* start at 1, subtract 1; or give `label_m"
    ):
        check(1, 2, 3)
    with pytest.raises(ValueError, match=r"2\.png holds 3, .* 2 car: give `label_map`"):
        check(0, 1, 3)


def test_values_that_need_a_larger_type() -> None:
    labels = np.array([[0, 1, 9]], np.uint8)
    assert replace_values(labels, {1: 280, 9: -1}).tolist() == [[0, 280, -1]]
    assert replace_values(labels, {1: 255}).dtype == np.uint8
