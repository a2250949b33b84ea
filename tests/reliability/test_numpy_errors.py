"""Programs can let NumPy raise errors, which do not occur in what the package computes."""

import numpy as np

from gffusion.cameras.estimation import estimate_rig
from gffusion.synthetic.rendering import render_scene


def test_tiny_numbers_become_zero() -> None:
    with np.errstate(all="raise"):
        scene = render_scene(0, 96, 128)
        estimate_rig([(scene.visible, scene.infrared, None)])
