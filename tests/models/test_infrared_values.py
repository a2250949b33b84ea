"""Mapping of infrared values: inversion, gain control, missing pixels, and values outside the range."""

import builtins
import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import zoom
from skimage.exposure import equalize_adapthist, equalize_hist

from gffusion.models.gffusion.image_arrays import to_array
from gffusion.models.gffusion.infrared_options import InfraredOptions
from gffusion.models.gffusion.infrared_values import (
    equalize_plateau,
    measure_limits,
    to_infrared_values,
    to_visible_values,
)

Array = NDArray[Any]
RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (40, 48), np.uint8)
COLOR = RNG.integers(0, 256, (40, 48, 3), np.uint8)
# A scene as thermal cameras see it: a wall, a gradient, and a hot object.
SCENE = np.concatenate([np.full((20, 48), 0.3), np.linspace(0.35, 0.5, 20 * 48).reshape(20, 48)])
SCENE[5:10, 5:10] = 0.95
SCENE += RNG.normal(0, 0.004, SCENE.shape)
LARGE = zoom(SCENE, 4, order=1)
WHITE_HOT: dict[str, Array] = {
    "uint8": GRAY,
    "uint16": 29000 + 12 * GRAY.astype(np.uint16),
    "float32": (GRAY / 255).astype(np.float32),
    "color": COLOR,
}


def map_values(image: Array, infrared_range: Any = "auto", missing: Any = None, **options: Any) -> Array:
    return to_infrared_values(image, InfraredOptions(infrared_range, **options), missing)


def highest(image: Array) -> float:
    return np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1


class TestInversion:
    @pytest.mark.parametrize("kind", WHITE_HOT)
    @pytest.mark.parametrize("infrared_range", ["type", "percentile"])
    @pytest.mark.parametrize("agc", ["linear", "plateau", "clahe"])
    def test_black_hot_images_give_the_values_of_white_hot_ones(self, kind: str, infrared_range: Any, agc: Any) -> None:
        image = WHITE_HOT[kind]
        black_hot = (highest(image) - image).astype(image.dtype)
        expected = map_values(image, infrared_range, agc=agc)
        values = map_values(black_hot, infrared_range, invert=True, agc=agc)
        # The plateau has a step at each level, which the bins cut on either side.
        np.testing.assert_allclose(values, expected, atol={"linear": 1e-5, "plateau": 0.02, "clahe": 2e-3}[agc])

    def test_high_low_is_the_inverted_range(self) -> None:
        expected = map_values(255 - GRAY, [0, 255])
        np.testing.assert_array_equal(map_values(GRAY, [255, 0]), expected)
        np.testing.assert_array_equal(map_values(GRAY, [0, 255], invert=True), expected)
        np.testing.assert_allclose(map_values(GRAY, invert=True), expected, atol=1e-7)


class TestOutsideTheRange:
    @pytest.mark.parametrize(
        ("inside", "share"), [(490, "51%"), (6, "99%"), (5, "more than 99%"), (1, "more than 99%"), (0, "100%")]
    )
    def test_most_of_the_image(self, inside: int, share: str) -> None:
        image = np.full((20, 50), 300, np.uint16)
        image.ravel()[:500] = 7000
        map_values(image, [6000, 8000])  # half of it
        image.ravel()[inside:] = 300
        highest = 7000 if inside else 300
        message = rf"^{share} of the infrared image is outside the range 6000 to 8000.* 300 to {highest}\."
        with pytest.raises(ValueError, match=message):
            map_values(image, [8000, 6000])

    def test_missing_pixels_do_not_count(self) -> None:
        image = np.full((10, 10), 300, np.uint16)
        image[:, :3] = 7000
        values = map_values(image, [6000, 8000], missing=image == 300)
        np.testing.assert_array_equal(values[0, :, :3], 0.5)


