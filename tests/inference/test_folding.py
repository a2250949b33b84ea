"""Folding of FuNet's parts, and what is not folded."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from gffusion import GFFusionModel
from gffusion.inference.folding import can_fold, fold_batch_norms, join_aligns
from gffusion.models.gffusion.funet import FuNet
from gffusion.models.gffusion.image_ops import sobel_magnitude


@pytest.fixture
def funet(tiny_model: Callable[..., GFFusionModel]) -> FuNet:
    return tiny_model(paradigm="cascading").eval().funet


@torch.no_grad()
def test_batch_norms(funet: FuNet) -> None:
    for layer in funet.decoder:
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    folded = fold_batch_norms(funet.decoder)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in folded)
    features = torch.rand(1, funet.decoder[0].in_channels, 8, 9)
    torch.testing.assert_close(nn.Sequential(*folded)(features), funet.decoder(features))


@torch.no_grad()
def test_aligns(funet: FuNet) -> None:
    block = funet.infrared_encoder.block
    weight, bias = join_aligns(block)
    parts = torch.rand(3, 1, block.dense1.in_channels, 8, 9)
    gradient = sobel_magnitude(parts[0])
    expected = block.dense_align(torch.cat([*parts], dim=1)) + block.gradient_align(gradient)
    torch.testing.assert_close(torch.conv2d(torch.cat([*parts, gradient], dim=1), weight, bias), expected)


def test_only_what_is_known_is_folded(funet: FuNet) -> None:
    assert can_fold(funet)
    assert not can_fold(funet.decoder)
    assert not can_fold(funet.train())
    funet.eval().detail = nn.Conv2d(1, 1, 1)
    assert not can_fold(funet)
    del funet.detail
    funet.decoder[0].stride = (2, 2)
    assert not can_fold(funet)
    funet.decoder[0].stride = (1, 1)
    funet.infrared_encoder.forward = lambda image: image
    assert not can_fold(funet)
