"""Test how missing pixels are found, filled and blended."""

import tracemalloc

import numpy as np
import pytest

from gffusion.cameras import InfraredFrame
from gffusion.cameras import missing as module
from gffusion.cameras.borders import find_borders
from gffusion.cameras.cleaning import clean_frame
from gffusion.cameras.missing import blend_visible, fill_missing, find_missing, find_outside


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
    note = f"all infrared values are {words}, as behind a closed shutter: they show nothing of the scene"
    for image in (values, np.repeat(values[..., None], 3, axis=2)):
        assert clean_frame(InfraredFrame(image), "infrared.png").notes == (note,)
    damaged = values.astype(np.float32)
    damaged[3:5, 3:5] = np.nan
    assert clean_frame(InfraredFrame(damaged), "infrared.tif").notes[1:] == (note,)
    values[np.random.default_rng(0).random(values.shape) < 0.5] += 1  # noise of a scene without contrast is no mask
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


@pytest.mark.parametrize("turns", range(4))
def test_regions_outside_touch_a_side(turns):
    missing = np.zeros((9, 12), bool)
    missing[3:6, 8:11] = missing[1, 1:11] = True  # one pixel away from three sides
    expected = np.zeros_like(missing)
    missing[4:6, :3] = expected[4:6, :3] = True
    np.testing.assert_array_equal(find_outside(np.rot90(missing, turns)), np.rot90(expected, turns))


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
    noisy = np.random.default_rng(0).normal(size=missing.shape)
    streaks = np.diff(noisy[:, 40])  # of the nearest values
    assert np.diff(fill_missing(noisy, missing)[:, 20]).std() < 0.5 * streaks.std()
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
    steps = np.diff(blend_visible(np.full(missing.shape, 200.0), np.full(missing.shape, 100.0), missing)[50])
    assert steps.min() >= 0 and steps.max() < 12  # over 15 pixels
    assert blend_visible(fused, visible, None) is fused
    assert module.blend_visible(fused[..., 0].astype(np.float32), visible[..., 0], missing).dtype == np.float32


@pytest.mark.parametrize("function", [lambda i, m: blend_visible(i, 255 - i, m), fill_missing])
def test_large_holes_take_little_memory(function):
    image, missing = np.full((2000, 1000), 90, np.uint8), np.zeros((2000, 1000), bool)
    missing[:, :900] = True
    tracemalloc.start()
    try:
        function(image, missing)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 25 * image.size  # in float64, the whole image would take 60 bytes per pixel


def test_notes_on_what_hides_hot_objects(infrared):
    counts = 29000 + infrared.astype(np.uint16)
    counts[[20, 90], [50, 70]] = 65535
    (note,) = clean_frame(InfraredFrame(counts), "infrared.png").notes
    assert "without a measurement" in note and "saturated" not in note
    counts[60:90, 60:90] = 65535
    assert "can also be a saturated hot object" in clean_frame(InfraredFrame(counts), "infrared.png").notes[0]
    named = InfraredFrame(counts, no_data=65535)
    assert "saturated" not in clean_frame(named, "infrared.tif").notes[0]
    (note,) = clean_frame(InfraredFrame(np.where(infrared > 128, 255, 0).astype(np.uint8)), "infrared.png").notes
    assert "only two values" in note
    red = np.repeat(infrared[..., None], 3, axis=2)
    red[infrared > np.percentile(infrared, 98)] = 230, 40, 10
    (note,) = clean_frame(InfraredFrame(red), "infrared.jpg").notes
    assert "colored hot end" in note