class TestMissingPixels:
    BAD: dict[str, tuple[Array, float]] = {
        "uint8": (GRAY, 255),
        "uint16": (WHITE_HOT["uint16"], 65535),
        "no-data": (290 + SCENE.astype(np.float32), -9999),
        "nan": (SCENE.astype(np.float32), np.nan),
        "infinite": (SCENE, np.inf),
        "color": (COLOR, 0),
    }

    @pytest.mark.parametrize(
        ("kind", "infrared_range"),
        [*itertools.product(BAD, ["percentile", [0, 40000]]), *((kind, "type") for kind in BAD if kind != "no-data")],
    )
    @pytest.mark.parametrize("agc", ["linear", "plateau", "clahe"])
    def test_do_not_change_the_others(self, kind: str, infrared_range: Any, agc: Any) -> None:
        image, bad = self.BAD[kind]
        missing = np.zeros((40, 48), bool)
        missing[3:9, 40:] = True
        damaged = np.where(missing[..., None] if image.ndim == 3 else missing, bad, image).astype(image.dtype)
        values = map_values(damaged, infrared_range, agc=agc, missing=missing)
        filled = map_values(image, infrared_range, agc=agc, missing=missing)
        np.testing.assert_array_equal(values[0][~missing], filled[0][~missing])
        assert values.min() >= 0 and values.max() <= 1
        if agc != "clahe":  # whose histograms are local
            upper = np.repeat(np.arange(40)[:, None] < 9, 48, axis=1)
            alone = map_values(image[9:], infrared_range, agc=agc)
            part = map_values(damaged, infrared_range, agc=agc, missing=upper)
            np.testing.assert_array_equal(part[0][9:], alone[0])

    def test_all_pixels(self) -> None:
        with pytest.raises(ValueError, match="no measured pixel"):
            map_values(GRAY, missing=np.ones((40, 48), bool))


class TestSteadiness:
    """Far from a change, values stay."""

    COUNTS = 7000 + 1000 * LARGE
    IMAGES: dict[str, tuple[Array, tuple[float, float]]] = {  # with a range
        "uint8": (np.uint8(20 + 150 * LARGE), (0, 255)),
        "uint16": (COUNTS.astype(np.uint16), (6000, 12000)),
        "float32": (np.float32(COUNTS / 20000), (0.3, 0.6)),
    }

    @pytest.mark.parametrize("kind", IMAGES)
    @pytest.mark.parametrize("infrared_range", ["type", "percentile", "fixed"])
    @pytest.mark.parametrize("agc", ["linear", "plateau", "clahe"])
    @pytest.mark.parametrize("dead", ["hot", "cold", "within"])
    def test_with_a_dead_pixel(self, kind: str, infrared_range: Any, agc: Any, dead: str) -> None:
        image, limits = self.IMAGES[kind]
        damaged = image.copy()
        damaged[100, 30] = {"hot": min(highest(image), 20000), "cold": 0, "within": limits[1]}[dead]
        given = limits if infrared_range == "fixed" else infrared_range
        change = np.abs(map_values(damaged, given, agc=agc) - map_values(image, given, agc=agc))[0, :, 120:]
        assert 255 * change.max() < {"linear": 0.5, "plateau": 20, "clahe": 2.6}[agc]

    @pytest.mark.parametrize("kind", IMAGES)
    def test_of_clahe_while_an_object_enters_a_fixed_range(self, kind: str) -> None:
        image, limits = self.IMAGES[kind]
        entered = image.copy()
        entered[60:140, 10:40] = limits[1]
        values, after = (map_values(frame, limits, agc="clahe")[0] for frame in (image, entered))
        assert np.abs(after - values)[:, 120:].max() < 2.6 / 255 and np.abs(after - values)[:, :60].max() > 0.1


class TestPlateau:
    def test_without_a_limit_it_is_histogram_equalization(self) -> None:
        expected = equalize_hist(SCENE, nbins=4096)
        np.testing.assert_allclose(map_values(SCENE, agc="plateau", plateau_limit=1e9)[0], expected, atol=0.03)

    def test_with_the_smallest_limit_all_gray_levels_count_alike(self) -> None:
        levels = np.repeat(np.arange(0, 256, dtype=np.uint8), 8).reshape(32, 64)
        levels[:10] = 128
        values = map_values(levels, agc="plateau", plateau_limit=1e-6)[0]
        present = np.unique(levels)
        steps = np.diff([values[levels == level][0] for level in present])
        assert np.ptp(steps[:-1]) < 0.02

    def test_the_limit_keeps_large_areas_from_taking_the_gray_levels(self) -> None:
        shares = []
        for limit in (0.5, 1, 3, 1e9):
            values = equalize_plateau(SCENE.astype(np.float32), limit)
            shares.append(np.ptp(values[12:20]))
        assert shares == sorted(shares) and shares[-1] > 1.5 * shares[0]

    def test_is_monotonic_and_uses_the_full_range(self) -> None:
        thermal = (7000 + 2000 * SCENE).astype(np.uint16)
        values = map_values(thermal, agc="plateau")[0]  # a narrow part of 16 bits
        assert (values.min(), values.max()) == (0, 1)
        assert (np.diff(values.ravel()[np.argsort(thermal, axis=None)]) >= 0).all()

    @pytest.mark.parametrize("missing", [None, np.eye(40, 48, dtype=bool)])
    def test_nearly_flat_images(self, missing: Any) -> None:
        counts = np.full((40, 48), 60000, np.uint16)
        counts[20:] = 60001
        values = map_values(counts, agc="plateau", missing=missing)[0]
        assert np.ptp(values) > 0.4 and (np.unique(values[~(missing if missing is not None else counts < 0)]).size == 2)

    def test_flat_images_stay_flat(self) -> None:
        for agc in ("plateau", "clahe"):
            assert np.ptp(map_values(np.full((40, 48), 77, np.uint8), agc=agc)) == 0  # type: ignore[arg-type]


