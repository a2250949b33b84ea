"""FINet: Eq. (6), the three mergings, Eq. (7) and (8), each against loops over plain arrays."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from gffusion import GFFusionConfig
from gffusion.models.gffusion.finet import FINet, merge_modalities, upsample

HIDDEN, GRID = 4, (2, 3)

MakeNetwork = Callable[..., FINet]


@pytest.fixture
def make_network(tiny_config: Callable[..., GFFusionConfig], clip_config: Callable[..., Any]) -> MakeNetwork:
    """Makes a float64 FINet with random weights, for the eleven layers of the paper and four token dimensions."""

    def make(**overrides: Any) -> FINet:
        network = FINet(tiny_config(clip_config=clip_config(num_hidden_layers=12), **overrides), HIDDEN).double()
        generator = torch.Generator().manual_seed(0)
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
                value.copy_(noise.abs() + 0.1 if name.endswith("running_var") else noise)
        return network.eval()

    return make


def random_tokens(layers: int, seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, GRID[0] * GRID[1], HIDDEN, generator=generator, dtype=torch.float64) for _ in range(layers)]


def maxima(visible: Sequence[torch.Tensor], infrared: Sequence[torch.Tensor]) -> NDArray[Any]:
    """Eq. (6) -> (layers, B, N, D)."""
    return np.stack([np.maximum(a.numpy(), b.numpy()) for a, b in zip(visible, infrared, strict=True)])


def softmax(values: torch.Tensor) -> NDArray[Any]:
    exponentials = np.exp(values.detach().numpy())
    return exponentials / exponentials.sum()


class TestMerging:
    @pytest.mark.parametrize("merging", ["mean", "weighted_sum"])
    def test_sums(self, make_network: MakeNetwork, merging: str) -> None:
        network, visible, infrared = make_network(merging=merging), random_tokens(11, seed=0), random_tokens(11, seed=1)
        weights = softmax(network.layer_weights) if merging == "weighted_sum" else [1 / 11] * 11
        expected = sum(weight * layer for weight, layer in zip(weights, maxima(visible, infrared), strict=True))
        merged = network.merge(merge_modalities(visible, infrared), GRID).detach()
        np.testing.assert_allclose(merged, expected, atol=1e-12)

    @pytest.mark.parametrize("kernel_size", [1, 3])
    @pytest.mark.parametrize(
        ("num_groups", "sizes"), [(1, [11]), (2, [6, 5]), (3, [4, 4, 3]), (11, [1] * 11)], ids=lambda value: str(value)
    )
    def test_group_conv(self, make_network: MakeNetwork, num_groups: int, sizes: list[int], kernel_size: int) -> None:
        """A convolution of a group's layers for every token dimension, normalized, then a weighted sum of the groups."""
        network = make_network(merging="group_conv", num_groups=num_groups, group_kernel_size=kernel_size)
        visible, infrared = random_tokens(11, seed=0), random_tokens(11, seed=1)
        layers = maxima(visible, infrared).reshape(11, 2, *GRID, HIDDEN)
        expected, first = np.zeros((2, *GRID, HIDDEN)), 0
        for size, share, group in zip(sizes, softmax(network.group_weights), network.group_convolutions, strict=True):
            convolution, normalization = ({k: v.numpy() for k, v in part.state_dict().items()} for part in group)
            assert convolution["weight"].shape == (HIDDEN, size, kernel_size, kernel_size)
            for sample in range(2):
                for dimension in range(HIDDEN):
                    response = convolution["bias"][dimension] + sum(
                        ndimage.correlate(
                            layers[first + layer, sample, ..., dimension],
                            convolution["weight"][dimension, layer],
                            mode="constant",
                        )
                        for layer in range(size)
                    )
                    mean, variance, weight, bias = (
                        normalization[name][dimension] for name in ("running_mean", "running_var", "weight", "bias")
                    )
                    normalized = (response - mean) / np.sqrt(variance + 1e-5) * weight + bias
                    expected[sample, ..., dimension] += share * normalized
            first += size
        merged = network.merge(merge_modalities(visible, infrared), GRID).detach()
        np.testing.assert_allclose(merged, expected.reshape(2, -1, HIDDEN), atol=1e-10)

    @pytest.mark.parametrize("merging", ["weighted_sum", "group_conv"])
    def test_learnable_weights_learn(self, make_network: MakeNetwork, merging: str) -> None:
        network = make_network(merging=merging)
        layers = merge_modalities(random_tokens(11, seed=0), random_tokens(11, seed=1))
        network.merge(layers, GRID).square().sum().backward()
        weights = network.layer_weights if merging == "weighted_sum" else network.group_weights
        assert weights.grad.abs().min() > 1e-6
        assert weights.grad.sum().item() == pytest.approx(0, abs=1e-8)  # their softmax always adds up to one


def inject(network: FINet, spatial: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    size = (spatial.shape[-2], spatial.shape[-1])
    return network.inject(spatial, upsample(network.project(tokens, GRID), size, slice(None)))


class TestInjection:
    @pytest.mark.parametrize("rows", [slice(0, 5), slice(3, 40), slice(30, None)])
    def test_rows_are_those_of_the_whole_map(self, rows: slice) -> None:
        maps = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
        whole = F.interpolate(maps, size=(37, 50), mode="bilinear", align_corners=False)
        torch.testing.assert_close(upsample(maps, (37, 50), rows), whole[..., rows, :])

    @pytest.mark.parametrize("size", [(2, 3), (8, 9), (5, 7)])
    def test_gate_addition_and_residual(self, make_network: MakeNetwork, upsample: Callable, size: Any) -> None:
        network = make_network()
        spatial = torch.randn(2, 16, *size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        tokens = random_tokens(1, seed=0)[0]
        injected, gate = (tensor.detach() for tensor in inject(network, spatial, tokens))

        def project(weight: torch.Tensor, bias: torch.Tensor) -> NDArray[Any]:
            projected = tokens.numpy() @ weight.detach().numpy().reshape(16, HIDDEN).T + bias.detach().numpy()
            return upsample(projected.reshape(2, *GRID, 16).transpose(0, 3, 1, 2), size)

        gates = 1 / (1 + np.exp(-project(network.gate_projection.weight, network.gate_projection.bias)))
        added = project(network.feature_projection.weight, network.feature_projection.bias)
        np.testing.assert_allclose(gate, gates, atol=1e-10)
        np.testing.assert_allclose(injected, spatial.numpy() * gates + added + spatial.numpy(), atol=1e-10)
