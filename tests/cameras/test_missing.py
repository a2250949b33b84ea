"""Test how missing pixels and borders are found, filled and blended."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage.morphology import convex_hull_image

from gffusion.cameras import InfraredFrame
from gffusion.cameras import missing as module
from gffusion.cameras.cleaning import clean_frame
from gffusion.cameras.missing import blend_visible, fill_missing, find_borders, find_missing
from gffusion.synthetic.rendering import render_scene


@pytest.fixture(scope="module")
def infrared():
    return np.clip(render_scene(3, 240, 320).infrared.astype(int) + 20, 0, 255).astype(np.uint8)


def to_jpeg(image, quality=85):
    content = io.BytesIO()
    Image.fromarray(image).save(content, "JPEG", quality=quality)
    return np.asarray(Image.open(content))


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


@pytest.mark.parametrize(
    "marker", [-999, -9999, -99999, -32767, -32768, -273.15, -3.4028235e38, 3.4e38, np.nan, np.inf, -np.inf]
)
def test_markers_of_float_images(infrared, marker):
    celsius = 5 + infrared.astype(np.float32) / 7
    celsius[50:70, 60:90] = marker
    celsius[3, 3] = marker
    expected = np.zeros(celsius.shape, bool)
    expected[50:70, 60:90] = expected[3, 3] = True
    np.testing.assert_array_equal(find_missing(celsius), expected)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float64])
def test_markers_of_signed_integers(infrared, dtype):
    tenths = (infrared.astype(dtype) * 2 - 200).astype(dtype)
    for marker in (-999, -9999):
        tenths[10:20, 10:20] = marker
        assert find_missing(tenths).sum() == 100
    assert find_missing((infrared.astype(int) * 200 - 32768).astype(np.int16)) is None  # a measured lowest value


@pytest.mark.filterwarnings("error")
def test_half_precision_holds_no_large_markers(infrared):
    values = (infrared + 200).astype(np.float16)
    values[5, 7] = -9999
    assert np.argwhere(find_missing(values)).tolist() == [[5, 7]]


@pytest.mark.parametrize("no_data", [0, 255, 77.0])
def test_named_no_data_value_counts_in_every_type(infrared, no_data):
    for dtype in (np.uint8, np.uint16, np.float32):
        values = infrared.astype(dtype)
        values[5:9, 5:9] = no_data
        np.testing.assert_array_equal(find_missing(values, no_data), values == no_data)
    assert find_missing(infrared, float("nan")) is None
    assert find_missing(infrared, 77.0 - 256) is None  # a value that the type cannot hold


@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_images_of_markers_only(dtype):
    assert find_missing(np.full((8, 10), -9999, dtype)).all()
    assert find_missing(np.zeros((8, 10), dtype)) is None


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_images_of_dead_pixels_only(dtype):
    for value in (0, np.iinfo(dtype).max):
        assert find_missing(np.full((8, 10), value, dtype)).all()
    assert find_missing((np.indices((8, 10))[1] % 2 * np.iinfo(dtype).max).astype(dtype)) is None


@pytest.mark.parametrize(
    ("value", "dtype", "words"),
    [(29315, np.uint16, "29315"), (0, np.uint8, "0"), (21.5, np.float32, "21.5"), (0, np.float32, "0")],
)
def test_images_of_one_value_are_noted(value, dtype, words):
    values = np.full((40, 50), value, dtype)
    note = f"the infrared image has one value, {words}, everywhere, as behind a closed shutter: it shows nothing of the scene"
    for image in (values, np.repeat(values[..., None], 3, axis=2)):
        assert clean_frame(InfraredFrame(image), "infrared.png").notes == (note,)
    damaged = values.astype(np.float32)
    damaged[3:5, 3:5] = np.nan
    assert clean_frame(InfraredFrame(damaged), "infrared.tif").notes[1:] == (note,)
    values[20, 20] += 1
    assert clean_frame(InfraredFrame(values), "infrared.png").notes == ()


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_dead_pixels_among_counts(infrared, dtype):
    counts = 7000 + 10 * infrared.astype(dtype)
    dead = np.zeros(counts.shape, bool)
    dead[[4, 100, 200], [7, 160, 300]] = True
    dead[50:52, 50:52] = True
    low, high = dtype(0), np.iinfo(dtype).max
    for value in (low, high):
        np.testing.assert_array_equal(find_missing(np.where(dead, value, counts).astype(dtype)), dead)
    both = np.where(dead, np.where(np.arange(320) % 2, low, high), counts).astype(dtype)
    np.testing.assert_array_equal(find_missing(both), dead)


def test_masked_arrays_are_refused(infrared):
    mask = infrared > 100
    for measure in (find_missing, find_borders, lambda values: fill_missing(values, mask)):
        with pytest.raises(ValueError, match=r"masked array: pass its values, image\.data"):
            measure(np.ma.masked_array(infrared, mask))
        found = measure(np.ma.masked_array(infrared))
        assert not isinstance(found, np.ma.MaskedArray)
        np.testing.assert_array_equal(found, measure(infrared))


def test_measured_extremes_are_no_dead_pixels(infrared):
    counts = 7000 + 10 * infrared.astype(float)
    y, x = np.mgrid[:240, :320]
    flame = np.clip(counts + 90000 * np.exp(-((x - 160) ** 2 + (y - 120) ** 2) / 300), 0, 65535).astype(np.uint16)
    assert (flame == 65535).any() and find_missing(flame) is None
    assert find_missing(infrared.astype(np.uint16) * 257) is None
    assert find_missing(np.clip(infrared.astype(int) * 300 - 9000, 0, 65535).astype(np.uint16)) is None  # a cold sky
    assert find_missing(np.where(infrared > 60, infrared, 0).astype(np.uint8)) is None
    assert find_missing((infrared - infrared.mean()).astype(np.float32)) is None  # degrees around 0


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


def cold_sky(infrared, seed=0):
    """A sky that saturates at black, and gets warmer towards the roofs."""
    rng = np.random.default_rng(seed)
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


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (8, 8), (40, 2)])
def test_tiny_and_constant_images(shape):
    for dtype in (np.uint8, np.uint16, np.float32):
        assert find_borders(np.zeros(shape, dtype)) is None
        assert find_missing(np.full(shape, 3, dtype)) is None
    assert find_missing(np.full(shape, np.nan, np.float32)).all()


def test_filled_values_are_those_around(infrared):
    counts = 7000 + 10 * infrared.astype(np.uint16)
    missing = np.zeros(counts.shape, bool)
    missing[[4, 100], [7, 160]] = missing[:, :40] = True
    filled = fill_missing(np.where(missing, 0, counts), missing)
    np.testing.assert_array_equal(filled[~missing], counts[~missing])
    assert filled.dtype == np.uint16
    assert counts[~missing].min() <= filled[missing].min() and filled[missing].max() <= counts[~missing].max()
    assert abs(int(filled[100, 160]) - int(counts[100, 160])) < 400
    with pytest.raises(ValueError, match="no measured pixel"):
        fill_missing(counts, np.ones_like(missing))
    nan = np.where(missing, np.nan, counts).astype(np.float32)
    assert np.isfinite(fill_missing(nan, missing)).all()


@pytest.mark.parametrize("spacing", [6, 9, 30])  # one region, many, and few, which are filled one by one
def test_holes_are_filled_as_if_each_were_the_only_one(infrared, spacing):
    infrared = infrared[:80, :100]
    holes = [
        (slice(top, top + 2), slice(left, left + 3))
        for top in range(0, infrared.shape[0], spacing)
        for left in range(0, infrared.shape[1], spacing)
    ]
    missing, expected = np.zeros(infrared.shape, bool), infrared.copy()
    for hole in holes:
        single = np.zeros_like(missing)
        single[hole] = missing[hole] = True
        expected[hole] = fill_missing(np.where(single, 0, infrared), single)[hole]
    np.testing.assert_allclose(fill_missing(np.where(missing, 0, infrared), missing), expected, rtol=1e-6)


def test_blending_keeps_measured_pixels_and_small_holes(infrared):
    visible = np.repeat(infrared[::-1, :, None], 3, axis=2)
    fused = np.repeat(infrared[..., None], 3, axis=2)
    missing = np.zeros(infrared.shape, bool)
    missing[[4, 100], [7, 160]] = missing[:, :60] = True
    blended = blend_visible(fused, visible, missing)
    np.testing.assert_array_equal(blended[~missing], fused[~missing])
    np.testing.assert_array_equal(blended[:, :40], visible[:, :40])
    np.testing.assert_array_equal(blended[100, 160], fused[100, 160])
    assert blend_visible(fused, visible, None) is fused
    assert module.blend_visible(fused[..., 0].astype(np.float32), visible[..., 0], missing).dtype == np.float32


@pytest.mark.parametrize("seed", range(12))
def test_shapes_equal_those_of_libraries(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = ndimage.gaussian_filter(generator.random(generator.integers(20, 90, 2)), 1 + seed % 4) > 0.5 + 0.01 * seed
    mask[tuple(generator.integers(0, side) for side in mask.shape)] = True
    eroded = ndimage.binary_erosion(convex_hull_image(mask), iterations=module._MAX_DEPTH, border_value=1)
    np.testing.assert_array_equal(module._fill_eroded_hull(mask), eroded)
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
