"""The comparison with PyTorch takes pairs as `gffusion fuse` does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.data import PairImages
from gffusion.export.parity import measure_parity, render_batches

RNG = np.random.default_rng(0)
VISIBLE = RNG.integers(0, 256, (40, 48, 3), np.uint8)
COUNTS = RNG.integers(7000, 9000, (40, 48), np.uint16)


def record_inputs(
    model: GFFusionModel, processor: GFFusionImageProcessor, batches: Any, source: str
) -> list[NDArray[np.float32]]:
    """Return the infrared values that the exported function gets."""
    recorded = []

    def run(visible: NDArray[np.float32], infrared: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        recorded.append(infrared)
        return [visible]

    measure_parity(run, model, processor, batches, segment=False, uint8=False, source=source)
    return recorded


@pytest.fixture
def model(tiny_model: Callable[..., GFFusionModel]) -> GFFusionModel:
    return tiny_model(paradigm="cascading", use_segmenter=False).eval()


@pytest.mark.parametrize(
    "options", [{"infrared_range": [7000, 9000]}, {"infrared_range": "folder"}, {"infrared_range": [9000, 7000]}]
)
def test_ranges_of_other_images_are_not_those_of_rendered_pairs(model: GFFusionModel, options: dict[str, Any]) -> None:
    batches = render_batches()[:1]
    (values,) = record_inputs(model, GFFusionImageProcessor(**options), batches, "rendered")
    expected = batches[0][0][1] / 255
    is_inverted = options["infrared_range"][0] == 9000
    np.testing.assert_allclose(values[0, 0], 1 - expected if is_inverted else expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["fixed", "folder", "radiometric"])
def test_given_pairs_have_the_saved_range(model: GFFusionModel, kind: str) -> None:
    saved: dict[str, Any] = {"fixed": [7000, 9000], "folder": "folder", "radiometric": "auto"}
    pair = PairImages(VISIBLE, COUNTS, is_raw=True) if kind == "radiometric" else (VISIBLE, COUNTS)
    (values,) = record_inputs(model, GFFusionImageProcessor(infrared_range=saved[kind]), [[pair]], "given")
    low, high = (7000, 9000) if kind == "fixed" else np.percentile(COUNTS, (0.1, 99.9))
    np.testing.assert_allclose(values[0, 0], np.clip((COUNTS - float(low)) / (high - low), 0, 1), atol=1e-6)
