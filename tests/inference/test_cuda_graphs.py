"""The fast path on a GPU equals the plain model within one gray level, for first, captured and changed models."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gffusion import GFFusionImageProcessor, GFFusionModel, create_model
from gffusion.inference import cuda_graphs
from gffusion.inference.cuda_graphs import can_use_graphs, fuse_on_gpu
from gffusion.inference.gpu_inputs import prepare_bytes
from gffusion.inference.predict import predict, run_model

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("no_grad")]

TinyModel = Callable[..., GFFusionModel]
MakeInputs = Callable[..., dict[str, Tensor]]

GRAY_LEVEL = 1 / 255


def make_pair(size: tuple[int, int], batch: int = 1) -> tuple[Tensor, Tensor]:
    """Make a visible and an infrared image with smooth and noisy parts."""
    generator = torch.Generator().manual_seed(sum(size))
    images = torch.rand(batch, 4, *size, generator=generator)
    images[..., : size[1] // 2] = torch.linspace(0, 1, size[0])[:, None]
    return images[:, :3].cuda(), images[:, 3:].cuda()


@pytest.mark.parametrize("name", ["gffusion-funet", "gffusion-tiny"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_bundled_models_within_one_gray_level(name: str, dtype: torch.dtype) -> None:
    model = create_model(name, use_segmenter=False).cuda()
    images = make_pair((131, 150))
    expected = model(*images).fused_values
    model = model.to(dtype)
    limit = {torch.float16: 1, torch.bfloat16: 4, torch.float32: 0.1}[dtype] * GRAY_LEVEL
    results = [fuse_on_gpu(model, *images) for _ in range(4)]
    assert results[0].dtype == torch.float32
    torch.testing.assert_close(results[0], expected, atol=limit, rtol=0)
    for result in results[1:]:
        assert torch.equal(result, results[0])  # with and without a graph


@pytest.mark.parametrize(
    "choices",
    [
        {"paradigm": "cascading"},
        {"paradigm": "hybrid", "color_space": "rgb"},
        {"paradigm": "hybrid", "merging": "group_conv", "clip_image_size": [48, 64]},
        {"paradigm": "cascading", "stem_channels": 6, "feature_channels": 20, "decoder_channels": []},
        {"paradigm": "hybrid", "context_channels": 3, "blend_sources": True},
        {"paradigm": "cascading", "context_channels": 5, "pixel_unshuffle": 2, "color_space": "rgb"},
    ],
)
def test_architectures(tiny_model: TinyModel, choices: dict[str, Any]) -> None:
    model = tiny_model(**choices).eval().cuda()
    images = make_pair((40, 49), batch=2)
    expected = model(*images).fused_values
    for _ in range(3):
        result = fuse_on_gpu(model.half(), *images)
        torch.testing.assert_close(result, expected, atol=2 * GRAY_LEVEL, rtol=0)


def test_every_size_and_changed_weights(tiny_model: TinyModel) -> None:
    model = tiny_model().eval().cuda()
    sizes = [(32 + 3 * number, 40 + number) for number in range(cuda_graphs.MAX_GRAPHS + 2)]
    for _ in range(3):
        for size in sizes:
            images = make_pair(size)
            torch.testing.assert_close(fuse_on_gpu(model, *images), model(*images).fused_values, atol=2e-3, rtol=0)
    model.funet.decoder[-1].bias += 0.5
    images = make_pair(sizes[0])
    torch.testing.assert_close(fuse_on_gpu(model, *images), model(*images).fused_values, atol=2e-3, rtol=0)


def test_results_are_not_overwritten(tiny_model: TinyModel) -> None:
    model = tiny_model().eval().cuda()
    first, second = make_pair((40, 48)), make_pair((48, 40))
    second = tuple(image.mT.contiguous() for image in second)
    results = [fuse_on_gpu(model, *images) for images in (first, first, first, second)]
    torch.testing.assert_close(results[2], results[0])
    assert not torch.equal(results[3], results[2])


def test_tokens_of_another_frame(tiny_model: TinyModel) -> None:
    model = tiny_model().eval().cuda()
    images, others = make_pair((40, 48)), make_pair((48, 56))
    tokens = model.encode_semantics(*others)
    expected = model(*images, semantic_tokens=tokens).fused_values
    for _ in range(3):
        torch.testing.assert_close(fuse_on_gpu(model, *images, tokens), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("segment", [False, True])
def test_predict_uses_graphs(tiny_model: TinyModel, make_inputs: MakeInputs, segment: bool, monkeypatch: Any) -> None:
    model = tiny_model().eval().cuda()
    calls: list[int] = []
    monkeypatch.setattr(
        "gffusion.inference.predict.fuse_on_gpu", lambda *values: (calls.append(1), fuse_on_gpu(*values))[1]
    )
    inputs = make_inputs(batch=1)
    pair = (inputs["visible_values"][0].numpy(), inputs["infrared_values"][0].numpy())
    processor = GFFusionImageProcessor()
    expected = predict(model.cpu(), processor, [pair], segment, row_bands=False)[0]
    model.cuda()
    for _ in range(3):
        result = predict(model, processor, [pair], segment)[0]
        assert abs(result.fused - expected.fused).max() < 2e-3
        if segment:
            assert (result.labels == expected.labels).mean() > 0.99
    assert len(calls) == 3


def test_bytes_are_prepared_on_the_gpu(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 256, (40, 50), np.uint8)
    model, processor = tiny_model().eval().cuda(), GFFusionImageProcessor()
    fast = [predict(model, processor, [pair])[0].fused for _ in range(3)]
    prepared = prepare_bytes(processor, [pair], [processor.infrared_options], model.device)
    for name, expected in processor([pair], return_tensors="pt").items():
        assert torch.equal(prepared[name].cpu(), expected)
    monkeypatch.setattr("gffusion.inference.predict.prepare_bytes", lambda *values: None)
    assert all((predict(model, processor, [pair])[0].fused == fused).all() for fused in fast)


def test_refused_with_losses(tiny_model: TinyModel, make_inputs: MakeInputs) -> None:
    model = tiny_model().eval().cuda()
    inputs = {name: value.cuda() for name, value in make_inputs(labels=True).items()}
    with pytest.raises(ValueError, match="`graphs` cannot be combined"):
        run_model(model, **inputs, graphs=True)
    assert not can_use_graphs(model.train()) and not can_use_graphs(tiny_model(paradigm="parallel").eval().cuda())
    model.eval().register_forward_hook(lambda *_: None)
    assert not can_use_graphs(model)
