"""A rendered infrared image."""

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion.synthetic.rendering import render_scene


@pytest.fixture(scope="session")
def infrared() -> NDArray[np.uint8]:
    """Return an infrared image without black."""
    return np.clip(render_scene(3, 240, 320).infrared.astype(int) + 20, 0, 255).astype(np.uint8)