class TestClahe:
    def test_is_that_of_scikit_image(self) -> None:
        expected = equalize_adapthist(np.interp(LARGE, np.percentile(LARGE, [0.1, 99.9]), [0, 1]))
        for infrared_range in ("percentile", "type"):
            np.testing.assert_allclose(map_values(LARGE, infrared_range, agc="clahe")[0], expected, atol=0.02)

    def test_a_narrow_image_is_the_same_in_all_types(self) -> None:
        image = (100 + 50 * SCENE).astype(np.uint8)
        values, *others = (
            map_values(same, "type", agc="clahe")[0]
            for same in (image, image.astype(np.uint16) * 257, np.float32(image / 255))
        )
        assert (values.min(), values.max()) == (0, 1)
        for other in others:
            np.testing.assert_allclose(other, values, atol=0.01)

    @pytest.mark.parametrize("infrared_range", ["type", "percentile"])
    def test_raw_counts_use_all_levels_and_a_small_hot_object_is_white(self, infrared_range: Any) -> None:
        counts = (7000 + 400 * SCENE).astype(np.uint16)
        counts[35:37, 40] = 7800  # 0.1 % of the image
        values = map_values(counts, infrared_range, agc="clahe")[0]
        assert values[35:37, 40].min() > 0.99 and values[:30].min() < 0.01

    def test_flat_counts_keep_their_level(self) -> None:
        counts = np.full((40, 48), 30000, np.uint16)
        counts[7, 7] = 30001
        np.testing.assert_allclose(map_values(counts, "type", agc="clahe"), 30000 / 65535, atol=0.1)

    @pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (15, 15), (16, 16), (33, 65)])
    def test_small_images(self, size: tuple[int, int]) -> None:
        values = map_values(np.resize(GRAY, size), agc="clahe")
        assert values.shape == (1, *size) and np.isfinite(values).all()
        assert np.ptp(values) > 0 or values.size == 1

    def test_needs_scikit_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        find = builtins.__import__

        def find_others(name: str, *arguments: Any, **options: Any) -> Any:
            if name.startswith("skimage"):
                raise ImportError(name)
            return find(name, *arguments, **options)

        monkeypatch.setattr(builtins, "__import__", find_others)
        with pytest.raises(ImportError, match=r"--agc clahe.*pip install scikit-image"):
            map_values(GRAY, agc="clahe")


def test_masked_arrays_are_refused() -> None:
    masked = np.ma.masked_array(GRAY, GRAY > 100)
    for measure in (map_values, to_visible_values, measure_limits, lambda array: to_array(array, "infrared")):
        with pytest.raises(ValueError, match=r"image is a masked array.*`missing`, and the pipeline takes NaN"):
            measure(masked)
        unmasked = measure(np.ma.masked_array(GRAY))
        assert not isinstance(unmasked, np.ma.MaskedArray)
        np.testing.assert_array_equal(unmasked, measure(GRAY))


@pytest.mark.parametrize("infrared_range", ["type", "percentile"])
def test_masks_of_numbers_are_refused(infrared_range: Any) -> None:
    missing = (GRAY > 100).astype(np.uint8)
    for measure in (
        measure_limits,
        lambda *images: to_infrared_values(images[0], InfraredOptions(infrared_range), images[1]),
    ):
        with pytest.raises(ValueError, match=r"A mask in `missing` must be bool of shape \(.*, got uint8"):
            measure(GRAY, missing)


def test_floats_may_exceed_1_by_rounding() -> None:
    values = np.array([[-1e-7, 0.5, 1 + 1e-6]])
    np.testing.assert_array_equal(map_values(values), np.array([[[0, 0.5, 1]]], np.float32))
    with pytest.raises(ValueError, match=r"got 0 to 1\.00002"):
        to_visible_values(np.array([[0, 1.00002]]))


def test_ranges_of_several_images_must_be_measured() -> None:
    with pytest.raises(ValueError, match=r'infrared_range="folder".*infrared_range=\[low, high\]'):
        map_values(GRAY, "folder")
