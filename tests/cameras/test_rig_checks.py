"""Saved rigs are compared with new estimates from scenes that were moved by known distances."""

import numpy as np
import pytest
from moved_scenes import SIZE, make_matrix, make_pairs
from numpy.typing import NDArray

from gffusion.cameras import Rig
from gffusion.cameras.orientation import ORIENTATIONS, Orientation, split_orientation
from gffusion.cameras.rig_checks import check_rig

SAVED = make_matrix(1.3, 1, (0.02, -0.03))


def move(pixels: float, zoom: float = 1.3) -> NDArray[np.float64]:
    """Return the saved rig after the infrared image has moved in the visible image, to the right and down."""
    return make_matrix(zoom, 1, (0.02 + 0.8 * pixels / SIZE[1], -0.03 + 0.6 * pixels / SIZE[0]))


@pytest.mark.parametrize(
    ("pixels", "has_moved"),
    [
        (0, False),
        pytest.param(3, True, marks=pytest.mark.slow),
        (10, True),
        pytest.param(30, True, marks=pytest.mark.slow),
        pytest.param(50, True, marks=pytest.mark.slow),  # 100 pixels of an image that is 640 wide
    ],
)
def test_moves_are_found(pixels: float, has_moved: bool) -> None:
    check = check_rig(make_pairs(move(pixels), (1, 2)), Rig(SAVED))
    assert check.estimate.sure and check.has_moved is has_moved
    assert check.distance == pytest.approx(pixels, abs=0.7)
    assert check.tolerance >= 1
    expected = "a camera has moved" if has_moved else "the saved rig still fits"
    assert check.describe().startswith(f"{expected}: the saved rig (infrared field of view 77% of the visible width, ")
    assert f"is {check.distance:.1f} pixels from the estimate" in check.describe()


@pytest.mark.parametrize(("stretch", "perspective", "kind"), [(1.06, 0.0, "affine"), (1.0, 0.1, "homography")])
def test_the_transform_is_that_of_the_saved_rig(stretch: float, perspective: float, kind: str) -> None:
    matrix = make_matrix(1.3, 3, (0.02, -0.03), perspective) @ np.diag([stretch, 1, 1])
    check = check_rig(make_pairs(matrix, range(2)), Rig(matrix))
    assert (check.estimate.transform, check.has_moved) == (kind, False)
    assert check.distance < 2


def test_an_estimate_that_is_not_sure_tells_nothing() -> None:
    visible, infrared, _ = make_pairs(SAVED)[0]
    noise = np.random.default_rng(0).integers(0, 255, infrared.shape).astype(np.uint8)
    check = check_rig([(visible[:120, :160], noise, None)], Rig(SAVED))
    assert check.has_moved is None and check.describe().startswith("the estimate is not sure: ")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("matrix", [SAVED, make_matrix(0.6, -6, (0.1, 0.1), perspective=0.1)])
def test_how_the_camera_is_mounted(orientation: Orientation, matrix: NDArray[np.float64]) -> None:
    found, upright = split_orientation(orientation.matrix @ matrix)
    assert found == orientation
    assert np.allclose(upright, matrix)


def test_a_turned_camera_needs_no_option() -> None:
    orientation = Orientation(90, mirror=True)
    back = np.linalg.inv(orientation.matrix)
    pairs = [
        (visible, np.ascontiguousarray(np.rot90(infrared, -1)[:, ::-1]), None)  # as the camera delivers it
        for visible, infrared, _ in make_pairs(move(10), (1, 2))
    ]
    check = check_rig(pairs, Rig(orientation.matrix @ SAVED))
    assert check.estimate.transform == "similarity"
    assert np.allclose(back @ check.estimate.rig.matrix @ (0.5, 0.5, 1), move(10) @ (0.5, 0.5, 1), atol=0.01)
    assert check.has_moved and check.distance == pytest.approx(10, abs=0.7)


def test_rigs_of_other_images_are_refused() -> None:
    noise = np.random.default_rng(0).random((48, 64))
    with pytest.raises(ValueError, match="another camera"):
        check_rig([(noise, noise, None)], Rig(np.eye(3), (48, 64), (64, 64)))
