"""Figures from files: every image is shown in its own color, and failures of matplotlib are reported."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion.data import ImagePair
from gffusion.data.infrared_range import PairRanges
from gffusion.evaluation import evaluate
from gffusion.evaluation.figures import Scene, draw_sheets, fuse_scene
from gffusion.evaluation.methods import Baseline, FusedFolder
from gffusion.evaluation.scoring import Plan
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.visualization.palette import color_classes


def test_every_image_in_its_own_color(tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]) -> None:
    colors = {"visible": (200, 40, 40), "infrared": (90, 90, 90), "mine": (20, 180, 60)}
    for kind, color in colors.items():
        save(tmp_path / f"{kind}.png", np.full((40, 60, 3), color, np.uint8))
    pair = ImagePair("scene", tmp_path / "visible.png", tmp_path / "infrared.png")
    methods = [FusedFolder("mine", {"scene": tmp_path / "mine.png"}), Baseline("maximum")]
    scene = fuse_scene(Plan(methods, ("EN",), "standard", (), {}, PairRanges(InfraredOptions())), pair)
    page, single = (np.asarray(next(draw_sheets(scenes))) for scenes in ([scene, scene], [scene]))
    assert page.shape == (2 * single.shape[0], *single.shape[1:])
    # The luma of the visible image is 88, the maximum 90: nearly the same red.
    expected = [*colors.values(), (202, 42, 42)]
    shares = [(abs(single.astype(int) - color).max(axis=-1) <= 1).mean() for color in expected]
    assert all(share > 0.15 for share in shares), shares


def test_pages_have_a_largest_height_and_scenes_are_drawn_one_by_one() -> None:
    asked = []

    def scenes() -> Iterator[Scene]:
        for number in range(30):
            asked.append(number)
            image = np.full((48, 64), 8 * number, np.uint8)
            yield Scene(f"{number}", {"visible": image, "infrared": image}, {"mine": image}, {}, ())

    pages = draw_sheets(scenes())
    first = next(pages)
    assert len(asked) < 15
    rest = list(pages)
    assert len(rest) > 1 and max(page.height for page in (first, *rest)) <= 6000


def fail(*args: Any, **options: Any) -> None:
    raise OSError("a font\nis damaged")


@pytest.mark.parametrize(
    ("is_installed", "message"),
    [
        (False, 'no box plots without matplotlib: pip install "gffusion[plots]"'),
        (True, "no box plots: matplotlib failed with OSError: a font is damaged"),
    ],
)
def test_if_matplotlib_fails_only_the_box_plots_are_missing(
    pairs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_installed: bool,
    message: str,
) -> None:
    if is_installed:
        monkeypatch.setattr("gffusion.evaluation.figures.render_figure", fail)
    else:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with caplog.at_level(logging.WARNING):
        evaluate(pairs / "visible", pairs / "infrared", baselines=["average"], metrics=["EN"], output=tmp_path / "out")
    assert caplog.messages == [message]
    names = "per_image.csv records.jsonl sheet.png summary.json table.csv table.md table.tex"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names.split()}


def test_label_maps_are_shown_over_the_images(tmp_path: Path, save: Callable[[Path, NDArray[Any]], None]) -> None:
    gray, labels = np.full((40, 60), 100, np.uint8), np.zeros((40, 60), np.uint8)
    labels[:, 30:] = 7  # another number of class 1
    labels[0] = 255  # ignored
    predicted = np.zeros((40, 60), np.uint8)
    predicted[20:] = 1
    predicted[10] = 255  # as some programs mark what they do not know
    images = dict.fromkeys(("visible", "infrared", "mine"), gray) | {"labels": labels, "predicted": predicted}
    for name, image in images.items():
        save(tmp_path / f"{name}.png", image)
    pair = ImagePair("scene", tmp_path / "visible.png", tmp_path / "infrared.png", tmp_path / "labels.png")
    files = {"mine": {"scene": tmp_path / "predicted.png"}}
    methods = [FusedFolder("mine", {"scene": tmp_path / "mine.png"}), Baseline("maximum")]
    ranges = PairRanges(InfraredOptions())
    scene = fuse_scene(Plan(methods, ("EN",), "standard", ("background", "car"), files, ranges, label_map={7: 1}), pair)
    assert [*scene.labels] == ["labels", "mine: labels"]
    [page] = draw_sheets([scene])
    assert (np.asarray(page)[-30:] == color_classes(1)).all(axis=-1).sum() > 200  # the legend
    colored = {name: (image[..., 0] != image[..., 1]) for name, image in scene.labels.items()}
    np.testing.assert_array_equal(colored["labels"], labels == 7)
    np.testing.assert_array_equal(colored["mine: labels"], predicted == 1)
