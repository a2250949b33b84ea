"""Rigs estimated from rendered scenes that were moved by known transforms."""

import re
from typing import Any

import numpy as np
import pytest
from moved_scenes import SIZE, make_matrix, make_pairs
from numpy.typing import NDArray
from scipy import ndimage

from gffusion.cameras import Rig, align_images, estimation
from gffusion.cameras.estimation import estimate_rig
from gffusion.cameras.refinement import Transform, refine_rig


def measure_error(estimated: Rig, matrix: NDArray[np.float64]) -> float:
    """Mean error over the corners of the common part, in pixels of the visible image."""
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]).T
    common = np.linalg.inv(matrix) @ corners
    common = np.vstack([(common[:2] / common[2]).clip(0, 1), np.ones(4)])
    found = np.linalg.inv(estimated.matrix) @ matrix @ common
    differences = (found[:2] / found[2] - common[:2]) * np.array([[SIZE[1]], [SIZE[0]]])
    return float(np.hypot(*differences).mean())


@pytest.mark.parametrize(
    ("zoom", "angle", "shift"),
    [
        (1.0, 0, (0.0, 0.0)),
        (1.3, 2, (0.03, -0.04)),
        (0.7, -3, (-0.08, 0.05)),
        (1.9, 5, (0.1, -0.1)),
        (0.5, 1, (0, 0.1)),
    ],
)
def test_one_pair(zoom: float, angle: float, shift: tuple[float, float]) -> None:
    matrix = make_matrix(zoom, angle, shift)
    estimate = estimate_rig(make_pairs(matrix, (1,)))
    assert (estimate.sure, estimate.pairs) == (True, 1)
    assert measure_error(estimate.rig, matrix) < 2 and estimate.residual < 2
    assert (estimate.rig.visible_size, estimate.rig.infrared_size) == (SIZE, (120, 160))
    words = r"field of view (\d+)% of the visible width, rotated by (.+) degrees, center at (.+)%, (.+)%; residual"
    described = re.search(words, estimate.describe())
    # The matrix turns the visible image, and the text tells how the infrared one lies in it.
    expected = [100 / zoom, -angle, 50 + 100 * shift[0], 50 + 100 * shift[1]]
    assert [float(number) for number in described.groups()] == pytest.approx(expected, abs=1)


def test_equal_pairs_have_equal_rigs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("search_rigs", "refine_rig"):
        monkeypatch.setattr(estimation, name, getattr(estimation, name).__wrapped__)  # without the cache of the tests
    first, second = (estimate_rig(make_pairs(make_matrix(), (1,))) for _ in range(2))
    assert np.array_equal(first.rig.matrix, second.rig.matrix)
    assert (first.residual, first.confidence) == (second.residual, second.confidence)


def test_several_pairs_are_more_precise() -> None:
    matrix = make_matrix()
    pairs = make_pairs(matrix, range(3))
    joint = estimate_rig(pairs)
    assert joint.sure
    assert measure_error(joint.rig, matrix) < 0.7
    assert joint.residual <= estimate_rig(pairs[:1]).residual
    assert "3 pairs" in joint.describe()


@pytest.mark.parametrize(
    ("transform", "matrix"),
    [
        ("translation", make_matrix(1.0, 0.0, (0.04, -0.03))),
        ("affine", np.array([[1.3, 0.02, -0.15], [-0.03, 1.36, -0.2], [0, 0, 1]])),
        ("homography", make_matrix(1.2, 1, (0.02, 0.02), perspective=0.04)),
    ],
)
def test_other_transforms(transform: Transform, matrix: NDArray[np.float64]) -> None:
    estimate = estimate_rig(make_pairs(matrix, range(2)), transform)
    assert estimate.sure and measure_error(estimate.rig, matrix) < 2
    if transform != "homography":
        assert np.allclose(estimate.rig.matrix[2], (0, 0, 1))


