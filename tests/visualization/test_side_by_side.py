"""Figures of several methods for papers: names, parts, label maps with a legend, and files that publishers take."""

import re
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from gffusion.visualization.plotting import measure_text, render_figure
from gffusion.visualization.side_by_side import draw_side_by_side

SCENE = np.linspace(0, 1, 48 * 64).reshape(48, 64)
NAMES = ("background", "person", "car")


def draw(count: int, **options: object) -> Figure:
    """Draw the sources and a number of methods."""
    fused = {
        f"method {number}, with a name that is too long even for two lines of the figure": SCENE
        for number in range(count)
    }
    return draw_side_by_side({"visible": SCENE, "infrared": 1 - SCENE, **fused}, **options)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (5, 2), (9, 3)])
def test_every_image_has_its_name_and_its_part(count: int, rows: int) -> None:
    figure = draw(count, zoom=(8, 4, 24, 16))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    names = [
        f"method {number}, with a name that is too long even for two lines of the figure" for number in range(count)
    ]
    assert [title.replace("\n", "") for title in titles] == ["visible", "infrared", *names]
    assert all(measure_text(title, 8) <= 72 * 1.75 for title in titles)
    assert sum(len(axes.images) for axes in figure.axes) == 2 * (count + 2)
    assert figure.get_figheight() == pytest.approx(rows * (0.19 + 2 * 0.155 + 2 * (1.75 * 48 / 64 + 0.04)), rel=0.1)
    part = figure.axes[-1].images[0].get_array()
    assert part.shape[1] / part.shape[0] == pytest.approx(16 / 12, rel=0.01)


@pytest.mark.parametrize(("count", "names"), [(4, NAMES), (0, [f"a class with a long name {n}" for n in range(12)])])
def test_nothing_is_cut_off(count: int, names: tuple[str, ...]) -> None:
    figure = draw(count, labels={"visible": np.eye(48, 64, dtype=np.uint8)}, class_names=names)
    figure.draw_without_rendering()
    inside = figure.bbox
    for axes in figure.axes:
        assert inside.x0 <= axes.get_tightbbox().x0 and axes.get_tightbbox().x1 <= inside.x1
        assert axes.title.get_window_extent().y1 <= inside.y1
    legend = figure.legends[0].get_window_extent()
    assert inside.x0 <= legend.x0 and legend.x1 <= inside.x1 and legend.y0 >= inside.y0


def test_classes_have_a_legend_and_their_name_in_the_image() -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[10:40, 20:50] = 1
    labels[0, 0] = 2  # too small for a name
    figure = draw(1, enlarge=False, labels={"infrared": labels}, class_names=NAMES)
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["person", "car"]
    shown = next(axes for axes in figure.axes if axes.get_title() == "infrared: segmentation")
    [name] = shown.texts
    assert name.get_text() == "person"
    assert labels[round(name.get_position()[1]), round(name.get_position()[0])] == 1
    figure = draw(1, enlarge=False, labels={"infrared": labels}, class_names=dict(enumerate(NAMES)))  # as `id2label`
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["person", "car"]
    many = [f"class {index}" for index in range(30)]
    figure = draw(1, enlarge=False, labels={"infrared": labels}, class_names=many)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["class 1", "class 2"]


def test_frames_differ_from_dark_and_bright_images_in_gray() -> None:
    edges = [patch.get_edgecolor()[:3] for patch in draw(1).axes[0].patches]
    grays = [np.dot(edge, (0.299, 0.587, 0.114)) for edge in edges]
    assert max(grays) - min(grays) > 0.4


def test_files_embed_their_fonts_and_keep_the_pixels() -> None:
    figure = draw(1)
    pdf = render_figure(figure, "pdf")
    assert b"/FontFile2" in pdf and b"/Type3" not in pdf
    assert b"/Width 64" in pdf and b"/Height 48" in pdf
    assert b"<text" not in render_figure(figure, "svg")  # outlines
    assert pdf == render_figure(draw(1), "pdf")


def test_sizes_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"one size, got \(width x height\) visible 64x48, other 64x40"):
        draw_side_by_side({"visible": SCENE, "other": SCENE[:40]})


def test_images_and_label_maps_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="The visible image has values from 0 to 255"):
        draw_side_by_side({"visible": SCENE * 255}, enlarge=False)
    with pytest.raises(
        ValueError, match="`labels` has 'fused', but there is no image of this name; choose from visible"
    ):
        draw_side_by_side({"visible": SCENE}, labels={"fused": np.zeros((48, 64), np.uint8)})
    with pytest.raises(ValueError, match="no image to draw"):
        draw_side_by_side({})


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=re.escape('figures need matplotlib: pip install "gffusion[plots]"')):
        draw(1)
