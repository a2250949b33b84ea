"""Rendered scenes: images, labels and boxes agree, and each modality shows what the other one does not."""

import inspect

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter, gaussian_gradient_magnitude

from gffusion.synthetic._road_users import build_street
from gffusion.synthetic.rendering import CLASS_NAMES, Box, RenderedScene, render_scene

PERSON, CAR = CLASS_NAMES.index("person"), CLASS_NAMES.index("car")


@pytest.fixture(scope="module")
def scenes() -> list[RenderedScene]:
    return [render_scene(seed, 240, 320) for seed in range(3)]


def luma(scene: RenderedScene) -> np.ndarray:
    return scene.visible @ np.array([0.299, 0.587, 0.114])


def test_seed_alone_determines_the_bytes(monkeypatch):
    render = inspect.unwrap(render_scene)
    again = render(7, 40, 60)
    monkeypatch.setattr("gffusion.synthetic.rendering.build_street", build_street)
    first, other = (render(seed, 40, 60) for seed in (7, 8))
    assert first.boxes == again.boxes != other.boxes
    for name in ("visible", "infrared", "labels"):
        assert getattr(first, name).tobytes() == getattr(again, name).tobytes() != getattr(other, name).tobytes()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (32, 250), (250, 32)])
def test_any_size_from_32_pixels_up(height, width):
    scene = render_scene(1, height, width)
    assert scene.visible.shape == (height, width, 3)
    assert scene.infrared.shape == scene.labels.shape == (height, width)
    assert scene.visible.dtype == scene.infrared.dtype == scene.labels.dtype == np.uint8
    assert (scene.labels == PERSON).any()


def test_errors():
    for height, width in ((31, 64), (64, 31), (-480, 640)):
        with pytest.raises(ValueError, match=f"at least 32 pixels, got {height} x {width}"):
            render_scene(0, height, width)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        render_scene(-1, 64, 96)


def test_size_does_not_move_the_objects(scenes):
    double = render_scene(0).labels
    assert double.shape == (480, 640)  # the default
    agreement = np.mean([double[row::2, column::2] == scenes[0].labels for row in (0, 1) for column in (0, 1)])
    assert agreement > 0.98


def test_every_class_occurs(scenes):
    for scene in scenes:
        assert np.unique(scene.labels).tolist() == list(range(len(CLASS_NAMES)))


def test_boxes_cover_the_labels_and_end_at_them(scenes):
    for scene in scenes:
        covered = np.zeros((len(CLASS_NAMES), *scene.labels.shape), bool)
        for box in scene.boxes:
            covered[box.class_id, box.top : box.bottom, box.left : box.right] = True
            inside = scene.labels[box.top : box.bottom, box.left : box.right] == box.class_id
            assert inside.shape == (box.bottom - box.top, box.right - box.left)  # within the image
            assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1])), box
        for class_id in range(1, len(CLASS_NAMES)):
            assert covered[class_id][scene.labels == class_id].all()


def test_box_of_an_isolated_object_reaches_as_far_as_its_labels(scenes):
    isolated = 0
    for scene in scenes:
        for box in scene.boxes:
            alike = [other for other in scene.boxes if other is not box and other.class_id == box.class_id]
            if any(touch(box, other) for other in alike):
                continue
            isolated += 1
            top, left = max(box.top - 1, 0), max(box.left - 1, 0)
            around = scene.labels[top : box.bottom + 1, left : box.right + 1] == box.class_id
            rows, columns = around.any(axis=1).nonzero()[0] + top, around.any(axis=0).nonzero()[0] + left
            assert box == Box(box.class_id, columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    assert isolated >= 2 * len(scenes)


def touch(box: Box, other: Box) -> bool:
    apart_across = box.right < other.left or other.right < box.left
    apart_down = box.bottom < other.top or other.bottom < box.top
    return not (apart_across or apart_down)


def test_only_infrared_shows_people(scenes):
    for scene in scenes:
        people = scene.labels == PERSON
        around = binary_dilation(people, iterations=4) & (scene.labels == 0)
        assert scene.infrared[people].mean() > scene.infrared[around].mean() + 80
        assert luma(scene)[people].mean() < luma(scene)[around].mean()


def test_headlights_blind_only_the_visible_camera(scenes):
    for scene in scenes:
        blinded = (scene.labels == CAR) & (scene.visible.min(axis=-1) > 250)
        assert blinded.sum() >= 30
        assert np.median(scene.infrared[blinded]) < 210


def test_only_visible_shows_the_zebra_crossing(scenes):
    for scene in scenes:
        rows = np.s_[172:180]  # about 9 m from the camera
        road = scene.labels[rows] == 0
        assert luma(scene)[rows][road].std() > 5 * scene.infrared[rows][road].std()


@pytest.mark.parametrize("modality", ["visible", "infrared"])
def test_images_are_aligned_with_the_labels(scenes, modality):
    """Edges of the image agree best with the outlines of the labels if neither is shifted."""
    shifts = [(down, across) for down in range(-3, 4) for across in range(-3, 4)]
    agreement = dict.fromkeys(shifts, 0.0)
    for scene in scenes:
        values = luma(scene) if modality == "visible" else scene.infrared.astype(float)
        edges = np.minimum(gaussian_gradient_magnitude(values, 0.7), 25)
        objects = (scene.labels > 0).astype(float)
        outlines = gaussian_filter((gaussian_gradient_magnitude(objects, 0.7) > 0.2).astype(float), 0.5)
        for shift in shifts:
            agreement[shift] += (np.roll(outlines, shift, (0, 1)) * edges).sum()
    assert max(agreement, key=agreement.__getitem__) == (0, 0)