@pytest.mark.parametrize("change", ["inverted", "counts", "colors"])
def test_types_and_contrast_do_not_matter(change: str) -> None:
    matrix = make_matrix()
    ((visible, infrared, missing),) = make_pairs(matrix, (2,))
    values: dict[str, Any] = {
        "inverted": 255 - infrared,
        "counts": (12000 + 9 * infrared.astype(np.uint16)).astype(np.uint16),
        "colors": np.stack([infrared] * 3, axis=-1),
    }
    if change == "counts":
        visible = (visible[..., 1].astype(np.uint16) * 100).astype(np.uint16)
    estimate = estimate_rig([(visible, values.get(change, infrared), missing)])
    assert estimate.sure and measure_error(estimate.rig, matrix) < 2


def test_missing_pixels_are_no_edges() -> None:
    """The frame of a small image in a larger one is not taken for a frame of the same shape in the visible image."""
    matrix = make_matrix(0.7, 0, (0, 0))
    ((visible, infrared, missing),) = make_pairs(matrix, (3,))
    marked = np.where(missing, 255, infrared).astype(np.uint8)
    framed = np.full_like(visible, 255)
    framed[70:238, 80:304] = visible[70:238, 80:304]
    assert measure_error(estimate_rig([(framed, marked, missing)]).rig, matrix) < 2
    assert measure_error(estimate_rig([(framed, marked, None)]).rig, matrix) > 50


FLAT = "no position of the infrared image was found"


def noise(seed: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    return ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 2)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((noise(0, SIZE), noise(1, (120, 160))), "could not be estimated.*gffusion align"),
        ((np.zeros(SIZE), noise(1, (120, 160))), FLAT),
        ((noise(0, SIZE), np.full((120, 160), 300, np.uint16)), FLAT),
        ((np.zeros((*SIZE, 3), np.uint8), np.zeros((120, 160), np.uint8)), FLAT),
        ((noise(0, SIZE), np.full((120, 160), np.nan)), FLAT),
    ],
    ids=["unrelated", "black visible", "flat infrared", "both black", "no number"],
)
def test_no_estimate_is_made_up(pair: tuple[NDArray[Any], NDArray[Any]], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message}.*--align resize"):
        align_images(*pair, align="auto")
    assert message != FLAT or not estimate_rig([(*pair, None)]).sure  # the message of the other pair says so


def test_unrelated_scenes_are_refused() -> None:
    first, second = make_pairs(make_matrix(), (4, 9))
    mirrored = second[1][:, ::-1]
    assert not estimate_rig([(first[0], mirrored, None)]).sure


def test_all_pixels_missing() -> None:
    ((visible, infrared, _),) = make_pairs(make_matrix(), (2,))
    assert not estimate_rig([(visible, infrared, np.ones(infrared.shape, bool))]).sure


def test_a_start_is_refined() -> None:
    matrix = make_matrix(1.5, 12, (0, 0))  # a rotation beyond the search
    start = Rig(make_matrix(1.48, 11.5, (0.005, 0)))
    estimate = estimate_rig(make_pairs(matrix, range(2)), start=start)
    assert measure_error(estimate.rig, matrix) < 2


def test_a_wrong_start_is_not_taken() -> None:
    """The tags of a file can belong to another lens."""
    matrix = make_matrix(1.3, 2, (0.03, -0.04))
    start = Rig(make_matrix(1.9, 0, (0.1, 0.1)))
    estimate = estimate_rig(make_pairs(matrix, range(2)), start=start)
    assert estimate.sure and measure_error(estimate.rig, matrix) < 2


def test_the_residual_is_the_size_of_the_error() -> None:
    """Three times the residual bounds the error, and the residual is no arbitrary large number."""
    for seed, transform in ((5, "similarity"), (6, "affine")):
        matrix = make_matrix(1.1, 1, (0.02, 0.03))
        estimate = estimate_rig(make_pairs(matrix, (seed, seed + 10)), transform)  # type: ignore[arg-type]
        assert measure_error(estimate.rig, matrix) < 3 * estimate.residual
        assert estimate.residual < 2


