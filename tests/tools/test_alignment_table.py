"""The script that moves pairs by known amounts."""

from pathlib import Path

import alignment_table as script
import numpy as np
import pytest
from scipy import ndimage

from gffusion.cameras import Rig, apply_rig
from gffusion.data import ImagePair


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("perspective", [True, False])
def test_the_exact_rig_moves_the_infrared_image_back(crop: bool, perspective: bool) -> None:
    scene = (255 * ndimage.gaussian_filter(np.random.default_rng(0).random((240, 320)), 6)).astype(np.float32)
    for seed in range(3):
        motion = script.draw_motion(np.random.default_rng(seed), scene.shape, perspective)
        (visible, moved, missing), before, exact = script.move(scene, scene, motion, crop, 1.0)
        assert np.array_equal(visible, before[0])
        aligned = apply_rig(visible, moved, missing, Rig(exact))
        seen = np.ones(visible.shape, bool) if aligned.missing is None else ~aligned.missing
        inner = ndimage.binary_erosion(seen, iterations=5)
        assert inner.any()
        assert np.abs(aligned.infrared - visible)[inner].mean() < 0.05 * scene.std()


def test_rows_summarize_trials() -> None:
    good = {"error": 1.5, "relative": 0.5, "refused": 0.0, "seconds": 2.0}
    wrong = {"error": 30.0, "relative": 30.0, "refused": 0.0, "seconds": 2.0}
    refused = wrong | {"refused": 1.0}
    assert script.summarize([good, good, wrong, refused]) == "25% | 50% | 50% | 25% | 25% | 0% | 50% | 2.0"


def test_unrelated_images_are_of_different_clips() -> None:
    """Neighboring frames of M3SVD show one scene."""
    names = [f"0115_18{clip}_00{frame:02}" for clip in (31, 34) for frame in (0, 5, 10, 15)]
    pairs = [ImagePair(name, Path(f"{name}.png"), Path(f"{name}.png")) for name in names]
    for seed in range(20):
        first, second = script.choose_unrelated(pairs, np.random.default_rng(seed))
        assert first.name[:9] != second.name[:9]
