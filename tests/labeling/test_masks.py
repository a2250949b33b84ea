"""Masks by threshold, and label maps drawn from masks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mask_shapes import boxes_of, disc, iou
from numpy.typing import NDArray
from skimage.draw import ellipse
from skimage.measure import label

from gffusion.data.boxes import Boxes, read_boxes
from gffusion.labeling.masks import MaskReport, ThresholdMasks, clean_mask, draw_labels
from gffusion.synthetic.rendering import render_scene

SIZE = (60, 80)
DISC = disc(30, 40, 12, SIZE)
DISC_BOX = boxes_of((28, 18, 53, 43, 0))


def pair_of_disc(warmth: float, color: float) -> tuple[NDArray[np.float32], ...]:
    """Return a visible and an infrared image in which the disc differs by `color` and `warmth` from noisy gray."""
    rng = np.random.default_rng(0)
    visible = 0.5 + color * DISC * np.array([1, 0, -1])[:, None, None] + 0.02 * rng.standard_normal((3, *SIZE))
    infrared = 0.5 + warmth * DISC[None] + 0.02 * rng.standard_normal((1, *SIZE))
    return visible.astype(np.float32), infrared.astype(np.float32)


class TestDrawLabels:
    def test_no_boxes(self) -> None:
        labels, report = draw_labels([], boxes_of(), SIZE)
        assert (labels.dtype, labels.shape, labels.max(), report) == (np.uint8, SIZE, 0, MaskReport(0, 0, 0))

    def test_found_object_gets_its_mask_and_class(self) -> None:
        mask = np.zeros((10, 20), dtype=bool)
        mask[2:8, 3:15] = True
        labels, report = draw_labels([mask], boxes_of((30, 20, 50, 30, 4)), SIZE, ignore_doubtful=False)
        expected = np.zeros(SIZE, dtype=np.uint8)
        expected[22:28, 33:45] = 5
        np.testing.assert_array_equal(labels, expected)
        assert report == MaskReport(objects=1, found=1, hidden=0)

    def test_ellipse_outside_the_mask_is_ignored(self) -> None:
        mask = np.zeros((10, 20), dtype=bool)
        mask[:, :10] = True
        labels, _ = draw_labels([mask], boxes_of((30, 20, 50, 30, 0)), SIZE)
        assert (labels[20:30, 30:40] == 1).all()  # the whole mask, also outside the ellipse
        expected = np.zeros(SIZE, dtype=bool)
        expected[ellipse(24.5, 39.5, 5, 10)] = True
        expected[:, :40] = False
        np.testing.assert_array_equal(labels == 255, expected)

    @pytest.mark.parametrize(
        ("fallback", "in_middle", "in_corner"), [("ellipse", 3, 255), ("box", 3, 3), ("ignore", 255, 255)]
    )
    def test_fallback(self, fallback: str, in_middle: int, in_corner: int) -> None:
        labels, report = draw_labels([None], boxes_of((30, 20, 50, 30, 2)), SIZE, fallback)
        assert (labels[25, 40], labels[20, 30]) == (in_middle, in_corner)
        outside = np.ones(SIZE, dtype=bool)
        outside[20:30, 30:50] = False
        assert not labels[outside].any() and labels[~outside].all()
        assert (report.found, report.fallback, report.hidden) == (0, 1, 0)

    @pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
    def test_smaller_box_is_in_front_in_any_order(self, order: slice) -> None:
        """A small person in front of a car, each of them found and the other one not."""
        boxes = boxes_of(*[(10, 10, 60, 50, 2), (30, 20, 40, 40, 0)][order])
        full, small = np.ones((40, 50), dtype=bool), np.ones((20, 10), dtype=bool)
        labels, _ = draw_labels([full, None][order], boxes, SIZE)
        assert labels[30, 35] == 1
        assert labels[20, 30] == 3  # the corner of the small box belongs to the car, and is not ignored
        labels, _ = draw_labels([None, small][order], boxes, SIZE)
        assert (labels[20:40, 30:40] == 1).all()
        assert labels[30, 15] == 3

    def test_covered_object_is_counted(self) -> None:
        twins = boxes_of((10, 10, 20, 30, 0), (10, 10, 20, 30, 1))
        labels, report = draw_labels([None, None], twins, SIZE)
        assert report == MaskReport(objects=2, found=0, hidden=1)
        assert len(np.unique(labels)) == 3  # background, ignored and one of the two
        assert draw_labels([None, None], twins, SIZE, "ignore")[1] == MaskReport(objects=2)  # ignored is not hidden

    @pytest.mark.parametrize("ignore_doubtful", [True, False])
    def test_uncertain_boxes_are_ignored_and_cover_no_object(self, ignore_doubtful: bool) -> None:
        boxes = replace(boxes_of((30, 20, 50, 30, 4)), ignored=np.array([[40, 20, 60, 40]], np.float32))
        labels, report = draw_labels([None], boxes, SIZE, "box", ignore_doubtful)
        expected = np.zeros(SIZE, dtype=np.uint8)
        expected[20:40, 40:60] = 255
        expected[20:30, 30:50] = 5
        np.testing.assert_array_equal(labels, expected)
        assert report == MaskReport(objects=1, found=0, ignored=1)

    def test_unseen_pixels_are_ignored_but_not_objects_there(self) -> None:
        unseen = np.zeros(SIZE, dtype=bool)
        unseen[:, 40:] = True
        labels, report = draw_labels([None], replace(boxes_of((30, 20, 50, 30, 4)), unseen=unseen), SIZE, "box")
        expected = np.zeros(SIZE, dtype=np.uint8)
        expected[:, 40:] = 255
        expected[20:30, 30:50] = 5
        np.testing.assert_array_equal(labels, expected)
        assert report == MaskReport(objects=1, unseen=(labels == 255).mean())

    @pytest.mark.parametrize("fallback", ["ellipse", "box"])
    @pytest.mark.parametrize("box", [(5.2, 5.2, 5.4, 5.4), (5.9, 5, 6.1, 9), (79.5, 59.5, 80, 60), (0, 0, 80, 60)])
    def test_every_box_has_a_pixel(self, box: tuple[float, ...], fallback: str) -> None:
        labels, report = draw_labels([None], boxes_of((*box, 0)), SIZE, fallback)
        assert (labels == 1).any()
        assert report.hidden == 0

    @pytest.mark.parametrize(
        ("start", "end", "expected"),
        [
            (29.89, 29.998, [29]),
            (29.89, 30.05, [29]),
            (29.95, 30.12, [30]),
            (30, 30.1, [30]),
            (79.9, 80, [79]),
            (0, 0.1, [0]),
            (29.8, 31, [29, 30]),
            (30, 31.2, [30, 31]),
            (29.88, 31.12, [30]),
        ],
    )
    def test_pixels_that_a_box_covers_in_part(self, start: float, end: float, expected: list[int]) -> None:
        """Those of which it covers more than the rounding of numbers in files."""
        size = (80, 80)
        for box in ((start, 3, end, 4), (3, start, 4, end)):
            labels = draw_labels([None], boxes_of((*box, 0)), size, "box")[0]
            rows, columns = map(np.unique, np.nonzero(labels))
            assert [rows.tolist(), columns.tolist()] == ([[3], expected] if box[1] == 3 else [expected, [3]])

    @pytest.mark.parametrize(("size", "decimals"), [((480, 640), 6), ((1080, 1920), 6), ((1080, 1920), 4)])
    def test_rounding_in_yolo_files_adds_no_pixels(self, tmp_path: Path, size: tuple[int, int], decimals: int) -> None:
        rng = np.random.default_rng(0)
        labels = np.zeros(size, np.uint8)
        rows = []
        for left in range(0, size[1], 40):
            (top, width), height = rng.integers(1, 40, 2), rng.integers(1, 400)
            labels[top : top + height, left : left + width] = 1
            numbers = (left + width / 2) / size[1], (top + height / 2) / size[0], width / size[1], height / size[0]
            rows.append(" ".join(["0", *(f"{number:.{decimals}f}" for number in numbers)]))
        (tmp_path / "a.txt").write_text("\n".join(rows))
        boxes = read_boxes(tmp_path / "a.txt", size)
        np.testing.assert_array_equal(draw_labels([None] * len(rows), boxes, size, "box")[0], labels)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"between 0 and 253.*got class 254"):
            draw_labels([None], boxes_of((10, 10, 20, 30, 254)), SIZE)
        for number in (np.int64(-1), np.uint8(255)):
            with pytest.raises(ValueError, match=f"between 0 and 253.*got class {number}"):
                draw_labels([None], Boxes(np.array([[10, 10, 20, 30]], np.float32), np.array([number])), SIZE)  # type: ignore[arg-type]
        box, mask = boxes_of((10, 10, 20, 30, 0)), np.ones((20, 10), np.bool_)
        for other in (mask.astype(np.uint8), mask * np.uint8(255), mask.T):
            with pytest.raises(ValueError, match=r"`masks\[0\]` must be bool of shape \(20, 10\), got "):
                draw_labels([other], box, SIZE)
        for masks in ([], [mask, mask]):
            with pytest.raises(ValueError, match=f"one mask or None per box, got {len(masks)} for 1 boxes"):
                draw_labels(masks, box, SIZE)
        with pytest.raises(ValueError, match="`fallback` must be one of ellipse, box, ignore, got 'none'"):
            draw_labels([], boxes_of(), SIZE, "none")  # type: ignore[arg-type]

    def test_reports_add_up(self) -> None:
        assert MaskReport(3, 2, 1, 5) + MaskReport(4, 1, 0, 2) == MaskReport(7, 3, 1, 7)


class TestCleanMask:
    def test_drops_specks_and_fills_holes(self) -> None:
        expected = np.zeros((40, 40), dtype=bool)
        expected[5:35, 5:18] = expected[5:35, 22:30] = True  # an object that a pole splits in two
        mask = expected.copy()
        mask[10:13, 10:13] = False
        mask[0, 0] = mask[38:40, 38:40] = True
        np.testing.assert_array_equal(clean_mask(mask), expected)

    @pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool), np.eye(30, dtype=bool)])
    def test_nearly_nothing_and_nearly_everything_are_not_found(self, mask: NDArray[np.bool_]) -> None:
        assert clean_mask(mask) is None


class TestThreshold:
    @pytest.mark.parametrize(
        ("source", "warmth", "color"),
        [
            ("infrared", 0.3, 0),
            ("both", 0.3, 0),
            ("infrared", -0.3, 0),
            ("both", -0.3, 0),
            ("visible", 0, 0.2),
            ("both", 0, 0.2),
        ],
    )
    def test_warm_cold_or_colored_object(self, source: str, warmth: float, color: float) -> None:
        masks = ThresholdMasks(source)(*pair_of_disc(warmth, color), DISC_BOX)
        labels, report = draw_labels(masks, DISC_BOX, SIZE)
        assert iou(labels == 1, DISC) > 0.9
        assert report == MaskReport(1, 1, 0)

    def test_other_modality_is_not_used(self) -> None:
        labels, _ = draw_labels(ThresholdMasks("infrared")(*pair_of_disc(0, color=0.2), DISC_BOX), DISC_BOX, SIZE)
        assert iou(labels == 1, DISC) < 0.8

    @pytest.mark.parametrize("box", [(0, 0, 80, 60), (28, 18, 53, 43), (10.2, 10.2, 10.4, 10.4)])
    def test_nothing_is_found_in_uniform_gray(self, box: tuple[float, ...]) -> None:
        gray = np.full((3, *SIZE), 0.5, dtype=np.float32)
        assert ThresholdMasks()(gray, gray[:1], boxes_of((*box, 0))) == [None]

    def test_no_boxes(self) -> None:
        assert ThresholdMasks()(*pair_of_disc(0.3, 0), boxes_of()) == []

    def test_unknown_source(self) -> None:
        with pytest.raises(ValueError, match="`source` must be one of visible, infrared, both, got 'thermal'"):
            ThresholdMasks("thermal")  # type: ignore[arg-type]

    def test_rendered_people(self) -> None:
        """Compared with the true masks, better than the ellipses inscribed in the boxes."""
        ours, plain, truth = [], [], []
        for seed in range(2):
            scene = render_scene(seed, 240, 320)
            people = [box for box in scene.boxes if box.class_id == 1]
            boxes = boxes_of(*((box.left, box.top, box.right, box.bottom, 0) for box in people))
            masks = ThresholdMasks()(np.moveaxis(scene.visible, -1, 0) / 255, scene.infrared[None] / 255, boxes)
            ours.append(draw_labels(masks, boxes, scene.labels.shape)[0] == 1)
            plain.append(draw_labels([None] * len(people), boxes, scene.labels.shape)[0] == 1)
            truth.append(scene.labels == 1)
        assert iou(np.stack(ours), np.stack(truth)) > max(0.6, iou(np.stack(plain), np.stack(truth)) + 0.1)

    def test_mask_stays_in_its_box(self) -> None:
        boxes = boxes_of((34, 24, 47, 37, 0))  # smaller than the object
        labels, _ = draw_labels(ThresholdMasks()(*pair_of_disc(0.3, 0), boxes), boxes, SIZE)
        assert label(labels == 1).max() == 1
        labels[24:37, 34:47] = 0
        assert not labels.any()
