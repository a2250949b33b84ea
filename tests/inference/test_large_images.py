"""Large pairs are fused without holding all their values, with the result of other pairs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gffusion import GFFusionImageProcessor, GFFusionModel
from gffusion.inference import large_images
from gffusion.inference.gpu_inputs import prepare_bytes
from gffusion.inference.large_images import find_large_form
from gffusion.inference.predict import predict
from gffusion.models.gffusion.infrared_options import InfraredOptions

TinyModel = Callable[..., GFFusionModel]

CONTEXT = {"context_channels": 3, "pixel_unshuffle": 2}


def make_pair(dtype: Any = np.uint8, color: bool = True) -> tuple[Any, Any]:
    images = np.random.default_rng(0).random((4, 70, 90))
    scale = 1 if dtype == np.float32 else np.iinfo(dtype).max
    visible = (np.moveaxis(images[:3], 0, -1) * scale).astype(dtype)
    return visible if color else visible[..., 0], (images[3] * 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(
    "choices", [{"paradigm": "cascading"}, {"paradigm": "hybrid"}, {"color_space": "rgb"}, CONTEXT]
)
def test_same_image(tiny_model: TinyModel, monkeypatch: Any, dtype: Any, choices: dict[str, Any]) -> None:
    """As without tiles, and all but the last bit of the image without the form of FuNet for CPUs."""
    model, processor = tiny_model(**choices).eval(), GFFusionImageProcessor()
    monkeypatch.setattr(large_images, "BAND_PIXELS", 1)  # bands of single blocks
    for pair in (make_pair(dtype), make_pair(dtype, color=False)):
        missing = np.zeros((70, 90), np.bool_)
        missing[:, 60:] = True
        for masks in (None, [missing, missing]):
            monkeypatch.setattr(large_images, "LARGE_PIXELS", 1)
            large = predict(model, processor, [pair, pair], missing=masks)
            monkeypatch.setattr(large_images, "LARGE_PIXELS", 2**60)
            others = predict(model, processor, [pair, pair], missing=masks)
            whole = predict(model, processor, [pair], missing=masks and masks[:1], row_bands=False)[0].fused
            for first, second in zip(large, others, strict=True):
                np.testing.assert_allclose(first.fused, second.fused, rtol=0, atol=2e-6 if dtype == np.float32 else 1)
                difference = np.abs(first.fused.astype(np.float64) - whole)
                assert first.fused.dtype == dtype and difference.max() <= (1e-5 if dtype == np.float32 else 1)


@pytest.mark.parametrize("choices", [{"paradigm": "cascading"}, {"paradigm": "hybrid", **CONTEXT}], ids=str)
def test_autocast(tiny_model: TinyModel, monkeypatch: Any, choices: dict[str, Any]) -> None:
    """Only the network itself computes in other types."""
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1)
    model, processor, pair = tiny_model(**choices).eval(), GFFusionImageProcessor(), make_pair()
    with torch.autocast("cpu", torch.bfloat16):
        found, expected = (predict(model, processor, [pair], row_bands=choice)[0].fused for choice in (None, False))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1)


@pytest.mark.usefixtures("no_grad")
def test_what_is_large(tiny_model: TinyModel, monkeypatch: Any) -> None:
    processor, side = GFFusionImageProcessor(), 4096
    assert find_large_form(tiny_model().eval(), processor, (side, side, 3)) is not None
    assert find_large_form(tiny_model().eval(), processor, (480, 640)) is None
    assert find_large_form(tiny_model(paradigm="parallel").eval(), processor, (side, side)) is None
    assert find_large_form(tiny_model().eval(), GFFusionImageProcessor(size_divisor=8), (side, side)) is None
    monkeypatch.setattr(large_images, "LARGE_PIXELS", 1)
    visible, infrared = make_pair()
    with pytest.raises(ValueError, match="the infrared image"):
        predict(tiny_model().eval(), processor, [(visible, infrared[:-1])])


class OwnInputs(GFFusionImageProcessor):
    def preprocess(self, *images: Any, **options: Any) -> Any:
        values = super().preprocess(*images, **options)
        values["infrared_values"] = values["infrared_values"].sqrt()
        return values


class OwnResult(GFFusionImageProcessor):
    def post_process_fusion(self, *values: Any, **options: Any) -> Any:
        return [image // 2 for image in super().post_process_fusion(*values, **options)]


@pytest.mark.parametrize("kind", [OwnInputs, OwnResult])
def test_a_processor_of_ones_own(tiny_model: TinyModel, monkeypatch: Any, kind: type[GFFusionImageProcessor]) -> None:
    """Prepares and restores large pairs and the bytes of a GPU, too."""
    model, images = tiny_model(paradigm="cascading").eval(), []
    for size in (1, 2**60):
        monkeypatch.setattr(large_images, "LARGE_PIXELS", size)
        images.append(predict(model, kind(), [make_pair()])[0].fused)
    assert np.array_equal(*images)
    assert prepare_bytes(kind(), [make_pair()], [InfraredOptions()], torch.device("cpu")) is None
    assert prepare_bytes(GFFusionImageProcessor(), [make_pair()], [InfraredOptions()], torch.device("cpu")) is not None