def test_a_transform_that_is_too_simple_is_not_sure() -> None:
    """The infrared field of view is 95 %, and a translation keeps it at 100 %."""
    estimate = estimate_rig(make_pairs(make_matrix(1 / 0.95, 0.0, (0, 0)), range(2)), "translation")
    # Error in shares of the distance from the center: its mean over the image is 0.6 of half a width at 4:3.
    assert not estimate.sure
    assert estimate.residual == pytest.approx(0.05 * 0.6 * SIZE[1] / 2, rel=0.5)
    assert estimate.list_notes()[0].startswith(
        'similarity fits clearly better than translation: estimate the rig with transform="similarity" (--transform'
    )


def test_pairs_that_do_not_fit_are_named() -> None:
    """Of a camera that moved a little or far, and of another scene; not those without texture."""
    matrix = make_matrix(1.0, 0, (0, 0))
    pairs = make_pairs(matrix, range(6))
    fog = np.random.default_rng(0).normal(100, 20, (120, 160))
    moved = [
        make_pairs(make_matrix(1.0, 0, shift), (seed,))[0] for seed, shift in ((1, (0.03, -0.03)), (2, (0.1, 0.1)))
    ]
    other = (pairs[4][0], pairs[0][1][:, ::-1], None)
    flat = (pairs[0][0], np.zeros((120, 160)), None)
    estimate = estimate_rig(
        [flat, pairs[0], (pairs[0][0], fog, None), *moved, pairs[3], other, pairs[5]], "translation"
    )
    assert estimate.sure and measure_error(estimate.rig, matrix) < 2
    assert estimate.unfit == (3, 4, 6)
    assert estimate.list_notes()[0].startswith("3 of 7 pairs do not fit this rig: 4, 5, 7; did a camera move")
    assert "rig: d, e, g;" in estimate.list_notes("abcdefgh")[0]


@pytest.mark.slow
def test_no_pair_is_accused_where_the_position_is_unknown() -> None:
    """The infrared camera sees less than the search covers: a wrong position is found, which pairs do not fit."""
    estimate = estimate_rig(make_pairs(make_matrix(3.2, 0, (0, 0)), range(3), (240, 320)))
    assert (estimate.sure, estimate.unfit) == (False, ())


def test_a_search_that_ends_early_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_early(pairs: Any, matrix: Any, transform: Any, levels: Any) -> Any:
        fit = refine_rig(pairs, matrix, transform, levels)
        return fit._replace(covariance=None) if len(levels) > 1 else fit

    monkeypatch.setattr("gffusion.cameras.estimation.refine_rig", end_early)
    estimate = estimate_rig(make_pairs(np.eye(3)), "translation")
    assert estimate.sure and estimate.residual < 2


def test_wrong_arguments() -> None:
    pairs = make_pairs(make_matrix(), (0, 1))
    with pytest.raises(ValueError, match="at least one pair"):
        estimate_rig([])
    visible, infrared, _ = pairs[0]
    for wrong, kinds in (
        ((visible, infrared), "ndarray, ndarray"),
        ((visible, None, None), "ndarray, NoneType, NoneType"),
        (visible, "ndarray"),
    ):
        with pytest.raises(ValueError, match=rf"list of \(visible, infrared, missing\).* got one of {kinds}: add None"):
            estimate_rig([wrong])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"--transform.*rotation"):
        estimate_rig(pairs, "rotation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="320 x 240 and 100 x 100 and also"):
        estimate_rig([pairs[0], (pairs[1][0], pairs[1][1][:100, :100], None)])
    with pytest.raises(ValueError, match="at least 48 pixels per side"):
        estimate_rig([(np.zeros((40, 60)), np.zeros((60, 60)), None)])
    with pytest.raises(ValueError, match=r"A mask in `missing` must be bool of shape .* got uint8"):
        estimate_rig([(*pairs[0][:2], np.zeros(pairs[0][1].shape, np.uint8))])


def test_auto_aligns_one_pair() -> None:
    matrix = make_matrix()
    ((visible, infrared, _),) = make_pairs(matrix, (1,))
    aligned, (note,) = align_images(visible, infrared, align="auto")
    expected, _ = align_images(visible, infrared, align=Rig(matrix))
    assert "estimated similarity from 1 pair" in note
    assert (aligned.missing != expected.missing).mean() < 0.02
    both = ~aligned.missing & ~expected.missing
    assert np.abs(aligned.infrared.astype(float) - expected.infrared)[both].mean() < 3
