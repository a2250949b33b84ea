"""Masks by threshold, and the drawing of label maps: who owns a pixel, and that no object is lost unnoticed."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.draw import disk, ellipse
from skimage.measure import label

from gffusion.data.boxes import Boxes
from gffusion.labeling.masks import MaskReport, ThresholdMasks, draw_labels, keep_object
from gffusion.synthetic.rendering import render_scene

SIZE = (60, 80)


def boxes_of(*rows: tuple[float, ...]) -> Boxes:
    """Boxes of rows left, top, right, bottom, class."""
    table = np.array(rows, dtype=np.float32).reshape(-1, 5)
    return Boxes(table[:, :4], table[:, 4].astype(np.int64))


def disc(row: float, column: float, radius: float, size: tuple[int, int] = SIZE) -> NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[disk((row, column), radius, shape=size)] = True
    return mask


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


def pair(shape: NDArray[np.bool_], warmth: float, colour: float, seed: int = 0) -> tuple[NDArray[np.float32], ...]:
    """A visible and an infrared picture in which a shape stands out by `colour` and `warmth` from noisy grey."""
    rng = np.random.default_rng(seed)
    visible = 0.5 + colour * shape * np.array([1, 0, -1])[:, None, None] + 0.02 * rng.standard_normal((3, *shape.shape))
    infrared = 0.5 + warmth * shape[None] + 0.02 * rng.standard_normal((1, *shape.shape))
    return visible.astype(np.float32), infrared.astype(np.float32)


class TestDrawLabels:
    def test_no_boxes_are_all_background(self) -> None:
        labels, report = draw_labels([], boxes_of(), SIZE)
        assert (labels.dtype, labels.shape, labels.max()) == (np.uint8, SIZE, 0)
        assert report == MaskReport(0, 0, 0)

    def test_found_object_has_its_mask_and_class(self) -> None:
        mask = np.zeros((10, 20), dtype=bool)
        mask[2:8, 3:15] = True
        labels, report = draw_labels([mask], boxes_of((30, 20, 50, 30, 4)), SIZE, ignore_doubtful=False)
        expected = np.zeros(SIZE, dtype=np.uint8)
        expected[22:28, 33:45] = 5
        np.testing.assert_array_equal(labels, expected)
        assert report == MaskReport(objects=1, found=1, hidden=0)

    def test_what_the_ellipse_has_beyond_the_mask_is_ignored(self) -> None:
        mask = np.zeros((10, 20), dtype=bool)
        mask[:, :10] = True
        labels, _ = draw_labels([mask], boxes_of((30, 20, 50, 30, 0)), SIZE)
        assert (labels[20:30, 30:40] == 1).all()  # the mask, beyond the ellipse, too
        assert labels[25, 41] == labels[25, 49] == 255
        assert labels[20, 49] == labels[29, 49] == 0
        rows, columns = ellipse(24.5, 39.5, 5, 10)
        assert set(zip(*np.nonzero(labels == 255), strict=True)) == {
            (row, column) for row, column in zip(rows, columns, strict=True) if column >= 40
        }

    @pytest.mark.parametrize(
        ("fallback", "in_middle", "in_corner"), [("ellipse", 3, 255), ("box", 3, 3), ("ignore", 255, 255)]
    )
    def test_fallback(self, fallback: str, in_middle: int, in_corner: int) -> None:
        labels, report = draw_labels([None], boxes_of((30, 20, 50, 30, 2)), SIZE, fallback)
        assert (labels[25, 40], labels[20, 30]) == (in_middle, in_corner)
        outside = np.ones(SIZE, dtype=bool)
        outside[20:30, 30:50] = False
        assert not labels[outside].any()
        assert (labels[~outside] != 0).all()
        assert (report.found, report.fallback, report.hidden) == (0, 1, 0)

    @pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
    def test_smaller_box_is_in_front_in_any_order(self, order: slice) -> None:
        """A small person before a car: the one found, the other by fallback, and the other way round."""
        rows = [(10, 10, 60, 50, 2), (30, 20, 40, 40, 0)]
        full, small = np.ones((40, 50), dtype=bool), np.ones((20, 10), dtype=bool)
        labels, _ = draw_labels([full, None][order], boxes_of(*rows[order]), SIZE)
        assert labels[30, 35] == 1
        assert labels[20, 30] == 3  # the corner of the small box: nothing is ignored that another object covers
        labels, _ = draw_labels([None, small][order], boxes_of(*rows[order]), SIZE)
        assert (labels[20:40, 30:40] == 1).all()
        assert labels[30, 15] == 3

    def test_covered_object_is_counted(self) -> None:
        twins = boxes_of((10, 10, 20, 30, 0), (10, 10, 20, 30, 1))
        labels, report = draw_labels([None, None], twins, SIZE)
        assert report == MaskReport(objects=2, found=0, hidden=1)
        assert len(np.unique(labels)) == 3  # background, ignored and one of both

    @pytest.mark.parametrize("fallback", ["ellipse", "box"])
    @pytest.mark.parametrize("box", [(5.2, 5.2, 5.4, 5.4), (5.9, 5, 6.1, 9), (79.5, 59.5, 80, 60), (0, 0, 80, 60)])
    def test_every_box_has_a_pixel(self, box: tuple[float, ...], fallback: str) -> None:
        labels, report = draw_labels([None], boxes_of((*box, 0)), SIZE, fallback)
        assert (labels == 1).any()
        assert report.hidden == 0

    def test_ignored_objects_are_not_hidden(self) -> None:
        assert draw_labels([None], boxes_of((10, 10, 20, 30, 0)), SIZE, "ignore")[1] == MaskReport(1, 0, 0)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match=r"between 0 and 253.*got class 254"):
            draw_labels([None], boxes_of((10, 10, 20, 30, 254)), SIZE)
        with pytest.raises(ValueError, match="`fallback` must be one of 'ellipse', 'box', 'ignore', got 'none'"):
            draw_labels([], boxes_of(), SIZE, "none")  # type: ignore[arg-type]

    def test_reports_add_up(self) -> None:
        assert MaskReport(3, 2, 1) + MaskReport(4, 1, 0) == MaskReport(7, 3, 1)


class TestKeepObject:
    def test_drops_specks_and_fills_holes(self) -> None:
        expected = np.zeros((40, 40), dtype=bool)
        expected[5:35, 5:18] = expected[5:35, 22:30] = True  # an object that a pole cuts in two
        mask = expected.copy()
        mask[10:13, 10:13] = False
        mask[0, 0] = mask[38:40, 38:40] = True
        np.testing.assert_array_equal(keep_object(mask), expected)

    @pytest.mark.parametrize("mask", [np.zeros((9, 9), bool), np.ones((9, 9), bool), np.eye(30, dtype=bool)])
    def test_next_to_nothing_and_all_of_the_box_are_not_found(self, mask: NDArray[np.bool_]) -> None:
        assert keep_object(mask) is None


class TestThreshold:
    @pytest.mark.parametrize("warmth", [0.3, -0.3])
    @pytest.mark.parametrize("source", ["infrared", "both"])
    def test_warm_or_cold_object(self, warmth: float, source: str) -> None:
        shape = disc(30, 40, 12)
        boxes = boxes_of((28, 18, 53, 43, 0))
        masks = ThresholdMasks(source)(*pair(shape, warmth, colour=0), boxes)
        labels, report = draw_labels(masks, boxes, SIZE)
        assert iou(labels == 1, shape) > 0.9
        assert report == MaskReport(1, 1, 0)

    @pytest.mark.parametrize("source", ["visible", "both"])
    def test_object_that_only_colour_tells(self, source: str) -> None:
        shape = disc(30, 40, 12)
        boxes = boxes_of((28, 18, 53, 43, 0))
        labels, _ = draw_labels(ThresholdMasks(source)(*pair(shape, 0, colour=0.2), boxes), boxes, SIZE)
        assert iou(labels == 1, shape) > 0.9

    def test_source_that_does_not_show_the_object_finds_other_things(self) -> None:
        shape, boxes = disc(30, 40, 12), boxes_of((28, 18, 53, 43, 0))
        labels, _ = draw_labels(ThresholdMasks("infrared")(*pair(shape, 0, colour=0.2), boxes), boxes, SIZE)
        assert iou(labels == 1, shape) < 0.8

    @pytest.mark.parametrize("box", [(0, 0, 80, 60), (28, 18, 53, 43), (10.2, 10.2, 10.4, 10.4)])
    def test_nothing_is_found_in_flat_grey(self, box: tuple[float, ...]) -> None:
        grey = np.full((3, *SIZE), 0.5, dtype=np.float32)
        assert ThresholdMasks()(grey, grey[:1], boxes_of((*box, 0))) == [None]

    def test_no_boxes(self) -> None:
        assert ThresholdMasks()(*pair(disc(30, 40, 12), 0.3, 0), boxes_of()) == []

    def test_unknown_source(self) -> None:
        with pytest.raises(ValueError, match="`source` must be one of 'visible', 'infrared', 'both', got 'thermal'"):
            ThresholdMasks("thermal")  # type: ignore[arg-type]

    def test_rendered_people(self) -> None:
        """Against the true masks of rendered people, better than the ellipses that fit their boxes."""
        ours, plain, truth = [], [], []
        for seed in range(2):
            scene = render_scene(seed)
            people = [box for box in scene.boxes if box.class_id == 1]
            boxes = boxes_of(*((box.left, box.top, box.right, box.bottom, 0) for box in people))
            visible, infrared = np.moveaxis(scene.visible, -1, 0) / 255, scene.infrared[None] / 255
            masks = ThresholdMasks()(visible, infrared, boxes)
            ours.append(draw_labels(masks, boxes, scene.labels.shape)[0] == 1)
            plain.append(draw_labels([None] * len(people), boxes, scene.labels.shape)[0] == 1)
            truth.append(scene.labels == 1)
        assert iou(np.stack(ours), np.stack(truth)) > max(0.6, iou(np.stack(plain), np.stack(truth)) + 0.1)

    def test_mask_keeps_to_its_box(self) -> None:
        shape = disc(30, 40, 12)
        boxes = boxes_of((34, 24, 47, 37, 0))  # smaller than the object
        labels, _ = draw_labels(ThresholdMasks()(*pair(shape, 0.3, 0), boxes), boxes, SIZE)
        assert label(labels == 1).max() == 1
        labels[24:37, 34:47] = 0
        assert not labels.any()
