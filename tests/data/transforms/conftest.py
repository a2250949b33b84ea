"""Samples for tests of transforms."""

from collections.abc import Callable

import numpy as np
import pytest

from gffusion.data.transforms import Sample


@pytest.fixture
def coordinates() -> Callable[[int, int], Sample]:
    """Make a sample whose pixels hold their own index, in every image."""

    def make(height: int, width: int) -> Sample:
        index = np.arange(height * width, dtype=np.int64).reshape(height, width)
        infrared = (index / (height * width)).astype(np.float32)[..., None]
        return {"visible": np.repeat(infrared, 3, axis=-1), "infrared": infrared, "labels": index}

    return make


@pytest.fixture
def noise() -> Callable[[int, int], Sample]:
    """Make a pair of noise."""

    def make(height: int, width: int) -> Sample:
        rng = np.random.default_rng(5)
        return {
            "visible": rng.random((height, width, 3), dtype=np.float32),
            "infrared": rng.random((height, width, 1), dtype=np.float32),
        }

    return make
