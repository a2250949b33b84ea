"""Bands of rows are used on GPUs for images whose maps those cannot pad."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pretended_devices import OnCuda
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BatchFeature

from gffusion import GFFusionImageProcessor, GFFusionModel, GFFusionOutput, predict
from gffusion.inference import row_bands
from gffusion.inference.predict import run_model

TinyModel = Callable[..., GFFusionModel]


class LargestPadded(TorchDispatchMode):
    """Number of elements of the largest map that is padded by reflection."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "reflection_pad2d" in str(func):
            self.elements = max(self.elements, args[0].numel())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"color_space": "rgb", "stem_channels": 12},
        {"context_channels": 3, "pixel_unshuffle": 2, "decoder_channels": [44]},
        {"pixel_unshuffle": 4, "color_space": "rgb"},
    ],
)
@torch.no_grad()
def test_sizes_that_need_bands(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, choices: dict[str, Any]) -> None:
    model = tiny_model(paradigm="cascading", use_segmenter=False, **choices).eval()
    with LargestPadded() as largest:
        model(torch.rand(2, 3, 47, 66), torch.rand(2, 1, 47, 66))
    for limit, needed in ((largest.elements, False), (largest.elements - 1, True)):
        monkeypatch.setattr(row_bands, "MAX_PADDED", limit)
        assert row_bands.needs_bands(model, 2, 47, 66) == needed


@pytest.mark.parametrize("is_too_large", [False, True])
def test_large_images_on_a_gpu(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch, is_too_large: bool) -> None:
    model = tiny_model(paradigm="cascading", use_segmenter=False).eval()
    calls: list[bool] = []

    def run(model: GFFusionModel, **options: Any) -> GFFusionOutput:
        calls.append(options["row_bands"])
        return run_model(model, **options)

    monkeypatch.setattr(GFFusionModel, "device", torch.device("cuda", 0), raising=False)
    monkeypatch.setattr(BatchFeature, "to", lambda self, _: self)
    monkeypatch.setattr("gffusion.inference.predict.run_model", run)
    monkeypatch.setattr(row_bands, "MAX_PADDED", 2**16 if is_too_large else 2**20)
    predict(model, GFFusionImageProcessor(), [(np.zeros((150, 40, 3), np.uint8), np.zeros((150, 40), np.uint8))])
    assert calls == [is_too_large]


@torch.no_grad()
def test_bands_on_a_gpu_stay_in_their_thread(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread would use another stream, and no autocasting."""
    model = tiny_model(paradigm="cascading", use_segmenter=False).eval()
    images = torch.rand(1, 3, 300, 700), torch.rand(1, 1, 300, 700)
    expected = model(*images).fused_values
    bands: list[torch.Size] = []
    model.funet.visible_encoder.stem.register_forward_pre_hook(lambda _, images: bands.append(images[0].shape))
    monkeypatch.setattr("gffusion.inference.row_bands.run_in_threads", None)
    banded = run_model(model, *(image.as_subclass(OnCuda) for image in images), row_bands=True).fused_values
    torch.testing.assert_close(banded.as_subclass(torch.Tensor), expected, atol=1e-6, rtol=0)
    assert len(bands) > 1
