"""Test how borders of registrations are found."""

import numpy as np
import pytest
from camera_files import to_jpeg
from scipy import ndimage
from skimage.morphology import convex_hull_image

from gffusion.cameras import InfraredFrame
from gffusion.cameras import borders as module
from gffusion.cameras.borders import find_borders
from gffusion.cameras.cleaning import clean_frame


def cut(size, *, angle=0.0, shift=(0, 0), perspective=0.0):
    """Return where the image moved by a homography has pixels, as a registration would leave it."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    u, v = x - width / 2, y - height / 2
    scale = 1 + perspective * u
    turn = np.deg2rad(angle)
    sx = (np.cos(turn) * u + np.sin(turn) * v) / scale + width / 2 + shift[0]
    sy = (-np.sin(turn) * u + np.cos(turn) * v) / scale + height / 2 + shift[1]
    return (sx >= 0) & (sx <= width - 1) & (sy >= 0) & (sy <= height - 1)


BORDERS = {
    "left": lambda size: cut(size, shift=(-24, 0)),
    "corner": lambda size: cut(size, shift=(-9, 13)),
    "rotated": lambda size: cut(size, angle=3),
    "rotated more": lambda size: cut(size, angle=-8),
    "perspective": lambda size: cut(size, angle=1, shift=(5, -6), perspective=4e-4),
    "frame": lambda size: np.pad(np.ones((size[0] - 40, size[1] - 60), bool), ((20, 20), (30, 30))),
    "letter box": lambda size: np.pad(np.ones((size[0] - 60, size[1]), bool), ((30, 30), (0, 0))),
}


@pytest.mark.parametrize("kind", ["png", "jpeg", "counts", "float", "rgb"])
@pytest.mark.parametrize("name", BORDERS)
def test_borders_of_registrations_are_found(infrared, name, kind):
    valid = BORDERS[name](infrared.shape)
    image = np.where(valid, infrared, 0).astype(np.uint8)
    image = {
        "png": lambda: image,
        "jpeg": lambda: to_jpeg(image),
        "counts": lambda: image.astype(np.uint16) * 16,
        "float": lambda: image.astype(np.float32) / 7 - 20,
        "rgb": lambda: np.repeat(image[..., None], 3, axis=2),
    }[kind]()
    found = find_borders(image)
    assert found is not None
    assert np.count_nonzero(~valid & ~found) <= (0.02 * np.count_nonzero(~valid) if kind == "jpeg" else 0)
    assert (found & ndimage.binary_erosion(valid, iterations=4, border_value=1)).mean() < 0.002


@pytest.mark.parametrize("value", [255, 114])
def test_borders_of_other_values(infrared, value):
    valid = BORDERS["rotated"](infrared.shape)
    scene = infrared if value == 255 else np.where(np.abs(infrared.astype(int) - 114) < 20, 60, infrared)
    found = find_borders(np.where(valid, scene, value).astype(np.uint8))
    assert found is not None and (~valid & ~found).sum() == 0


def test_dead_pixels_hide_no_border_but_marked_borders_stay_alone(infrared):
    valid = BORDERS["rotated"](infrared.shape)
    values = np.where(valid, infrared, 0).astype(np.float32)
    expected = find_borders(values)
    values[[100, 120], [160, 170]] = expected[[100, 120], [160, 170]] = np.nan
    cleaned = clean_frame(InfraredFrame(values), "infrared.tif")
    np.testing.assert_array_equal(cleaned.missing, expected)
    assert [note.split(" (")[0] for note in cleaned.notes] == [
        "infrared pixels without a measurement",
        "infrared border",
    ]
    transparent = ~valid & (np.arange(320) < 160)
    marked = clean_frame(InfraredFrame(np.nan_to_num(values), missing=transparent), "infrared.png")
    np.testing.assert_array_equal(marked.missing, transparent)


def cold_sky(infrared):
    """A sky that saturates at black, and gets warmer towards the roofs."""
    rng = np.random.default_rng(0)
    rows = np.arange(infrared.shape[0])[:, None]
    roofs = 100 + 25 * np.sign(np.sin(np.arange(infrared.shape[1]) / 20)).astype(int)
    sky = np.clip((rows - 60) * 0.8 + rng.normal(0, 1.5, infrared.shape), 0, 255)
    return np.where(rows < roofs, sky, infrared).astype(np.uint8)


def test_cold_scenes_have_no_border(infrared):
    assert find_borders(infrared) is None
    assert find_borders(cold_sky(infrared)) is None
    assert find_borders(to_jpeg(cold_sky(infrared))) is None
    rows = np.arange(240)[:, None]
    roofs = (90 + 30 * np.sin(np.arange(320) / 25)).astype(int)
    assert find_borders(np.where(rows < roofs, 0, infrared).astype(np.uint8)) is None  # a saturated sky over roofs
    y, x = np.mgrid[:240, :320]
    dark = np.clip(np.hypot(x, y - 120) - 60, 0, 255)  # a cold object at the edge, with a gradual boundary
    assert find_borders(np.minimum(infrared, dark).astype(np.uint8)) is None
    round_object = np.where(np.hypot(x, y - 120) < 60, 0, infrared).astype(np.uint8)
    assert find_borders(round_object) is None
    assert find_borders(np.clip(infrared.astype(int) * 4 - 200, 0, 255).astype(np.uint8)) is None
    ramp = np.clip(np.linspace(-80, 255, 320), 0, 255)[None].repeat(240, 0).astype(np.uint8)
    assert find_borders(ramp) is None
    assert find_borders(255 - ramp) is None


@pytest.mark.parametrize("sides", ["l", "lr", "lrb", "lrtb", "tb"])
@pytest.mark.parametrize("value", [0, 255])
def test_frames_with_small_steps_are_found(sides: str, value: int) -> None:
    """An eighth of the pixels behind a frame has its value, as the night sky or cold ground has."""
    rng, shape = np.random.default_rng(0), (240, 320)
    steps = rng.integers(*((16, 36) if value else (9, 24)), shape)
    scene = np.where(rng.random(shape) < 1 / 8, value, abs(value - steps))
    valid = np.ones(shape, bool)
    parts = {"l": np.s_[:, :30], "r": np.s_[:, -20:], "t": np.s_[:13], "b": np.s_[-16:]}
    for side in sides:
        valid[parts[side]] = False
    found = find_borders(np.where(valid, scene, value).astype(np.uint8))
    assert found is not None and not (~valid & ~found).any()
    assert not (found & ndimage.binary_erosion(valid, iterations=3, border_value=1)).any()


@pytest.mark.parametrize("turns", range(4))
def test_both_bars_are_found_at_a_dark_sky(infrared: np.ndarray, turns: int) -> None:
    """The step behind the first bar is none; if the bars are not equally wide, the first one is a sky."""
    bars = np.zeros(infrared.shape, bool)
    bars[:30] = bars[-30:] = True
    sky = np.clip(3 + (np.arange(240)[:, None] - 30) * 0.7, 0, infrared)
    image = np.where(bars, 0, sky).astype(np.uint8)
    found, expected = find_borders(np.rot90(image, turns)), np.rot90(bars, turns)
    assert found is not None and not (expected & ~found).any() and (found & ~expected).mean() < 0.03
    image[-30:-9] = infrared[-30:-9]
    found = find_borders(np.rot90(image, turns))
    assert found is not None and not np.rot90(found, -turns)[:30].any() and np.rot90(found, -turns)[-9:].all()


def test_saturated_and_flat_parts_along_an_edge_are_no_frames(infrared):
    rows = np.arange(240)[:, None]
    ground = ndimage.gaussian_filter(np.where(rows < 180, infrared, 400.0), (5, 0)).clip(0, 255)
    horizon = np.where(rows < 100, 0, 6 + infrared // 16)  # of more than a quarter
    wall = np.round(np.linspace(0, 20, 240)[:, None].repeat(320, 1)) + 7000
    for scene, dtype in ((ground, np.uint8), (horizon, np.uint8), (wall, np.uint16)):
        assert find_borders(scene.astype(dtype)) is None
    assert find_borders(np.where(rows < 40, 20, 24).repeat(320, 1).astype(np.uint8)) is None
    hot = np.zeros((240, 320), np.uint8)
    hot[30:200, 40:280] = 200  # on a background that is clipped
    hot[30:100, 40:200] = 0
    assert find_borders(hot) is None


@pytest.mark.parametrize("seed", range(12))
def test_shapes_equal_those_of_libraries(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(generator.random(generator.integers(20, 90, 2)), 1 + seed % 4) > 0.5 + 0.01 * seed
    mask[tuple(generator.integers(0, side) for side in mask.shape)] = True
    depth = seed % 3
    hull = convex_hull_image(mask)
    eroded = ndimage.binary_erosion(hull, iterations=depth, border_value=1) if depth else hull
    first, last = (columns[:, None] for columns in module._find_hull(mask, depth))
    columns = np.arange(mask.shape[1])
    np.testing.assert_array_equal((columns >= first) & (columns <= last), eroded)
    for size in (3, 5):
        padded = np.pad(mask, size, mode="edge")
        expected = ndimage.binary_opening(padded, np.ones((size, size)))[size:-size, size:-size]
        np.testing.assert_array_equal(module._open(mask, size), expected)


@pytest.mark.parametrize("angle", [0, 0.02, 0.3, 1.2])
@pytest.mark.parametrize("value", [0, 255])
def test_images_without_borders_are_found_sooner(infrared, monkeypatch, angle: float, value: int) -> None:
    rows, columns = np.indices(infrared.shape)
    results = []
    for can_hold in (module._can_hold_border, lambda *_: True):
        monkeypatch.setattr(module, "_can_hold_border", can_hold)
        for width in (0, 2, 3, 5, 20):
            values = infrared.copy()
            values[rows * np.sin(angle) + columns * np.cos(angle) < width] = value
            border = find_borders(values)
            results.append(np.zeros_like(values, bool) if border is None else border)
    np.testing.assert_array_equal(results[:5], results[5:])
    assert results[4].any()
