"""Images compared with a slider in HTML."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gffusion.visualization.slider import ImageSlider


def read_images(html: str) -> dict[str, Image.Image]:
    found = re.findall(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]*)"', html)
    return {name: Image.open(BytesIO(base64.b64decode(content))) for content, name in found}


@pytest.mark.parametrize(
    "image",
    [
        np.full((24, 32), 200, np.uint8),
        np.full((24, 32, 3), 200, np.uint8),
        np.full((24, 32), 200 * 257, np.uint16),
        np.full((24, 32), 200 / 255, np.float32),
        Image.new("L", (32, 24), 200),
        Image.new("RGBA", (32, 24), (200, 200, 200, 255)),
        Image.fromarray(np.full((24, 32), 200 * 257, np.uint16)),
        Image.fromarray(np.full((24, 32), 200 * 257, np.int32)),
        Image.fromarray(np.full((24, 32), 200 / 255, np.float32)),
    ],
)
def test_images_of_any_kind_are_in_the_page(image: np.ndarray | Image.Image) -> None:
    shown = read_images(ImageSlider({"visible": np.zeros((24, 32)), "fused": image}).to_html())
    assert [*shown] == ["visible", "fused"]
    assert shown["fused"].size == (32, 24)
    assert abs(np.asarray(shown["fused"].convert("RGB"), int) - 200).max() <= 1


def test_first_and_last_image_are_chosen_unless_named() -> None:
    images = {name: np.zeros((8, 8)) for name in ("visible", "infrared", "fused")}
    assert re.findall(r"<option selected>(\w+)", ImageSlider(images).to_html()) == ["visible", "fused"]
    slider = ImageSlider(images, left="infrared", right="visible")
    assert re.findall(r"<option selected>(\w+)", slider._repr_html_()) == ["infrared", "visible"]


def test_large_images_are_shown_smaller() -> None:
    shown = read_images(ImageSlider({"a": np.zeros((100, 2000)), "b": np.ones((100, 2000))}).to_html())
    assert shown["a"].size == (1280, 64)


def test_names_are_text_and_nothing_is_loaded_from_elsewhere() -> None:
    html = ImageSlider({"<script>alert(1)</script>": np.zeros((8, 8)), '"x" onload="y': np.ones((8, 8))}).to_html()
    assert "<script" not in html and 'onload="' not in html
    assert not re.search(r"https?://|//cdn|url\(", html)


@pytest.mark.parametrize(
    ("images", "names", "message"),
    [
        ({"a": np.zeros((8, 8))}, {}, "two or more images, got a"),
        ({"a": np.zeros((8, 8)), "b": np.full((8, 8), 200.0)}, {}, r"The b image has values from 200 to 200"),
        ({"a": np.zeros((8, 8)), "b": Image.new("F", (8, 8), 300)}, {}, r"must be in \[0, 1\]"),
        ({"a": np.zeros((8, 8)), "b": np.full((8, 8), np.nan)}, {}, r"must be in \[0, 1\]"),
        ({"a": np.zeros((8, 8)), "b": np.zeros((8, 9))}, {}, r"one size, got \(width x height\) a 8x8, b 9x8"),
        ({"a": np.zeros((8, 8)), "b": np.zeros((8, 8))}, {"left": "c"}, "no image 'c'; choose from a, b"),
    ],
)
def test_what_cannot_be_compared_is_refused(images: dict, names: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageSlider(images, **names)
