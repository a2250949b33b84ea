"""FuNet: the gradient residual dense block written out with scipy, and what a convolutional network must keep."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from random_images import sobel
from scipy import ndimage
from torch import nn

from gffusion import GFFusionConfig, GFFusionModel
from gffusion.models.gffusion.funet import FuNet, GradientResidualDenseBlock

SLOPE = 0.2


def leaky(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, SLOPE * values)


def convolve(image: np.ndarray, layer: nn.Conv2d) -> np.ndarray:
    """(C, H, W) -> (C', H, W) with the weights of a torch layer and a mirrored border."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    return np.stack(
        [
            sum(ndimage.correlate(plane, kernel, mode="mirror") for plane, kernel in zip(image, kernels, strict=True))
            + offset
            for kernels, offset in zip(weight, bias, strict=True)
        ]
    )


def randomize(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand(value.shape, generator=generator) + 0.1)


def test_gradient_residual_dense_block() -> None:
    block = GradientResidualDenseBlock(2, 3, SLOPE).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    features = np.random.default_rng(0).normal(size=(2, 6, 7))
    first = leaky(convolve(features, block.dense1))
    second = leaky(convolve(np.concatenate([features, first]), block.dense2))
    dense = convolve(np.concatenate([features, first, second]), block.dense_align)
    expected = leaky(dense + convolve(sobel(features), block.gradient_align))
    actual = block(torch.from_numpy(features)[None])[0].detach()
    np.testing.assert_allclose(actual, expected, atol=1e-10)


def test_encode_concatenates_visible_then_infrared(tiny_config: Callable[..., GFFusionConfig]) -> None:
    """Eq. (5): each half of z_f depends on its own modality alone."""
    network = FuNet(tiny_config())
    visible, infrared = torch.rand(1, 1, 32, 32), torch.rand(1, 1, 32, 32)
    features = network.encode(visible, infrared)
    assert features.shape == (1, 16, 32, 32)
    assert torch.equal(network.encode(visible, 1 - infrared)[:, :8], features[:, :8])
    assert torch.equal(network.encode(1 - visible, infrared)[:, 8:], features[:, 8:])
    assert not torch.allclose(network.encode(visible, 1 - infrared)[:, 8:], features[:, 8:])
    torch.testing.assert_close(features[:, :8], network.visible_encoder(visible))


