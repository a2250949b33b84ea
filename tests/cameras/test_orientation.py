"""Test the orientation of an infrared camera against images that are turned pixel by pixel."""

import numpy as np
import pytest

from gffusion.cameras import Rig, apply_rig
from gffusion.cameras.orientation import ORIENTATIONS, Orientation


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_rig_of_the_matrix_makes_images_upright(orientation: Orientation) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (30, 40)).astype(np.float32)
    upright = orientation.apply(stored)
    aligned = apply_rig(np.zeros(upright.shape, np.uint8), stored, None, Rig(orientation.matrix))
    assert np.allclose(aligned.infrared, upright, atol=0.01)
    assert aligned.missing is None or not aligned.missing.any()
