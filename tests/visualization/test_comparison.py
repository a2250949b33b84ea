"""Images side by side: all are shown, and the enlarged part is where their details differ."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from gffusion.visualization.comparison import draw_comparison, find_differing_part


@pytest.mark.parametrize("corner", [(50, 20), (0, 0), (0, 110), (70, 0), (70, 110)])
def test_part_lies_inside_the_image_where_details_differ_not_brightness(corner: tuple[int, int]) -> None:
    flat = np.full((80, 120), 100.0)
    other = flat + np.linspace(0, 60, 120)  # smoothly brighter towards the right
    y, x = corner
    other[y : y + 10, x : x + 10] += np.indices((10, 10)).sum(axis=0) % 2 * 40
    left, top, right, bottom = find_differing_part([flat, other])
    assert (right - left, bottom - top) == (30, 20)
    assert 0 <= left <= x + 5 < right <= 120
    assert 0 <= top <= y + 5 < bottom <= 80


@pytest.mark.parametrize(
    ("image", "level"),
    [
        (np.full((40, 60), 128 * 257, np.uint16), 128),
        (np.full((40, 60), 0.4, np.float32), 102),
        (np.full((40, 60, 3), 90, np.uint8), 90),
        (np.full((40, 60, 1), 90, np.uint8), 90),
        (np.full((40, 60), 90 * 257, ">u2"), 90),
        (Image.new("L", (60, 40), 90), 90),
    ],
)
def test_any_format_and_more_methods_than_a_row_holds(image: np.ndarray | Image.Image, level: int) -> None:
    fused = {f"method {number}": image for number in range(7)}
    page = np.asarray(draw_comparison("scene", {"visible": image, "infrared": image}, fused))
    assert (page == level).all(axis=-1).mean() > 0.6


def test_images_that_do_not_fit_are_named() -> None:
    image = np.zeros((40, 60))
    with pytest.raises(ValueError, match=r"one size, got \(width x height\) visible 60x40, mine 60x30"):
        draw_comparison("scene", {"visible": image}, {"mine": image[:30]})
    with pytest.raises(ValueError, match="The mine image has values from 255 to 255"):
        draw_comparison("scene", {"visible": image}, {"mine": image + 255}, zoom=(0, 0, 9, 9))
    with pytest.raises(ValueError, match="no fused image of scene"):
        draw_comparison("scene", {"visible": image}, {})


def test_long_names_that_differ_at_the_end_are_shown_in_full() -> None:
    """Both methods had the same caption, and the scenes the same heading."""
    image = np.zeros((40, 60), np.uint8)
    names = [f"fine_tuned_on_our_thermal_data_with_rate_0.0001_epoch_{epoch}" for epoch in (10, 20)]
    pages = [np.asarray(draw_comparison("scene", {}, {name: image, "other": image})) for name in names]
    assert (pages[0] != pages[1]).any()
    short = draw_comparison("scene", {}, {"mine": image, "other": image})
    assert pages[0].shape[0] == short.height + 20  # the line is no shorter, and the images are not smaller
    scenes = [np.asarray(draw_comparison(f"{'scene_' * 60}{number}", {}, {"mine": image})) for number in range(2)]
    assert (scenes[0] != scenes[1]).any()


class TestEnlargedPart:
    """Gray images of which the enlarged part is a checkerboard that no other part has."""

    SCENE = np.full((80, 120), 100, np.uint8)

    def marked(self, left: int, top: int) -> np.ndarray:
        image = self.SCENE.copy()
        image[top : top + 10, left : left + 10] = 255 * (np.indices((10, 10)).sum(axis=0) % 2)
        return image

    def test_of_one_method_is_where_it_differs_from_the_sources(self) -> None:
        """The part was the upper left corner, because one image does not differ from itself."""
        marked = self.marked(90, 60)
        chosen = draw_comparison("scene", {"visible": marked, "infrared": self.SCENE}, {"mine": marked})
        given = draw_comparison(
            "scene", {"visible": marked, "infrared": self.SCENE}, {"mine": marked}, zoom=(90, 60, 120, 80)
        )
        corner = draw_comparison(
            "scene", {"visible": marked, "infrared": self.SCENE}, {"mine": marked}, zoom=(0, 0, 30, 20)
        )
        dark = [int((np.asarray(page)[100:] < 60).sum()) for page in (chosen, given, corner)]
        assert dark[0] > dark[2] + 10_000
        assert dark[1] > dark[2] + 10_000

    @pytest.mark.parametrize("zoom", [(0, 0, 121, 10), (-1, 0, 5, 5), (5, 5, 5, 6), (0, 70, 10, 81)])
    def test_must_lie_in_the_image(self, zoom: tuple[int, int, int, int]) -> None:
        with pytest.raises(ValueError, match="does not lie in scene, which has 120 x 80 pixels"):
            draw_comparison("scene", {}, {"mine": self.SCENE}, zoom=zoom)

    @pytest.mark.parametrize("zoom", [(0, 0, 9), "0,0,9,9", (0, 0, 9, None), np.zeros((2, 2))])
    def test_must_be_four_numbers(self, zoom: Any) -> None:
        with pytest.raises(ValueError, match=r"\(zoom\) of scene must be four numbers, left, top, right and bottom"):
            draw_comparison("scene", {}, {"mine": self.SCENE}, zoom=zoom)

    def test_can_be_an_array(self) -> None:
        pages = [
            draw_comparison("scene", {}, {"mine": self.marked(9, 9)}, zoom=zoom)
            for zoom in ((5, 6, 30, 20), np.array([5, 6, 30, 20]))
        ]
        assert pages[0].tobytes() == pages[1].tobytes()

    @pytest.mark.parametrize("zoom", [(0, 0, 120, 10), (0, 0, 5, 80)])
    def test_keeps_its_proportions(self, zoom: tuple[int, int, int, int]) -> None:
        assert (
            draw_comparison("scene", {}, {"mine": self.SCENE}, zoom=zoom).size
            == draw_comparison("scene", {}, {"mine": self.SCENE}).size
        )