def test_decode(tiny_config: Callable[..., GFFusionConfig]) -> None:
    """Convolution, batch normalization and LeakyReLU per width, then a convolution and a sigmoid."""
    network = FuNet(tiny_config(decoder_channels=[3], leaky_relu_slope=SLOPE)).double().eval()
    randomize(network)
    features = np.random.default_rng(0).normal(size=(16, 6, 7))
    convolution, normalization, _, last = network.decoder
    hidden = convolve(features, convolution)
    mean, variance, weight, bias = (
        getattr(normalization, name).detach().numpy()[:, None, None]
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    hidden = leaky((hidden - mean) / np.sqrt(variance + normalization.eps) * weight + bias)
    expected = 1 / (1 + np.exp(-convolve(hidden, last)))
    images = torch.rand(2, 1, 1, 6, 7)
    actual = network.decode(torch.from_numpy(features)[None], *images, None).detach()
    assert actual.dtype == torch.float32
    np.testing.assert_allclose(actual[0], expected, atol=1e-6)


def test_interior_does_not_depend_on_the_frame(tiny_config: Callable[..., GFFusionConfig]) -> None:
    """A crop fuses to the crop of the fused image, apart from the receptive field's margin."""
    network = FuNet(tiny_config()).eval()
    randomize(network)
    visible, infrared = torch.rand(1, 1, 61, 83), torch.rand(1, 1, 61, 83)
    with torch.no_grad():
        whole = network.decoder(network.encode(visible, infrared))
        crop = network.decoder(network.encode(visible[..., 5:45, 9:70], infrared[..., 5:45, 9:70]))
    torch.testing.assert_close(crop[..., 6:-6, 6:-6], whole[..., 11:39, 15:64])


def measure_reach(network: FuNet, row: int) -> int:
    image = torch.rand(1, 1, 131, 131, requires_grad=True)
    infrared = torch.rand(1, 1, 131, 131)
    network.decode(network.encode(image, infrared), image, infrared, None)[0, 0, row, 60].backward()
    rows = image.grad[0, 0].abs().sum(dim=1).nonzero()
    return max(rows.max().item() - row, row - rows.min().item())


@pytest.mark.parametrize("decoder", [[], [4], [6, 5, 4]])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_reach_is_the_receptive_field(
    tiny_model: Callable[..., GFFusionModel], decoder: list[int], factor: int
) -> None:
    network = tiny_model(paradigm="cascading", decoder_channels=decoder, pixel_unshuffle=factor).eval().funet
    assert max(measure_reach(network, row) for row in range(60, 60 + factor)) == network.reach


@pytest.mark.parametrize("factor", [1, 2])
def test_context_sees_further(tiny_model: Callable[..., GFFusionModel], factor: int) -> None:
    """Three convolutions and an interpolation at a quarter of the resolution of z_f."""
    model = tiny_model(paradigm="cascading", pixel_unshuffle=factor, context_channels=8).eval()
    visible, infrared = torch.rand(1, 3, 131, 131, requires_grad=True), torch.rand(1, 1, 131, 131)
    model(visible, infrared).fused_values[0, 0, 60, 60].backward()
    seen = 60 - visible.grad[0].abs().sum(dim=(0, 2)).nonzero().min().item()
    assert model.funet.reach < 12 * factor < seen <= 20 * factor + model.funet.reach


@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
def test_blended_sources(tiny_model: Callable[..., GFFusionModel], color_space: str) -> None:
    """At any size, the share of the visible image, the rest of the infrared one, and a tenth of the offset."""
    options = {"blend_sources": True, "pixel_unshuffle": 4, "context_channels": 3, "color_space": color_space}
    model = tiny_model(paradigm="cascading", **options).eval()
    last = model.funet.decoder[-1]
    torch.nn.init.zeros_(last.weight)
    shares, offsets = last.bias.data.chunk(2)
    visible, infrared = torch.rand(2, 3, 37, 46), torch.rand(2, 1, 37, 46)
    blended = 0.3 * model.to_source(visible) + 0.7 * infrared
    shares.fill_(math.log(0.3 / 0.7))
    for offset in (0, -2.5, 6):
        offsets.fill_(offset)
        expected = (blended + offset / 10).clamp(0, 1)
        torch.testing.assert_close(model(visible, infrared).fused_values, expected)


@pytest.mark.slow
def test_compiled_at_any_size(tiny_model: Callable[..., GFFusionModel]) -> None:
    """Dynamo takes the second size as one of many."""
    model = tiny_model(paradigm="cascading", pixel_unshuffle=4, context_channels=3, blend_sources=True).eval()
    compiled = torch.compile(model, backend="aot_eager")
    for height, width in ((32, 40), (33, 47)):
        images = torch.rand(1, 3, height, width), torch.rand(1, 1, height, width)
        with torch.no_grad():
            torch.testing.assert_close(compiled(*images).fused_values, model(*images).fused_values)


class Wrapper(nn.Module):
    """A wrapper of a part that can only be called, as those of PEFT for `modules_to_save`."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.part(*args, **kwargs)


def test_wrapped_parts(tiny_model: Callable[..., GFFusionModel]) -> None:
    options: dict[str, Any] = {"pixel_unshuffle": 4, "context_channels": 3, "blend_sources": True}
    model = tiny_model(paradigm="cascading", **options).eval()
    images = torch.rand(1, 3, 33, 47), torch.rand(1, 1, 33, 47)
    expected = model(*images).fused_values
    for name, part in list(model.funet.named_children()):
        setattr(model.funet, name, Wrapper(part))
    assert torch.equal(model(*images).fused_values, expected)


@pytest.mark.parametrize("channels", [0, 3])
def test_decoder_of_your_own(tiny_model: Callable[..., GFFusionModel], channels: int) -> None:
    """Other sequences of layers, as in models that were saved whole before FuNet had a class for its decoder."""
    model = tiny_model(paradigm="cascading", context_channels=channels).eval()
    images = torch.rand(1, 3, 32, 40), torch.rand(1, 1, 32, 40)
    expected = model(*images).fused_values
    model.funet.decoder = torch.nn.Sequential(*model.funet.decoder)
    torch.testing.assert_close(model(*images).fused_values, expected, atol=0, rtol=0)
